"""Run experiments: settings, data and device in, one table out."""

from __future__ import annotations

import importlib
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from reproductions.harness.errors import UserError
from reproductions.harness.files import write_json
from reproductions.harness.rooms import Room
from reproductions.harness.settings import Run, signature
from reproductions.harness.sources import experiment_digest
from reproductions.stages.new_room import refuse_open
from reproductions.stages.place import Place
from reproductions.stages.progress import stage

Say = Callable[..., None]


class Request(NamedTuple):
    """One experiment to run.

    Fields:
        root: the repository.
        device: auto, cpu, cuda or cuda:N.
    """

    root: Path
    room: Room
    experiment: str
    place: Place
    device: str
    root_seed: int


def run_one(request: Request, progress: Say, log: Path) -> Path:
    """Run an experiment and write its table; if it fails, leave a note that says why.

    Wrong use leaves a table that is there in force.

    Raises:
        UserError: unusable settings, data or device. So is whatever the experiment refuses with a
            ValueError.
        Exception: whatever else the experiment raises.
    """
    room, name, place = request.room, request.experiment, request.place
    scales = room.experiment(name).scales
    if place.scale not in scales:
        message = f"runs at {', '.join(scales)} only, not at {place.scale}"
        raise UserError(message, file=room.config_path, key=f"experiments.{name}.scales")
    note = place.failure(room, name)
    try:
        path = _run(request, progress)
    except Exception as error:
        # a slip of the hand, a device that is not there: the table of before is as good as before
        if not isinstance(error, UserError) or not place.table(room, name).is_file():
            _leave_note(note, name, error, log)
        if isinstance(error, ValueError):
            raise _refused(request, error) from error
        raise
    note.unlink(missing_ok=True)
    return path


def _refused(request: Request, error: ValueError) -> UserError:
    """Name the config, and the setting at fault where the message tells it."""
    name = request.experiment
    key = _at_fault(str(error), request.room.settings(name, request.place.scale))
    place = f"experiments.{name}.{key}" if key else f"experiments.{name}"
    return UserError(str(error), file=request.room.config_path, key=place)


def _at_fault(message: str, settings: Mapping[str, Any]) -> str | None:
    """Return the setting that a message names, or else the only one with the number it got.

    An optimizer refuses `lr`, whatever the room calls its learning rates.
    """
    words = message.replace(":", " ").replace("'", " ").split()
    named = next((word for word in words if word in settings), None)
    got = re.search(r"\bgot (\S+)$", message)
    if named or not got:
        return named
    holders = [key for key, value in settings.items() if got[1] in map(repr, _leaves(value))]
    return holders[0] if len(holders) == 1 else None


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the single values of a setting."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _run(request: Request, progress: Say) -> Path:
    room, name, place = request.room, request.experiment, request.place
    refuse_open(room.config_path, room.folder / "experiment.py")
    settings = room.settings(name, place.scale)
    offered: dict[str, Any] = {"root_seed": request.root_seed, "progress": progress}
    dataset = offered["data"] = _prepared(request, progress)
    # read when torch starts its threads: those that wait soon sleep. With a busy neighbour they
    # otherwise hold its core while it holds theirs, and a run takes several times as long.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    # read when CUDA starts: the same products on every run
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    digest = experiment_digest(request.root, room.key, name)
    module = importlib.import_module(f"reproductions.papers.{room.key}.experiment")
    from reproductions.harness import provenance, tables

    takes = signature(room.folder / "experiment.py", name)
    device = _device(request.device, needed="device" in takes)
    extra = {key: value for key, value in {**offered, "device": device}.items() if key in takes}
    started, clock = (
        datetime.now().astimezone().isoformat(timespec="milliseconds"),
        time.perf_counter(),
    )
    absent = tables.unavailable(_facts(dataset))
    if absent:
        progress(0.0, f"{absent}; its table says so and holds no measurement")
    rows = tables.nothing(absent) if absent else getattr(module, name)(**settings, **extra)
    about = provenance.collect(
        {**settings, "root_seed": request.root_seed},
        digest,
        _facts(dataset),
        device if "device" in takes else "cpu",
        settings.get("seeds"),
        time.perf_counter() - clock,
        started,
    )
    path = place.table(room, name)
    tables.write_table(rows, path, about)
    return path


def _device(name: str, needed: bool) -> str:
    """Return the device called name; torch is not loaded only to find that nothing needs it."""
    if name == "auto" and not needed and "torch" not in sys.modules:
        return "cpu"
    from reproductions.optim.device import resolve

    try:
        return str(resolve(name))
    except ValueError as error:
        raise UserError(str(error), key="device") from None


def _prepared(request: Request, progress: Say) -> Any:
    """Return the data set of an experiment, obtained first if need be; None if it needs none."""
    name = request.room.experiment(request.experiment).data.get(request.place.scale)
    if name is None:
        return None
    from reproductions.harness import datasets

    path = request.place.data(name)
    if not path.is_file():
        datasets.fetch(name, path, say=lambda text: progress(0.0, text))
    return datasets.load(path)


def _facts(dataset: Any) -> dict[str, Any] | None:
    """Return what provenance says of a data set."""
    if dataset is None:
        return None
    facts = {key: getattr(dataset, key) for key in ("name", "sha256", "source", "synthetic")}
    return facts | ({"missing": dataset.missing} if dataset.missing else {})


def _leave_note(note: Path, experiment: str, error: Exception, log: Path) -> None:
    """Say what failed, why, and where its log is."""
    kind, said = type(error).__name__, str(error).strip()
    reason = said if isinstance(error, UserError | ValueError) and said else f"{kind}: {said}"
    content = {
        "experiment": experiment,
        "reason": reason,
        "kind": kind,
        "log": os.path.relpath(log, note.parents[1]),
        "when": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    write_json(note, content)


def run_all(
    root: Path, room: Room, names: list[str], here: Place, run: Run, log: Path | None
) -> int:
    """Run experiments one after the other, past failures; return the exit status.

    0 if all are well, 2 if the only failures are unusable input, 1 otherwise.
    """
    worst = set()
    for name in names:
        room.experiment(name)
        request = Request(root, room, name, here, run.device, run.root_seed)
        where = log or here.log(room, name)
        title = f"{room.key}/{name} ({here.scale})"
        try:
            with stage(title, where, redirect=log is not None) as progress:
                run_one(request, progress, where)
        except Exception as error:
            known = isinstance(error, UserError)
            worst.add(2 if known else 1)
            failed = f"{room.key}/{name} failed: {type(error).__name__}: {error}"
            said = str(error) if known else f"{failed}\n  the log is {where}"
            sys.stderr.write(f"error: {said}\n")
            if log is None and "--traceback" in sys.argv:
                traceback.print_exception(error)
    return min(worst, default=0)
