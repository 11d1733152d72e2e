from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reproductions.optim import first_order as fo
from reproductions.optim.advance import can_compile
from reproductions.optim.layout import Layout
from reproductions.optim.train import (
    Batches,
    Checkpoint,
    Outcome,
    Snapshot,
    minibatches,
    train,
)
from reproductions.problems.mlp import MLP

F64 = torch.float64
LAYOUT = Layout((6, 5, 3))
SEEDS = [4, 7, 1]
METHODS = {
    "sgd": fo.sgd(0.1, schedule=fo.inverse_sqrt),
    "adam": fo.adam(0.01, eps=1e-8, debias=True),
    "amsgrad": fo.amsgrad(torch.tensor([[0.01], [0.02], [0.03]], dtype=F64)),
}
every_method = pytest.mark.parametrize("method", METHODS)


def start(seeds: list[int] = SEEDS) -> Tensor:
    return LAYOUT.initialise(seeds, dtype=F64)


def data(seeds: list[int] = SEEDS, batch: int = 8) -> Batches:
    source = torch.Generator().manual_seed(0)
    inputs = torch.randn(50, 6, generator=source, dtype=F64)
    targets = torch.randint(0, 3, (50,), generator=source)
    return Batches(inputs, targets, minibatches(50, batch, seeds, root_seed=3))


def look(snapshot: Snapshot) -> Mapping[str, Tensor]:
    return {"norm": snapshot.theta.norm(dim=1), "loss": snapshot.loss}


def run(method: str = "adam", steps: int = 20, **options) -> Outcome:
    options = {"record_at": range(0, steps + 1, 5), "observe": look} | options
    return train(MLP(LAYOUT), METHODS[method], start(), data(), steps=steps, **options)


# --- minibatches ------------------------------------------------------------------------------


def test_an_epoch_shows_no_example_twice_and_epochs_differ():
    stream = minibatches(23, 5, [0, 1], root_seed=1)
    for seed in (0, 1):
        epochs = [torch.cat([stream(k)[seed] for k in range(4 * e, 4 * e + 4)]) for e in (0, 1)]
        assert all(len(epoch.unique()) == 20 for epoch in epochs)
        assert not torch.equal(*epochs)


def test_a_seed_sees_the_same_examples_in_every_ensemble_and_from_any_step():
    together, alone = minibatches(40, 8, [5, 9, 2]), minibatches(40, 8, [9])
    for step in (0, 17, 3):
        assert torch.equal(together(step)[1], alone(step)[0])
    for step, drawn in zip(range(12), minibatches(40, 8, [9]), strict=False):
        assert torch.equal(drawn, alone(step))


def test_batches_gather_what_the_indices_name():
    inputs, targets = torch.arange(40.0).reshape(20, 2), torch.arange(20)
    stream = minibatches(20, 4, [0, 1])
    x, y = Batches(inputs, targets, stream)(3)
    assert x.shape == (2, 4, 2)
    assert torch.equal(y, stream(3))
    assert torch.equal(x[1, 2], inputs[stream(3)[1, 2]])


@pytest.mark.parametrize("batch", [0, 41])
def test_an_impossible_batch_is_named(batch: int):
    with pytest.raises(ValueError, match="batch must lie between 1 and n = 40"):
        minibatches(40, batch, [0])
    with pytest.raises(ValueError, match="seeds"):
        minibatches(40, 4, [])


# --- the loop ---------------------------------------------------------------------------------


@every_method
def test_the_loop_is_the_plain_loop(method: str):
    problem, transform, batches, theta = MLP(LAYOUT), METHODS[method], data(), start()
    state, losses = transform.init(theta), []
    for t in range(20):
        loss, grad = problem.gradient(theta, *batches(t))
        step, state = transform.update(grad, state, theta)
        theta = theta + step
        losses.append(loss)
    outcome = run(method)
    torch.testing.assert_close(outcome.theta, theta, rtol=1e-12, atol=1e-14)
    assert outcome.steps == [0, 5, 10, 15, 20]
    torch.testing.assert_close(outcome.records["loss"][2], torch.stack(losses[5:10]).mean(0))
    assert outcome.records["loss"][0].isnan().all()
    torch.testing.assert_close(outcome.records["norm"][-1], theta.norm(dim=1))
    assert outcome.status() == ["ok"] * 3


def test_a_member_trains_the_same_in_every_ensemble():
    together = train(MLP(LAYOUT), fo.adam(0.01), start(), data(), steps=30).theta
    alone = train(MLP(LAYOUT), fo.adam(0.01), start([7]), data([7]), steps=30).theta
    torch.testing.assert_close(together[1:2], alone, rtol=1e-9, atol=1e-12)


def test_the_start_is_not_modified_and_the_result_repeats():
    theta = start()
    before = theta.clone()
    first = train(MLP(LAYOUT), fo.sgd(0.1), theta, data(), steps=5).theta
    assert torch.equal(theta, before)
    assert torch.equal(train(MLP(LAYOUT), fo.sgd(0.1), theta, data(), steps=5).theta, first)


def test_descending_and_storing_the_gradient_agree():
    descending, eager = run("sgd", how="descending"), run("sgd", how="eager")
    torch.testing.assert_close(descending.theta, eager.theta, rtol=1e-12, atol=1e-14)


@pytest.mark.skipif(not can_compile(torch.device("cpu")), reason="needs a C++ compiler")
def test_compiling_the_update_changes_no_result():
    rates = torch.tensor([[0.01], [1e200], [0.03]], dtype=F64)
    METHODS["wild"] = fo.amsgrad(rates, order="torch", schedule=fo.inverse_sqrt)
    try:
        compiled, eager = run("wild", how="compiled"), run("wild", how="eager")
    finally:
        del METHODS["wild"]
    torch.testing.assert_close(compiled.theta, eager.theta, rtol=1e-12, atol=1e-14)
    assert compiled.status() == eager.status()
    assert compiled.status()[1] != "ok"


def test_an_update_that_cannot_be_compiled_runs_plainly_and_says_so(monkeypatch):
    def broken(function, **options):
        def call(*arguments):
            raise RuntimeError("no compiler here")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.warns(UserWarning, match="update not compiled, so slower: no compiler here"):
        outcome = run("adam", how="compiled")
    assert torch.equal(outcome.theta, run("adam", how="eager").theta)


def test_progress_ends_at_one():
    heard: list[tuple[float, str]] = []
    run(progress=lambda fraction, note: heard.append((fraction, note)))
    assert heard[-1] == (1.0, "step 20 of 20")
    assert all(a < b for (a, _), (b, _) in pairwise(heard))


def test_misuse_is_named():
    with pytest.raises(ValueError, match="record_at must lie between 0 and steps = 20"):
        run(record_at=[21])
    with pytest.raises(ValueError, match="how must be auto"):
        run(how="fast")
    with pytest.raises(ValueError, match="multiple of the gradient"):
        run("adam", how="descending")


# --- members that diverge ---------------------------------------------------------------------


@pytest.mark.parametrize("how", ["eager", "descending"])
def test_a_diverging_member_freezes_with_its_step_and_the_others_go_on(how: str):
    rates = torch.tensor([[0.1], [1e200], [0.1]], dtype=F64)
    outcome = train(MLP(LAYOUT), fo.sgd(rates), start(), data(), steps=20, how=how)
    calm = train(MLP(LAYOUT), fo.sgd(0.1), start(), data(), steps=20, how=how)
    at = int(outcome.diverged_at[1])
    assert 1 < at <= 4
    assert outcome.status()[1] == f"diverged: loss is not finite at step {at}"
    assert outcome.diverged_at.tolist() == [0, at, 0]
    assert outcome.theta[1].isfinite().all()
    torch.testing.assert_close(outcome.theta[[0, 2]], calm.theta[[0, 2]], rtol=1e-12, atol=0)
    stopped = train(MLP(LAYOUT), fo.sgd(rates), start(), data(), steps=at - 1, how=how)
    assert torch.equal(outcome.theta[1], stopped.theta[1])


def test_status_is_known_at_every_record():
    rates = torch.tensor([[0.1], [1e200], [0.1]], dtype=F64)
    outcome = train(
        MLP(LAYOUT), fo.sgd(rates), start(), data(), steps=20, record_at=[0, 20], observe=look
    )
    first, last = outcome.status_at()
    assert first == ["ok"] * 3
    assert last == outcome.status()


# --- checkpoints ------------------------------------------------------------------------------


class Interrupted(Exception):
    pass


def interrupt(path: Path, method: str, at: int = 12, **more) -> None:
    """Run up to the given step, saving after every one, and die."""

    def batches(step: int) -> tuple[Tensor, Tensor]:
        if step == at:
            raise Interrupted
        return data()(step)

    with pytest.raises(Interrupted):
        train(
            MLP(LAYOUT),
            METHODS[method],
            start(),
            batches,
            steps=20,
            record_at=range(0, 21, 5),
            observe=look,
            checkpoint=Checkpoint(path, every_seconds=0, **more),
        )


@every_method
def test_an_interrupted_run_resumes_to_the_same_bits_records_included(method: str, tmp_path: Path):
    path = tmp_path / "run.safetensors"
    interrupt(path, method)
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]
    resumed, whole = run(method, checkpoint=Checkpoint(path)), run(method)
    assert torch.equal(resumed.theta, whole.theta)
    assert resumed.steps == whole.steps
    for name, values in whole.records.items():
        assert torch.equal(resumed.records[name].nan_to_num(), values.nan_to_num())
    assert not path.exists()


def test_divergence_survives_a_resume(tmp_path: Path):
    path, rates = tmp_path / "run.safetensors", torch.tensor([[0.1], [1e200], [0.1]], dtype=F64)
    METHODS["wild"] = fo.sgd(rates)
    try:
        interrupt(path, "wild")
        resumed, whole = run("wild", checkpoint=Checkpoint(path)), run("wild")
    finally:
        del METHODS["wild"]
    assert resumed.status() == whole.status() != ["ok"] * 3
    assert torch.equal(resumed.theta, whole.theta)


def test_generators_are_set_back(tmp_path: Path):
    path, source = tmp_path / "run.safetensors", torch.Generator().manual_seed(5)
    saver = Checkpoint(path, generators=[source])
    saver.save({"theta": torch.zeros(1)}, {})
    expected = torch.rand(3, generator=source)
    loaded = Checkpoint(path, generators=[torch.Generator()])
    assert loaded.load() is not None
    assert torch.equal(torch.rand(3, generator=loaded.generators[0]), expected)


@pytest.mark.parametrize("change", ["method", "start", "key"])
def test_a_checkpoint_of_another_run_is_refused_and_kept(change: str, tmp_path: Path):
    path = tmp_path / "run.safetensors"
    interrupt(path, "adam")
    theta = start([1, 2, 3]) if change == "start" else start()
    method = fo.adam(0.02, eps=1e-8, debias=True) if change == "method" else METHODS["adam"]
    saver = Checkpoint(path, key="other" if change == "key" else "")
    with pytest.raises(ValueError, match=r"run\.safetensors is of another run"):
        train(MLP(LAYOUT), method, theta, data(), steps=20, checkpoint=saver)
    assert path.exists()


def test_a_checkpoint_cut_short_is_named(tmp_path: Path):
    path = tmp_path / "run.safetensors"
    interrupt(path, "adam")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"run\.safetensors cannot be read"):
        run(checkpoint=Checkpoint(path))
    assert path.exists()
