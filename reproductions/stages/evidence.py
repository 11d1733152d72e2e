"""From tables to evidence: draw a room's figures and judge its claims."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reproductions.harness.errors import UserError, nearest
from reproductions.harness.files import write_json
from reproductions.harness.rooms import Room
from reproductions.stages.place import Place, partial

Say = Callable[..., None]
Function = Callable[..., Any]


class Tables:
    """The tables of a room, read when first asked for, and why others are missing."""

    def __init__(self, room: Room, place: Place):
        self.room, self.place = room, place
        self.read: dict[str, Any] = {}

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
        return None

    def get(self, experiment: str) -> Any:
        """Return a table."""
        if experiment not in self.read:
            from reproductions.harness.tables import read_table

            self.read[experiment] = read_table(self.place.table(self.room, experiment))
        return self.read[experiment]

    def provenance(self) -> dict[str, Any]:
        """Return experiment -> how its table came about, for every table that is there."""
        from reproductions.harness.tables import read_provenance

        names = self.room.experiments(self.place.scale)
        there = [name for name in names if self.why_missing(name) is None]
        return {name: read_provenance(self.place.table(self.room, name)) for name in there}

    def call(self, function: Function, tolerant: bool) -> tuple[Any, str]:
        """Call a function of tables; return its result, or None and why there is none.

        Args:
            tolerant: what the function raises is a reason too.
        """
        names = list(inspect.signature(function).parameters)
        reasons = [reason for reason in map(self.why_missing, names) if reason]
        if reasons:
            return None, "; ".join(reasons)
        try:
            return function(**{name: self.get(name) for name in names}), ""
        except Exception as error:
            if not tolerant:
                raise
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            return None, f"{function.__name__} failed: {kind}{error}"


def _functions(room: Room, prefix: str) -> dict[str, Function]:
    """Return the functions of a room's figures.py with a prefix, in the order of the source."""
    module = importlib.import_module(f"reproductions.papers.{room.key}.figures")
    own = [f for f in vars(module).values() if inspect.isfunction(f) and _from(f, module.__name__)]
    own.sort(key=lambda function: function.__code__.co_firstlineno)
    return {f.__name__.removeprefix(prefix): f for f in own if f.__name__.startswith(prefix)}


def _from(function: Function, module: str) -> bool:
    return function.__module__ == module


def draw(room: Room, place: Place, progress: Say, tolerant: bool = False) -> dict[str, Any]:
    """Draw every figure whose tables are there and return the index, which is written last.

    Raises:
        Exception: what a draw function raises, unless tolerant.
    """
    from reproductions.harness import style

    tables = Tables(room, place)
    about, index = tables.provenance(), place.figures(room)
    drawn: list[str] = []
    skipped: dict[str, str] = {}
    functions = _functions(room, "draw_")
    if not functions:
        raise UserError("has no draw_ function", file=room.folder / "figures.py")
    for number, (name, function) in enumerate(functions.items()):
        progress(number / len(functions), name)
        figure, reason = tables.call(function, tolerant)
        if figure is None:
            skipped[name] = reason or f"draw_{name} returned no figure"
            continue
        used = {key: about[key] for key in inspect.signature(function).parameters}
        meta = _meta(room, place, inspect.getdoc(function) or "", used)
        style.save(figure, index.parent, name, meta)
        drawn.append(name)
    _remove_others(room, place, drawn)
    content = {"figures": drawn, "skipped": skipped}
    write_json(index, content)
    partial(index).unlink(missing_ok=True)
    return content


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


def data_names(about: Mapping[str, Any]) -> str | list[str] | None:
    """Return the data sets that tables rest on: None, one name, or several."""
    names = sorted({one["data"]["name"] for one in about.values() if one.get("data")})
    return names if len(names) > 1 else names[0] if names else None


def _commit(about: Mapping[str, Any]) -> str:
    """Return the sources of a table in a few words."""
    commit = about.get("commit")
    at = f"commit {commit[:10]}{' and changes' if about.get('dirty') else ''}, " if commit else ""
    return f"{at}sources {about['source_digest']}"


def measure(room: Room, tables: Tables, tolerant: bool = False) -> tuple[dict, dict[str, str]]:
    """Return what a room measures, and measure function -> why it could not.

    Raises:
        UserError: two functions measure the same.
        Exception: what a measure function raises, unless tolerant.
    """
    metrics: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name, function in _functions(room, "measure_").items():
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
    tables = Tables(room, place)
    metrics, missing = measure(room, tables, tolerant)
    entries = claims.judge(stated, metrics, missing, place.scale, file=path)
    about, target = tables.provenance(), place.verdict(room)
    claims.write_verdict(target, room.key, place.scale, data_names(about), about, entries)
    partial(target).unlink(missing_ok=True)
    return claims.read_verdict(target)
