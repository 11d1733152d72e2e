"""Which examples a member sees at which step: a function of its seed and the step alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from reproductions.optim.device import generator

SHUFFLING = 2  # the purpose in a generator's key: the order of the examples


class Minibatches:
    """Cut every epoch's permutation of the examples into minibatches, one permutation per seed.

    An epoch is n // batch minibatches; what does not fill a last one waits for another epoch.
    Step t = 0, 1, ... can be asked for directly, so a run resumes without replaying any draw.

    Args:
        n: examples in the data set.
        batch: B, examples per minibatch.
        seeds: G seeds, one per group of members that share minibatches.
        root_seed: of the whole study.

    Raises:
        ValueError: where batch is not between 1 and n, or there is no seed.
    """

    def __init__(self, n: int, batch: int, seeds: Sequence[int], root_seed: int = 0) -> None:
        if not 1 <= batch <= n:
            raise ValueError(f"batch must lie between 1 and n = {n}, got {batch}")
        if not seeds:
            raise ValueError("seeds must name at least one seed")
        self.n, self.batch, self.seeds, self.root_seed = n, batch, tuple(seeds), root_seed
        self.per_epoch = n // batch
        self._epoch, self._orders = -1, torch.empty(0)

    def __call__(self, step: int) -> Tensor:
        """Return the indices (G, B) of step 0, 1, ..."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            orders = [self._order(seed, epoch) for seed in self.seeds]
            self._epoch, self._orders = epoch, torch.stack(orders)
        return self._orders[:, place * self.batch : (place + 1) * self.batch]

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the indices (G, B) of every step from the first, without end."""
        step = 0
        while True:
            yield self(step)
            step += 1

    def _order(self, seed: int, epoch: int) -> Tensor:
        source = generator(self.root_seed, seed, SHUFFLING, epoch)
        return torch.randperm(self.n, generator=source)


def minibatches(n: int, batch: int, seeds: Sequence[int], root_seed: int = 0) -> Minibatches:
    """Return every seed's stream of minibatch indices (G, B); see `Minibatches`."""
    return Minibatches(n, batch, seeds, root_seed)


class Batches:
    """Gather the examples a stream of indices names, for `train`.

    Args:
        inputs: (N, D...) on the device of the ensemble.
        targets: (N,) beside them.
        indices: the stream.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, indices: Minibatches) -> None:
        self._inputs, self._targets, self._indices = inputs, targets, indices

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Return inputs (G, B, D...) and targets (G, B) of step 0, 1, ..."""
        chosen = self._indices(step).to(self._inputs.device)
        flat = chosen.reshape(-1)
        inputs, targets = self._inputs.index_select(0, flat), self._targets.index_select(0, flat)
        return inputs.unflatten(0, chosen.shape), targets.view(chosen.shape)
