"""Read YAML that people write, with errors they can act on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from reproductions.harness.errors import UserError

# the C parser, where PyYAML was built with it, is ten times as fast
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Strict(_Safe):
    """Refuse a key that is given twice, of which YAML would silently keep the last."""


def _mapping(loader: _Strict, node: yaml.MappingNode) -> dict:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        if key.value in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key.value!r} is given twice", key.start_mark
            )
        seen.add(key.value)
    return loader.construct_mapping(node, deep=True)


_Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path | str) -> Any:
    """Read a YAML file.

    Raises:
        UserError: absent, unreadable, empty, not YAML, or a key given twice; names file and line.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Strict)
    except FileNotFoundError:
        raise UserError("there is no such file", file=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"not readable: {error}", file=path) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"line {mark.line + 1}" if mark else None
        raise UserError(f"not valid YAML: {error.problem}", file=path, key=line) from error
    except yaml.YAMLError as error:
        raise UserError(f"not valid YAML: {error}", file=path) from error
    if content is None:
        raise UserError("the file is empty", file=path)
    return content


def as_number(text: str) -> str | None:
    """Return how to write text so that YAML reads it as a number; None if it is no number.

    YAML 1.1 reads 1e-3 and 1.0e5 as text: it wants a point and a signed exponent.
    """
    try:
        number = repr(float(text.replace("_", "")))
    except ValueError:
        return None
    mantissa, exponent, power = number.partition("e")
    if not exponent:
        return number if mantissa[-1].isdigit() else f".{mantissa}"
    power = power if power[0] in "+-" else f"+{power}"
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{power}"
