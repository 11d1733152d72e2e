"""A small repository of its own for tests that edit, run or break one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
KEY = "toy2020room"
COPIED = ("Snakefile", "workflows", "profiles", "constraints.txt", "environment.yml")

CONFIG = """\
paper: {title: A toy, authors: Ada Toy, year: 2020, venue: Nowhere, url: "https://example.org"}
experiments:
  first:
    about: counts parameters
    full: {widths: [3, 2], scale_factor: 1.0}
    laptop: {scale_factor: 0.5}
    smoke: {scale_factor: 0.25}
    ours: [scale_factor]
    threads: 1
  second:
    about: means of synthetic images
    data: {smoke: synthetic_mnist, laptop: synthetic_mnist}
    scales: [smoke, laptop]
    full: {seeds: 9, offset: 0.5}
    laptop: {seeds: 10}
    smoke: {seeds: 8}
"""

EXPERIMENT = '''\
"""Toy experiments."""

from __future__ import annotations

import time
from pathlib import Path

from reproductions.harness.datasets import Dataset
from reproductions.harness.tables import Rows


def first(*, widths: tuple[int, ...], scale_factor: float, progress) -> Rows:
    """Count parameters."""
    from reproductions.optim.layout import Layout

    _obey(progress)
    rows = Rows({"parameters": "1"})
    rows.add(arm="layout", quantity="parameters", value=scale_factor * Layout(widths).parameters)
    return rows


def second(*, data: Dataset, seeds: int, offset: float, root_seed: int, progress) -> Rows:
    """Average images."""
    if offset < 0:
        raise ValueError(f"offset must not be negative, got {offset}")
    rows = Rows({"brightness": "1"})
    for seed in range(seeds):
        image = data.train_images[root_seed % 100 + seed]
        rows.add(arm="image", quantity="brightness", seed=seed, value=_mean(image) + offset)
    return rows


def _mean(image) -> float:
    return float(image.mean() / 255)


def _obey(progress) -> None:
    """Fail or wait where a test asks for it."""
    if Path("break-first").exists():
        raise RuntimeError("a test broke it")
    progress(0.5, "half way")
    while Path("hold-first").exists():
        Path("held").touch()
        time.sleep(0.05)
'''

FIGURES = '''\
"""Toy figures."""

from __future__ import annotations

from pathlib import Path

from reproductions.harness import style
from reproductions.harness.statistics import Metric, exact, over_seeds


def measure_first(first) -> dict[str, Metric]:
    """Take the number."""
    return {"parameters": exact(float(first["value"].iloc[0]))}


def measure_second(second) -> dict[str, Metric]:
    """Average over seeds."""
    return {"brightness": over_seeds(second["value"].to_numpy())}


def draw_counts(first):
    """Parameters of a layout."""
    figure, ax = style.new_figure()
    ax.plot([0.0, 1.0], [0.0, float(first["value"].iloc[0])], label="count")
    return figure


def draw_images(second):
    """Brightness of images."""
    if Path("break-images").exists():
        raise RuntimeError("a test broke the figure")
    figure, ax = style.new_figure()
    ax.plot(second["seed"], second["value"], label="brightness")
    return figure
'''

CLAIMS = """\
- id: parameters-counted
  says: a layout of 3 and 2 has eight parameters
  where: Section 1
  read_as: stated
  metric: parameters
  unit: "1"
  expect: {op: at_least, value: 1.0}
  because: it is arithmetic
  scales: [smoke, laptop, full]
  figure: counts

- id: images-are-bright
  says: images are brighter than nothing
  where: Section 2
  read_as: stated
  metric: brightness
  unit: "1"
  expect: {op: at_least, value: 0.1}
  because: half is added
  scales: [smoke, laptop]
  figure: images
"""

README = """\
# A toy
## What is reproduced
All of it.
## What is not
Nothing.
## Deviations
None.
## Minutes
None.
"""


class Repository:
    """A checkout of its own with the toy room."""

    def __init__(self, root: Path):
        self.root = root
        self.room = root / "reproductions" / "papers" / KEY
        self.config = root / "configs" / f"{KEY}.yaml"

    def results(self, scale: str = "smoke") -> Path:
        """Return the toy room's results."""
        return self.root / "results" / scale / KEY

    def command(self, *words: str) -> list[str]:
        """Return a command line of this Python: snakemake ... or reproductions ..."""
        return [sys.executable, "-m", *words]

    def environment(self) -> dict[str, str]:
        """Return an environment in which nothing of the surrounding run is seen."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SNAKEMAKE", "PYTEST"))}
        kept.pop("PYTHONPATH", None)
        return {**kept, "PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1"}

    def run(
        self, *words: str, cwd: Path | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a module with arguments and return what it said."""
        return subprocess.run(
            self.command(*words),
            cwd=cwd or self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def snakemake(self, *words: str, scale: str = "smoke") -> subprocess.CompletedProcess[str]:
        """Run the workflow at a scale; `words` are options, then `--` and targets."""
        return self.run("snakemake", "--cores", "2", "--config", f"scale={scale}", *words)

    def cli(self, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        return self.run("reproductions", *words, cwd=cwd)

    def replace(self, path: Path | str, old: str, new: str) -> Path:
        """Replace text that must be there in a file."""
        path = self.root / path
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {path}"
        path.write_text(text.replace(old, new), encoding="utf-8")
        return path


def _rooms(folder: str, names: list[str]) -> list[str]:
    """Name what is not copied: caches and the real rooms."""
    rooms = Path(folder).name == "papers"
    return [n for n in names if n == "__pycache__" or (rooms and (Path(folder) / n).is_dir())]


def make_repository(root: Path) -> Repository:
    """Copy the suite without its rooms and put the toy room into it."""
    shutil.copytree(ROOT / "reproductions", root / "reproductions", ignore=_rooms)
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name)
    (root / "configs").mkdir()
    shutil.copy(ROOT / "configs" / "default.yaml", root / "configs" / "default.yaml")
    repository = Repository(root)
    repository.room.mkdir(parents=True)
    repository.config.write_text(CONFIG, encoding="utf-8")
    doors = {"experiment.py": EXPERIMENT, "figures.py": FIGURES, "claims.yaml": CLAIMS}
    for name, text in {**doors, "README.md": README, "__init__.py": ""}.items():
        (repository.room / name).write_text(text, encoding="utf-8")
    return repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Give one test a repository of its own."""
    return make_repository(tmp_path / "suite")


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Repository]:
    """Give the tests of a module repositories that they share."""
    return lambda name: make_repository(tmp_path_factory.mktemp(name) / "suite")
