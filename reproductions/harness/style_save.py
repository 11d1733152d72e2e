"""Save a figure in three formats, the same bytes each time, with the plotted data beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reproductions.harness.files import atomic_path, write_json, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("svg", "pdf", "png")
_NO_DATES: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
_STABLE: Any = {"svg.hashsalt": "reproductions", "svg.fonttype": "path", "pdf.fonttype": 42}
_DPI = 160  # of the PNG and of pixels inside SVG and PDF


def save(figure: Figure, folder: Path | str, name: str, meta: Mapping[str, Any]) -> list[Path]:
    """Write <name>.svg, .pdf, .png, .csv (what is plotted) and .json (`meta`), each atomically.

    Args:
        meta: what the report says of the figure: caption, scale, data, seeds, cost, command,
            provenance; must be JSON.

    Returns:
        The five paths.
    """
    from matplotlib import rc_context

    from reproductions.harness.style_ticks import write_numbers_plainly

    folder = Path(folder)
    paths = [folder / f"{name}.{kind}" for kind in (*FORMATS, "csv", "json")]
    write_numbers_plainly(figure)
    _settle(figure)
    with rc_context(_STABLE):
        for kind, path in zip(FORMATS, paths, strict=False):
            with atomic_path(path) as temporary:
                _print(figure, kind, temporary)
    write_text(paths[3], plotted_csv(figure))
    width, height = (round(float(size), 3) for size in figure.get_size_inches())
    write_json(paths[4], {"name": name, "inches": [width, height], **meta})
    return paths


def _settle(figure: Figure) -> None:
    """Lay the figure out once; every format then shows the same places, at a third of the time."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def _print(figure: Figure, kind: str, path: Path) -> None:
    """Draw once into a file; Figure.savefig would draw twice."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    canvas, dpi, meta = figure.canvas, figure.dpi, _NO_DATES[kind]
    figure.dpi = _DPI
    try:
        if kind == "svg":
            FigureCanvasSVG(figure).print_svg(str(path), metadata=meta)
        elif kind == "pdf":
            FigureCanvasPdf(figure).print_pdf(str(path), metadata=meta)
        else:
            FigureCanvasAgg(figure).print_png(str(path), metadata=meta)
    finally:
        figure.dpi = dpi
        figure.set_canvas(canvas)


def plotted_csv(figure: Figure) -> str:
    """Return what the artists of a figure show: panel, artist, label, x, y, value."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["panel", "artist", "label", "x", "y", "value"])
    for panel, ax in enumerate(figure.axes):
        if getattr(ax, "_colorbar", None) is not None:
            continue
        for artist, label, rows in _artists(ax):
            for row in np.atleast_2d(rows):
                cells = [_cell(number) for number in row]
                writer.writerow([panel, artist, label, *cells, *[""] * (3 - len(cells))])
    return out.getvalue()


def _cell(number: Any) -> str:
    """Write a number with ten digits; what is not finite as an empty cell."""
    number = float(number)
    return f"{number:.10g}" if np.isfinite(number) else ""


def _artists(ax: Axes) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield (kind, label, rows of x, y[, value]) of everything drawn from data."""
    from matplotlib.collections import LineCollection, PathCollection, PolyCollection, QuadMesh
    from matplotlib.patches import Rectangle

    last = ""
    for line in ax.lines:
        last = str(line.get_label())
        yield "line", _plain(last), np.column_stack(line.get_data(orig=False))
    for item in ax.collections:
        name = _plain(str(item.get_label()))
        if isinstance(item, QuadMesh):
            yield "cells", name, _mesh_rows(item)
        elif isinstance(item, PathCollection):
            yield "points", name, np.ma.filled(np.ma.asarray(item.get_offsets()), np.nan)
        elif isinstance(item, PolyCollection):
            for path in item.get_paths():
                yield "band", name, np.asarray(path.vertices)
        elif isinstance(item, LineCollection):
            for segment in item.get_segments():
                yield "bar", name, np.asarray(segment)
    for box in ax.patches:
        if isinstance(box, Rectangle):
            rows = [[box.get_x() + box.get_width() / 2, box.get_y() + box.get_height()]]
            yield "rectangle", _plain(str(box.get_label())), np.asarray(rows)


def _plain(label: str) -> str:
    """Drop matplotlib's made-up labels and the underscore that hides one from legends."""
    return "" if label.startswith(("_child", "_nolegend")) else label.removeprefix("_")


def _mesh_rows(mesh: Any) -> np.ndarray:
    """Return the centre and value of every cell of a mesh."""
    corners = mesh.get_coordinates()
    centres = (corners[:-1, :-1] + corners[1:, :-1] + corners[:-1, 1:] + corners[1:, 1:]) / 4
    values: np.ndarray = np.ma.filled(np.ma.asarray(mesh.get_array(), float), np.nan)
    return np.hstack([centres.reshape(-1, 2), values.reshape(-1, 1)])
