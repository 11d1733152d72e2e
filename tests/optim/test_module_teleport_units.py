"""Numbers of features: ties against a closure by hand, and the smallest array that broadcasts."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from reproductions.optim.module_units import FREE, ONE, POSITIVE, SIGN, Units, compress

COUNT = 9
PAIRS = st.lists(st.tuples(st.integers(0, COUNT), st.integers(0, COUNT)), max_size=8)
FLAGS = st.lists(
    st.tuples(st.integers(1, COUNT), st.sampled_from([POSITIVE, SIGN, ONE])), max_size=4
)


def closure(pairs: list[tuple[int, int]]) -> list[set[int]]:
    """Merge sets until no pair lies in two of them."""
    sets = [{number} for number in range(COUNT + 1)]
    for left, right in pairs:
        one, two = (next(own for own in sets if number in own) for number in (left, right))
        if one is not two:
            sets.remove(two)
            one |= two
    return sorted(sets, key=min)


@given(PAIRS, FLAGS)
def test_ties_are_the_closure_of_what_was_tied(
    pairs: list[tuple[int, int]], flags: list[tuple[int, int]]
):
    units = Units()
    numbers = units.fresh((3, 3), "here")
    assert numbers.flatten().tolist() == list(range(1, COUNT + 1))
    for left, right in pairs[::2]:
        units.tie(torch.tensor(left), torch.tensor([right]))
    for number, flag in flags:
        units.constrain(torch.tensor([number]), flag)
    for left, right in pairs[1::2]:
        units.tie(torch.tensor(left), torch.tensor([right]))

    asked = dict.fromkeys(range(COUNT + 1), FREE) | {0: ONE}
    for number, flag in flags:
        asked[number] |= flag
    wanted, kinds = {}, []
    for own in closure([*pairs[::2], *pairs[1::2]]):
        flag = FREE
        for number in own:
            flag |= asked[number]
        if flag != ONE:
            kinds.append((flag, f"here, channel {min(own) - 1}"))
        wanted |= dict.fromkeys(own, 0 if flag == ONE else len(kinds))
    found = units.classes()
    assert found.table.tolist() == [wanted[number] for number in range(COUNT + 1)]
    assert list(zip(found.flags.tolist(), found.places, strict=True)) == kinds
    assert units.fixed(numbers) == (not kinds)


@given(
    st.lists(st.sampled_from([(1, 3), (3, 3), (3, 1)]), min_size=1, max_size=3), st.integers(0, 9)
)
def test_compressed_numbers_broadcast_to_the_same(sizes: list[tuple[int, int]], seed: int):
    drawn = torch.randint(
        0, 3, [own for own, _ in sizes], generator=torch.Generator().manual_seed(seed)
    )
    numbers = drawn.broadcast_to([max(pair) for pair in sizes])
    found = compress(numbers)
    assert torch.equal(found.broadcast_to(numbers.shape), numbers)
    for dim, size in enumerate(found.shape):
        constant = bool((numbers == numbers.narrow(dim, 0, 1)).all())
        assert (size == 1) == (constant or numbers.shape[dim] == 1)
