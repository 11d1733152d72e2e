"""What running means remember: the weights that the shared rule gives to the past."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from reproductions.harness.tables import Rows
from reproductions.optim.transform import running_mean

UNITS = {"weight": "1", "equivalent_sample_size": "1", "nominal_window": "1",
         "window_weight": "1", "memory": "1", "level": "1"}  # fmt: skip
FLAT = "flat"
_FORGOTTEN = 0.1  # of an old level: what is left when it counts as forgotten
_KEPT = 200


def rows(betas: dict[str, float], ages: int, change: int) -> Rows:
    """Return weights by age, their sums over the lecture's windows, and the memory of a change.

    Args:
        betas: name -> beta of a running mean.
        ages: how many steps back the weights are read.
        change: steps of an old level before it falls from 1 to 0.
    """
    rows, all_weights = Rows(UNITS), impulse(list(betas.values()), ages)
    for (name, beta), weights in zip(betas.items(), all_weights, strict=True):
        window = round(2 / (1 - beta))
        kept = sorted({min(round(k * 3 * window / _KEPT), ages - 1) for k in range(_KEPT + 1)})
        rows.add(arm=name, quantity="weight", value=weights[kept], step=kept, beta=beta)
        size = 1 / float((weights**2).sum())
        rows.add(arm=name, quantity="equivalent_sample_size", value=size, beta=beta)
        rows.add(arm=name, quantity="nominal_window", value=2 / float(weights[0]), beta=beta)
        inside = float(weights[:window].sum())
        rows.add(arm=name, quantity="window_weight", value=inside, beta=beta, window=window)
    _add_memory(rows, [*betas, FLAT], forgetting(list(betas.values()), change, 12 * change))
    return rows


def _add_memory(rows: Rows, names: list[str], levels: Tensor) -> None:
    ends = math.log10(levels.shape[1] - 1)
    places = sorted({0, *torch.logspace(0, ends, _KEPT).long().tolist()})
    for name, level in zip(names, levels, strict=True):
        below = int((level > _FORGOTTEN).sum())  # the level falls all the way
        rows.add(arm=name, quantity="memory", value=below)
        rows.add(arm=name, quantity="level", value=level[places], step=places)


def impulse(betas: Sequence[float], ages: int) -> Tensor:
    """Return the weight (means, ages) of a number in each mean, 0, 1, ... steps after it came."""
    rates = torch.tensor(betas, dtype=torch.float64)
    one, zero = torch.ones_like(rates), torch.zeros_like(rates)
    found = [running_mean(zero, rates, one)]
    for _ in range(ages - 1):
        found.append(running_mean(found[-1], rates, zero))
    return torch.stack(found, 1)


def forgetting(betas: Sequence[float], change: int, steps: int) -> Tensor:
    """Return the means (means + 1, steps) from the last step of an old level 1 on; the new is 0.

    The last row is the flat mean over all steps, AdaGrad's, which is beta_t = 1 - 1/t.

    Args:
        change: steps of the old level, on which the running means have settled.
    """
    rates = torch.tensor([*betas, 1.0], dtype=torch.float64)
    found, zero = [torch.ones_like(rates)], torch.zeros_like(rates)
    for t in range(change + 1, change + steps):
        rates[-1] = 1 - 1 / t
        found.append(running_mean(found[-1], rates, zero))
    return torch.stack(found, 1)
