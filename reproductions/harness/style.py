"""How every figure of the suite looks: theme, one look per method, helpers, byte-stable files.

A room's figures.py needs only this module. Importing it is cheap: matplotlib and seaborn are
imported when the first figure is made.

    figure, ax = new_figure()
    plot_curves(ax, table, order=["adam", "amsgrad"], xscale="log")   # mean, band, n
    reference(ax, published.x, published.y, "published", method="adam")
    legend(ax)
"""

from __future__ import annotations

from reproductions.harness.style_curves import plot_curves
from reproductions.harness.style_palette import (
    LABELS,
    PALETTE,
    PUBLISHED,
    Look,
    label,
    look,
    series,
)
from reproductions.harness.style_save import plotted_csv, save
from reproductions.harness.style_shapes import cell_edges, forest, phase_map, strip
from reproductions.harness.style_theme import apply_theme, legend, new_figure, note, reference

__all__ = [
    "LABELS",
    "PALETTE",
    "PUBLISHED",
    "Look",
    "apply_theme",
    "cell_edges",
    "forest",
    "label",
    "legend",
    "look",
    "new_figure",
    "note",
    "phase_map",
    "plot_curves",
    "plotted_csv",
    "reference",
    "save",
    "series",
    "strip",
]
