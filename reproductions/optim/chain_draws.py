"""The random numbers of annealed chains: each chain's own, drawn on the CPU many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from reproductions.optim.device import generator

UNIFORM, NORMAL, EXPONENTIAL = 3, 4, 5  # purposes in a generator's key
BLOCK = 4096  # numbers that a chain draws at a time
MANY_CHAINS = 64  # from here on several threads draw


class Draws:
    """Hand out random numbers, those of a chain by its seed and what is asked for alone.

    A generator per chain and kind, on the CPU, drawn in blocks of one length: a chain sees the same
    numbers in every ensemble and on every device.

    Args:
        seeds: one per chain, E.
        root_seed: of the whole study.
        device: where the numbers are wanted.
    """

    def __init__(
        self, seeds: Sequence[int], root_seed: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        self._device = device
        self._sources = {
            kind: [generator(root_seed, seed, kind) for seed in seeds] for kind in DRAWN
        }
        self._held = {kind: (torch.empty(len(seeds), 0), 0) for kind in DRAWN}
        threads = torch.get_num_threads() if len(seeds) >= MANY_CHAINS else 1
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def uniform(self, count: int) -> Tensor:
        """Return numbers (E, count) uniform in [0, 1), float64."""
        return self._take(UNIFORM, count)

    def normal(self, count: int) -> Tensor:
        """Return standard normal numbers (E, count), float32."""
        return self._take(NORMAL, count)

    def exponential(self) -> Tensor:
        """Return exponential numbers (E,) of mean 1, float64."""
        return self._take(EXPONENTIAL, 1)[:, 0]

    def below(self, bound: int, count: int) -> Tensor:
        """Return whole numbers (E, count) uniform in 0 ... bound - 1."""
        return (self.uniform(count) * bound).long()

    def distinct(self, bound: int, count: int) -> Tensor:
        """Return distinct whole numbers (E, count) in 0 ... bound - 1, every set as likely."""
        if count == 1:
            return self.below(bound, 1)
        return self.uniform(bound).topk(count, 1).indices

    def _take(self, kind: int, count: int) -> Tensor:
        held, at = self._held[kind]
        while held.shape[1] - at < count:
            fresh = self._block(kind)
            held, at = torch.cat([held[:, at:].to(fresh), fresh], 1), 0
        self._held[kind] = held, at + count
        return held.narrow(1, at, count)

    def _block(self, kind: int) -> Tensor:
        each = self._pool.map if self._pool else map
        return torch.stack(list(each(DRAWN[kind], self._sources[kind]))).to(self._device)


def _uniform(source: torch.Generator) -> Tensor:
    return torch.rand(BLOCK, generator=source, dtype=torch.float64)


def _exponential(source: torch.Generator) -> Tensor:
    return _uniform(source).neg_().log1p_().neg_()  # u may be 0, which is no harm, but never 1


def _normal(source: torch.Generator) -> Tensor:
    return torch.randn(BLOCK, generator=source)


DRAWN = {UNIFORM: _uniform, NORMAL: _normal, EXPONENTIAL: _exponential}
