"""CIFAR-100 and SVHN in the room of Neyshabur et al. 2015: measured where they are, told where not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reproductions.harness import claims, dataset_sources, records, style
from reproductions.harness.dataset_failures import SourceFailed
from reproductions.harness.dataset_registry import REAL
from reproductions.harness.datasets import Dataset
from reproductions.harness.errors import UserError
from reproductions.harness.rooms import Room, find_rooms
from reproductions.harness.tables import Rows, read_provenance, read_table, write_table
from reproductions.papers.neyshabur2015path import curve_measures, experiment, networks, sweeps
from reproductions.stages import check, drawing, evidence
from reproductions.stages.place import Place
from reproductions.stages.run import Request, run_one
from tests.conftest import ROOT
from tests.rows import as_table, quiet

SETS = ("cifar100", "svhn", "cifar100_dropout", "svhn_dropout")
TINY = {
    "side": 8, "hidden": 8, "images": 300, "validation": 50, "epochs": 1, "batch": 50, "seeds": 2,
    "selection_epochs": 1, "alphas_sgd": [0, 1], "alphas_adagrad": [1, 2], "alphas_path_sgd": [1],
    "keep": 1.0, "train_examples": 100, "test_images": 100,
}  # fmt: skip


@pytest.fixture(scope="module")
def room() -> Room:
    return find_rooms(ROOT, ("neyshabur2015path",))["neyshabur2015path"]


def request(room: Room, name: str, place: Place) -> Request:
    return Request(ROOT, room, name, place, "cpu", 2018)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let no source deliver anything, and let the cache be empty."""

    def refuse(spec: Any, folder: Path) -> dict[str, bytes]:
        raise SourceFailed("its hosts cannot be reached")

    monkeypatch.setenv("REPRODUCTIONS_CACHE", str(tmp_path / "cache"))
    for source in ("from_torchvision", "from_npm", "from_debian"):
        monkeypatch.setattr(dataset_sources, source, refuse)


def made(classes: int) -> Dataset:
    """Return noise with labels of so many classes."""
    draw = np.random.default_rng(classes)
    images = draw.integers(0, 256, (400, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(400) % classes
    return Dataset("made", images[:300], labels[:300], images[300:], labels[300:], "", "", "", True)


# ---- where the set is


@pytest.mark.parametrize(("name", "classes"), [("cifar100", 100), ("svhn", 10)])
def test_there_are_as_many_outputs_as_classes(name: str, classes: int):
    held = networks.images(made(classes), 300, 100, "cpu", 8)
    assert held.network(8).widths == (8 * 8 * 3, 8, 8, classes)
    # few images of a set do not make its classes fewer
    assert networks.images(made(classes), 5, 5, "cpu", 8).classes == classes
    run = getattr(experiment, name)
    table = as_table(run(data=made(classes), device="cpu", root_seed=1, progress=quiet, **TINY))
    assert table[table.quantity == "untrained_loss"].value.tolist() == [np.log(classes)]
    first = curve_measures.curves(table, "train_loss", "sgd", "balanced")[0]
    assert first == pytest.approx(np.log(classes), rel=0.2)
    found = curve_measures.plain(table, name)
    assert set(found) == {one.metric for one in stated(f"{name}-")}


def stated(prefix: str) -> list[claims.Claim]:
    path = ROOT / "reproductions/papers/neyshabur2015path/claims.yaml"
    found = [one for one in claims.load_claims(path) if one.id.startswith(prefix)]
    return [one for one in found if "-dropout-" not in one.id]


def test_a_diverged_run_counts_as_equal_guesses_of_all_classes():
    rows = Rows(sweeps.UNITS)
    rows.add(arm="equal guesses", quantity="untrained_loss", value=np.log(100))
    rows.add(
        arm="sgd", quantity="train_loss", value=[4.0, 2.0, np.nan], step=np.arange(3),
        status=["ok", "ok", "diverged: made up"], start="balanced", alpha=0,
    )  # fmt: skip
    wanted = (np.log(2.0) + np.log(np.log(100))) / 2
    assert curve_measures.area(as_table(rows), "sgd", "balanced") == pytest.approx(wanted)


@pytest.mark.parametrize("name", SETS)
def test_all_images_and_the_papers_sizes_are_used_at_full_scale_alone(room: Room, name: str):
    assert room.experiment(name).scales == ("full",)
    own, other = room.settings(name, "full"), room.settings("cifar", "full")
    counts = {"cifar100": (50_000, 10_000), "svhn": (73_257, 26_032)}
    assert (own["images"], own["test_images"]) == counts[name.removesuffix("_dropout")]
    assert own["keep"] == (0.5 if name.endswith("_dropout") else 1.0)
    same = own.keys() - {"images", "test_images", "keep"}
    assert {key: own[key] for key in same} == {key: other[key] for key in same}


def test_the_claims_are_those_on_cifar10():
    """What is claimed of one set is claimed of the others, in the same words."""
    for name, title in (("cifar100", "CIFAR-100"), ("svhn", "SVHN")):
        ours = [(one.id, one.says, one.expect) for one in stated(f"{name}-")]
        wanted = [
            (one.id.replace("cifar-", f"{name}-"), one.says.replace("CIFAR-10", title), one.expect)
            for one in stated("cifar-")
        ]
        assert ours == wanted
        assert all(one.scales == ["full"] for one in stated(f"{name}-"))


# ---- where it is not


@pytest.mark.parametrize("name", SETS)
def test_without_the_set_the_table_holds_the_reason_alone(
    room: Room, offline: None, tmp_path: Path, name: str
):
    place = Place(tmp_path, "full")
    path = run_one(request(room, name, place), quiet, tmp_path / "log")
    table, about = read_table(path), read_provenance(path)
    said = "torchvision: its hosts cannot be reached"
    data = name.removesuffix("_dropout")
    assert table.status.tolist() == [f"data not available: {data}: {said}"]
    assert table.value.isna().all()
    assert (about["data"]["name"], about["data"]["missing"]) == (data, said)
    assert not place.failure(room, name).exists()


def test_an_experiment_on_a_set_that_is_not_optional_still_fails(
    room: Room, offline: None, tmp_path: Path
):
    assert not REAL["cifar10"].optional
    with pytest.raises(UserError, match="no source delivered CIFAR-10"):
        run_one(request(room, "cifar", Place(tmp_path, "full")), quiet, tmp_path / "log")
    assert not Place(tmp_path, "full").table(room, "cifar").exists()


@pytest.fixture
def told(room: Room, offline: None, tmp_path: Path) -> Place:
    """Return a full scale with CIFAR-10 and MNIST made up, SVHN and CIFAR-100 missing."""
    place = Place(tmp_path, "full")
    for name in SETS:
        run_one(request(room, name, place), quiet, tmp_path / "log")
    about = {**read_provenance(place.table(room, "svhn")), "data": {"name": "made"}}
    for name in ("mnist", "cifar"):
        held = networks.images(made(10), 300, 100, "cpu", 8)
        alphas = {method: [1, 2] for method in networks.METHODS}
        plan = sweeps.Plan(8, 1, 50, 2, 1, 50, alphas, 1.0, 100, 1)
        write_table(sweeps.compare(held, plan, quiet), place.table(room, name), about)
    return place


def test_claims_on_it_are_not_tested_and_say_why(room: Room, told: Place):
    verdict = evidence.judge(room, told)
    assert verdict["data"] == "made"  # what was not there is not what a verdict rests on
    assert set(SETS) < set(verdict["provenance"])
    by_id = {one["id"]: one for one in verdict["claims"]}
    for data in ("cifar100", "svhn"):
        own = [one for name, one in by_id.items() if name.startswith(f"{data}-")]
        reasons = {one["reason"] for one in own}
        assert len(own) == 18
        assert reasons == {f"data not available: {data}: torchvision: its hosts cannot be reached"}
        assert {one["verdict"] for one in own} == {"not tested"}
    four = by_id["generalises-better-on-half-of-four"]
    assert four["verdict"] == "not tested"
    assert four["reason"].count("data not available: ") == 2
    assert by_id["generalises-better-on-half"]["verdict"] != "not tested"


def test_the_verdict_can_be_recorded_and_checked(room: Room, told: Place, tmp_path: Path):
    verdict, path = evidence.judge(room, told), tmp_path / "record.json"
    check.record_all(ROOT, [(room, path)], told, force=True)
    assert records.compare(verdict, records.read_record(path)) == []
    assert check.check_all([(room, path)], told, tmp_path / "j.xml", tmp_path / "s.md", None) == 0
    assert "data not available: svhn" in (tmp_path / "j.xml").read_text(encoding="utf-8")


def test_figures_of_it_are_skipped_and_the_others_do_without(
    room: Room, told: Place, monkeypatch: pytest.MonkeyPatch
):
    saved = {}
    monkeypatch.setattr(
        style, "save", lambda figure, folder, name, meta: saved.update({name: meta})
    )
    index = drawing.draw(room, told, quiet)
    for name in SETS:
        assert index["skipped"][name].startswith("data not available: ")
    assert index["figures"] == ["mnist", "cifar", "figure_2_test", "finer_grid"]
    assert {meta["data"] for meta in saved.values()} == {"made"}
    assert "has not been run" in index["skipped"]["step_sizes"]


def test_a_figure_shows_the_sets_that_there_are(room: Room, told: Place):
    shutil.copy(told.table(room, "cifar"), told.table(room, "svhn"))
    tables, function = evidence.Tables(room, told), evidence.functions(room, "draw_")["finer_grid"]
    assert tables.used(function) == ["mnist", "cifar", "svhn"]
    figure, reason = tables.call(function, tolerant=False)
    assert not reason
    assert [ax.get_title("left") for ax in figure.axes] == ["MNIST", "CIFAR-10", "SVHN"]
