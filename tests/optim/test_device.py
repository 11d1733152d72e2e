from __future__ import annotations

import pytest
import torch

from reproductions.optim.device import describe, deterministic, generator, resolve, set_threads


def test_auto_is_a_gpu_where_there_is_one():
    assert resolve("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "meta", "quantum processor"])
def test_a_device_that_is_not_there_is_named(name: str):
    with pytest.raises(ValueError, match=name):
        resolve(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="asserts what happens without a GPU")
def test_cuda_without_a_gpu_says_so():
    with pytest.raises(ValueError, match="'cuda' is not there: torch sees no CUDA device"):
        resolve("cuda")


def test_a_key_fixes_the_numbers_and_every_part_of_it_matters():
    def draw(*key: int) -> float:
        return torch.rand((), generator=generator(*key)).item()

    assert draw(2018, 3, 1) == draw(2018, 3, 1)
    assert len({draw(2018, 3, 1), draw(2018, 1, 3), draw(2018, 31), draw(20, 183, 1)}) == 4


def test_generators_do_not_touch_the_global_stream():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    torch.rand(3, generator=generator(1))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("key", [(), (1.5,), (True,)])
def test_a_key_is_integers(key: tuple):
    with pytest.raises(ValueError, match="key"):
        generator(*key)


def test_a_description_names_device_versions_and_switches():
    facts = describe(torch.device("cpu"))
    assert facts["device"] == "cpu"
    assert facts["torch"] == torch.__version__
    assert facts["threads"] == torch.get_num_threads()


def test_determinism_can_be_asked_for():
    before = torch.are_deterministic_algorithms_enabled()
    try:
        deterministic()
        assert describe(torch.device("cpu"))["deterministic"]
        assert not describe(torch.device("cpu"))["tf32"]
    finally:
        deterministic(on=before)


def test_threads_are_set_and_checked():
    before = torch.get_num_threads()
    try:
        set_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        set_threads(before)
    with pytest.raises(ValueError, match="threads"):
        set_threads(0)
