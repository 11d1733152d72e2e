"""Which sources a job really uses, as a digest that comments and docstrings leave alone.

Snakemake sees the command of a job, not the modules that it imports. This module reads them: from
the functions that a job calls it follows every name through the repository's modules, imports
inside functions included, and digests just the top-level statements that can matter. So an edit
of one experiment, one transform or one figure makes only its own jobs stale. Where a statement
looks names up at run time, the whole module counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from reproductions.harness.errors import UserError
from reproductions.harness.source_modules import Module, Target, parse
from reproductions.harness.yaml_files import read_yaml

PACKAGE = "reproductions"
EVERYTHING = "*"


class Closure:
    """The top-level statements reachable from some roots.

    Args:
        root: the repository.
    """

    def __init__(self, root: Path):
        self.root = root
        self.seen: set[Target] = set()
        self.kept: dict[str, set[int]] = {}
        self.waiting: list[Target] = []
        self._known: dict[str, Module | None] = {}  # of one walk, in which no file changes

    def add(self, module: str, name: str = EVERYTHING) -> None:
        """Follow a name of a module, or the whole module."""
        self.waiting.append(Target(module, name))
        while self.waiting:
            target = self.waiting.pop()
            if target not in self.seen:
                self.seen.add(target)
                self._follow(target)

    def modules(self) -> list[str]:
        """Return the names of the modules touched."""
        return sorted(self.kept)

    def digest(self, *extra: str) -> str:
        """Return the digest of the statements kept and of further texts."""
        state = hashlib.sha256()
        for name in self.modules():
            statements = self._module(name).statements
            for index in sorted(self.kept[name]):
                state.update(f"{name}\0{statements[index].text}\0".encode())
        for text in extra:
            state.update(f"{text}\0".encode())
        return state.hexdigest()[:16]

    def _module(self, name: str) -> Module:
        module = self._parsed(name)
        if module is None:
            raise UserError(f"there is no module {name}", file=self.root)
        return module

    def _exists(self, name: str) -> bool:
        return name.split(".")[0] == PACKAGE and self._parsed(name) is not None

    def _parsed(self, name: str) -> Module | None:
        if name not in self._known:
            self._known[name] = parse(self.root, name)
        return self._known[name]

    def _follow(self, target: Target) -> None:
        module = self._touch(target.module)
        if target.name == EVERYTHING:
            self._keep(module, range(len(module.statements)))
        elif target.name in module.binds:
            self._keep(module, module.binds[target.name])
        elif self._exists(f"{target.module}.{target.name}"):
            self.waiting.append(Target(f"{target.module}.{target.name}", EVERYTHING))

    def _touch(self, name: str) -> Module:
        """Take a module's unconditional statements, and those of the packages around it."""
        module = self._module(name)
        if name not in self.kept:
            self.kept[name] = set()
            parent = name.rpartition(".")[0]
            if parent:
                self._touch(parent)
            always = [i for i, statement in enumerate(module.statements) if statement.always]
            decorated = [
                i
                for i, statement in enumerate(module.statements)
                if any(self._is_ours(module, use) for use in statement.decorators)
            ]
            self._keep(module, [*always, *decorated])
        return module

    def _is_ours(self, module: Module, name: str) -> bool:
        """Whether a decorator is defined in the repository: it may register what it decorates."""
        for index in module.binds.get(name, ()):
            target = module.statements[index].target
            if target is None or self._exists(target.module):
                return True
        return False

    def _keep(self, module: Module, indices: Iterable[int]) -> None:
        for index in indices:
            if index not in self.kept[module.name]:
                self.kept[module.name].add(index)
                self._follow_statement(module, index)

    def _follow_statement(self, module: Module, index: int) -> None:
        statement = module.statements[index]
        if statement.dynamic:
            self.waiting.append(Target(module.name, EVERYTHING))
        for target in statement.imports:
            self._follow_import(target, ())
        for name, attributes in statement.uses.items():
            self._follow_use(module, name, attributes)

    def _follow_use(self, module: Module, name: str, attributes: frozenset[str]) -> None:
        for index in module.binds.get(name, ()):
            self._keep(module, [index])
            target = module.statements[index].target
            if target is not None:
                self._follow_import(target, attributes)

    def _follow_import(self, target: Target, attributes: Iterable[str]) -> None:
        """Follow what an import binds; of a module only the attributes used, if they are known."""
        if not self._exists(target.module):
            return
        submodule = f"{target.module}.{target.name}"
        if target.name not in ("", EVERYTHING) and self._exists(submodule):
            target = Target(submodule, "")
        if target.name:
            self.waiting.append(target)
            return
        self.waiting.extend(Target(target.module, name) for name in attributes or (EVERYTHING,))


def paper_module(key: str, door: str) -> str:
    """Return the module of one of a room's doors."""
    return f"{PACKAGE}.papers.{key}.{door}"


def function_names(root: Path, key: str, door: str, prefix: str = "") -> list[str]:
    """Return the public top-level functions of a door that start with prefix, in their order."""
    module = parse(root, paper_module(key, door))
    if module is None:
        path = root / PACKAGE / "papers" / key / f"{door}.py"
        raise UserError("there is no such file", file=path)
    return [name for name in module.functions if name.startswith(prefix) and name[0] != "_"]


def experiment_digest(root: Path, key: str, name: str) -> str:
    """Return the digest of what an experiment computes with."""
    closure = Closure(root)
    closure.add(paper_module(key, "experiment"), name)
    closure.add(f"{PACKAGE}.harness.tables", "write_table")
    return closure.digest()


def figures_digest(root: Path, key: str) -> str:
    """Return the digest of what draws a room's figures; a docstring there is a caption."""
    names = function_names(root, key, "figures", "draw_")
    module = parse(root, paper_module(key, "figures"))
    closure = _stage(root, key, names, f"{PACKAGE}.stages.drawing", "draw")
    captions = [module.functions[name] for name in names] if module else []
    return closure.digest(*captions)


def verdict_digest(root: Path, key: str) -> str:
    """Return the digest of what judges a room: measures, claims, statistics, rules."""
    names = function_names(root, key, "figures", "measure_")
    closure = _stage(root, key, names, f"{PACKAGE}.stages.evidence", "judge")
    claims = read_yaml(root / PACKAGE / "papers" / key / "claims.yaml")
    return closure.digest(json.dumps(claims, sort_keys=True, default=str))


def report_digest(root: Path, keys: Iterable[str]) -> str:
    """Return the digest of what makes the report: code, templates, the rooms' READMEs."""
    closure = Closure(root)
    closure.add(f"{PACKAGE}.harness.report", "build")
    texts = sorted((root / PACKAGE / "harness" / "templates").glob("*"))
    texts += [root / PACKAGE / "papers" / key / "README.md" for key in sorted(keys)]
    extra = [path.read_text(encoding="utf-8") for path in texts if path.is_file()]
    return closure.digest(*extra)


def _stage(root: Path, key: str, names: list[str], stage: str, function: str) -> Closure:
    closure = Closure(root)
    closure.add(stage, function)
    for name in names:
        closure.add(paper_module(key, "figures"), name)
    return closure
