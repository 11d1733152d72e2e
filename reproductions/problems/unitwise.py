"""The loss over a whole data set for networks whose weights take few values, one unit at a time.

While only the weights into one hidden unit change, and its weights out take few values l, the sum
of exponentials in the softmax of an example is

    sum_l S_l exp(l d),   S_l = sum of exp(logit) over the classes whose weight is l,

with d the change of what the unit says since the visit to it began. A look then costs a few passes
over (chains, examples) with neither the other units nor the classes in them: a tenth of a forward
pass of 20 units. The weights out of a unit are visited apart, with the biases of the outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from reproductions.problems.mlp import Layers
from reproductions.problems.whole_set import WholeSet, first_layer

# Sums of exponentials outside the first are told by a whole forward pass, and outside the second
# ask for one when the visit ends.
SAFE, CALM = (1e-30, 1e30), (1e-12, 1e12)


class Unitwise:
    """Mean cross-entropy of ReLU networks with one hidden layer, for E chains at once.

    `start` takes a state, `look` returns the energy of a changed one, `keep` makes it the state.
    What changes at a time is of one group of columns of theta, see `groups`; to go to another
    costs as much as a few looks.

    Args:
        layout: widths (D, H, K) and where each weight sits.
        inputs: (N, D), the same for every chain.
        targets: (N,) class numbers.
        levels: the values that weights may take.

    Raises:
        ValueError: where the network has not one hidden layer, or the data do not fit it.
    """

    _here: _Into | _OutOf
    _calm: bool
    groups: list[Tensor]
    """For each unit the columns of its weights in and its bias, then those of its weights out and
    of the biases of the outputs, which stand with every unit."""

    def __init__(
        self, layout: Layers, inputs: Tensor, targets: Tensor, levels: Sequence[float]
    ) -> None:
        if len(layout.widths) != 3:
            raise ValueError(f"the network must have one hidden layer, got widths {layout.widths}")
        self._whole = WholeSet(layout, inputs, targets)
        self.layout, self.targets = layout, targets
        self.groups = [group.to(inputs.device) for group in unit_groups(layout)]
        self._examples = self._whole.examples  # (D + 1, N), the last row ones
        self._classes = one_hot(targets, layout.widths[2]).to(inputs)  # (N, K)
        self._levels = tuple(float(level) for level in levels)

    def start(self, theta: Tensor) -> Tensor:
        """Take theta (E, P) as the state, and return its energy (E,)."""
        self._theta, self._group = theta.clone(), -1
        self._refresh()
        return self._whole(theta)

    def look(self, group: int, place: Tensor, value: Tensor) -> Tensor:
        """Return the energy (E,) with some weights of a group changed.

        Args:
            group: a number in `groups`.
            place: (E, k) places in that group, distinct in a row.
            value: (E, k) what the weights become.
        """
        if group != self._group:
            self._leave()
            self._visit(group)
        sums, gain = self._here.look(place, value)
        low, high = (float(end) for end in torch.aminmax(sums))
        self._calm = self._calm and CALM[0] < low and high < CALM[1]
        if not (SAFE[0] < low and high < SAFE[1]):
            return self._whole(self._theta.index_copy(1, self.groups[group], self._here.tried))
        return (sums.log_().sum(1) - (gain + self._chosen)) / len(self.targets)

    def keep(self, accepted: Tensor) -> None:
        """Make what was last looked at the state of the chains in the mask (E,)."""
        self._here.keep(accepted.nonzero()[:, 0])

    def _refresh(self) -> None:
        """Compute from theta alone what is kept: exponentials of the logits, the targets' logits.

        With an example's highest logit at 0, its sum of exponentials lies between 1 and K.
        """
        (weight, bias), (out, out_bias) = self.layout.views(self._theta)
        hidden = (first_layer(weight, bias) @ self._examples).relu_()
        logits = torch.baddbmm(out_bias.unsqueeze(2), out.transpose(1, 2), hidden)
        logits -= logits.amax(1, keepdim=True)
        self._chosen = logits.gather(1, self.targets.expand(len(logits), 1, -1)).sum((1, 2))
        self._shares, self._calm = logits.exp_(), True  # (E, K, N)

    def _leave(self) -> None:
        if self._group < 0:
            return
        self._theta.index_copy_(1, self.groups[self._group], self._here.weights)
        last = self._group == len(self.groups) - 1  # once a round, lest rounding add up
        if last or not self._calm:
            self._refresh()
        else:
            self._chosen = self._chosen + self._here.settle(self._shares)

    def _visit(self, group: int) -> None:
        """Prepare for changes of one group."""
        self._group, first = group, group - group % 2
        into, out = (self._theta[:, self.groups[first + which]] for which in (0, 1))
        says = into @ self._examples
        if group % 2:
            self._here = _OutOf(says.relu_(), out, self._shares, self._classes)
        else:
            kept = out[:, : self.layout.widths[2]]
            parts = (self._examples, says, into, kept, self._shares, self._classes)
            self._here = _Into(*parts, self._levels)


class _Into:
    """A visit to the weights into one unit."""

    def __init__(
        self, examples: Tensor, says: Tensor, weights: Tensor, out: Tensor, shares: Tensor,
        classes: Tensor, levels: Sequence[float],
    ) -> None:  # fmt: skip
        self.weights, self.tried, self._examples = weights, weights, examples
        self._input = self._input_tried = says  # (E, N)
        self._before, self._levels = says.relu(), levels
        self._of_level = torch.stack([out == level for level in levels], 1).to(shares)
        self._sums = (self._of_level @ shares).unbind(1)  # of (E, N), one per level
        self._wanted = out @ classes.t()  # (E, N) the weight to the example's own class

    def look(self, place: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums of exponentials (E, N) and the gain of the targets' logits (E,)."""
        step = value - self.weights.gather(1, place)
        self.tried = self.weights.scatter(1, place, value)
        moved = self._input
        for column, size in zip(place.unbind(1), step.split(1, 1), strict=True):
            moved = torch.addcmul(moved, self._examples.index_select(0, column), size)
        self._input_tried = moved
        change = moved.relu().sub_(self._before)
        sums = torch.zeros_like(change)
        for level, share in zip(self._levels, self._sums, strict=True):
            sums.add_(share) if level == 0 else sums.addcmul_((change * level).exp_(), share)
        return sums, change.mul_(self._wanted).sum(1)

    def keep(self, chains: Tensor) -> None:
        """Keep what was tried in some chains."""
        self.weights.index_copy_(0, chains, self.tried[chains])
        self._input.index_copy_(0, chains, self._input_tried[chains])

    def settle(self, shares: Tensor) -> Tensor:
        """Bring the shares up to what was kept; return the gain of the targets' logits (E,)."""
        change = self._input.relu() - self._before
        factors = torch.stack([(change * level).exp_() for level in self._levels], 1)
        shares.mul_(self._of_level.transpose(1, 2) @ factors)
        return change.mul_(self._wanted).sum(1)


class _OutOf:
    """A visit to the weights out of one unit and the biases of the outputs."""

    def __init__(self, says: Tensor, weights: Tensor, shares: Tensor, classes: Tensor) -> None:
        self.weights, self.tried, self._shares = weights, weights, shares
        self._before = weights.clone()
        # what multiplies weights and biases: (E, 2, N), and summed over the examples of each class
        self._said = torch.stack([says, torch.ones_like(says)], 1)
        self._totals = (self._said @ classes).flatten(1)  # (E, 2 K)

    def look(self, place: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sums of exponentials (E, N) and the gain of the targets' logits (E,)."""
        self.tried = self.weights.scatter(1, place, value)
        factors, gain = self._change(self.tried)
        return factors.mul_(self._shares).sum(1), gain

    def keep(self, chains: Tensor) -> None:
        """Keep what was tried in some chains."""
        self.weights.index_copy_(0, chains, self.tried[chains])

    def settle(self, shares: Tensor) -> Tensor:
        """Bring the shares up to what was kept; return the gain of the targets' logits (E,)."""
        factors, gain = self._change(self.weights)
        shares.mul_(factors)
        return gain

    def _change(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return what multiplies the exponentials (E, K, N), and the gain of the targets' logits."""
        moved = weights - self._before
        change = moved.unflatten(1, (2, -1)).transpose(1, 2) @ self._said
        return change.exp_(), (moved * self._totals).sum(1)


def unit_groups(layout: Layers) -> list[Tensor]:
    """Return the columns of theta into each hidden unit and out of it, one after the other."""
    (weight, bias), (out, out_bias) = layout.views(torch.arange(layout.parameters)[None])
    groups = []
    for unit in range(layout.widths[1]):
        groups.append(torch.cat([weight[0, :, unit], bias[0, unit : unit + 1]]))
        groups.append(torch.cat([out[0, unit], out_bias[0]]))
    return groups
