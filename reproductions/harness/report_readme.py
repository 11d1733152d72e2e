"""Take sections out of a room's README and turn them into safe HTML."""

from __future__ import annotations

import re
from pathlib import Path

_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*\s*$")
_LINK = re.compile(r"\]\((?![a-z]+:|/)([^)\s]+)\)")
_RAW_HTML = re.compile(r"(?<!\\)<(?=[a-zA-Z/!?])")
_REMOTE = re.compile(r"!\[(?=[^\]]*\]\([a-z]+:)")
_FENCE = re.compile(r"^\s{0,3}(```|~~~)")


def section(readme: Path, title: str) -> str:
    """Return the Markdown under the first heading that starts with `title`; "" without one."""
    if not readme.is_file():
        return ""
    lines: list[str] = []
    level, fenced = 0, False
    for line in readme.read_text(encoding="utf-8", errors="replace").splitlines():
        fenced ^= bool(_FENCE.match(line))
        heading = None if fenced else _HEADING.match(line)
        if heading and level and len(heading[1]) <= level:
            break
        if level:
            lines.append(line)
        elif heading and heading[2].lower().startswith(title.lower()):
            level = len(heading[1])
    return "\n".join(lines).strip()


def rebase(markdown: str, base: str) -> str:
    """Make links relative to a README relative to a page that sees its folder as `base`."""

    def moved(match: re.Match[str]) -> str:
        target = match[1]
        return f"]({base}/{'README.md' * target.startswith('#')}{target})"

    return _LINK.sub(moved, markdown)


def plain_markdown(markdown: str) -> str:
    """Escape raw HTML outside code blocks and turn pictures from elsewhere into links."""
    lines, fenced = [], False
    for line in markdown.splitlines():
        fenced ^= bool(_FENCE.match(line))
        lines.append(line if fenced else _REMOTE.sub("[", _RAW_HTML.sub(r"\<", line)))
    return "\n".join(lines)


def to_html(markdown: str) -> str:
    """Render Markdown; raw HTML in it is shown as text, and pictures are not loaded."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return str(parser.render(markdown))
