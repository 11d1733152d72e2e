"""Trajectories against optax itself, where the `bench` extra is installed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reproductions.optim import first_order as fo

optax = pytest.importorskip("optax", reason="pip install '.[bench]' to compare with optax")

MAKERS = {
    "sgd": (fo.sgd(0.05), lambda: optax.sgd(0.05)),
    "heavy ball": (fo.momentum(0.05, 0.9), lambda: optax.sgd(0.05, momentum=0.9)),
    "nesterov": (
        fo.momentum(0.05, 0.9, nesterov=True),
        lambda: optax.sgd(0.05, momentum=0.9, nesterov=True),
    ),
    "adam": (
        fo.adam(0.01, 0.9, 0.99, eps=1e-8, debias=True),
        lambda: optax.adam(0.01, 0.9, 0.99, eps=1e-8),
    ),
    "amsgrad": (
        fo.amsgrad(0.01, 0.9, 0.99, eps=1e-8, order="optax"),
        lambda: optax.amsgrad(0.01, 0.9, 0.99, eps=1e-8),
    ),
}


def gradients(steps: int = 200) -> np.ndarray:
    """Return gradients whose size changes, so that maximum and bias correction matter."""
    source = np.random.default_rng(0)
    return source.normal(size=(steps, 4)) * (1 + 9 * (np.arange(steps) % 37 == 5))[:, None]


def ours(transform: fo.Transform) -> np.ndarray:
    theta = torch.ones(1, 4, dtype=torch.float64)
    state = transform.init(theta)
    for grad in torch.from_numpy(gradients()):
        step, state = transform.update(grad[None], state, theta)
        theta = theta + step
    return theta[0].numpy()


def theirs(transform) -> np.ndarray:
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        theta = jnp.ones(4, dtype=jnp.float64)
        state = transform.init(theta)
        for grad in gradients():
            step, state = transform.update(jnp.asarray(grad), state, theta)
            theta = optax.apply_updates(theta, step)
        return np.asarray(theta)


@pytest.mark.parametrize("name", MAKERS)
def test_trajectory_is_that_of_optax(name):
    transform, make = MAKERS[name]
    np.testing.assert_allclose(ours(transform), theirs(make()), rtol=0, atol=1e-12)
