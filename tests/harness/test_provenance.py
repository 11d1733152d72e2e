"""Provenance says where a number comes from, whatever is missing on the machine."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reproductions.harness import provenance
from reproductions.harness.provenance import collect, commit, plain

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def gathered(device: str = "cpu") -> dict:
    return collect({"steps": 10}, "f00", {"name": "mnist"}, device, 16, 1.23456, "2024-01-01")


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "reproductions").mkdir()
    (tmp_path / "reproductions" / "a.py").write_text("a = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_it_holds_what_the_design_asks_for_and_is_json():
    about = gathered()
    wanted = "settings source_digest commit dirty python versions cpu device threads determinism"
    assert set(wanted.split()) <= set(about)
    assert about["settings"] == {"steps": 10} and about["wall_seconds"] == 1.235
    assert about["versions"]["numpy"] == np.__version__
    assert about["cpu"] and about["peak_memory_mib"] > 1
    assert json.loads(json.dumps(about, allow_nan=False)) == about


def test_it_never_imports_torch():
    code = (
        "import sys; from reproductions.harness.provenance import collect\n"
        "about = collect({}, 'f', None, 'cpu', [1], 1.0, '')\n"
        "assert 'torch' not in sys.modules and about['threads'] is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_describes_torch_where_it_is_loaded():
    torch = pytest.importorskip("torch")
    about = gathered()
    assert about["threads"] == torch.get_num_threads()
    assert about["determinism"]["deterministic_algorithms"] in (True, False)
    assert "gpu" not in about


def test_it_names_neither_host_nor_user_nor_folder():
    import getpass
    import socket

    text = json.dumps(gathered())
    assert str(Path.cwd()) not in text and socket.gethostname() not in text
    assert f'"{getpass.getuser()}"' not in text


@needs_git
def test_a_clean_checkout_names_its_commit(checkout):
    about = commit(checkout)
    assert len(about["commit"]) == 40 and about["dirty"] is False


@needs_git
def test_a_changed_or_new_source_makes_it_dirty(checkout):
    (checkout / "notes.txt").write_text("not a source")
    assert commit(checkout)["dirty"] is False
    (checkout / "reproductions" / "b.py").write_text("b = 1\n")
    assert commit(checkout)["dirty"] is True


@needs_git
def test_another_repository_around_the_suite_is_not_ours(checkout):
    assert commit(checkout / "reproductions") == {"commit": None, "dirty": None}


@needs_git
def test_a_hook_does_not_point_git_elsewhere(checkout, monkeypatch):
    expected = commit(checkout)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert commit(checkout) == expected


def test_without_git_the_commit_is_unknown(tmp_path, monkeypatch):
    assert commit(tmp_path) == {"commit": None, "dirty": None}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == {"commit": None, "dirty": None}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.arange(2), [0, 1]),
        ((1, 2), [1, 2]),
        (range(2), [0, 1]),
        ({1: Path("a")}, {"1": "a"}),
        (math.inf, "inf"),
        (np.nan, "nan"),
        (True, True),
        (None, None),
    ],
)
def test_plain_turns_anything_into_json(value, expected):
    assert plain(value) == expected
    json.dumps(plain(value), allow_nan=False)


def test_the_machine_is_described_without_proc(tmp_path):
    assert provenance._cpu_model(tmp_path / "none")
    assert provenance._gpu_driver(tmp_path / "none") is None


def test_the_driver_version_is_read(tmp_path):
    file = tmp_path / "version"
    file.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar 5\n")
    assert provenance._gpu_driver(file) == "550.54.15"
