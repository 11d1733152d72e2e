"""Teleportation of fully connected networks: other weights, the same function.

A change of basis gives every hidden unit a factor tau other than zero; inputs and outputs have 1.
Weights and thresholds become

    V_ab = W_ab tau_b / tau_a          c_b = b_b tau_b          from unit a to unit b

and an activation rho becomes tau rho(z / tau), which for tau > 0 is rho again where rho is
positively homogeneous (ReLU, leaky ReLU, linear). The gradient by V is the gradient by W over the
same factor, so the sums over squares below are bilinear in tau^2 and 1 / tau^2: the norms of many
teleports of a network need none of them.

tau is (E, U), the factors of all hidden units, first layer to last. For modules of torch see
module_teleport.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reproductions.optim.change_of_basis import draw_each
from reproductions.optim.layout import Layout


class Factors(NamedTuple):
    """What multiplies a layer: a weight by outputs over inputs, a threshold by outputs."""

    inputs: Tensor  # (E, fan_in), tau of the units below
    outputs: Tensor  # (E, fan_out), tau of the units above


def units(layout: Layout) -> int:
    """Return U, the number of hidden units: the length of a change of basis."""
    return sum(layout.widths[1:-1])


def random_basis(
    layout: Layout, seeds: Sequence[int], sigma: float, *, kind: str = "intra", root_seed: int = 0
) -> Tensor:
    """Draw a change of basis (E, U), float64; see `change_of_basis.draw_each`."""
    return draw_each(seeds, units(layout), sigma, kind=kind, root_seed=root_seed)


def factors(layout: Layout, tau: Tensor) -> list[Factors]:
    """Return the factors of every layer, in float64: inverses of less would move the function.

    Raises:
        ValueError: where tau is not (E, U), or a factor is zero or not finite, naming the first.
    """
    if tau.dim() != 2 or tau.shape[1] != units(layout):
        raise ValueError(f"tau must have shape (E, {units(layout)}), got {tuple(tau.shape)}")
    bad = ~(tau.isfinite() & (tau != 0))
    if bad.any():
        member, unit = (int(number) for number in bad.nonzero()[0])
        value = float(tau[member, unit])
        raise ValueError(f"tau of member {member}, unit {unit} must be finite and not 0: {value}")
    tau = tau.to(torch.float64)
    one_in, one_out = (tau.new_ones(len(tau), layout.widths[end]) for end in (0, -1))
    hidden = list(tau.split(list(layout.widths[1:-1]), 1))
    pairs = zip([one_in, *hidden], [*hidden, one_out], strict=True)
    return [Factors(below, above) for below, above in pairs]


def teleport(layout: Layout, theta: Tensor, tau: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return theta (E, P) in another basis; activations are the caller's to conjugate.

    Source: Armenta et al. 2023; the formula is the module's.

    Args:
        theta: (E, P), or (1, P) for E teleports of one network; left alone.
        tau: (E, U), or (1, U) for one change of basis of all; product of two composes them, and
            1 / tau brings back.
        out: (E, P) to write into, not theta; made when None. Many teleports are fastest a few
            members at a time into one buffer that stays in cache.

    Raises:
        ValueError: where shapes do not fit, or a factor is zero or not finite, or leaves the range
            of theta's dtype for some weight.
    """
    members = max(len(theta), len(tau))
    if len(theta) not in (1, members) or len(tau) not in (1, members):
        raise ValueError(f"theta and tau must have as many members, got {len(theta)}, {len(tau)}")
    own, shape = factors(layout, tau), (members, layout.parameters)
    if out is not None and out.shape != shape:
        raise ValueError(f"out must be {shape}, got {tuple(out.shape)}")
    _check_range(own, theta.dtype)
    moved = theta.new_empty(shape) if out is None else out
    pairs = zip(layout.views(theta), layout.views(moved), own, strict=True)
    for (weight, bias), (new_weight, new_bias), (below, above) in pairs:
        torch.mul(weight, above.unsqueeze(1).to(theta), out=new_weight)
        new_weight.mul_(below.reciprocal().unsqueeze(2).to(theta))
        torch.mul(bias, above.to(theta), out=new_bias)
    return moved


def _check_range(own: Sequence[Factors], dtype: torch.dtype) -> None:
    """Refuse factors of weights that are zero or infinite in the precision of the weights."""
    known = torch.finfo(dtype)
    for below, above in own:
        for part in (1 / below, above):
            sizes = part.abs()
            if sizes.numel() and not known.tiny <= sizes.amin() <= sizes.amax() <= known.max:
                raise ValueError(f"tau and 1 / tau must lie within the range of {dtype}")
        largest, least = above.abs().amax(1) / below.abs().amin(1), above.abs().amin(1)
        if (
            not (largest <= known.max).all()
            or not (least / below.abs().amax(1) >= known.tiny).all()
        ):
            raise ValueError(f"tau of a unit over tau of one below it leaves the range of {dtype}")


def teleport_gradient(layout: Layout, gradient: Tensor, tau: Tensor) -> Tensor:
    """Return the gradient at the teleported network from that at the network itself, (E, P).

    Source: derived; exact for any factors where activations are conjugated.
    """
    return teleport(layout, gradient, 1 / tau)


def scaling(layout: Layout, tau: Tensor) -> Tensor:
    """Return the factor (E, P) of every weight and threshold, float64."""
    ones = tau.new_ones(1, layout.parameters, dtype=torch.float64)
    return teleport(layout, ones, tau)


def norms(layout: Layout, theta: Tensor, tau: Tensor, *, power: int = 2) -> Tensor:
    """Return sums over weights of theta times factor^power, (T,), for T changes of basis.

    With theta the squares of weights and power 2 this is the squared norm of the teleported
    network, with squares of a gradient and power -2 that of its gradient, with weights times
    gradient and power 1 the inner product of both. No teleport is made: a layer is read once for
    all T.

    Args:
        theta: (P,), read in float64.
        tau: (T, U), taken to where theta is.

    Raises:
        ValueError: as `factors`.
    """
    return layer_norms(layout, theta, tau, power=power).sum((1, 2))


def layer_norms(layout: Layout, theta: Tensor, tau: Tensor, *, power: int = 2) -> Tensor:
    """Return the parts (T, L, 2) of `norms`: of every layer, its weights and its thresholds."""
    found = theta.new_empty(len(tau), len(layout.layers), 2, dtype=torch.float64)
    views = layout.views(theta[None].to(torch.float64))
    layers = zip(views, factors(layout, tau), strict=True)
    for depth, ((weight, bias), (below, above)) in enumerate(layers):
        ins, outs = below.to(found) ** -power, above.to(found) ** power
        torch.sum((ins @ weight[0]) * outs, 1, out=found[:, depth, 0])
        torch.mv(outs, bias[0], out=found[:, depth, 1])
    return found


def recover(layout: Layout, theta: Tensor, moved: Tensor) -> Tensor:
    """Return the change of basis (E, U), float64, that leads from theta to moved, both (E, P).

    Layer by layer from the inputs: with tau of the units below known, tau_b is the least-squares
    factor between W_ab / tau_a, b_b and V_ab, c_b. Where moved is no teleport of theta the result
    is the best of its layer alone; teleport by it and compare.

    Raises:
        ValueError: where shapes do not fit, or naming a unit that has nothing but zeros entering,
            in either network, or weights at right angles.
    """
    if len(theta) != len(moved):
        raise ValueError(f"both must have as many members, got {len(theta)}, {len(moved)}")
    found: list[Tensor] = []
    below = theta.new_ones(len(theta), layout.widths[0], dtype=torch.float64)
    pairs = list(zip(layout.views(theta), layout.views(moved), strict=True))
    for (weight, bias), (new_weight, new_bias) in pairs[:-1]:
        old = torch.cat([weight / below.unsqueeze(2), bias.double().unsqueeze(1)], 1)
        new = torch.cat([new_weight.double(), new_bias.double().unsqueeze(1)], 1)
        length, shared = (old * old).sum(1), (old * new).sum(1)
        lost = (length == 0) | (shared == 0)
        if lost.any():
            member, unit = (int(number) for number in lost.nonzero()[0])
            raise ValueError(
                f"unit {unit} of hidden layer {len(found)}, member {member}: no factor but 0 fits"
            )
        below = shared / length
        found.append(below)
    return torch.cat(found, 1) if found else theta.new_empty(len(theta), 0, dtype=torch.float64)


def conjugated(activation: str, values: Tensor, tau: Tensor) -> Tensor:
    """Return tau rho(z / tau) of values z (E, B, H) with tau (E, H).

    Args:
        activation: rho by the name that torch or torch.nn.functional has for it, or "linear".

    Raises:
        ValueError: naming an activation that neither knows.
    """
    if activation == "linear":
        return values
    rho = getattr(torch, activation, None) or getattr(torch.nn.functional, activation, None)
    if rho is None:
        raise ValueError(f"activation {activation!r} is not known to torch")
    factor = tau.unsqueeze(1).to(values)
    found: Tensor = factor * rho(values / factor)
    return found
