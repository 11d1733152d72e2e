"""Read a module as top-level statements: what each binds, uses and imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from reproductions.harness.errors import UserError

_RUN_TIME = frozenset({"globals", "vars", "eval", "exec", "__import__", "importlib"})
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_NESTED = ("body", "orelse", "handlers", "finalbody", "cases")  # fields with statements


class Target(NamedTuple):
    """What an import names: a name of a module, or with an empty name the module itself."""

    module: str
    name: str


@dataclass(frozen=True, eq=False)
class Statement:
    """One top-level statement, or one alias of an import; what is costly is found when asked for.

    Fields:
        node: the statement, or the text of one alias.
        imports: what is imported inside it.
        target: what an import binds.
        decorators: names of the decorators.
        always: takes effect although nothing refers to it.
    """

    node: ast.stmt | str
    imports: tuple[Target, ...] = ()
    target: Target | None = None
    decorators: tuple[str, ...] = ()
    always: bool = False

    @cached_property
    def text(self) -> str:
        """Return the statement without comments, docstrings and layout."""
        return self.node if isinstance(self.node, str) else ast.dump(self.node)

    @cached_property
    def uses(self) -> dict[str, frozenset[str]]:
        """Return name -> attributes read of it; none where it is used as a whole."""
        return {} if isinstance(self.node, str) else _uses(self.node)

    @cached_property
    def dynamic(self) -> bool:
        """Whether it looks names up at run time."""
        return bool(_RUN_TIME & self.uses.keys())


class Module(NamedTuple):
    """A parsed module.

    Fields:
        binds: name -> indices of the statements that bind it.
        functions: top-level function -> its docstring.
    """

    name: str
    path: Path
    statements: list[Statement]
    binds: dict[str, list[int]]
    functions: dict[str, str]


def find(root: Path, name: str) -> Path | None:
    """Return the file of a module of the repository; None where there is no such module."""
    base = root.joinpath(*name.split("."))
    files = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in files if path.is_file()), None)


def parse(root: Path, name: str) -> Module | None:
    """Parse a module of the repository; None where there is no such module."""
    path = find(root, name)
    if path is None:
        return None
    about = path.stat()
    return _parse(path, name, about.st_mtime_ns, about.st_size)


@cache
def _parse(path: Path, name: str, changed: int, size: int) -> Module:
    """Parse one version of a file (`changed` and `size` tell versions apart)."""
    tree = read_tree(path)
    functions = {
        node.name: ast.get_docstring(node) or ""
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    module = Module(name, path, [], {}, functions)
    _strip_docstrings(tree)
    for node in tree.body:
        for statement, names in _statements(node, package):
            for bound in names:
                module.binds.setdefault(bound, []).append(len(module.statements))
            module.statements.append(statement)
    return module


def read_tree(path: Path) -> ast.Module:
    """Parse a Python file.

    Raises:
        UserError: absent, unreadable or not Python; names file and line.
    """
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError("there is no such file", file=path) from None
    except SyntaxError as error:
        message = f"not valid Python: {error.msg}"
        raise UserError(message, file=path, key=f"line {error.lineno}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"not readable: {error}", file=path) from error


def _strip_docstrings(tree: ast.Module) -> None:
    for node in _blocks(tree):
        if isinstance(node, (ast.Module, *_DEFINITIONS)) and node.body:
            first = node.body[0]
            value = first.value if isinstance(first, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                node.body = node.body[1:]


def _blocks(node: ast.AST) -> Iterator[ast.AST]:
    """Walk what holds statements, and the statements; expressions, most of a tree, hold none."""
    yield node
    for field in _NESTED:
        for item in getattr(node, field, ()):
            yield from _blocks(item)


def _statements(node: ast.stmt, package: str) -> Iterator[tuple[Statement, list[str]]]:
    """Yield the statements of a top-level node, each with the names it binds."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from _imports(node, package)
    elif not _is_type_checking(node):
        inner = [item for item in _blocks(node) if isinstance(item, ast.Import | ast.ImportFrom)]
        statement = Statement(
            node,
            imports=tuple(target for item in inner for _, target in _aliases(item, package)),
            decorators=_decorators(node),
            always=_takes_effect(node),
        )
        yield statement, list(_bound(node))


def _imports(
    node: ast.Import | ast.ImportFrom, package: str
) -> Iterator[tuple[Statement, list[str]]]:
    """Yield one statement for each alias, so that a further import touches no other user."""
    for bound, target in _aliases(node, package):
        text = f"import {target.module} {target.name} as {bound}"
        if target.name == "*":
            yield Statement(text, imports=(target,), always=True), []
        else:
            yield Statement(text, target=target), [bound]


def _aliases(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, Target]]:
    """Yield (bound name, what it names) of an import."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name.split(".")[0], Target(alias.name, "")
        return
    base = node.module or ""
    if node.level:
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, *([node.module] if node.module else [])])
    if base != "__future__":
        for alias in node.names:
            yield alias.asname or alias.name, Target(base, alias.name)


def _is_type_checking(node: ast.stmt) -> bool:
    """Whether a statement is `if TYPE_CHECKING:`, which never runs."""
    if not isinstance(node, ast.If) or node.orelse:
        return False
    test = node.test
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def _uses(node: ast.stmt) -> dict[str, frozenset[str]]:
    """Return the names read in a statement, with the attributes where only those are read."""
    attributes: dict[str, set[str]] = {}
    whole: set[str] = set()
    owned: set[int] = set()
    for item in _evaluated(node):
        if isinstance(item, ast.Attribute) and isinstance(item.value, ast.Name):
            attributes.setdefault(item.value.id, set()).add(item.attr)
            owned.add(id(item.value))
        elif isinstance(item, ast.Name) and id(item) not in owned:
            whole.add(item.id)
    return {
        name: frozenset() if name in whole else frozenset(attributes[name])
        for name in attributes.keys() | whole
    }


def _evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a statement without the annotations of arguments, which compute nothing."""
    waiting = [node]
    while waiting:
        item = waiting.pop()
        yield item
        for field in item._fields:
            value = getattr(item, field, None)
            if isinstance(value, list):
                waiting.extend(part for part in value if isinstance(part, ast.AST))
            elif isinstance(value, ast.AST) and not _is_annotation(item, field):
                waiting.append(value)


def _is_annotation(node: ast.AST, field: str) -> bool:
    return field == "returns" or (field == "annotation" and isinstance(node, ast.arg))


def _decorators(node: ast.stmt) -> tuple[str, ...]:
    if not isinstance(node, _DEFINITIONS):
        return ()
    found = [item for use in node.decorator_list for item in ast.walk(use)]
    return tuple(item.id for item in found if isinstance(item, ast.Name))


def _takes_effect(node: ast.stmt) -> bool:
    """Whether a statement does something although no name that it binds is used."""
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return False
    return not isinstance(node, (*_DEFINITIONS, ast.Pass))


def _bound(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement binds or changes at the top level."""
    if isinstance(node, _DEFINITIONS):
        yield node.name
        return
    for item in ast.walk(node):
        if isinstance(item, ast.Assign):
            for target in item.targets:
                yield from _base_names(target)
        elif isinstance(item, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
            yield from _base_names(item.target)
        elif isinstance(item, _DEFINITIONS):
            yield item.name
        elif isinstance(item, ast.alias):
            yield (item.asname or item.name).split(".")[0]
        elif isinstance(item, ast.For):
            yield from _base_names(item.target)


def _base_names(target: ast.expr) -> Iterator[str]:
    """Yield `table` for table, table[key] and table.key, and each name of a tuple."""
    if isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            yield from _base_names(part)
        return
    while isinstance(target, ast.Attribute | ast.Subscript | ast.Starred):
        target = target.value
    if isinstance(target, ast.Name):
        yield target.id
