"""What the paper's own figures say against its text, as numbers for the claims."""

from __future__ import annotations

import numpy as np

from reproductions.harness.statistics import Metric, exact
from reproductions.papers.choromanska2015loss import published

_ALPHA, _BETA = published.SCALING


def measure() -> dict[str, Metric]:
    """Measure what the digitised figures contain; no run of ours enters."""
    found = {
        "published_caption_scaling": exact(_median_over_raw(25)),
        "published_index_whole_steps": exact(_bins_with_a_multiple("fig5_index_n10", 10)),
        "published_figure_8_difference": exact(_repeated_bins()),
    }
    for width in (250, 500):
        counts = published.histogram("fig3_right_networks", str(width))[2]
        found[f"published_networks_{width}"] = exact(float(counts.sum()))
    return found


def scaling_factor(width: int) -> float:
    """Return what the published scaling multiplies a loss of this width with."""
    return float(np.exp(-_ALPHA * float(width) ** _BETA))


def _median_over_raw(width: int) -> float:
    """Return the median that Figure 9 draws over that of the unscaled losses of Figure 7."""
    boxes = published.points("fig9_boxplot")
    drawn = boxes[boxes.n1 == width]["median"].iloc[0]
    return float(drawn / np.median(published.losses(width)[1]))


def _bins_with_a_multiple(name: str, width: int) -> float:
    """Return the share of occupied bins that hold a multiple of 1/N, N the parameters."""
    bins = published.points(name)
    bins = bins[bins["count"] > 0]
    step, slack = 1 / (111 * width + 10), 1e-9
    last = np.floor(bins.right / step + slack)
    holds = (last * step > bins.left + slack) | (bins.left == 0)  # the first bin includes zero
    return float(holds.mean())


def _repeated_bins() -> float:
    """Return the largest difference of counts between Figures 8 (top) and 3 (left)."""
    worst = 0
    for size in ("25", "50", "100", "500"):
        bars = []
        for name in ("fig3_left_spinglass", "fig8_top_spinglass"):
            left, _, counts = published.histogram(name, size)
            at = np.round(left[counts > 0] / 0.0015).astype(int)
            bars.append(dict(zip(at.tolist(), counts[counts > 0].tolist(), strict=True)))
        for place in bars[0].keys() | bars[1].keys():
            worst = max(worst, abs(bars[0].get(place, 0) - bars[1].get(place, 0)))
    return float(worst)
