"""Make the report: one self-contained HTML page, a Markdown twin and a short summary.

The page needs no network and no script. It has no date of its own: the same results give the same
bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reproductions.harness import report_words as words
from reproductions.harness.files import write_text
from reproductions.harness.report_read import Room, RoomInfo, read_room
from reproductions.harness.report_readme import plain_markdown, to_html

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["RoomInfo", "build"]

_TEMPLATES = Path(__file__).with_name("templates")
_MARKDOWN_SIGNS = re.compile(r"([\\`*_\[\]<>|#~])")


def build(results: Path | str, scale: str, rooms: Sequence[RoomInfo]) -> Path:
    """Write report/{index.html,report.md,summary.md} of one scale and return the page's path.

    Rooms are sorted by key. A room without a verdict, a failed experiment or a figure that could
    not be drawn is said on the page.

    Args:
        results: the results folder; reads <results>/<scale>/<key>/..., writes
            <results>/<scale>/report/.

    Raises:
        UserError: a verdict or a figure's description is there but cannot be used.
    """
    results = Path(results)
    found = [read_room(results, scale, info) for info in sorted(rooms, key=attrgetter("key"))]
    facts = _facts(scale, found)
    folder = results / scale / "report"
    for template, name in (("report.md.j2", "report.md"), ("summary.md.j2", "summary.md")):
        write_text(folder / name, _tidy(_environment(html=False).get_template(template), facts))
    css = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    page = _environment(html=True).get_template("report.html.j2")
    write_text(folder / "index.html", page.render(**facts, css=_safe(css)))
    return folder / "index.html"


def _facts(scale: str, rooms: Sequence[Room]) -> dict[str, Any]:
    """Return what the templates say."""
    rows = [row._asdict() for room in rooms for row in room.rows]
    unsettled = [
        (room.info.key, row)
        for verdict in ("refuted", "inconclusive")
        for room in rooms
        for row in room.rows
        if row.verdict == verdict
    ]
    data = [room.data for room in rooms]
    data += [card.facts["Data"] for room in rooms for card in room.figures]
    return {
        "scale": scale,
        "rooms": rooms,
        "verdicts": words.VERDICTS,
        "symbols": words.SYMBOLS,
        "meanings": words.MEANINGS,
        "total": len(rows),
        "tally": words.count_verdicts(rows),
        "open": unsettled,
        "unjudged": [room.info.key for room in rooms if room.verdict_missing],
        "failed": sum(len(room.failures) for room in rooms),
        "synthetic": any(map(words.is_synthetic, data)),
    }


def _environment(html: bool) -> Environment:
    """Return a template environment; every text is escaped in HTML, filters do it in Markdown."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "cite": cite,
        "markdown": lambda text: _safe(to_html(text)),
        "md": escape_markdown,
        "plain": plain_markdown,
        "slug": lambda text: text.replace(" ", "-"),
        "spaced": lambda name: str(name).replace("_", " "),
        "tallied": tallied,
        "web": lambda url: str(url).startswith(("https://", "http://")),
    }
    return environment


def _safe(text: str) -> Any:
    """Mark text as HTML that needs no escaping."""
    from markupsafe import Markup

    return Markup(text)


def _tidy(template: Any, facts: Mapping[str, Any]) -> str:
    """Render Markdown without runs of empty lines."""
    return re.sub(r"\n{3,}", "\n\n", template.render(**facts)).strip() + "\n"


def cite(info: RoomInfo) -> str:
    """Return a short citation such as "Reddi et al. 2018"."""
    names = [name.strip() for name in re.split(r",| and ", info.authors) if name.strip()]
    last = [name.split()[-1] for name in names]
    if not last:
        return info.key
    who = last[0] if len(last) == 1 else f"{last[0]} and {last[1]}"
    return f"{who if len(last) < 3 else last[0] + ' et al.'} {info.year}"


def escape_markdown(text: Any) -> str:
    """Return text that Markdown shows as it is, also inside a table's cell."""
    return _MARKDOWN_SIGNS.sub(r"\\\1", " ".join(str(text).split()))


def tallied(counts: Mapping[str, int]) -> str:
    """Write counts of verdicts in one line."""
    return ", ".join(f"{counts[name]} {name}" for name in words.VERDICTS)
