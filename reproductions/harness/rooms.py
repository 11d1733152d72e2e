"""Find the rooms, and answer the workflow's questions about their jobs.

Imports the standard library and yaml alone, so that planning costs next to nothing.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from reproductions.harness import sources
from reproductions.harness.errors import UserError, nearest
from reproductions.harness.settings import Config, Experiment, read_config, read_run, resolve

COLLECT_AFTER = 200_000  # new objects
KEY = re.compile(r"[a-z]+[0-9]+[a-z]+[0-9]*")
DOORS = ("README.md", "experiment.py", "figures.py", "claims.yaml")
# what a change of the environment can alter in each stage; a newer linter retrains nothing
PACKAGES = {
    "experiment": ("torch", "numpy", "scipy", "pyarrow"),
    "figures": ("numpy", "scipy", "pandas", "pyarrow", "matplotlib", "seaborn"),
    "verdict": ("numpy", "scipy", "pandas", "pyarrow", "pydantic"),
    "report": ("jinja2", "markdown-it-py", "pillow"),
}


class Room(NamedTuple):
    """A paper's room: its folder and its config."""

    key: str
    folder: Path
    config_path: Path

    @property
    def config(self) -> Config:
        """Return the room's config, read once."""
        return _config(self.config_path)

    @property
    def info(self) -> dict[str, Any]:
        """Return title, authors, year, venue and url."""
        return self.config.paper

    def experiments(self, scale: str) -> list[str]:
        """Return the experiments that run at a scale, in the config's order."""
        entries = self.config.experiments.values()
        return [entry.name for entry in entries if scale in entry.scales]

    def experiment(self, name: str) -> Experiment:
        """Return what the config says of one experiment."""
        known = self.config.experiments
        if name not in known:
            message = f"no experiment is called {name!r}{nearest(name, known)}"
            raise UserError(message, file=self.config_path, key="experiments")
        return known[name]

    def settings(self, name: str, scale: str) -> dict[str, Any]:
        """Return the settings of an experiment at a scale, bound to its signature."""
        return resolve(self.config, self.folder / "experiment.py", name, scale)


@cache
def _config(path: Path) -> Config:
    return read_config(path)


def repository_root() -> Path:
    """Return the checkout that holds this package and its configs.

    Raises:
        UserError: the package was installed without its checkout.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "configs" / "default.yaml").is_file():
        message = "the suite runs from its checkout: clone it and install it with pip install -e ."
        raise UserError(message, file=root / "configs" / "default.yaml")
    return root


def find_rooms(root: Path, keys: tuple[str, ...] | None = None) -> dict[str, Room]:
    """Return the rooms by key, sorted; with keys only those.

    Raises:
        UserError: an unknown key; suggests the nearest.
    """
    folders = sorted((root / "reproductions" / "papers").iterdir())
    rooms = {
        folder.name: Room(folder.name, folder, root / "configs" / f"{folder.name}.yaml")
        for folder in folders
        if any((folder / door).is_file() for door in DOORS)
    }
    for key in keys or ():
        if key not in rooms:
            raise UserError(f"no paper is called {key!r}{nearest(key, rooms)}")
    return {key: room for key, room in rooms.items() if keys is None or key in keys}


class Plan:
    """Answers what the workflow asks: which jobs there are and what makes them stale.

    Args:
        root: the repository.
        overrides: what the command line set of configs/default.yaml's keys, and `results`.
    """

    def __init__(self, root: Path, overrides: Mapping[str, Any]):
        asked = dict(overrides)
        self.root = root
        self.results = str(asked.pop("results", None) or "results")
        self.run = read_run(root / "configs" / "default.yaml", asked)
        self.rooms = find_rooms(root, self.run.papers)
        if not self.rooms:
            raise UserError("there is no paper yet; python -m reproductions new <key> makes one")
        self.folder = f"{self.results}/{self.run.scale}"
        self.papers = " ".join(self.run.papers or ())
        self.data_place = f"--results {shlex.quote(self.results)}"
        self.place = f"--scale {self.run.scale} {self.data_place}"

    def tables(self, wildcards: Any) -> list[str]:
        """Return the tables of a paper at this scale."""
        names = self.rooms[wildcards.paper].experiments(self.run.scale)
        return [f"{self.folder}/{wildcards.paper}/tables/{name}.parquet" for name in names]

    def points(self, wildcards: Any) -> list[str]:
        """Return the digitised points of a paper."""
        folder = self.rooms[wildcards.paper].folder / "digitised"
        return [str(path.relative_to(self.root)) for path in sorted(folder.glob("*.csv"))]

    def data(self, wildcards: Any) -> list[str]:
        """Return the prepared data set of an experiment, if it needs one."""
        name = self._entry(wildcards).data.get(self.run.scale)
        return [f"{self.results}/data/{name}.npz"] if name else []

    def threads(self, wildcards: Any) -> int:
        """Return how many cores an experiment can use; at smoke scale there is too little to share."""
        return 1 if self.run.scale == "smoke" else self._entry(wildcards).threads

    def priority(self, wildcards: Any) -> int:
        """Return the seconds an experiment took when last recorded: the longest starts first."""
        path = self.root / "results" / "recorded" / self.run.scale / f"{wildcards.paper}.json"
        return round(_seconds(path).get(wildcards.experiment, 0.0))

    def settings(self, wildcards: Any) -> str:
        """Return the resolved settings of an experiment as text."""
        room = self.rooms[wildcards.paper]
        chosen = room.settings(wildcards.experiment, self.run.scale)
        seeded = {**chosen, "root_seed": self.run.root_seed}
        return json.dumps(seeded, sort_keys=True)

    def experiment_code(self, wildcards: Any) -> str:
        """Return the digest of the sources of an experiment."""
        return sources.experiment_digest(self.root, wildcards.paper, wildcards.experiment)

    def figures_code(self, wildcards: Any) -> str:
        """Return the digest of the sources of a paper's figures."""
        return sources.figures_digest(self.root, wildcards.paper)

    def verdict_code(self, wildcards: Any) -> str:
        """Return the digest of a paper's measures, claims and rules of judging."""
        return sources.verdict_digest(self.root, wildcards.paper)

    def report_code(self, wildcards: Any) -> str:
        """Return the digest of the sources and texts of the report."""
        return sources.report_digest(self.root, self.rooms)

    def about(self, wildcards: Any) -> str:
        """Return what the configs say to the report, as text."""
        told = {key: [room.info, self._lines(room)] for key, room in self.rooms.items()}
        return json.dumps(told, sort_keys=True)

    def environment(self, stage: str) -> str:
        """Return the digest of the environment of a stage: its pins and what is installed."""
        return environment_digest(self.root, PACKAGES[stage])

    def _entry(self, wildcards: Any) -> Experiment:
        return self.rooms[wildcards.paper].experiment(wildcards.experiment)

    def _lines(self, room: Room) -> dict[str, str]:
        return {name: entry.about for name, entry in room.config.experiments.items()}


def environment_digest(root: Path, packages: tuple[str, ...]) -> str:
    """Return the digest of Python's version and of the packages' pins and installed versions."""
    pins = read_pins(root / "constraints.txt")
    lines = [f"python {sys.version_info.major}.{sys.version_info.minor}"]
    for name in packages:
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = "absent"
        lines.append(f"{name} {pins.get(name)} {installed}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def read_pins(path: Path) -> dict[str, str]:
    """Return package -> version of a file of exact pins; names in lower case with dashes."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"not readable: {error}", file=path) from error
    pins = {}
    for line in lines:
        name, equals, version = line.partition("#")[0].strip().partition("==")
        if equals:
            pins[normal_name(name)] = version.partition(";")[0].strip()
    return pins


def normal_name(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name.strip().partition("[")[0]).lower()


def plan(root: Path, overrides: Mapping[str, Any]) -> Plan:
    """Return the plan for the Snakefile; wrong use ends the run with one readable message.

    Puts this Python first on the path, so that jobs run in the environment of Snakemake.
    """
    # Syntax trees are a million objects that stay: looking for garbage among them takes a third.
    gc.set_threshold(COLLECT_AFTER)
    here = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", "")])
    try:
        made = Plan(root, overrides)
        for room in made.rooms.values():
            for name in room.experiments(made.run.scale):
                room.settings(name, made.run.scale)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    return made


@cache
def _seconds(record: Path) -> dict[str, float]:
    """Return experiment -> wall seconds of a record; nothing where there is none to be read."""
    try:
        about = json.loads(record.read_text(encoding="utf-8"))["provenance"]
        return {name: float(facts["wall_seconds"]) for name, facts in about.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # only the order of jobs hangs on it
