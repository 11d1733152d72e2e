"""Second derivatives of the loss of each example by what enters the units of any two layers.

Let u_l be added to what enters the units of layer l. With W the weights, D the slopes phi' and d
the gradient of the loss by what enters a layer,

    M_ll = D_l W'_{l+1} M_{l+1,l+1} W_{l+1} D_l + diag(phi''_l W'_{l+1} d_{l+1})
    M_lm = D_l W'_{l+1} M_{l+1,m}                                               for m > l

start from the Hessian of the loss by the logits; without the diagonal they make the Gauss-Newton
matrix.

Source: Botev, Ritter and Barber 2017, Practical Gauss-Newton optimisation for deep learning, whose
recursion of the pre-activation Hessian gives M_ll; the blocks off the diagonal are its like.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reproductions.optim.network_parts import Network
from reproductions.optim.network_passes import Layers, Pass

Blocks = dict[tuple[int, int], Tensor]  # by two layers


def second_derivatives(network: Network, layers: Layers, one: Pass, *, curved: bool) -> Blocks:
    """Return M_lm (E, H_l, H_m, C) of layers l <= m, of the mean loss over the data set.

    Args:
        curved: whether curvature of the network itself counts; of the Gauss-Newton kind else.
    """
    last = len(layers) - 1
    bends = one.bends(network)
    found = {(last, last): network.head.matrix(one.said).div_(one.whole)}
    for lower in reversed(range(last)):
        upper, slope = lower + 1, one.slopes[lower]
        back = layers[upper][0].mT  # (E, H_lower, H_upper)
        for other in range(upper, last + 1):
            found[lower, other] = _times(slope, back, found[upper, other])
        beside = found[lower, upper]  # (E, H_lower, H_upper, C)
        own = torch.matmul(back.unsqueeze(1), beside).mul_(slope.unsqueeze(1))
        bend = bends[lower]
        if curved and bend is not None:
            own.diagonal(0, 1, 2).add_(bend.transpose(1, 2))
        found[lower, lower] = own
    return found


def jacobians(layers: Layers, one: Pass) -> Blocks:
    """Return J_ml (E, H_m, H_l, C), of what leaves layer m by what enters layer l < m."""
    found: Blocks = {}
    for lower in range(len(one.slopes) - 1):
        slopes = one.slopes[lower]
        for upper in range(lower + 1, len(one.slopes)):
            weight, slope = layers[upper][0], one.slopes[upper]
            if upper == lower + 1:
                found[upper, lower] = weight.unsqueeze(3) * slope.unsqueeze(2) * slopes.unsqueeze(1)
            else:
                found[upper, lower] = _times(slope, weight, found[upper - 1, lower])
    return found


def _times(slope: Tensor, weight: Tensor, block: Tensor) -> Tensor:
    """Return slope (E, H, C) times weight (E, H, G) times block (E, G, F, C)."""
    product = torch.bmm(weight, block.flatten(2)).view(*slope.shape[:2], *block.shape[2:])
    return product.mul_(slope.unsqueeze(2))
