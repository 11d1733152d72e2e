"""Scalars of a change of basis: numbers for features, ties between them, what each may be."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

# What a scalar may be, as bits: a tie keeps what either side asks for.
FREE, POSITIVE, SIGN, ONE = 0, 1, 2, 3
CONSTRAINTS = {FREE: "free", POSITIVE: "positive", SIGN: "sign", ONE: "one"}


class Classes(NamedTuple):
    """Numbers gathered in classes that share a scalar.

    Fields:
        table: (numbers,) position of a number's scalar in (1, tau_1, ..., tau_U): 0 is fixed.
        flags: (U,) what each scalar may be, FREE, POSITIVE or SIGN.
        places: where each scalar is first met, such as "layer1.0.conv1, channel 3".
    """

    table: Tensor
    flags: Tensor
    places: tuple[str, ...]

    def check(self, tau: Tensor) -> Tensor:
        """Return tau (U,) or (T, U) in float64 on the CPU.

        Raises:
            ValueError: for complex numbers or a wrong length, and naming the first scalar that is
                zero, not finite, or not allowed.
        """
        tau = torch.as_tensor(tau).detach()
        if tau.is_complex():
            raise ValueError(f"tau must be real, got {tau.dtype}")
        tau = tau.to("cpu", torch.float64)
        if tau.ndim not in (1, 2) or tau.shape[-1] != len(self.places):
            said = f"({len(self.places)},), one scalar a unit, or a batch of such"
            raise ValueError(f"tau must be {said}, got {tuple(tau.shape)}")
        for wrong, needed in (
            (~tau.isfinite(), "finite"),
            (tau == 0, "other than zero"),
            ((self.flags == POSITIVE) & (tau < 0), "positive"),
            ((self.flags == SIGN) & (tau.abs() != 1), "1 or -1"),
        ):
            if wrong.any():
                *row, unit = wrong.nonzero()[0].tolist()
                value, place = float(tau[(*row, unit)]), self.places[unit]
                raise ValueError(f"tau[{unit}], for {place}, must be {needed}, got {value}")
        return tau


class Units:
    """A growing list of numbers, one a feature, in a forest of ties. Number 0 is the fixed one."""

    def __init__(self) -> None:
        self._parents, self._flags = [0], [ONE]
        self._starts, self._places = [0], ["a fixed unit"]

    def fresh(self, shape: Sequence[int], place: str) -> Tensor:
        """Return new numbers of this shape, one a feature of what is met at the place."""
        start = len(self._parents)
        numbers = torch.arange(start, start + torch.Size(shape).numel())
        self._starts.append(start)
        self._places.append(place)
        self._parents += numbers.tolist()
        self._flags += [FREE] * numbers.numel()
        return numbers.reshape(tuple(shape))

    def tie(self, left: Tensor, right: Tensor) -> None:
        """Let two arrays of numbers, broadcast against each other, have the same scalars."""
        left, right = torch.broadcast_tensors(left, right)
        apart = left != right
        pairs = left[apart] * len(self._parents) + right[apart]
        for pair in pairs.unique().tolist():
            first, second = (self._root(number) for number in divmod(pair, len(self._parents)))
            low, high = min(first, second), max(first, second)
            self._parents[high] = low
            self._flags[low] |= self._flags[high]

    def constrain(self, numbers: Tensor, flag: int) -> None:
        """Ask of the scalars what the flag says, beside what was asked of them before."""
        for number in numbers.unique().tolist() if flag != FREE else ():
            self._flags[self._root(number)] |= flag

    def fixed(self, numbers: Tensor) -> bool:
        """Tell whether all scalars are one, as far as is known by now."""
        return all(self._flags[self._root(number)] == ONE for number in numbers.unique().tolist())

    def classes(self) -> Classes:
        """Return the scalars that are left to choose, in the order in which they were met."""
        roots = [self._root(number) for number in range(len(self._parents))]
        chosen = [
            number
            for number, root in enumerate(roots)
            if number == root and self._flags[root] < ONE
        ]
        position = dict(zip(chosen, range(1, len(chosen) + 1), strict=True))
        return Classes(
            torch.tensor([position.get(root, 0) for root in roots]),
            torch.tensor([self._flags[root] for root in chosen], dtype=torch.int64),
            tuple(self._place(number) for number in chosen),
        )

    def _root(self, number: int) -> int:
        parents = self._parents
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    def _place(self, number: int) -> str:
        at = bisect_right(self._starts, number) - 1
        return f"{self._places[at]}, channel {number - self._starts[at]}"


def compress(numbers: Tensor) -> Tensor:
    """Return the smallest array that broadcasts to the same numbers."""
    for dim, size in enumerate(numbers.shape):
        first = numbers.narrow(dim, 0, min(size, 1))
        if size > 1 and bool((numbers == first).all()):
            numbers = first
    return numbers
