"""Make a new room that fails loudly until it is filled."""

from __future__ import annotations

from pathlib import Path

from reproductions.harness.errors import UserError
from reproductions.harness.files import write_text
from reproductions.harness.rooms import KEY

OPEN = "FILL IN"

_FILES = {
    "configs/{key}.yaml": """\
# `full` holds the paper's own values; laptop and smoke only what they reduce.
paper:
  title: FILL IN the title
  authors: FILL IN the authors
  year: 0
  venue: FILL IN
  url: FILL IN
experiments:
  first:
    about: FILL IN one line
    full: {{steps: 1000}}
    laptop: {{steps: 100}}
    smoke: {{steps: 10}}
""",
    "reproductions/papers/{key}/__init__.py": "",
    "reproductions/papers/{key}/README.md": """\
# {key}

FILL IN: the paper, in two sentences.

## What is reproduced
## What is not
## Deviations
## Findings
## Minutes
""",
    "reproductions/papers/{key}/claims.yaml": """\
# Write this file first: what the paper says, where, how it was read, how close is close enough.
- id: first-claim
  says: FILL IN our paraphrase of the claim
  where: FILL IN section, figure
  read_as: stated
  metric: first_metric
  unit: "1"
  expect: {{op: at_least, value: 0.0}}
  because: FILL IN why this tolerance
  scales: [smoke, laptop, full]
""",
    "reproductions/papers/{key}/experiment.py": '''\
"""The experiments of {key}; each returns rows for its table."""

from __future__ import annotations

from reproductions.harness.tables import Rows


def first(*, steps: int) -> Rows:
    """FILL IN what is run."""
    raise NotImplementedError("reproductions/papers/{key}/experiment.py: `first` is not written yet")
''',
    "reproductions/papers/{key}/figures.py": '''\
"""What {key}'s tables show: metrics for the claims, and figures."""

from __future__ import annotations

from typing import Any

from reproductions.harness import style
from reproductions.harness.statistics import Metric, over_seeds
from reproductions.harness.tables import by_seed, select


def measure_first(first: Any) -> dict[str, Metric]:
    """FILL IN what is measured."""
    return {{"first_metric": over_seeds(by_seed(select(first, quantity="value")))}}


def draw_first(first: Any) -> Any:
    """FILL IN the caption."""
    figure, ax = style.new_figure()
    style.plot_curves(ax, select(first, quantity="value"))
    return figure
''',
}


def create(key: str, root: Path) -> list[Path]:
    """Write the files of a new room and return their paths.

    Raises:
        UserError: an unusable key, or a file that is already there.
    """
    if not KEY.fullmatch(key):
        raise UserError(f"{key!r} is no key: first author, year, one word, like smith2020adam")
    texts = {root / name.format(key=key): text.format(key=key) for name, text in _FILES.items()}
    for path in texts:
        if path.exists():
            raise UserError("is already there; nothing was written", file=path)
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)


def refuse_open(*paths: Path) -> None:
    """Refuse files that still hold what `create` wrote to be filled in.

    Raises:
        UserError: an absent file, or the first such line.
    """
    for path in paths:
        if not path.is_file():
            raise UserError("there is no such file", file=path)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        for number, line in enumerate(lines, start=1):
            if OPEN in line:
                message = f"still to be done: {line.strip()}"
                raise UserError(message, file=path, key=f"line {number}")
