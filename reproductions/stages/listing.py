"""Show what there is: papers, experiments, verdicts."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from reproductions.harness.rooms import Room
from reproductions.harness.settings import SCALES
from reproductions.stages.place import Place


def show(rooms: Sequence[Room], results: Path) -> None:
    """Print the rooms with their experiments and what has been judged so far."""
    for room in rooms:
        paper = room.info
        about = f"{paper['title']} ({paper['authors']}, {paper['venue']})"
        lines = [f"{room.key}: {about}"]
        width = max((len(name) for name in room.config.experiments), default=0)
        for name, entry in room.config.experiments.items():
            only = "" if set(entry.scales) == set(SCALES) else f" [{', '.join(entry.scales)} only]"
            lines.append(f"  {name.ljust(width)}  {entry.about}{only}")
        for scale in SCALES:
            if told := _verdicts(Place(results, scale).verdict(room)):
                lines.append(f"  {scale}: {told}")
        sys.stdout.write("\n".join(lines) + "\n")


def _verdicts(path: Path) -> str:
    """Return how often each verdict was given; nothing where there is no usable verdict."""
    try:
        claims = json.loads(path.read_text(encoding="utf-8"))["claims"]
        counts = Counter(claim["verdict"] for claim in claims)
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
