"""What is known of a traced module: its scalars, and how its tensors change with them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from reproductions.optim import change_of_basis
from reproductions.optim.module_conjugate import Conjugated
from reproductions.optim.module_guard import check_writable
from reproductions.optim.module_recover import between
from reproductions.optim.module_scaling import (
    Lookup,
    check_range,
    correction_of,
    factors,
    in_dtypes,
    named_by,
    scale,
    shared,
    summed,
    tensors_of,
)
from reproductions.optim.module_units import CONSTRAINTS, POSITIVE, SIGN, Classes
from reproductions.optim.module_walk import NONE, Rule

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Plan:
    """How the tensors of a module change with its basis; it holds no weights.

    Fields:
        mode: "intra" or "general".
        classes: the scalars, what each may be, and where it is met first.
        rules: for every tensor that changes, with positions in (1, tau_1, ..., tau_U).
        aliases: by every name of a tensor, the rule's name where it is another one.
        statistics: running variances as they were when the module was traced.
        read: names of buffers that the forward pass reads and does not write.
    """

    mode: str
    classes: Classes
    rules: tuple[Rule, ...]
    aliases: Mapping[str, str]
    statistics: Mapping[str, Tensor]
    graph: Conjugated | None = field(default=None, repr=False)
    read: tuple[str, ...] = ()

    @property
    def units(self) -> int:
        """Return how many scalars there are to choose, U."""
        return len(self.classes.places)

    @property
    def constraints(self) -> tuple[str, ...]:
        """Return what each scalar may be: "free" (not zero), "positive" or "sign" (1 or -1)."""
        return tuple(CONSTRAINTS[flag] for flag in self.classes.flags.tolist())

    def __repr__(self) -> str:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(Counter(self.constraints).items()))
        return f"Plan({self.mode}, {self.units} units: {kinds}; {len(self.rules)} tensors)"

    def describe(self) -> str:
        """Return a line for every tensor: its name, and how many scalars act on either side."""
        width = max((len(rule.name) for rule in self.rules), default=0)
        lines = [
            f"{rule.name:{width}}  out {_count(rule.out):5}  in {_count(rule.into):5}"
            + ("  squared" if rule.power == 2 else "")
            + ("  and what eps leaves over" if rule.variance else "")
            for rule in self.rules
        ]
        return "\n".join([repr(self), *lines])

    def draw(
        self, sigma: float, source: torch.Generator, kind: str = "intra", centre: float = 1.0
    ) -> Tensor:
        """Draw a change of basis (U,), float64, that the constraints allow.

        Scalars are drawn independently, then positive ones lose their sign and those that may be 1
        or -1 keep nothing else.

        Args:
            sigma, source, kind, centre: as in `change_of_basis.draw`.

        Raises:
            ValueError: as there.
        """
        drawn = change_of_basis.draw((self.units,), sigma, source, kind=kind, centre=centre)
        drawn = torch.where(self.classes.flags == POSITIVE, drawn.abs(), drawn)
        return torch.where(self.classes.flags == SIGN, drawn.sign(), drawn)

    def check(self, tau: Tensor) -> Tensor:
        """Return tau (U,) or (T, U) in float64 on the CPU.

        Raises:
            ValueError: for a wrong length, and naming the first unit whose scalar is zero, not
                finite, or not allowed by its constraint.
        """
        return self.classes.check(tau)

    @torch.no_grad()
    def apply(self, module: nn.Module, tau: Tensor) -> None:
        """Change the basis of a module in place; changes multiply.

        Gradients and the state of optimisers stay as they are.

        Args:
            module: that was traced, a copy, or one of the same architecture; in general mode a
                GraphModule that `teleport` has returned.
            tau: (U,).

        Raises:
            ValueError: as `check`, or where the module lacks a tensor, two tensors share memory,
                or a dtype is too small for a factor. Nothing has changed then.
        """
        tau = self.check(tau)
        if tau.ndim != 1:
            raise ValueError(f"apply takes one change of basis, got {len(tau)}")
        named = tensors_of(module)
        found = [named_by(rule, named) for rule in self.rules]
        check_writable({rule.name: one for rule, one in zip(self.rules, found, strict=True)}, named)
        exact, everywhere = shared(tau), in_dtypes(shared(tau), found)
        # all before any, for two layers may share a running variance
        corrections = [correction_of(rule, exact, named.__getitem__) for rule in self.rules]
        check_range(self.rules, found, exact, corrections)
        for rule, tensor, correction in zip(self.rules, found, corrections, strict=True):
            scale(rule, tensor, everywhere[tensor.dtype, tensor.device], correction)

    def teleport(self, module: Module, tau: Tensor, *, inplace: bool = False) -> Module:
        """Return a module of the same function in another basis.

        Args:
            module: kept as it is unless inplace.
            tau: (U,).

        Returns:
            A copy of the same class; in general mode a GraphModule, trainable like any module:
            factors are buffers. Functions such as functional.dropout keep the mode that they were
            traced in there.

        Raises:
            ValueError: as `apply`.
        """
        self.check(tau)
        bare = self.graph is not None and not _has_factors(module, self.graph)
        if bare and inplace:
            raise ValueError("in general mode only what teleport returned can be changed in place")
        if bare and self.graph is not None:
            module = self.graph.build(module)  # type: ignore[assignment]
        elif not inplace:
            module = copy.deepcopy(module)
        self.apply(module, tau)
        return module

    def undo(self, module: Module, tau: Tensor, *, inplace: bool = False) -> Module:
        """Return a module from before it was teleported by tau."""
        return self.teleport(module, self.check(tau).reciprocal(), inplace=inplace)

    def recover(
        self, module: nn.Module, other: nn.Module, *, tolerance: float | None = None
    ) -> Tensor:
        """Return tau (U,) that leads from one module to another.

        Least squares from the fixed units outwards, in float64. A unit whose weights are all zero
        has one.

        Args:
            tolerance: on the relative distance of a tensor of `other` from the teleported one.
                Unless given, 1000 machine epsilons, at most 0.05. Parameters and buffers that do
                not change are compared too.

        Raises:
            ValueError: naming the tensor, where the two are not teleports of each other.
        """
        ruled = {rule.name for rule in self.rules} | set(self.aliases)
        names = (*(name for name, _ in module.named_parameters()), *self.read)
        still = [name for name in dict.fromkeys(names) if name not in ruled]
        flags = self.classes.flags
        return self.check(between(self.rules, still, module, other, flags, tolerance))

    def factors(self, tau: Tensor, module: nn.Module | None = None) -> dict[str, Tensor]:
        """Return what every tensor is multiplied by, float64, by name.

        A gradient is divided by it: dL/dV = dL/dW / factor. Source: Armenta et al. 2023.

        Args:
            tau: (U,) or (T, U).
            module: whose running variances count; without it, those at tracing.

        Returns:
            For every tensor that changes, a tensor that broadcasts to it, behind the T of tau.
        """
        both, lookup = shared(self.check(tau)), self._lookup(module)
        return {
            rule.name: factors(rule, both, correction_of(rule, both, lookup)) for rule in self.rules
        }

    def bilinear(
        self,
        values: Mapping[str, Tensor],
        tau: Tensor,
        *,
        power: int,
        module: nn.Module | None = None,
    ) -> Tensor:
        """Return the sum over entries of values times factor^power, for many teleports at once.

        With W and g the parameters and their gradients: W^2 and 2 give |T(W)|^2, g^2 and -2 the
        squared norm of the teleported gradient, W g and 1 the product <T(W), g>.

        Args:
            values: by a parameter's name, of its shape; a parameter that is left out counts zero.
            tau: (T, U), or (U,) for T = 1.
            module: as in `factors`.

        Returns:
            (T,) in float64, without a teleported network.

        Raises:
            ValueError: as `check`.
        """
        both, lookup = shared(torch.atleast_2d(self.check(tau))), self._lookup(module)
        rules = {rule.name: rule for rule in self.rules}
        total = torch.zeros(len(both.scalars), dtype=torch.float64)
        for name, value in values.items():
            rule = rules.get(self.aliases.get(name, name), Rule(name, NONE))
            block = value.detach().to("cpu", torch.float64)
            total += summed(rule, block, both, correction_of(rule, both, lookup), power)
        return total

    def _lookup(self, module: nn.Module | None) -> Lookup:
        return (self.statistics if module is None else tensors_of(module)).__getitem__


def _has_factors(module: nn.Module, graph: Conjugated) -> bool:
    return all(isinstance(getattr(module, rule.name, None), Tensor) for rule in graph.rules)


def _count(positions: Tensor) -> int:
    return int((positions.unique() > 0).sum())
