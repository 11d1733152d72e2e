"""Steps along a sphere: any first-order method on |theta| = radius."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from reproductions.optim.transform import Transform, as_hyper, check_hyper

OFF = 1e-3  # of the radius; rounding is far below, a start off the sphere far above


class SphereState(NamedTuple):
    inner: Any
    radius: Tensor  # ()


def on_sphere(inner: Transform, radius: float) -> Transform:
    """Move along the sphere |theta| = radius: project, step, return to the sphere.

    The gradient loses its radial part, g - theta (g . theta) / radius^2; the inner method makes its
    step of it; the step returned ends at (theta + step) radius / |theta + step|. A method with a
    memory keeps it as it is, without transport from tangent space to tangent space.

    Source: the authors' code of Choromanska et al. 2015 with `inner` a plain gradient step
    (`leventsagun/3-spin-glass-landscape`).

    Raises:
        ValueError: a radius that is not positive and finite; by `init`, a start off the sphere.
    """
    check_hyper(radius=radius)
    if not radius > 0:
        raise ValueError(f"radius must be positive, got {radius!r}")

    def init(theta: Tensor) -> SphereState:
        length = torch.linalg.vector_norm(theta, dim=1)
        if not bool(((length - radius).abs() <= OFF * radius).all()):
            worst = length[(length - radius).abs().argmax()].item()
            raise ValueError(f"theta must have length {radius:g}, got {worst:g}")
        return SphereState(inner.init(theta), *as_hyper(theta, radius=radius))

    def update(grad: Tensor, state: SphereState, theta: Tensor) -> tuple[Tensor, SphereState]:
        square = (state.radius * state.radius).to(grad.dtype)
        tangent = grad - theta * ((grad * theta).sum(1, keepdim=True) / square)
        step, memory = inner.update(tangent, state.inner, theta)
        moved = theta + step
        length = torch.linalg.vector_norm(moved, dim=1, keepdim=True)
        # As a change of theta, not as moved - theta: a step of zero on the sphere is then zero.
        back = state.radius.to(grad.dtype) / length - 1
        return step + back * moved, state._replace(inner=memory)

    def rate(state: SphereState) -> Tensor:
        return inner.rate(state.inner)

    return Transform(init, update, rate)
