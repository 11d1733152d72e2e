"""Read what the other stages left for the report; whatever is missing becomes a sentence."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from reproductions.harness import report_words as words
from reproductions.harness.errors import UserError
from reproductions.harness.report_images import Picture, embed
from reproductions.harness.report_readme import rebase, section

_RUN = frozenset({"source_digest", "wall_seconds", "device"})  # a table's provenance has these


class RoomInfo(NamedTuple):
    """What the report must know of a room besides its results.

    Fields:
        experiments: name -> one line about it.
        findings: Markdown; by default the README's section "Findings".
    """

    key: str
    title: str
    authors: str
    year: int
    venue: str
    url: str
    readme: Path
    experiments: Mapping[str, str]
    findings: str | None = None


class ClaimRow(NamedTuple):
    """One line of the verdict table, in words."""

    anchor: str
    id: str
    says: str
    where: str
    read_as: str
    metric: str
    expected: str
    because: str
    measured: str
    interval: str
    n: str
    verdict: str
    reason: str
    figure: str


class FigureCard(NamedTuple):
    """One figure with all that the report says of it."""

    anchor: str
    name: str
    caption: list[str]
    picture: Picture | None
    facts: dict[str, str]
    command: str
    folder: str
    claims: list[ClaimRow]


class Room(NamedTuple):
    """One paper as the report shows it."""

    info: RoomInfo
    verdict_missing: str
    data: str
    rows: list[ClaimRow]
    counts: dict[str, int]
    figures: list[FigureCard]
    skipped: dict[str, str]
    failures: list[dict[str, str]]
    findings: str
    deviations: str
    readme: str
    provenance: dict[str, dict[str, str]]


def read_room(results: Path, scale: str, info: RoomInfo) -> Room:
    """Collect one room.

    Raises:
        UserError: a file that is there cannot be used: cut short, not JSON, another version.
    """
    folder, page = results / scale / info.key, results / scale / "report"
    verdict, missing = _verdict(folder, scale, info.key)
    rows = [_row(info.key, claim) for claim in verdict.get("claims", [])]
    index = _json(folder / "figures" / "index.json") or {}
    figures = _figures(folder, page, info.key, index, rows)
    shown = {card.name for card in figures}
    rows = [row if row.figure in shown else row._replace(figure="") for row in rows]
    findings = info.findings if info.findings is not None else _section(info, page, "Findings")
    return Room(
        info=info,
        verdict_missing=missing,
        data=words.dataset(verdict.get("data")) if verdict else "",
        rows=rows,
        counts=words.count_verdicts(verdict.get("claims", [])),
        figures=figures,
        skipped={str(name): str(why) for name, why in (index.get("skipped") or {}).items()},
        failures=_failures(folder, page),
        findings=findings,
        deviations=_section(info, page, "Deviations"),
        readme=_link(info.readme, page) if info.readme.is_file() else "",
        provenance=_provenance(verdict.get("provenance") or {}),
    )


def _verdict(folder: Path, scale: str, key: str) -> tuple[dict[str, Any], str]:
    """Return the verdict, or nothing and the sentence that says so."""
    path = folder / "verdict.json"
    if not path.is_file():
        command = f"python -m reproductions judge {key} --scale {scale}"
        return {}, f"No verdict yet at {scale} scale. Make it with: {command}"
    from reproductions.harness.claims import read_verdict

    return read_verdict(path), ""


def _row(key: str, claim: Mapping[str, Any]) -> ClaimRow:
    """Say one claim's verdict in words."""
    bounds = claim.get("interval")
    tested = claim.get("measured") is not None
    measured = words.measured(claim.get("measured"), bounds)
    return ClaimRow(
        anchor=f"{key}--{claim['id']}",
        id=str(claim["id"]),
        says=str(claim.get("says", "")),
        where=str(claim.get("where", "")),
        read_as=words.READ_AS.get(str(claim.get("read_as")), str(claim.get("read_as", ""))),
        metric=str(claim.get("metric", "")),
        expected=words.expected(claim.get("expect"), claim.get("unit")),
        because=str(claim.get("because", "")),
        measured=measured + words.unit(claim.get("unit")) if tested else words.NOTHING,
        interval=words.interval(bounds),
        n=words.sample(claim.get("n")) if tested else "",
        verdict=str(claim.get("verdict", "not tested")),
        reason=str(claim.get("reason") or ""),
        figure=str(claim.get("figure") or ""),
    )


def _figures(
    folder: Path, page: Path, key: str, index: Mapping[str, Any], rows: list[ClaimRow]
) -> list[FigureCard]:
    """Return the figures in the room's order."""
    cards, home = [], folder / "figures"
    for name in index.get("figures", []):
        meta = _json(home / f"{name}.json") or {}
        cards.append(_card(home, page, key, str(name), meta, rows))
    return cards


def _card(
    home: Path, page: Path, key: str, name: str, meta: Mapping[str, Any], rows: list[ClaimRow]
) -> FigureCard:
    """Collect one figure."""
    inches = meta.get("inches")
    caption = str(meta.get("caption") or f"Figure {name}.")
    facts = {
        "Scale": str(meta.get("scale") or words.NOTHING),
        "Data": words.dataset(meta.get("data")),
        "Seeds": words.seeds(meta.get("seeds")),
        "Cost": words.duration(meta.get("cost_seconds", meta.get("cost"))),
        "Sources": words.digest(meta.get("provenance")),
    }
    return FigureCard(
        anchor=f"{key}--figure--{name}",
        name=name,
        caption=[" ".join(part.split()) for part in caption.split("\n\n") if part.strip()],
        picture=embed(home, name, tuple(inches) if inches else None),
        facts=facts,
        command=str(meta.get("command") or ""),
        folder=_link(home, page),
        claims=[row for row in rows if row.figure == name],
    )


def _failures(folder: Path, page: Path) -> list[dict[str, str]]:
    """Return what failed, sorted by name, with a link to its log."""
    found = []
    for path in sorted((folder / "failures").glob("*.json")):
        entry = _json(path) or {}
        log = Path(str(entry.get("log") or "")) if entry.get("log") else None
        found.append(
            {
                "what": f"experiment {entry.get('experiment', path.stem)}",
                "reason": str(entry.get("reason") or "no reason was recorded"),
                "log": _log_link(log, folder, page) if log else "",
                "when": str(entry.get("when") or ""),
            }
        )
    return found


def _log_link(log: Path, folder: Path, page: Path) -> str:
    """Return a log's path as seen from the page; logs may be absolute or relative to the room."""
    if log.is_absolute():
        return _link(log, page)
    for base in (folder, folder / "logs", folder.parents[1], folder.parents[2]):
        if (base / log).exists():
            return _link(base / log, page)
    return log.as_posix()


def _section(info: RoomInfo, page: Path, title: str) -> str:
    """Return a section of the room's README with its links as seen from the page."""
    return rebase(section(info.readme, title), _link(info.readme.parent, page))


def _link(path: Path, page: Path) -> str:
    """Return a path relative to the page."""
    return Path(os.path.relpath(path.resolve(), page.resolve())).as_posix()


def _json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None where there is no file."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cut short or not JSON: {error}", file=path) from error
    if not isinstance(content, dict):
        raise UserError("must hold one JSON object: make it again", file=path)
    return content


def _provenance(content: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return experiment -> what it ran on; one group "all" where it is not told by experiment."""
    groups = {key: value for key, value in content.items() if _is_run(value)}
    if not groups:
        return {"all": _flat(content)} if content else {}
    rest = {key: value for key, value in content.items() if key not in groups}
    named = {name: _flat(groups[name]) for name in sorted(groups)}
    return {**({"verdict": _flat(rest)} if rest else {}), **named}


def _is_run(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(
        {"source_digest", "wall_seconds", "device"} & set(value)
    )


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Turn nested provenance into lines of text."""
    lines: dict[str, str] = {}
    for key, value in content.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            lines |= _flat(value, f"{name}: ")
        elif value is not None and value != "":
            lines[name] = json.dumps(value) if isinstance(value, list) else _fact(key, value)
    return lines


def _fact(key: str, value: Any) -> str:
    """Write one fact of provenance."""
    if key == "dirty":
        return "yes: the sources had uncommitted changes" if value else "no"
    if key == "wall_seconds":
        return words.duration(value)
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
