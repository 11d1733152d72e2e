"""The searches of Figure 1 as one row a place, and what the published figure has to put beside them."""

from __future__ import annotations

from typing import Any

import numpy as np

from reproductions.harness.tables import select
from reproductions.papers.dauphin2014saddle import published

FLAT = 0.9  # relative residual from which a gradient counts as lying in the kernel of the Hessian
CRITICAL, KERNEL, MOVING = "critical point", "gradient in the kernel", "neither"
KINDS = (CRITICAL, KERNEL, MOVING)
ARMS = {
    "near_runs": "near saddle-free Newton runs",
    "unit_cube": "in the unit cube",
    "trained": "trained networks",
}
_SPECTRUM = ("eigenvalue", "parameters")


def parameters(table: Any) -> int:
    """Return P, the number of parameters of a network."""
    return int(select(table, quantity="parameters").value.iloc[0])


def thresholds(table: Any) -> np.ndarray:
    """Return the thresholds below which an |eigenvalue| counts as zero, ascending."""
    found = select(table, quantity="negative_eigenvalues").threshold
    return np.unique(found.to_numpy())


def fine(table: Any) -> float:
    """Return the smallest threshold above zero: at zero itself rounding decides for the kernel."""
    at = thresholds(table)
    return float(at[at > 0].min(initial=np.inf) if (at > 0).any() else at.max())


def places(table: Any, where: str) -> Any:
    """Return a frame with a row for every place and a column for every quantity, nan if it failed.

    Args:
        where: "start" or "end" of the searches.

    Returns:
        Columns arm, seed, ending, kind (of KINDS, None where it failed), the quantities, and
        `index_<threshold>`, the fraction of eigenvalues below -threshold.
    """
    rows = select(table, where=where)
    rows = rows[~rows.quantity.isin(_SPECTRUM)]
    level = rows.threshold.map(index_name)
    named = rows.quantity.where(rows.threshold.isna(), level)
    value = rows.value.where(rows.status == "ok")
    wide = rows.assign(named=named, value=value).pivot(
        index=["arm", "seed", "ending"], columns="named", values="value"
    )
    found = wide.reset_index()
    for threshold in thresholds(table):
        found[index_name(threshold)] /= parameters(table)
    return found.assign(kind=_kinds(found))


def index_name(threshold: float) -> str:
    """Return the column of `places` with the index at a threshold."""
    return f"index_{threshold:g}"


def _kinds(found: Any) -> np.ndarray:
    """Tell what a place is; a start is never called converged, but may be critical all the same."""
    flat = found.relative_residual >= FLAT
    kinds = np.where(found.critical == 1, CRITICAL, np.where(flat, KERNEL, MOVING))
    kinds = kinds.astype(object)
    kinds[found.train_error.isna()] = None
    return kinds


def published_points(data: str) -> Any:
    """Return the points of Figure 1 (a) or (c), each once: (a) has every point twice."""
    return published.points(published.POINTS[data]).drop_duplicates()


def published_spectra(data: str) -> list[tuple[float, Any]]:
    """Return (training error, bins) of the three spectra of Figure 1 (b) or (d), lowest first."""
    found = published.points(published.SPECTRA[data])
    return [(float(error), bins) for error, bins in found.groupby("train_error")]
