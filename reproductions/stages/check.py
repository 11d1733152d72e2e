"""Hold verdicts against the recorded ones, and accept new ones."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reproductions.harness import claims, records
from reproductions.harness.errors import UserError
from reproductions.harness.files import write_text
from reproductions.harness.rooms import Room
from reproductions.harness.sources import experiment_digest
from reproductions.stages.place import Place

Pairs = Sequence[tuple[Room, Path]]


def check_all(
    pairs: Pairs, place: Place, junit: Path | None, summary: Path | None, log: Path | None
) -> int:
    """Compare every room that has a verdict with its record; return the exit status.

    Args:
        pairs: rooms and their records.
        junit, summary, log: files to write, if any.

    Raises:
        UserError: no room has a verdict at this scale, or a file cannot be used.
    """
    lines: list[str] = []
    verdicts: list[dict[str, Any]] = []
    found: list[records.Difference] = []
    for room, path in pairs:
        if not place.verdict(room).is_file():
            lines.append(f"{room.key}: not run at {place.scale} scale")
            continue
        verdict = claims.read_verdict(place.verdict(room))
        verdicts.append(verdict)
        if path.is_file():
            found += records.compare(verdict, records.read_record(path))
        else:
            found.append(records.Difference(room.key, "", "setting", "no record", "a verdict"))
            command = f"python -m reproductions record {room.key} --scale {place.scale}"
            lines.append(f"{room.key}: nothing recorded at this scale; accept it with: {command}")
    if not verdicts:
        message = f"no verdict at {place.scale} scale to check: run the workflow first"
        raise UserError(message, file=place.results / place.scale)
    if junit:
        write_text(junit, records.junit_xml(verdicts, found))
    if summary:
        write_text(summary, records.summary_markdown(verdicts, found))
    _tell([*lines, *_table(found), _outcome(verdicts, found)], log)
    return 1 if found else 0


def _outcome(verdicts: Sequence[dict[str, Any]], found: Sequence[Any]) -> str:
    number = sum(len(verdict["claims"]) for verdict in verdicts)
    papers = ", ".join(verdict["paper"] for verdict in verdicts)
    said = f"{len(found)} differences from the record" if found else "as recorded"
    return f"check: {number} claims of {papers}: {said}"


def _table(found: Sequence[records.Difference]) -> list[str]:
    """Return the differences as aligned lines under their header."""
    if not found:
        return []
    lines = [records.COLUMNS, *records.rows(found)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(records.COLUMNS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _tell(lines: Sequence[str], log: Path | None) -> None:
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if log:
        write_text(log, text)


def record_all(root: Path, pairs: Pairs, place: Place, force: bool) -> None:
    """Accept the verdicts that there are.

    Raises:
        UserError: there is none; or, without force, one rests on tables of other sources or
            settings than the present ones, or on uncommitted ones.
    """
    there = [(room, path) for room, path in pairs if place.verdict(room).is_file()]
    if not there:
        message = f"no verdict at {place.scale} scale to record: run the workflow first"
        raise UserError(message, file=place.results / place.scale)
    verdicts = [(claims.read_verdict(place.verdict(room)), room, path) for room, path in there]
    for verdict, room, _ in [] if force else verdicts:
        _refuse_stale(root, verdict, room, place)
    for verdict, room, path in verdicts:
        records.record(verdict, path)
        sys.stdout.write(f"recorded {room.key} at {place.scale} scale in {path}\n")


def _refuse_stale(root: Path, verdict: dict[str, Any], room: Room, place: Place) -> None:
    """Refuse a verdict that the committed sources would not give again."""
    about = verdict.get("provenance", {})
    path, advice = place.verdict(room), "or accept it as it is with --force"
    for name in room.experiments(place.scale):
        if name not in about:
            message = f"the experiment has not been run; run it, {advice}"
            raise UserError(message, file=path, key=name)
        if about[name].get("source_digest") != experiment_digest(root, room.key, name):
            message = f"its table comes from other sources than the present; run it again, {advice}"
            raise UserError(message, file=path, key=name)
        if about[name].get("dirty"):
            message = f"its sources were not committed; commit, run it again, {advice}"
            raise UserError(message, file=path, key=name)
