"""The verdict table in a terminal, at the end of a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from reproductions.harness import report_words as words

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS = {
    "reproduced": "green",
    "refuted": "bold red",
    "inconclusive": "yellow",
    "not tested": "dim",
}


def verdict_lines(verdict: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return (claim, expected, measured with interval, verdict with its symbol) of every claim."""
    lines = []
    for claim in verdict["claims"]:
        bounds = claim.get("interval")
        measured = f"{words.measured(claim.get('measured'), bounds)} {words.interval(bounds)}"
        expect = words.expected(claim.get("expect"), claim.get("unit"))
        said = str(claim.get("verdict"))
        lines.append((str(claim["id"]), expect, measured.rstrip(), f"{words.SYMBOLS[said]} {said}"))
    return lines


def verdict_summary(verdict: Mapping[str, Any]) -> str:
    """Return one line: paper, scale and the count of each verdict."""
    counts = words.count_verdicts(verdict["claims"])
    said = ", ".join(f"{number} {name}" for name, number in counts.items())
    return f"{verdict['paper']} at {verdict['scale']} scale: {said}"


def verdict_table(verdict: Mapping[str, Any]) -> Table:
    """Return the verdict table for a rich console."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(verdict_summary(verdict)), title_justify="left", highlight=False)
    table.add_column("claim", overflow="fold", ratio=3)
    table.add_column("expected", overflow="fold", ratio=2)
    table.add_column("measured", overflow="fold", ratio=3)
    table.add_column("verdict", no_wrap=True)
    for name, expect, measured, said in verdict_lines(verdict):
        colour = _COLOURS[said.split(" ", 1)[1]]
        table.add_row(Text(name), Text(expect), Text(measured), Text(said, style=colour))
    return table


def print_verdicts(verdict: Mapping[str, Any], file: TextIO | None = None) -> None:
    """Print the verdict table: drawn in a terminal, aligned plain lines anywhere else."""
    file = file or sys.stdout
    if file.isatty():
        from rich.console import Console

        Console(file=file).print(verdict_table(verdict))
        return
    lines = verdict_lines(verdict)
    widths = [max((len(line[column]) for line in lines), default=0) for column in range(3)]
    print(verdict_summary(verdict), file=file)
    for *cells, said in lines:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        print("  " + "  ".join([said.ljust(14), *padded]).rstrip(), file=file)
