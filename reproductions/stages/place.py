"""Where the results of a scale lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from reproductions.harness.rooms import Room


class Place(NamedTuple):
    """The results of one scale.

    Fields:
        results: the results folder.
        scale: smoke, laptop or full.
    """

    results: Path
    scale: str

    def data(self, name: str) -> Path:
        """Return the prepared data set."""
        return self.results / "data" / f"{name}.npz"

    def room(self, room: Room) -> Path:
        """Return a room's folder."""
        return self.results / self.scale / room.key

    def table(self, room: Room, experiment: str) -> Path:
        """Return an experiment's table."""
        return self.room(room) / "tables" / f"{experiment}.parquet"

    def failure(self, room: Room, experiment: str) -> Path:
        """Return the note that an experiment failed."""
        return self.room(room) / "failures" / f"{experiment}.json"

    def log(self, room: Room, name: str) -> Path:
        """Return a job's log."""
        return self.room(room) / "logs" / f"{name}.log"

    def figures(self, room: Room) -> Path:
        """Return the list of a room's figures, which is written last."""
        return self.room(room) / "figures" / "index.json"

    def verdict(self, room: Room) -> Path:
        """Return a room's verdict."""
        return self.room(room) / "verdict.json"

    def page(self) -> Path:
        """Return the report."""
        return self.results / self.scale / "report" / "index.html"

    def reason(self, room: Room, experiment: str) -> str | None:
        """Return why an experiment failed; None if it did not."""
        try:
            return str(json.loads(self.failure(room, experiment).read_text())["reason"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError):
            return "the reason was lost"


def partial(path: Path) -> Path:
    """Return where a result is kept that rests on fewer tables than it should."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")
