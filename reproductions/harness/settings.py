"""Read settings strictly, apply the scale, bind them to the experiment's signature.

The signature is the schema: the keys of an experiment in configs/<key>.yaml are the keyword-only
arguments of the function of the same name, and their annotations are the types. Both are read
from the source, so no experiment is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from reproductions.harness.bind import bind
from reproductions.harness.errors import UserError, nearest
from reproductions.harness.source_modules import read_tree
from reproductions.harness.yaml_files import read_yaml

SCALES = ("smoke", "laptop", "full")
RESERVED = ("data", "device", "root_seed", "progress")
_EXPERIMENT_KEYS = ("about", "full", "laptop", "smoke", "ours", "scales", "data", "threads")
_PAPER_KEYS = {"title": str, "authors": str, "year": int, "venue": str, "url": str}


class Experiment(NamedTuple):
    """What a config says of one experiment.

    Fields:
        about: one line for people.
        sizes: scale -> settings; `full` holds all, the others what they change.
        ours: settings that the paper does not state.
        scales: the scales at which it runs.
        data: scale -> data set, for the scales that need one.
        threads: how many cores it can use.
    """

    name: str
    about: str
    sizes: dict[str, dict[str, Any]]
    ours: tuple[str, ...]
    scales: tuple[str, ...]
    data: dict[str, str]
    threads: int


class Config(NamedTuple):
    """A room's config."""

    path: Path
    paper: dict[str, Any]
    experiments: dict[str, Experiment]


class Run(NamedTuple):
    """What every run starts from: configs/default.yaml and the command line."""

    scale: str
    papers: tuple[str, ...] | None
    root_seed: int
    device: str


def read_run(
    path: Path, overrides: Mapping[str, Any] | None = None, asked: str = "--config"
) -> Run:
    """Read configs/default.yaml under what the command line says.

    Args:
        overrides: key -> value; None leaves the file's.
        asked: where the overrides were given, for messages.

    Raises:
        UserError: unknown key or scale, or a value of another type; names file and key.
    """
    content = _mapping(read_yaml(path), path, None)
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    values = {**content, **given}
    _known(content, Run._fields, path)
    _known(given, Run._fields, asked)
    missing = [name for name in Run._fields if name not in values]
    if missing:
        raise UserError("is missing", file=path, key=missing[0])

    def source(key: str) -> Path | str:
        return asked if key in given else path

    if values["scale"] not in SCALES:
        message = f"no scale is called {values['scale']!r}{nearest(values['scale'], SCALES)}"
        raise UserError(message, file=source("scale"), key="scale")
    seed = bind(values["root_seed"], "int", source("root_seed"), "root_seed")
    device = bind(values["device"], "str", source("device"), "device")
    papers = _papers(values["papers"], source("papers"))
    return Run(values["scale"], papers, seed, device)


def _papers(value: Any, source: Path | str) -> tuple[str, ...] | None:
    """Return the keys asked for: None for all; text may list several with commas."""
    if value == "all":
        return None
    keys = value.split(",") if isinstance(value, str) else value
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        raise UserError("must be all, a room's key, or a list of keys", file=source, key="papers")
    return tuple(key.strip() for key in keys)


def read_config(path: Path) -> Config:
    """Read a room's config, without looking at its experiments' signatures.

    Raises:
        UserError: unknown or missing key, unknown scale, or a value of another type.
    """
    content = _mapping(read_yaml(path), path, None)
    _known(content, ("paper", "experiments"), path)
    paper = _mapping(content.get("paper"), path, "paper")
    _known(paper, _PAPER_KEYS, path, "paper")
    for key, kind in _PAPER_KEYS.items():
        if not isinstance(paper.get(key), kind):
            raise UserError(f"must be {kind.__name__}", file=path, key=f"paper.{key}")
    found = _mapping(content.get("experiments"), path, "experiments")
    experiments = {name: _experiment(path, name, entry) for name, entry in found.items()}
    return Config(path, paper, experiments)


def _experiment(path: Path, name: str, entry: Any) -> Experiment:
    """Check one experiment's entry."""
    where = f"experiments.{name}"
    entry = _mapping(entry, path, where)
    _known(entry, _EXPERIMENT_KEYS, path, where)
    about = bind(entry.get("about"), "str", path, f"{where}.about")
    sizes = {s: _mapping(entry.get(s, {}), path, f"{where}.{s}") for s in SCALES}
    ours = bind(entry.get("ours", []), "list[str]", path, f"{where}.ours")
    for key in ours:
        _one_of(key, sizes["full"], "setting", path, f"{where}.ours")
    scales = bind(entry.get("scales", list(SCALES)), "list[str]", path, f"{where}.scales")
    for scale in scales:
        _one_of(scale, SCALES, "scale", path, f"{where}.scales")
    threads = bind(entry.get("threads", 2), "int", path, f"{where}.threads")
    if threads < 1:
        raise UserError("must be at least 1", file=path, key=f"{where}.threads")
    data = _data(entry.get("data", {}), scales, path, f"{where}.data")
    return Experiment(name, about, sizes, tuple(ours), tuple(scales), data, threads)


def _data(value: Any, scales: Iterable[str], path: Path, where: str) -> dict[str, str]:
    """Return scale -> data set from one name for all scales or a name for each."""
    if isinstance(value, str):
        return dict.fromkeys(scales, value)
    named = _mapping(value, path, where)
    for scale in named:
        _one_of(scale, SCALES, "scale", path, where)
    return {scale: bind(name, "str", path, f"{where}.{scale}") for scale, name in named.items()}


def experiments(path: Path) -> dict[str, ast.FunctionDef]:
    """Return the experiments of a source: public functions, and further names of them.

    `cifar = mnist` at the top level makes an experiment that differs from another in its settings
    alone.
    """
    try:
        about = path.stat()
    except OSError:
        return _experiments(path, 0, 0)  # which says what is wrong
    return _experiments(path, about.st_mtime_ns, about.st_size)


@cache
def _experiments(path: Path, changed: int, size: int) -> dict[str, ast.FunctionDef]:
    """Read one version of a file (`changed` and `size` tell versions apart)."""
    found: dict[str, ast.FunctionDef] = {}
    for node in read_tree(path).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Name)):
            continue
        if node.value.id in found:
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            found |= dict.fromkeys(names, found[node.value.id])
    return {name: node for name, node in found.items() if not name.startswith("_")}


def signature(path: Path, name: str) -> dict[str, ast.arg]:
    """Return the keyword-only arguments of an experiment, from its source.

    Raises:
        UserError: no such function, or one that takes positional arguments.
    """
    functions = experiments(path)
    if name not in functions:
        raise UserError(f"no experiment is called {name!r}{nearest(name, functions)}", file=path)
    arguments = functions[name].args
    if arguments.args or arguments.posonlyargs or arguments.vararg or arguments.kwarg:
        message = "an experiment takes keyword-only arguments: def name(*, ...)"
        raise UserError(message, file=path, key=name)
    return {argument.arg: argument for argument in arguments.kwonlyargs}


def resolve(config: Config, source: Path, name: str, scale: str) -> dict[str, Any]:
    """Return the settings of an experiment at a scale, bound to its signature.

    Args:
        config: the room's config.
        source: the room's experiment.py.

    Raises:
        UserError: unknown experiment or scale, unknown, missing or badly typed setting.
    """
    if scale not in SCALES:
        raise UserError(f"no scale is called {scale!r}{nearest(scale, SCALES)}")
    if name not in config.experiments:
        message = f"no experiment is called {name!r}{nearest(name, config.experiments)}"
        raise UserError(message, file=config.path, key="experiments")
    sizes = config.experiments[name].sizes
    parameters = signature(source, name)
    settable = {key: arg for key, arg in parameters.items() if key not in RESERVED}
    chosen: dict[str, Any] = {}
    for part in ("full",) if scale == "full" else ("full", scale):
        where = f"experiments.{name}.{part}"
        _known(sizes[part], settable, config.path, where)
        for key, value in sizes[part].items():
            annotation = settable[key].annotation
            chosen[key] = bind(value, annotation, config.path, f"{where}.{key}", source)
    for key in settable:
        if key not in chosen:
            where = f"experiments.{name}.full"
            raise UserError(f"the setting {key!r} is missing", file=config.path, key=where)
    return {key: chosen[key] for key in settable}


def _mapping(value: Any, path: Path, key: str | None) -> dict[str, Any]:
    """Return a mapping with text keys, or say that it is none."""
    if not isinstance(value, dict):
        raise UserError(f"must be keys and values, got {value!r}", file=path, key=key)
    for name in value:
        if not isinstance(name, str):
            raise UserError(f"the key {name!r} must be text", file=path, key=key)
    return value


def _known(given: Iterable[str], known: Iterable[str], path: Path | str, where: str = "") -> None:
    for key in given:
        if key not in known:
            full = f"{where}.{key}" if where else key
            raise UserError(f"unknown key{nearest(key, known)}", file=path, key=full)


def _one_of(name: str, known: Iterable[str], what: str, path: Path, where: str) -> None:
    if name not in known:
        raise UserError(f"no {what} is called {name!r}{nearest(name, known)}", file=path, key=where)
