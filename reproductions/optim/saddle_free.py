"""Saddle-free Newton for any torch.nn.Module, as a torch.optim.Optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from reproductions.optim.krylov import DAMPINGS, Step, krylov_step

NO_GRAPH = (
    "closure must return the loss with its graph: compute it from the parameters that the optimizer"
    " was given, and call neither backward() nor detach() on it, nor wrap it in torch.no_grad()"
)


class SaddleFreeNewton(torch.optim.Optimizer):
    """Descend by saddle-free Newton steps in a Krylov subspace; saddles repel, as minima attract.

    Source: Dauphin et al. 2014, Algorithms 1 and 2; see `krylov_step` for what is ours.

        optimizer = SaddleFreeNewton(model.parameters())
        optimizer.step(lambda: criterion(model(inputs), targets))

    The closure returns the loss and does *not* call backward: the loss is differentiated twice, so
    every operation in it must have a second derivative (some fused kernels of attention and of
    recurrent networks have none). It is called once for the gradient of each inner step and once
    for each damping tried, and must return the same loss at the same parameters: one minibatch per
    step, no dropout, normalisation in evaluation mode. `.grad` of parameters is neither read nor
    written. `last` keeps what the last step found (losses, damping, eigenvalues in the subspace).

    Args:
        params: tensors on one device, in one parameter group. They are taken as one vector, in the
            widest of their dtypes; float64 is worth its price where steps must be accurate.
        vectors: size of the Krylov subspace, also the number of Hessian-vector products a step.
        inner_steps: moves in the subspace for which the curvature is kept.
        dampings: tried at each; the one that lowers the loss most is taken.
        reorthogonalise: see `reproductions.optim.curvature.lanczos`.

    Raises:
        ValueError: where parameters form several groups or sit on several devices, or for
            numbers that `krylov_step` refuses, at the first step.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        vectors: int = 20,
        inner_steps: int = 1,
        dampings: Sequence[float] = DAMPINGS,
        reorthogonalise: bool = True,
    ) -> None:
        defaults = {
            "vectors": vectors,
            "inner_steps": inner_steps,
            "dampings": tuple(dampings),
            "reorthogonalise": reorthogonalise,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("SaddleFreeNewton takes one parameter group, for the step couples all")
        if len({parameter.device for parameter in self._parameters}) > 1:
            raise ValueError("parameters must be on one device")
        self.last: Step | None = None

    @property
    def _parameters(self) -> list[Tensor]:
        found: list[Tensor] = self.param_groups[0]["params"]
        return found

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor:  # type: ignore[override]
        """Make one step and return the loss before it.

        Args:
            closure: returns the loss (), differentiable in the parameters; see the class.

        Raises:
            RuntimeError: without a closure, or where the loss has no graph left.
        """
        if closure is None:
            raise RuntimeError("step needs a closure that returns the loss")
        objective = _Closure(closure, self._parameters)
        start = objective.place()
        group = {name: value for name, value in self.param_groups[0].items() if name in KNOBS}
        try:
            self.last = krylov_step(objective, start, self._previous(start), **group)
            start = self.last.theta
        finally:
            objective.move(start)
        for parameter, moved in zip(
            self._parameters, objective.split(self.last.update), strict=True
        ):
            self.state[parameter]["update"] = moved.clone()
        return objective.first

    def _previous(self, like: Tensor) -> Tensor | None:
        """Return the last update (1, P), kept parameter by parameter so that it is saved."""
        if not all("update" in self.state[parameter] for parameter in self._parameters):
            return None
        return _joined([self.state[parameter]["update"] for parameter in self._parameters]).to(like)


KNOBS = ("vectors", "inner_steps", "dampings", "reorthogonalise")


class _Closure:
    """A closure's loss as the objective of one member, theta (1, P)."""

    def __init__(self, closure: Callable[[], Tensor], parameters: list[Tensor]) -> None:
        self._closure, self._parameters = closure, parameters
        self._slopes: list[Tensor] = []  # the gradient with its graph, where theta last was
        self.first: Tensor  # the loss before the first move

    def place(self) -> Tensor:
        """Return theta, the parameters as they are."""
        return _joined([parameter.detach() for parameter in self._parameters])

    def split(self, theta: Tensor) -> list[Tensor]:
        """Return theta's parts, in the shapes and dtypes of the parameters."""
        parts = theta[0].split([parameter.numel() for parameter in self._parameters])
        return [
            part.view_as(own).to(own.dtype)
            for part, own in zip(parts, self._parameters, strict=True)
        ]

    @torch.no_grad()
    def move(self, theta: Tensor) -> None:
        """Write theta into the parameters."""
        for parameter, part in zip(self._parameters, self.split(theta), strict=True):
            parameter.copy_(part)

    @torch.no_grad()
    def loss(self, theta: Tensor) -> Tensor:
        """Return the loss (1,)."""
        self.move(theta)
        return self._closure().detach().reshape(1).to(theta)

    @torch.enable_grad()
    def gradient(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss (1,) and its gradient (1, P), and keep the graph for products."""
        self.move(theta)
        loss = self._closure()
        if not (isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad):
            raise RuntimeError(NO_GRAPH)
        try:
            slopes = torch.autograd.grad(
                loss, self._parameters, create_graph=True, materialize_grads=True
            )
        except RuntimeError as error:
            if "second time" in str(error):
                raise RuntimeError(NO_GRAPH) from error
            raise
        if not hasattr(self, "first"):
            self.first = loss.detach()
        self._slopes = list(slopes)
        return loss.detach().reshape(1).to(theta), _joined([slope.detach() for slope in slopes])

    def product(self, theta: Tensor, vectors: Tensor) -> Tensor:
        """Return the Hessian's product with vectors (1, P), where the gradient was taken last."""
        pairs = zip(self._slopes, self.split(vectors), strict=True)
        curved = [(slope, vector) for slope, vector in pairs if slope.requires_grad]
        if not curved:
            return torch.zeros_like(vectors)
        images = torch.autograd.grad(
            [slope for slope, _ in curved],
            self._parameters,
            grad_outputs=[vector for _, vector in curved],
            retain_graph=True,
            materialize_grads=True,
        )
        return _joined(list(images)).to(vectors)


def _joined(parts: list[Tensor]) -> Tensor:
    """Return tensors as one (1, P), in the widest of their dtypes."""
    return torch.cat([part.reshape(-1) for part in parts]).unsqueeze(0)
