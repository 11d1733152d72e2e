"""Make the most of what there is: draw and judge it, report it, and say what failed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from reproductions.harness.rooms import Room
from reproductions.stages.place import Place, partial
from reproductions.stages.progress import stage


def build_report(rooms: Sequence[Room], place: Place) -> Path:
    """Build the report of a scale and return its page."""
    from reproductions.harness.report import RoomInfo, build

    infos = [
        RoomInfo(
            key=room.key,
            readme=room.folder / "README.md",
            experiments={name: entry.about for name, entry in room.config.experiments.items()},
            **room.info,
        )
        for room in rooms
    ]
    return build(place.results, place.scale, infos)


def finish_all(rooms: Sequence[Room], place: Place, complete: bool, table: bool) -> None:
    """Bring the report up to date and tell the outcome.

    Args:
        complete: first draw and judge what a failed run left open, as far as the tables allow.
        table: print the verdict tables, not only their counts.
    """
    told = [room for room in rooms if place.room(room).is_dir()]
    partial = [path for room in told for path in _complete(room, place)] if complete else []
    if told and (complete or _outdated(told, place)):
        build_report(rooms, place)
    if complete:
        _mark_partial(partial, place)
    for room in told:
        _tell(room, place, table)
    if place.page().is_file():
        sys.stdout.write(f"report: {place.page().resolve()}\n")


def _outdated(rooms: Sequence[Room], place: Place) -> bool:
    """Whether the report is missing, or older than a room's figures or verdict."""
    page = place.page()
    made = [path for room in rooms for path in (place.figures(room), place.verdict(room))]
    return not page.is_file() or any(_newer(path, page) for path in made)


def _newer(path: Path, other: Path) -> bool:
    return path.is_file() and path.stat().st_mtime > other.stat().st_mtime


def _complete(room: Room, place: Place) -> list[Path]:
    """Draw and judge what the tables allow if that is open; return what was made so.

    What cannot be drawn or judged is told, and stops nothing.
    """
    from reproductions.stages import drawing, evidence

    made = []
    with stage(f"{room.key} with what there is", place.log(room, "finish"), True) as progress:
        for path, make in (
            (place.figures(room), lambda: drawing.draw(room, place, progress, tolerant=True)),
            (place.verdict(room), lambda: evidence.judge(room, place, tolerant=True)),
        ):
            if _is_open(path, room, place):
                try:
                    make()
                    made.append(path)
                except Exception as error:
                    progress.line(f"no {path.name}: {error}")
    return made


def _is_open(path: Path, room: Room, place: Place) -> bool:
    """Whether a result is missing, or older than a failure."""
    notes = place.room(room).glob("failures/*.json")
    return not path.is_file() or any(_newer(note, path) for note in notes)


def _mark_partial(paths: Sequence[Path], place: Place) -> None:
    """Keep partial results from looking finished to the workflow, which then makes them again."""
    for path in paths:
        os.replace(path, partial(path))
    place.page().with_name("summary.md").unlink(missing_ok=True)


def _tell(room: Room, place: Place, table: bool) -> None:
    """Print a room's verdicts and failures."""
    from reproductions.harness.claims import read_verdict
    from reproductions.harness.verdict_table import print_verdicts, verdict_summary

    path = place.verdict(room)
    path = path if path.is_file() else partial(path)
    if path.is_file():
        verdict = read_verdict(path)
        if table:
            print_verdicts(verdict)
        else:
            sys.stdout.write(verdict_summary(verdict) + "\n")
    for note in sorted(place.failure(room, "x").parent.glob("*.json")):
        reason = place.reason(room, note.stem)
        sys.stdout.write(f"failed: {room.key}/{note.stem}: {reason}\n")
