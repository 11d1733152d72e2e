"""Turn a Python function of scalar lanes into machine code, from its own torch operations.

The function is traced once; every operation it makes on a lane becomes one line of C, and a loop
over steps and lanes is compiled around them with the system's C compiler. The Python function stays
the only source of the formula; without contraction of multiply and add the numbers are those of
the eager run (only `pow` may differ in its last bit).

Why not torch.compile: unrolling 25 steps of Adam took it 133 s to compile and then 12 us per step
of 17 lanes, on the machine where this takes 0.1 s and 0.3 us.
"""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

LANES = 8  # lanes that advance together: one vector register of doubles where there is AVX-512

_BINARY = {
    "add": "{0} + {1}", "sub": "{0} - {1}", "rsub": "{1} - {0}", "mul": "{0} * {1}",
    "div": "{0} / {1}", "maximum": "({0} > {1} || {0} != {0}) ? {0} : {1}",
    "minimum": "({0} < {1} || {0} != {0}) ? {0} : {1}", "eq": "{0} == {1}", "ne": "{0} != {1}",
    "ge": "{0} >= {1}", "gt": "{0} > {1}", "le": "{0} <= {1}", "lt": "{0} < {1}",
    "bitwise_and": "({0} != 0) & ({1} != 0)", "logical_and": "({0} != 0) & ({1} != 0)",
}  # fmt: skip
_UNARY = {
    "neg": "-{0}", "sqrt": "sqrt({0})", "reciprocal": "1.0 / {0}", "rsqrt": "1.0 / sqrt({0})",
    "abs": "fabs({0})", "sign": "({0} > 0) - ({0} < 0)", "linalg_vector_norm": "fabs({0})",
    "zeros_like": "0.0", "ones_like": "1.0", "_to_copy": "{0}", "clone": "{0}", "expand": "{0}",
    "detach": "{0}", "alias": "{0}",
}  # fmt: skip

_PROGRAM = """
#include <math.h>
enum {{ W = {width}, N = {leaves} }};
void run(long steps, long lanes, const double *slopes, double *leaves)
{{
    for (long first = 0; first < lanes; first += W) {{
        double s[N][W];
        for (long i = 0; i < W; i++) {{
            long lane = first + i < lanes ? first + i : lanes - 1;
            for (long k = 0; k < N; k++) s[k][i] = leaves[k * lanes + lane];
        }}
        for (long t = 0; t < steps; t++) {{
            double slope[W];
            for (long i = 0; i < W; i++)
                slope[i] = slopes[t * lanes + (first + i < lanes ? first + i : lanes - 1)];
{shared}
            for (long i = 0; i < W; i++) {{
{body}
            }}
        }}
        for (long i = 0; i < W && first + i < lanes; i++)
            for (long k = 0; k < N; k++) leaves[k * lanes + first + i] = s[k][i];
    }}
}}
"""


class NotTranslatable(Exception):
    """The function does something that is not arithmetic on lanes."""


def compiler() -> str | None:
    """Return the C compiler's path, or None where there is none."""
    return next((path for path in map(shutil.which, ("cc", "gcc", "clang")) if path), None)


def translate(play: Callable[..., list[Tensor]], slope: Tensor, leaves: list[Tensor]) -> str:
    """Return C source that plays steps of `play(slope, *leaves) -> new leaves`.

    Args:
        play: pure; every leaf has shape () or (E, 1).
        slope: example, (E, 1).
        leaves: example, as many as `play` returns, in the same order.

    Raises:
        NotTranslatable: an operation that has no line of C.
    """
    recorder = _Recorder(slope, leaves)
    with recorder:
        after = play(slope, *leaves)
    lines = [*recorder.lines, *(f"s[{k}][i] = {recorder.name(x)};" for k, x in enumerate(after))]
    shared, body = (
        "\n".join(" " * indent + line for line in some)
        for indent, some in ((12, recorder.shared), (16, lines))
    )
    return _PROGRAM.format(width=LANES, leaves=len(leaves), shared=shared, body=body)


class _Recorder(TorchDispatchMode):
    """Write down every operation on known tensors while it happens, as lines of C.

    What rests on leaves of shape () alone, such as beta^t, is worked out once for all lanes.
    torch.fx would record the same operations, but its import takes longer than all the rest.
    """

    def __init__(self, slope: Tensor, leaves: list[Tensor]) -> None:
        super().__init__()
        self.lines: list[str] = []  # for each lane
        self.shared: list[str] = []  # before them, once a step
        self._names: dict[int, str] = {}
        self._seen: list[Tensor] = []  # kept alive, so that no id is given twice
        self._define(slope, "slope[i]", shared=False)
        for k, leaf in enumerate(leaves):
            once = leaf.dim() == 0
            self._define(leaf, f"s[{k}][{0 if once else 'i'}]", shared=once)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True, torch's default, imports its compiler: more than a second

    def name(self, tensor: Tensor) -> str:
        """Return the C variable that holds a tensor's value."""
        if id(tensor) not in self._names:
            raise NotTranslatable("a tensor from outside the step")
        return self._names[id(tensor)]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not isinstance(result, Tensor):
            raise NotTranslatable(f"{func} gives no tensor")
        expression = self._expression(func.overloadpacket.__name__, args, kwargs or {})
        tensors = [arg for arg in args if isinstance(arg, Tensor)]
        self._define(result, expression, shared=all(self.name(x)[0] == "u" for x in tensors))
        return result

    def _define(self, tensor: Tensor, expression: str, *, shared: bool) -> None:
        name = f"{'u' if shared else 'v'}{len(self._seen)}"
        (self.shared if shared else self.lines).append(f"double {name} = {expression};")
        self._names[id(tensor)] = name
        self._seen.append(tensor)

    def _expression(self, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return one operation as a C expression of the names of its arguments."""
        words = [self._word(arg) for arg in args if not isinstance(arg, list | tuple)]
        if kind in _BINARY:
            if kwargs.get("alpha", 1) != 1 or len(words) > 2:
                raise NotTranslatable(f"{kind} with a factor")
            return _BINARY[kind].format(*words)
        if kind in _UNARY:
            return _UNARY[kind].format(*words)
        if kind == "where":
            return f"{words[0]} != 0 ? {words[1]} : {words[2]}"
        if kind == "pow":
            return f"{words[0]} * {words[0]}" if args[1] == 2 else f"pow({words[0]}, {words[1]})"
        if kind == "clamp":
            x, low, high = words
            return f"{x} < {low} ? {low} : ({x} > {high} ? {high} : {x})"
        if kind == "full_like":
            return words[1]
        raise NotTranslatable(kind)

    def _word(self, arg: Any) -> str:
        if isinstance(arg, Tensor):
            return self.name(arg)
        if isinstance(arg, int | float):
            if math.isinf(arg):
                return "INFINITY" if arg > 0 else "(-INFINITY)"
            return f"({float(arg)!r})"
        raise NotTranslatable(f"argument {arg!r}")


@cache
def build(source: str) -> Callable[[Tensor, Tensor], None]:
    """Compile C source and return run(slopes (T, E), leaves (N, E)), which updates leaves in place.

    Raises:
        RuntimeError: no compiler, or it refused the source.
    """
    with tempfile.TemporaryDirectory(prefix="reproductions-") as folder:
        code, library = Path(folder) / "lanes.c", Path(folder) / "lanes.so"
        code.write_text(source)
        # fp-contract=off: a fused multiply-add would round once where torch rounds twice
        flags = [
            "-O3",
            "-march=native",
            "-ffp-contract=off",
            "-fno-math-errno",
            "-fno-trapping-math",
        ]
        command = [compiler() or "cc", *flags, "-shared", "-fPIC", str(code), "-o", str(library)]
        command.append("-lm")
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise RuntimeError(f"no C compiler: {error}") from error
        if done.returncode:
            raise RuntimeError(f"the C compiler failed: {done.stderr[:500]}")
        function = ctypes.CDLL(str(library)).run  # the mapping outlives the file
    function.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    function.restype = None

    def run(slopes: Tensor, leaves: Tensor) -> None:
        for name, tensor in (("slopes", slopes), ("leaves", leaves)):
            if tensor.dtype != torch.float64 or not tensor.is_contiguous():
                raise ValueError(f"{name} must be contiguous float64")
        if slopes.shape[1] != leaves.shape[1]:
            raise ValueError(f"slopes have {slopes.shape[1]} lanes, leaves {leaves.shape[1]}")
        function(slopes.shape[0], slopes.shape[1], slopes.data_ptr(), leaves.data_ptr())

    return run
