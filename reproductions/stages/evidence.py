"""From tables to evidence: call a room's functions of tables, and judge its claims."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reproductions.harness.errors import UserError, nearest
from reproductions.harness.rooms import Room
from reproductions.stages.new_room import refuse_open
from reproductions.stages.place import Place, partial

Function = Callable[..., Any]


class Tables:
    """The tables of a room, read when first asked for, and why others are missing."""

    def __init__(self, room: Room, place: Place):
        self.room, self.place = room, place
        self.read: dict[str, Any] = {}
        self.empty: dict[str, str | None] = {}

    def why_missing(self, experiment: str) -> str | None:
        """Return why an experiment has no table; None if it has one."""
        known = self.room.config.experiments
        if experiment not in known:
            message = f"no experiment is called {experiment!r}{nearest(experiment, known)}"
            raise UserError(message, file=self.room.folder / "figures.py")
        scale = self.place.scale
        if scale not in known[experiment].scales:
            return f"the experiment {experiment} is not run at {scale} scale"
        reason = self.place.reason(self.room, experiment)
        if reason is not None:
            return f"the experiment {experiment} failed: {reason}"
        if not self.place.table(self.room, experiment).is_file():
            return f"the experiment {experiment} has not been run"
        return self._without_data(experiment)

    def _without_data(self, experiment: str) -> str | None:
        """Return why a table has no measurements: its data set was not available."""
        from reproductions.harness.tables import read_provenance, unavailable

        if experiment not in self.empty:
            try:
                about = read_provenance(self.place.table(self.room, experiment))
            except UserError:  # whoever reads the table says what is wrong with it
                return None
            self.empty[experiment] = unavailable(about.get("data"))
        return self.empty[experiment]

    def get(self, experiment: str) -> Any:
        """Return a table."""
        if experiment not in self.read:
            from reproductions.harness.tables import read_table

            self.read[experiment] = read_table(self.place.table(self.room, experiment))
        return self.read[experiment]

    def provenance(self) -> dict[str, Any]:
        """Return experiment -> how its table came about, for every table that is there.

        Tables that hold no measurements for want of data are told of too.
        """
        from reproductions.harness.tables import read_provenance

        names = self.room.experiments(self.place.scale)
        there = [n for n in names if self.why_missing(n) is None or self.empty.get(n)]
        return {name: read_provenance(self.place.table(self.room, name)) for name in there}

    def call(self, function: Function, tolerant: bool) -> tuple[Any, str]:
        """Call a function of tables; return its result, or None and why there is none.

        A table that the function can do without, an argument with a default, may be missing.

        Args:
            tolerant: what the function raises is a reason too.
        """
        parameters = inspect.signature(function).parameters.values()
        needed = [one.name for one in parameters if one.default is one.empty]
        reasons = [reason for reason in map(self.why_missing, needed) if reason]
        if reasons:
            return None, "; ".join(dict.fromkeys(reasons))
        try:
            return function(**{name: self.get(name) for name in self.used(function)}), ""
        except Exception as error:
            if not tolerant:
                raise
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            return None, f"{function.__name__} failed: {kind}{error}"

    def used(self, function: Function) -> list[str]:
        """Return the experiments among a function's arguments whose tables hold measurements."""
        return [n for n in inspect.signature(function).parameters if self.why_missing(n) is None]


def functions(room: Room, prefix: str) -> dict[str, Function]:
    """Return the functions of a room's figures.py with a prefix, in the order of the source."""
    module = importlib.import_module(f"reproductions.papers.{room.key}.figures")
    own = [f for f in vars(module).values() if inspect.isfunction(f) and _from(f, module.__name__)]
    own.sort(key=lambda function: function.__code__.co_firstlineno)
    return {f.__name__.removeprefix(prefix): f for f in own if f.__name__.startswith(prefix)}


def _from(function: Function, module: str) -> bool:
    return function.__module__ == module


def data_names(about: Mapping[str, Any]) -> str | list[str] | None:
    """Return the data sets that tables rest on: None, one name, or several."""
    there = [one["data"] for one in about.values() if one.get("data")]
    names = sorted({data["name"] for data in there if not data.get("missing")})
    return names if len(names) > 1 else names[0] if names else None


def measure(room: Room, tables: Tables, tolerant: bool = False) -> tuple[dict, dict[str, str]]:
    """Return what a room measures, and measure function -> why it could not.

    Raises:
        UserError: two functions measure the same.
        Exception: what a measure function raises, unless tolerant.
    """
    metrics: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name, function in functions(room, "measure_").items():
        found, reason = tables.call(function, tolerant)
        if found is None:
            missing[f"measure_{name}"] = reason or "it returned nothing"
            continue
        for metric in _repeated(found, metrics):
            raise UserError("is measured twice", file=room.folder / "figures.py", key=metric)
        metrics |= found
    return metrics, missing


def _repeated(found: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[str]:
    return (name for name in found if name in metrics)


def judge(room: Room, place: Place, tolerant: bool = False) -> dict[str, Any]:
    """Measure what the tables allow, write the verdict on every claim, and return it."""
    from reproductions.harness import claims

    path = room.folder / "claims.yaml"
    stated = claims.load_claims(path)
    refuse_open(path, room.folder / "figures.py")
    tables = Tables(room, place)
    metrics, missing = measure(room, tables, tolerant)
    entries = claims.judge(stated, metrics, missing, place.scale, file=path)
    about, target = tables.provenance(), place.verdict(room)
    claims.write_verdict(target, room.key, place.scale, data_names(about), about, entries)
    partial(target).unlink(missing_ok=True)
    return claims.read_verdict(target)
