"""Walk through a traced module and let numbers for features go with its tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_leaves, tree_map

from reproductions.optim.module_guard import altered, memories, memory_of
from reproductions.optim.module_steps import (
    SILENT,
    SIZES,
    Operand,
    Refused,
    Step,
    canonical,
    has_tensors,
    is_known,
    unnumbered,
)
from reproductions.optim.module_trace import DRAWS, place_of
from reproductions.optim.module_units import FREE, ONE, Units, compress

NONE = torch.zeros((), dtype=torch.int64)  # the number of what keeps its basis


class Rule(NamedTuple):
    """How a tensor of the module changes: times (tau[out] / tau[into])^power, entry by entry.

    Fields:
        name: of a parameter or buffer.
        out, into: numbers, of a shape that broadcasts to that of the tensor.
        power: 2 for a variance.
        variance, eps: for a scale behind a running variance v, which is named: the factor is
            further multiplied by sqrt((tau[into]^2 v + eps) / (v + eps)), which makes it exact.
    """

    name: str
    out: Tensor
    into: Tensor = NONE
    power: int = 1
    variance: str | None = None
    eps: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the factors."""
        pairs = zip_longest(reversed(self.out.shape), reversed(self.into.shape), fillvalue=1)
        return tuple(max(pair) for pair in pairs)[::-1]


class Conjugation(NamedTuple):
    """A factor tau[out] / tau[into] on an edge of the graph, or on the result of a node."""

    out: Tensor
    into: Tensor


Ruling = Callable[["Walk", Step], Any]


class Walk(fx.Interpreter):
    """Run a graph once, for its shapes, and number what passes.

    Args:
        module: as traced.
        rules: what to do, by the operation's name.
        general: whether operations may be conjugated; otherwise numbers are tied and constrained,
            as they are in any mode where an operation writes into what is read elsewhere.
        absorb: whether running statistics of a BatchNorm in eval mode change with its inputs.
        fix_unknown: whether an operation without a rule keeps its bases, or is refused.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        rules: dict[str, Ruling],
        *,
        general: bool,
        absorb: bool,
        fix_unknown: bool,
    ) -> None:
        super().__init__(module)
        self.extra_traceback = False  # a refusal says where it is
        self.general, self.absorb, self.fix_unknown = general, absorb, fix_unknown
        self.units = Units()
        self.changes: dict[int, list[Rule]] = {}
        self.conjugations: dict[tuple[fx.Node, fx.Node | None], Conjugation] = {}
        self.overwritten: dict[fx.Node, fx.Node] = {}
        self.numbers: dict[fx.Node, Any] = {}
        self.varying: set[fx.Node] = set()  # whose values depend on inputs, parameters or chance
        self._rules = rules
        read = (self.fetch_attr(str(one.target)) for one in module.graph.find_nodes(op="get_attr"))
        self._read = {memory_of(one) for one in read if isinstance(one, Tensor)}

    def run_node(self, n: fx.Node) -> Any:
        """Execute a node and number its result."""
        if n.op in ("placeholder", "get_attr"):
            result = super().run_node(n)
            self.numbers[n] = unnumbered(result)
            if n.op == "placeholder" or isinstance(result, torch.nn.Parameter):
                self.varying.add(n)
            return result
        step = Step(n, canonical(n, self.module), *self._arguments(n))
        if n.op == "output":
            self._close(step)
            return super().run_node(n)
        varies = any(one.node in self.varying for one in step.operands())
        if varies or n.op == "call_module" or step.name in DRAWS.split():
            self.varying.add(n)
        step.result = self._execute(step)
        try:
            self.numbers[n] = self._number(step)
        except Refused:
            raise
        except Exception as error:
            raise self.refusal(step, f"its rule fails with {error}") from error
        return step.result

    def _arguments(self, node: fx.Node) -> tuple[Any, Any]:
        def resolved(one: fx.Node) -> Any:
            value, numbers = self.env[one], self.numbers[one]
            if isinstance(value, Tensor):
                named = one.op == "get_attr" and isinstance(value, torch.nn.Parameter)
                return Operand(one, value, numbers, str(one.target) if named else None)
            if not has_tensors(value):
                return value
            return tree_map(
                lambda part, own: Operand(one, part, own, whole=False) if own is not None else part,
                value,
                numbers,
            )

        return fx.map_arg(node.args, resolved), fx.map_arg(node.kwargs, resolved)

    def _execute(self, step: Step) -> Any:
        operands = step.operands()
        step.tied = not self.general
        if isinstance(step.kwargs.get("out"), Operand):
            raise self.refusal(step, "it writes into what out= names")
        if step.name in SILENT.split() and operands:
            # a dropout may return its input itself, a normalisation never does
            value = operands[0].value
            dropped = "rop" in step.name or "depth" in step.name
            step.tied |= "lpha" in step.name
            return value if dropped else value.clone()
        versions = [one.value._version for one in operands]
        with torch.no_grad():
            result = super().run_node(step.node)
        changed = [
            one for one, old in zip(operands, versions, strict=True) if one.value._version != old
        ]
        if changed:
            self._overwrite(step, changed[0])
        elif memories(result) & {memory_of(one.value) for one in operands}:
            step.tied = True  # later writing into the result would not be seen in a product
        return result

    def _overwrite(self, step: Step, operand: Operand) -> None:
        if isinstance(operand.value, torch.nn.Parameter):
            raise self.refusal(step, "it writes into a parameter")
        step.overwritten = operand
        step.tied |= self._is_seen_elsewhere(operand)
        self.overwritten[step.node] = operand.node

    def _is_seen_elsewhere(self, operand: Operand) -> bool:
        """Tell whether a later operation reads the same memory through another node.

        What is written into it must be seen there, which it would not be if it were written into a
        product instead.
        """
        memory = memory_of(operand.value)
        return any(
            memory in memories(value) and self._written(node) is not self._written(operand.node)
            for node, value in self.env.items()
        )

    def _written(self, node: fx.Node) -> fx.Node:
        """Return the node that made what this one returns after writing into it."""
        while node in self.overwritten:
            node = self.overwritten[node]
        return node

    def _number(self, step: Step) -> Any:
        operands = step.operands()
        if not operands or (step.name in SIZES.split() and not has_tensors(step.result)):
            return unnumbered(step.result)
        rule = self._rule(step)
        leaves = [one for one in tree_leaves(step.result) if isinstance(one, Tensor)]
        if not any(one.is_floating_point() or one.is_complex() for one in leaves):
            rule = Walk.fixed  # rounding to whole numbers knows no scalars
        numbers = rule(self, step)
        self._check_module(step)
        self._pin(step)
        written = step.overwritten
        if written is not None and (step.tied or not written.numbers.equal(numbers)):
            self.units.tie(written.numbers, numbers)
        return numbers

    def _check_module(self, step: Step) -> None:
        if step.node.op == "call_module":
            reason = altered(self.module.get_submodule(str(step.node.target)))
            if reason is not None:
                raise self.refusal(step, reason)

    def _rule(self, step: Step) -> Ruling:
        rule = self._rules.get(step.name) if is_known(step.node, self.module) else None
        if rule is not None:
            return rule
        follows = self.fix_unknown or step.node not in self.varying  # such as a mask from a buffer
        if not follows or step.overwritten is not None or not has_tensors(step.result):
            raise self.refusal(step, "no rule is known for it")
        return Walk.fixed

    def _close(self, step: Step) -> None:
        for one in step.operands():
            self.units.constrain(one.numbers, ONE)
        self._pin(step)

    def _pin(self, step: Step) -> None:
        """Let parameters that the operation uses without a rule for them keep their values."""
        used = {one.parameter for one in step.operands() if one.parameter is not None}
        if step.node.op == "call_module":
            own = self.module.get_submodule(str(step.node.target)).named_parameters()
            used |= {f"{step.node.target}.{name}" for name, _ in own}
        self.change(step, *(Rule(name, NONE) for name in sorted(used - step.taken)))

    def change(self, step: Step, *rules: Rule) -> None:
        """Let tensors of one layer change; those that another use changes too are tied to it."""
        step.taken |= {rule.name for rule in rules}
        for rule in rules:
            tensor = self.fetch_attr(rule.name)
            if not isinstance(tensor, torch.nn.Parameter) and memory_of(tensor) in self._read:
                self.units.constrain(rule.out, ONE)  # a running statistic that is read elsewhere
                self.units.constrain(rule.into, ONE)
            known = self.changes.setdefault(id(tensor), [])
            for other in known[:1]:
                self.units.tie(rule.out, other.out)
                self.units.tie(rule.into, other.into)
                if rule.variance != other.variance:
                    self.units.constrain(rule.into, ONE)
            known.append(rule)

    def plain(self, step: Step, operand: Operand) -> None:
        """Let an operation meet this operand in its own basis."""
        if step.tied or not operand.whole:
            self.units.constrain(operand.numbers, ONE)
        elif operand.numbers.any():
            self.conjugations[step.node, operand.node] = Conjugation(NONE, operand.numbers)

    def fixed(self, step: Step) -> Any:
        """Let an operation meet all operands in their own bases, and return numbers of no change."""
        for one in step.operands():
            self.plain(step, one)
        return unnumbered(step.result)

    def constant(self, step: Step, operand: Operand, dims: Sequence[int]) -> Tensor:
        """Return an operand's numbers, of size 1 along the dimensions that an operation mixes."""
        numbers = operand.numbers
        mixed = [dim % numbers.ndim for dim in dims]
        if all(numbers.shape[dim] == 1 for dim in mixed):
            return numbers
        if not step.tied:
            self.plain(step, operand)
            return torch.zeros_like(operand.numbers[(slice(0, 1),) * numbers.ndim])
        for dim in mixed:
            numbers = numbers.narrow(dim, 0, 1)
        self.units.tie(operand.numbers, numbers)
        return compress(numbers)

    def through(self, step: Step, operand: Operand, flag: int, dims: Sequence[int] = ()) -> Tensor:
        """Let an operation keep the numbers of an operand, whose scalars it asks to be as in flag.

        In general mode the operation is conjugated instead: f becomes tau f(. / tau).
        """
        numbers = self.constant(step, operand, dims)
        if flag == FREE or not numbers.any():
            return numbers
        if not step.tied and operand.whole:
            self.conjugations[step.node, operand.node] = Conjugation(NONE, numbers)
            self.conjugations[step.node, None] = Conjugation(numbers, NONE)
        else:
            self.units.constrain(numbers, flag)
        return numbers

    def refusal(self, step: Step, reason: str) -> Refused:
        """Return what says why a node cannot be teleported, and what can."""
        kinds = {re.sub(r"\dd$", "", name) for name in self._rules if name[:1].isupper()}
        named = ", ".join(sorted(kinds - {"T"}))
        return Refused(
            f"{place_of(step.node, step.name)} cannot be teleported: {reason}. Supported are"
            f" {named}, their functions, sums, products and changes of shape; unknown='fix' leaves"
            " the bases around any other operation as they are"
        )
