"""Who may import whom, how long modules and functions may be, and what no file may mention."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.conftest import KEY, ROOT, Repository

MODULE_LINES, FUNCTION_LINES = 300, 40
PACKAGE = "reproductions"
LOOKUPS = {"import_module", "__import__"}


class Layer(NamedTuple):
    """What the modules of a folder may import, beside the standard library.

    Fields:
        packages: from elsewhere.
        own: modules of this package, or folders of them.
        late: inside functions only.
    """

    packages: frozenset[str]
    own: tuple[str, ...]
    late: tuple[str, ...] = ()


def _layer(packages: str, own: str, late: str = "") -> Layer:
    owned = tuple(f"{PACKAGE}.{name}" for name in own.split())
    return Layer(frozenset(packages.split()), owned, tuple(late.split()))


# only what is really used: a package that comes anew has to be added here, on purpose
OPTIM = _layer("torch numpy safetensors", "optim problems")
PROBLEMS = _layer("torch numpy scipy", "problems")
HARNESS = _layer(
    "numpy pandas pyarrow yaml scipy matplotlib seaborn pydantic PIL jinja2 markupsafe markdown_it"
    " rich",
    "harness",
)
DATA_SETS = HARNESS._replace(late=("torch", "torchvision"))
EXPERIMENT = _layer("torch numpy scipy", "optim problems harness.tables harness.datasets")
FIGURES = _layer(
    "numpy scipy pandas matplotlib seaborn", "harness.tables harness.style harness.statistics"
)
GLUE = _layer(
    "typer rich",
    "harness stages",
    "reproductions.optim.device reproductions.papers.*.experiment reproductions.papers.*.figures",
)
DOOR = _layer("", "cli")
NOTHING = _layer("", "")
WORKFLOW = _layer("snakemake", "harness.rooms harness.errors")

FOLDERS = {"optim": OPTIM, "problems": PROBLEMS, "harness": HARNESS, "stages": GLUE}
SINGLE = {"cli.py": GLUE, "__main__.py": DOOR}


class Import(NamedTuple):
    """One import: a dotted name, the line, and whether it waits for a function to be called."""

    name: str
    line: int
    late: bool


def imports(path: Path, root: Path) -> Iterator[Import]:
    """Yield what a Python file imports, under TYPE_CHECKING and through import_module as well."""
    package = ".".join(path.relative_to(root).with_suffix("").parts[:-1])

    def walk(node: ast.AST, late: bool) -> Iterator[Import]:
        for name in _names(node, package, root):
            yield Import(name, node.lineno, late)  # type: ignore[attr-defined]
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, late or inside)

    return walk(_tree(path.read_text(encoding="utf-8")), False)


@cache
def _tree(text: str) -> ast.Module:
    return ast.parse(text)


def _names(node: ast.AST, package: str, root: Path) -> list[str]:
    """Return the modules that a node imports, each name of `from package import` by itself."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        names = [f"{base}.{alias.name}" for alias in node.names]
        return [name if _is_module(name, root) else base for name in names]
    if isinstance(node, ast.Call):
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        return [_text(node.args[0])] if called in LOOKUPS else []
    return []


def _text(node: ast.expr) -> str:
    """Return a text of the source with * for what is filled in at run time."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in parts)


def _is_module(name: str, root: Path) -> bool:
    base = root.joinpath(*name.split("."))
    return base.is_dir() or base.with_suffix(".py").is_file()


def offences(path: Path, root: Path, layer: Layer, room: str = "") -> list[str]:
    """Return the imports of a file that its layer may not make."""
    said = path.relative_to(root)
    return [
        f"{said}:{one.line} may not import {one.name}"
        for one in imports(path, root)
        if not _allowed(one, layer, room)
    ]


def _allowed(one: Import, layer: Layer, room: str) -> bool:
    top = one.name.split(".")[0]
    if _in(one.name, layer.late):
        return one.late
    if top == PACKAGE:
        return _in(one.name, (*layer.own, room) if room else layer.own)
    return top in layer.packages or top in sys.stdlib_module_names


def _in(name: str, folders: tuple[str, ...]) -> bool:
    return any(name == folder or name.startswith(f"{folder}.") for folder in folders)


def all_offences(root: Path) -> list[str]:
    """Return every forbidden import of a repository."""
    package = root / PACKAGE
    found = []
    for path in sorted(package.rglob("*.py")):
        first, *rest = path.relative_to(package).parts
        if first in FOLDERS:
            late = path.name.startswith("dataset_") and first == "harness"
            found += offences(path, root, DATA_SETS if late else FOLDERS[first])
        elif first == "papers" and len(rest) > 1:
            continue  # rooms: below, for a room's files stand on two sides
        else:
            found += offences(path, root, SINGLE.get(first, NOTHING))
    for folder in sorted(path for path in (package / "papers").iterdir() if path.is_dir()):
        found += room_offences(folder, root) if folder.name != "__pycache__" else []
    return found + workflow_offences(root)


def room_offences(folder: Path, root: Path) -> list[str]:
    """Return the forbidden imports of a room; each side is a door and the helpers behind it."""
    own = f"{PACKAGE}.papers.{folder.name}"
    found, reached = [], {"__init__"}
    for door, layer in (("experiment", EXPERIMENT), ("figures", FIGURES)):
        side = behind(door, folder, root)
        reached |= side
        for name in sorted(side):
            found += offences(folder / f"{name}.py", root, layer, room=own)
    lost = {path.stem for path in folder.glob("*.py")} - reached
    found += [f"{folder.name}/{name}.py is behind neither door" for name in sorted(lost)]
    found += offences(folder / "__init__.py", root, NOTHING)
    return found


def behind(door: str, folder: Path, root: Path) -> set[str]:
    """Return the modules of a room that its door imports, and the door."""
    own = f"{PACKAGE}.papers.{folder.name}."
    seen: set[str] = set()
    waiting = [door]
    while waiting:
        name = waiting.pop()
        path = folder / f"{name}.py"
        if name not in seen and path.is_file():
            seen.add(name)
            names = (one.name for one in imports(path, root) if one.name.startswith(own))
            waiting += [name.removeprefix(own).split(".")[0] for name in names]
    return seen


def workflow_offences(root: Path) -> list[str]:
    """Return the forbidden imports of the workflow, whose language is not quite Python."""
    files = [root / "Snakefile", *sorted((root / "workflows").rglob("*"))]
    found = []
    for path in files:
        if path.suffix not in ("", ".smk", ".py") or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for name in re.findall(r"^\s*(?:from|import)\s+([\w.]+)", line):
                if not _allowed(Import(name, number, False), WORKFLOW, ""):
                    found.append(f"{path.relative_to(root)}:{number} may not import {name}")
    return found


def test_every_module_imports_only_what_its_layer_may() -> None:
    assert all_offences(ROOT) == []


@pytest.fixture(scope="module")
def toy(make: Callable[[str], Repository]) -> Repository:
    """Share a repository; whoever plants something takes it out again."""
    return make("layers")


def test_the_toy_room_keeps_the_layers(toy: Repository) -> None:
    assert all_offences(toy.root) == []


ROOM = f"papers/{KEY}"
PLANTED: dict[str, tuple[str, ...]] = {
    "harness uses torch": ("harness/tables.py", "import torch"),
    "harness uses torch in a function": ("harness/tables.py", "def f():\n    import torch"),
    "harness uses torch under a guard": (
        "harness/claims.py",
        "if TYPE_CHECKING:\n    from torch import Tensor",
    ),
    "data sets load torch at once": ("harness/dataset_torchvision.py", "import torch"),
    "harness knows a paper": ("harness/rooms.py", f"import reproductions.papers.{KEY}.figures"),
    "harness trains": ("harness/report.py", "from reproductions.optim import train"),
    "harness takes a problem": ("harness/report.py", "from reproductions.problems import mlp"),
    "harness calls a stage": ("harness/report.py", "from reproductions.stages import run"),
    "harness takes a new package": ("harness/files.py", "import requests"),
    "optim knows the harness": ("optim/train.py", "from reproductions.harness import tables"),
    "optim tabulates": ("optim/train.py", "def f():\n    import pandas as pd"),
    "optim draws": ("optim/train.py", "from matplotlib import pyplot"),
    "optim reads YAML": ("optim/layout.py", "import yaml"),
    "a relative path leads out": ("optim/layout.py", "from ..harness import tables"),
    "a problem knows optim": ("problems/mlp.py", "from reproductions.optim.layout import Layout"),
    "a problem tabulates": ("problems/mlp.py", "import pandas"),
    "an import hides in a call": ("problems/mlp.py", "__import__('yaml')"),
    "an import hides behind importlib": (
        "optim/train.py",
        "import importlib\npd = importlib.import_module('pandas')",
    ),
    "the glue loads torch": ("stages/finish.py", "import torch"),
    "the glue loads a device at once": (
        "stages/run.py",
        "from reproductions.optim.device import resolve",
    ),
    "the glue names a paper": ("stages/finish.py", f"import reproductions.papers.{KEY}.figures"),
    "the command line draws": ("cli.py", "def f():\n    import matplotlib"),
    "an experiment draws": (f"{ROOM}/experiment.py", "import matplotlib.pyplot as plt"),
    "an experiment tabulates": (f"{ROOM}/experiment.py", "import pandas as pd"),
    "an experiment judges": (
        f"{ROOM}/experiment.py",
        "from reproductions.harness.claims import judge",
    ),
    "an experiment takes another paper": (
        f"{ROOM}/experiment.py",
        "from reproductions.papers.other2020room import experiment",
    ),
    "a figure loads torch": (f"{ROOM}/figures.py", "def f():\n    import torch"),
    "a figure optimises": (f"{ROOM}/figures.py", "from reproductions.optim import layout"),
    "a figure takes a problem": (f"{ROOM}/figures.py", "from reproductions.problems import mlp"),
    "a figure loads its experiment": (
        f"{ROOM}/figures.py",
        "from . import experiment",
        "experiment.py",
    ),
    "a helper is behind no door": (f"{ROOM}/orphan.py", "x = 1"),
    "a folder that no one knows": ("extra/code.py", "import numpy"),
    "the workflow knows the glue": ("../workflows/stages.smk", "import reproductions.cli"),
    "the Snakefile loads torch": ("../Snakefile", "    import torch"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_import_is_found(what: str, toy: Repository) -> None:
    place, line = PLANTED[what][:2]
    path = toy.root / PACKAGE / place
    before = path.read_text(encoding="utf-8") if path.is_file() else None
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{before or ''}\n\n{line}\n", encoding="utf-8")
    try:
        found = all_offences(toy.root)
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before, encoding="utf-8")
    assert found, f"{line!r} in {place} went unseen"
    culprit = Path([*PLANTED[what], path.name][2]).name
    assert all(culprit in offence for offence in found), found


def test_what_a_room_imports_through_a_helper_is_found(repository: Repository) -> None:
    (repository.room / "helper.py").write_text("import pandas\n", encoding="utf-8")
    line = f"from reproductions.papers.{KEY} import helper\n"
    for door, found in (("figures.py", 0), ("experiment.py", 1)):
        with (repository.room / door).open("a", encoding="utf-8") as file:
            file.write(line)
        assert len(all_offences(repository.root)) == found
    assert "helper.py:1 may not import pandas" in all_offences(repository.root)[0]


# ---------------------------------------------------------------- sizes


def functions_over(path: Path, limit: int) -> list[str]:
    """Return the functions of a file that are longer than limit, decorators left aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in found}
    return [f"{name} has {length} lines" for name, length in lengths.items() if length > limit]


def modules() -> list[str]:
    """Return the paths of all modules of the package."""
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / PACKAGE).rglob("*.py"))


@pytest.mark.parametrize("name", modules())
def test_a_module_is_short_and_its_functions_shorter(name: str) -> None:
    path = ROOT / name
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MODULE_LINES, f"{name} has {lines} lines: split it by idea"
    assert functions_over(path, FUNCTION_LINES) == []


def test_a_long_function_is_found(tmp_path: Path) -> None:
    path = tmp_path / "long.py"
    body = "    x = 1\n"
    path.write_text(
        f"def fits():\n{body * 39}\n\nclass A:\n    def long(self):\n{f'    {body}' * 40}",
        encoding="utf-8",
    )
    assert functions_over(path, FUNCTION_LINES) == ["long has 41 lines"]


# ---------------------------------------------------------------- private notes


NOTES = "shared" + "/"  # the folder beside the checkout that is no part of it


def mentioning(root: Path, text: str) -> list[str]:
    """Return the files under git, or about to be, that hold a text in content or path."""
    asked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(asked, cwd=root, capture_output=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = sorted({name for name in listed.stdout.decode().split("\0") if name})
    there = [name for name in names if (root / name).is_file()]
    assert there, "git lists no file"
    return [name for name in there if text in name or text.encode() in (root / name).read_bytes()]


def test_no_file_mentions_the_notes_beside_the_checkout() -> None:
    assert mentioning(ROOT, NOTES) == []


def test_a_mention_of_the_notes_is_found(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "fine.md").write_text("a shared folder", encoding="utf-8")
    (tmp_path / "bad.md").write_text(f"see ../{NOTES}DESIGN.md", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("ignored.md\n", encoding="utf-8")
    (tmp_path / "ignored.md").write_text(NOTES, encoding="utf-8")
    assert mentioning(tmp_path, NOTES) == ["bad.md"]
