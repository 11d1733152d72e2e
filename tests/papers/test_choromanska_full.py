"""The full settings build and step on a CPU, with only their sizes cut."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from reproductions.harness.datasets import Dataset
from reproductions.harness.rooms import find_rooms
from reproductions.papers.choromanska2015loss import experiment
from tests.conftest import ROOT
from tests.rows import quiet, synthetic_mnist

ROOM = find_rooms(ROOT)["choromanska2015loss"]
CUTS: dict[str, dict[str, Any]] = {
    "networks": {"seeds": 2, "epochs": 1},
    "initialisation": {"seeds": 1, "epochs": [1, 2]},
    "index": {"widths": [10, 25], "seeds": [1, 1], "epochs": 1},
    "spin_glass": {
        "sizes": [25, 50, 100], "one_tensor_starts": 3, "tensors": [2, 2, 1], "starts": 2,
        "steps": 3, "enumeration_tensors": 2, "enumeration_starts": 3,
    },
    "annealing": {"chains": 2, "steps": 3, "sgd_seeds": 2, "sgd_epochs": 1, "images": 100},
    "redundancy": {"chains": 2, "steps": 3, "images": 100},
    "zero_error": {"widths": [2, 1024], "seeds": 1, "epochs": 1},
    "theory": {"finite_sizes": [10, 25], "draws": 20},
}  # fmt: skip


@pytest.fixture(scope="module")
def data() -> Dataset:
    return synthetic_mnist(200)


def test_every_experiment_is_tried():
    assert set(CUTS) == set(ROOM.config.experiments)


@pytest.mark.parametrize("name", CUTS)
def test_the_full_settings_build_and_step(name: str, data: Dataset):
    settings = ROOM.settings(name, "full")
    assert CUTS[name].keys() <= settings.keys()
    function = getattr(experiment, name)
    told = {"data": data, "device": "cpu", "root_seed": 1, "progress": quiet}
    takes = inspect.signature(function).parameters
    extra = {key: value for key, value in told.items() if key in takes}
    rows = function(**(settings | CUTS[name]), **extra)
    assert len(rows) > 0
    for part in rows.parts:
        assert (np.isfinite(part["value"]) == (part["status"] == "ok")).all()
