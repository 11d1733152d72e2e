"""Path-SGD for torch.nn.Sequential networks, as a torch.optim.Optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from reproductions.optim.path_scaling import (
    Layers,
    Rate,
    blocks,
    check_exponent,
    path_sums,
    rates_of,
)

PASSED = (nn.ReLU, nn.LeakyReLU, nn.Dropout, nn.Flatten, nn.Identity)
SUPPORTED = "nn.Sequential (nested too) of Linear, ReLU, LeakyReLU, Dropout, Flatten and Identity"


class PathSGD(torch.optim.Optimizer):
    """Descend by Path-SGD: steps that do not notice when units are rescaled.

    Source: Neyshabur, Salakhutdinov and Srebro 2015, the update rule; see
    `path_sgd.path_sgd`, whose step this makes.

        optimizer = PathSGD(model, lr=1e-3)
        optimizer.zero_grad(); criterion(model(inputs), targets).backward(); optimizer.step()

    It takes the module, not its parameters, for the step of a weight depends on the paths through
    it. kappa comes from the whole weights, also under Dropout. A weight on no path (kappa = 0) and
    one without a gradient stay; both count in kappa. No state is kept between steps.

    Args:
        module: on one device and of one dtype.
        lr: not comparable to that of SGD.
        p: exponent of the path norm.

    Raises:
        TypeError: naming a module that is not supported, and what is.
        ValueError: where p is not a positive finite number, lr is negative or not finite, layers
            do not fit each other, or a layer is used twice.
    """

    def __init__(self, module: nn.Module, lr: float, p: float = 2.0) -> None:
        check_exponent(p)
        if not 0.0 <= float(lr) < float("inf"):
            raise ValueError(f"lr must be finite and not negative, got {lr!r}")
        self._linear = linear_layers(module)
        super().__init__(parameters_of(self._linear), {"lr": lr, "p": p})

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """Make one step from the gradients in `.grad`, and return the closure's loss.

        Raises:
            ValueError: where weights are not finite, or so large that their path norm is not;
                nothing has moved then. A gradient that is not finite is stepped along, as in
                torch.optim.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._move()
        return loss

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_linear": self._linear}  # for copies and pickles

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take the parameters of the module, and no others."""
        if self.param_groups:
            raise ValueError("PathSGD takes the parameters of its module and no further group")
        super().add_param_group(param_group)

    @torch.no_grad()
    def _move(self) -> None:
        group = self.param_groups[0]
        sums = path_sums(layers_of(self._linear), group["p"])
        known = [gamma.sum() for part in sums for gamma in part]
        # what no sum over paths holds: the biases of the outputs, and the weights of a lone layer
        known += [own.abs().amax() for own in self._linear[-1].parameters()]
        if not torch.stack(known).isfinite().all():
            raise ValueError("weights must be finite, and small enough for a finite path norm")
        for layer, rate in zip(self._linear, rates_of(sums, group["p"]), strict=True):
            _descend(layer, rate, float(group["lr"]))


def linear_layers(module: nn.Module) -> list[nn.Linear]:
    """Return the linear layers of a feed-forward network, first to last.

    Raises:
        TypeError: naming a module that is not supported, and what is.
        ValueError: without layers, where they do not fit each other, or one is used twice.
    """
    named = list(_linear(module, ""))
    if not named:
        raise ValueError(f"the module has no Linear layer: {SUPPORTED} is supported")
    for (name, below), (next_name, above) in pairwise(named):
        if below.out_features != above.in_features:
            raise ValueError(
                f"{next_name} takes {above.in_features} inputs, but {name} has"
                f" {below.out_features} outputs: what lies between must keep the units"
            )
    used: dict[int, str] = {}
    for name, layer in named:
        for own in layer.parameters():
            if used.setdefault(own.data_ptr(), name) != name:
                raise ValueError(
                    f"{name} shares weights with {used[own.data_ptr()]}, or is used twice"
                )
    return [layer for _, layer in named]


def _linear(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Linear]]:
    # Types as they are, no subclasses: those may compute something else.
    if type(module) is nn.Sequential:
        for key, child in module._modules.items():
            if child is not None:
                yield from _linear(child, f"{name}.{key}" if name else key)
    elif type(module) is nn.Linear:
        if "weight" not in module._parameters:  # the old weight_norm: its weight is no parameter
            raise TypeError(f"the weight of {name or 'module'} is computed, which is not supported")
        yield name or "module", module
    elif type(module) not in PASSED:
        raise TypeError(
            f"{name or 'module'} is {type(module).__name__}, which PathSGD does not support:"
            f" it takes {SUPPORTED}"
        )


def parameters_of(layers: list[nn.Linear]) -> list[Tensor]:
    """Return weights and biases, layer after layer."""
    return [own for layer in layers for own in layer.parameters()]


def layers_of(layers: list[nn.Linear]) -> Layers:
    """Return what `path_scaling` takes for layers: views of one member."""
    return [
        (layer.weight.detach().mT[None], None if layer.bias is None else layer.bias.detach()[None])
        for layer in layers
    ]


def _descend(layer: nn.Linear, rate: Rate, lr: float) -> None:
    weight, inputs, outputs = layer.weight, rate.inputs, rate.outputs[0].unsqueeze(1)
    if weight.grad is not None:
        for rows in blocks(weight.mT[None]):
            weight[rows].addcmul_(weight.grad[rows], outputs[rows] * inputs, value=-lr)
    if layer.bias is not None and layer.bias.grad is not None:
        layer.bias.addcmul_(layer.bias.grad, rate.outputs[0], value=-lr)
