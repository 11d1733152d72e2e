"""Draw a room's figures from its tables, several at a time."""

from __future__ import annotations

import inspect
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial as bound
from typing import Any

from reproductions.harness.errors import UserError
from reproductions.harness.files import write_json
from reproductions.harness.rooms import Room
from reproductions.stages.evidence import Tables, data_names, functions
from reproductions.stages.new_room import refuse_open
from reproductions.stages.place import Place, partial

Say = Callable[..., None]


def draw(
    room: Room, place: Place, progress: Say, tolerant: bool = False, workers: int = 1
) -> dict[str, Any]:
    """Draw every figure whose tables are there and return the index, which is written last.

    Args:
        workers: processes to draw with; 1 draws in this one.

    Raises:
        Exception: what a draw function raises, unless tolerant.
    """
    refuse_open(room.folder / "figures.py")
    names = list(functions(room, "draw_"))
    if not names:
        raise UserError("has no draw_ function", file=room.folder / "figures.py")
    drawn: list[str] = []
    skipped: dict[str, str] = {}
    _open.clear()
    one = bound(_draw_one, room, place, tolerant)
    for number, (name, reason) in enumerate(zip(names, _each(one, names, workers), strict=True)):
        progress((number + 1) / len(names), name)
        if reason:
            skipped[name] = reason
        else:
            drawn.append(name)
    _remove_others(room, place, drawn)
    index, content = place.figures(room), {"figures": drawn, "skipped": skipped}
    write_json(index, content)
    partial(index).unlink(missing_ok=True)
    return content


def _each(one: Callable[[str], str], names: list[str], workers: int) -> Iterator[str]:
    """Yield one(name) in order."""
    if min(workers, len(names)) <= 1:
        yield from map(one, names)
        return
    # spawned, not forked: the progress bar has a thread, which a fork would leave in the middle
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(one, names)


_open: dict[tuple[Room, Place], Tables] = {}  # of a worker, which draws several figures


def _draw_one(room: Room, place: Place, tolerant: bool, name: str) -> str:
    """Draw and save one figure; return why there is none, or an empty text."""
    from reproductions.harness import style

    tables = _open.setdefault((room, place), Tables(room, place))
    function = functions(room, "draw_")[name]
    figure, reason = tables.call(function, tolerant)
    if figure is None:
        return reason or f"draw_{name} returned no figure"
    about = tables.provenance()
    used = {key: about[key] for key in tables.used(function)}
    meta = _meta(room, place, inspect.getdoc(function) or "", used)
    style.save(figure, place.figures(room).parent, name, meta)
    return ""


def _remove_others(room: Room, place: Place, drawn: list[str]) -> None:
    """Remove the files of figures that are no longer drawn: they would show other results."""
    for path in place.figures(room).parent.glob("[!.]*.*"):
        if path.stem not in (*drawn, "index", "index.partial"):
            path.unlink()


def _meta(room: Room, place: Place, caption: str, used: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the report says of a figure."""
    seeds = {name: one["seeds"] for name, one in used.items() if one.get("seeds")}
    same = len({str(number) for number in seeds.values()}) < 2
    return {
        "caption": caption,
        "scale": place.scale,
        "data": data_names(used),
        "seeds": next(iter(seeds.values()), None) if same else seeds,
        "cost_seconds": round(sum(one["wall_seconds"] for one in used.values()), 1),
        "command": f"snakemake --cores 2 --config scale={place.scale} -- {room.key}",
        "provenance": "; ".join(f"{name}: {_commit(one)}" for name, one in used.items()),
    }


def _commit(about: Mapping[str, Any]) -> str:
    """Return the sources of a table in a few words."""
    commit = about.get("commit")
    at = f"commit {commit[:10]}{' and changes' if about.get('dirty') else ''}, " if commit else ""
    return f"{at}sources {about['source_digest']}"
