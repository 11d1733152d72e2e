"""What the tables hold, arranged for measures and pictures."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from reproductions.harness.tables import by_seed, select

KERNELS = ("exponential", "power")
FORMULA = {"exponential": "exp(−u)", "power": "1/(1 + u)"}
RANDOM, DESCENDED, ASCENDED = "random", "descended", "ascended"
SAMPLED, EXACT = "sampled", "exact"


class Laws(NamedTuple):
    """Mean and standard deviation of the energy of critical points by index, at one N."""

    share: np.ndarray  # (N + 1,), (k + 1/2) / (N + 1)
    mean: np.ndarray  # (N + 1,)
    deviation: np.ndarray  # (N + 1,)


def curve(theory: Any, kernel: str, quantity: str = "energy") -> tuple[np.ndarray, np.ndarray]:
    """Return (index, value) of the limit's curve, ascending in the index."""
    rows = select(theory, arm=kernel, quantity=quantity).sort_values("share")
    return rows.share.to_numpy(), rows.value.to_numpy()


def critical(theory: Any, kernel: str) -> float:
    """Return eps_c of the kernel that the curve belongs to."""
    return float(curve(theory, kernel)[1][0])


def sizes(table: Any) -> list[int]:
    """Return the dimensions N that a table has, ascending."""
    return [int(n) for n in np.unique(table.dimensions.dropna())]


def share(n: int) -> np.ndarray:
    """Return the index of k = 0 ... N as a place in [0, 1], (k + 1/2) / (N + 1).

    The critical point's shift is one of N + 1 eigenvalues, and these are their places.
    """
    return (np.arange(n + 1) + 0.5) / (n + 1)


def batches(kac_rice: Any, kernel: str, n: int, quantity: str) -> np.ndarray:
    """Return what each batch of matrices gives for every k, (N + 1, batches)."""
    rows = select(kac_rice, arm=kernel, quantity=quantity, dimensions=n, method=SAMPLED)
    return by_seed(rows, "index")


def least(kac_rice: Any, kernel: str, n: int, quantity: str) -> np.ndarray:
    """Return the exact values for k = 0 and 1."""
    rows = select(kac_rice, arm=kernel, quantity=quantity, dimensions=n, method=EXACT)
    return rows.sort_values("index").value.to_numpy()


def laws(kac_rice: Any, kernel: str, n: int) -> Laws:
    """Return the best there is: exact at both ends, the mean over batches between them."""
    mean = batches(kac_rice, kernel, n, "mean_energy").mean(axis=1)
    deviation = batches(kac_rice, kernel, n, "energy_deviation").mean(axis=1)
    ends = least(kac_rice, kernel, n, "mean_energy")
    mean[:2], mean[-2:] = ends, -ends[::-1]
    ends = least(kac_rice, kernel, n, "energy_deviation")
    deviation[:2], deviation[-2:] = ends, ends[::-1]
    return Laws(share(n), mean, deviation)


def points(search: Any, kernel: str, n: int) -> Any:
    """Return the critical points found, one a row: start, seed, energy, negative, shift."""
    rows = search[(search.arm == kernel) & (search.dimensions == n) & (search.status == "ok")]
    rows = rows[rows.quantity.isin(["energy", "negative", "shift"])]
    wide = rows.pivot_table(index=["start", "seed", "index"], columns="quantity", values="value")
    return wide.reset_index().astype({"negative": int})


def residuals(search: Any, kac_rice: Any, kernel: str, n: int) -> Any:
    """Return the points with `away`, the energy minus its exact mean at that index, and `units`.

    `units` is `away` in exact standard deviations.
    """
    found, exact = points(search, kernel, n), laws(kac_rice, kernel, n)
    away = found.energy - exact.mean[found.negative]
    return found.assign(away=away, units=away / exact.deviation[found.negative])
