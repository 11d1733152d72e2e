"""Other ways to make the same gradient step of E networks D-n-10, each in its natural form.

Every maker takes the same start and minibatches and returns (run, parameters): run() makes
`steps` steps, parameters() returns where they led as theta (E, P).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from reproductions.optim.layout import Layout
from reproductions.problems.mlp import MLP

RATE = 0.01
Contender = tuple[Callable[[], object], Callable[[], Tensor]]
Maker = Callable[[Layout, Tensor, Tensor, Tensor, int], Contender]


def ours(layout: Layout, start: Tensor, inputs: Tensor, targets: Tensor, steps: int) -> Contender:
    """The hand-written step of the whole ensemble."""
    theta, problem = start.clone(), MLP(layout)

    def run() -> None:
        for _ in range(steps):
            problem.descend(theta, inputs, targets, RATE)

    return run, lambda: theta


def loop(layout: Layout, start: Tensor, inputs: Tensor, targets: Tensor, steps: int) -> Contender:
    """One torch.nn.Sequential and torch.optim.SGD per member, one member after the other."""
    _, hidden, outputs = layout.widths
    models = []
    for theta in start:
        first, second = (
            torch.nn.Linear(layout.widths[0], hidden),
            torch.nn.Linear(hidden, outputs),
        )
        model = torch.nn.Sequential(first, torch.nn.ReLU(), second)
        torch.nn.utils.vector_to_parameters(theta.clone(), model.parameters())
        models.append((model, torch.optim.SGD(model.parameters(), lr=RATE)))

    def run() -> None:
        for _ in range(steps):
            for (model, optimizer), x, y in zip(models, inputs, targets, strict=True):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(x), y).backward()
                optimizer.step()

    def parameters() -> Tensor:
        flat = torch.nn.utils.parameters_to_vector
        return torch.stack([flat(model.parameters()).detach() for model, _ in models])

    return run, parameters


def _stacked(layout: Layout, start: Tensor) -> list[Tensor]:
    """Return [W1, b1, W2, b2], each contiguous with the members first."""
    stacked = []
    for weight, bias in layout.views(start):
        stacked += [weight.contiguous(), bias.unsqueeze(1).contiguous()]
    return stacked


def _flat(parameters: list[Tensor]) -> Tensor:
    first, bias, second, last = (p.detach() for p in parameters)
    parts = [first.transpose(1, 2), bias, second.transpose(1, 2), last]
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def autograd(
    layout: Layout, start: Tensor, inputs: Tensor, targets: Tensor, steps: int
) -> Contender:
    """Autograd over stacked parameters: bmm, cross_entropy, backward, torch.optim.SGD."""
    parameters = [p.requires_grad_() for p in _stacked(layout, start)]
    first, bias, second, last = parameters
    optimizer, wanted = torch.optim.SGD(parameters, lr=RATE), targets.flatten()

    def run() -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            hidden = torch.relu(torch.baddbmm(bias, inputs, first))
            logits = torch.baddbmm(last, hidden, second).flatten(0, 1)
            loss = torch.nn.functional.cross_entropy(logits, wanted, reduction="sum")
            (loss / targets.shape[1]).backward()
            optimizer.step()

    return run, lambda: _flat(parameters)


def vmap(layout: Layout, start: Tensor, inputs: Tensor, targets: Tensor, steps: int) -> Contender:
    """torch.func.vmap of torch.func.grad of one member's loss."""
    parameters = _stacked(layout, start)

    def loss(own: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        first, bias, second, last = own
        logits = torch.relu(x @ first + bias) @ second + last
        return torch.nn.functional.cross_entropy(logits, y)

    gradient = torch.func.vmap(torch.func.grad(loss))

    def run() -> None:
        for _ in range(steps):
            for p, grad in zip(parameters, gradient(parameters, inputs, targets), strict=True):
                p.add_(grad, alpha=-RATE)

    return run, lambda: _flat(parameters)


def jax(layout: Layout, start: Tensor, inputs: Tensor, targets: Tensor, steps: int) -> Contender:
    """JAX: jit of scan over the steps of vmap of grad; needs the `bench` extra."""
    import jax as jx
    import jax.numpy as jnp

    def loss(own, x, y):
        first, bias, second, last = own
        logits = jnp.maximum(x @ first + bias, 0) @ second + last
        chosen = jnp.take_along_axis(jx.nn.log_softmax(logits), y[:, None], axis=1)
        return -chosen.mean()

    gradient = jx.vmap(jx.grad(loss))

    def many(parameters, x, y):
        def step(now, _):
            moved = [p - RATE * g for p, g in zip(now, gradient(now, x, y), strict=True)]
            return moved, None

        return jx.lax.scan(step, parameters, None, length=steps)[0]

    compiled = jx.jit(many, donate_argnums=0)
    now = [[jnp.array(p.numpy()) for p in _stacked(layout, start)]]
    x, y = jnp.array(inputs.numpy()), jnp.array(targets.numpy())

    def run() -> None:
        now[0] = jx.block_until_ready(compiled(now[0], x, y))

    def parameters() -> Tensor:
        import numpy as np

        return _flat([torch.from_numpy(np.array(p)) for p in now[0]])

    return run, parameters


def products(layout: Layout, start: Tensor, inputs: Tensor, steps: int) -> Callable[[], object]:
    """Only the matrix products of a step, at their shapes and contiguous: the machine's own rate."""
    members, batch, width = inputs.shape
    _, hidden, outputs = layout.widths
    first, second = (
        start.new_zeros(members, width, hidden),
        start.new_zeros(members, hidden, outputs),
    )
    low, high = start.new_zeros(members, batch, hidden), start.new_zeros(members, batch, outputs)
    back, into = torch.zeros_like(second), start.new_zeros(members, hidden, width)

    def run() -> None:
        for _ in range(steps):
            torch.bmm(inputs, first, out=low)
            torch.bmm(low, second, out=high)
            torch.bmm(low.transpose(1, 2), high, out=back)
            torch.bmm(high, second.transpose(1, 2), out=low)
            torch.bmm(low.transpose(1, 2), inputs, out=into)

    return run
