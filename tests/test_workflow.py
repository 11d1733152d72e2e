"""The workflow on a toy room: what is stale after which edit, and what survives failures."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reproductions.harness import rooms
from tests.conftest import KEY, ROOT, Repository

ROOM = f"reproductions/papers/{KEY}"
ALL = {"first", "second", "figures", "verdict", "report"}
SECOND = ALL - {"first"}
FIRST = ALL - {"second"}


@pytest.fixture(scope="module")
def done(make: Callable[[str], Repository]) -> Repository:
    """Run the toy room at two scales."""
    repository = make("done")
    for scale in ("smoke", "laptop"):
        outcome = repository.snakemake(scale=scale)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return repository


@pytest.fixture
def edit(done: Repository) -> Iterator[Callable[[str, str, str], None]]:
    """Edit files, and put them back after the test."""
    before: dict[Path, str] = {}

    def replace(path: str, old: str, new: str) -> None:
        file = done.root / path
        before.setdefault(file, file.read_text(encoding="utf-8"))
        done.replace(path, old, new)

    yield replace
    for file, text in before.items():
        file.write_text(text, encoding="utf-8")


def planned(repository: Repository, scale: str = "smoke") -> set[str]:
    """Return what a dry run would make: experiments by name, other jobs by rule."""
    outcome = repository.snakemake("-n", "--quiet", "host", scale=scale)
    said = outcome.stdout + outcome.stderr
    assert outcome.returncode == 0, said
    jobs = set()
    for rule, rest in re.findall(r"^(?:local)?rule (\w+):\n((?: {4}.*\n)*)", said, re.M):
        name = re.search(r"experiment=(\w+)", rest)
        jobs.add(name[1] if rule == "experiment" and name else rule)
    return jobs - {"all"}


def test_nothing_is_stale_after_a_run(done: Repository) -> None:
    assert planned(done) == set()
    assert planned(done, "laptop") == set()


EDITS: dict[str, tuple[str, str, str, set[str]]] = {
    "a figure": (f"{ROOM}/figures.py", "[0.0, 1.0]", "[0.0, 2.0]", {"figures", "report"}),
    "a caption": (f"{ROOM}/figures.py", "Brightness of", "How bright are", {"figures", "report"}),
    "a measure": (f"{ROOM}/figures.py", "exact(float(", "exact(1 * float(", {"verdict", "report"}),
    "a claim": (f"{ROOM}/claims.yaml", "value: 0.1", "value: 0.2", {"verdict", "report"}),
    "a README": (f"{ROOM}/README.md", "All of it", "Everything", {"report"}),
    "one experiment": (f"{ROOM}/experiment.py", "scale_factor * L", "2 * scale_factor * L", FIRST),
    "a helper of one": (f"{ROOM}/experiment.py", "/ 255", "/ 256", SECOND),
    "an optim module": (
        "reproductions/optim/layout.py",
        "return self.layers[-1].stop",
        "return self.layers[-1].stop + 0",
        FIRST,
    ),
    "an optim module that nobody uses": (
        "reproductions/optim/first_order.py",
        "import annotations",
        "import annotations\n\nUNUSED = 1",
        set(),
    ),
    "the harness's statistics": (
        "reproductions/harness/statistics.py",
        "RESAMPLES = 2000",
        "RESAMPLES = 3000",
        {"verdict", "report"},
    ),
    "the harness's tables": (
        "reproductions/harness/tables.py",
        "SCHEMA_VERSION = 1",
        "SCHEMA_VERSION = 1 + 0",
        ALL,
    ),
    "the report's template": (
        "reproductions/harness/templates/report.md.j2",
        "{",
        "\n{",
        {"report"},
    ),
    "the command line": ("reproductions/cli.py", '"--traceback"', '"--trace"', set()),
    "a pin of torch": ("constraints.txt", "\ntorch==", "\ntorch==9.", {"first", "second"} | ALL),
    "a pin of matplotlib": (
        "constraints.txt",
        "\nmatplotlib==",
        "\nmatplotlib==9.",
        {"figures", "report"},
    ),
    "a pin of a linter": ("constraints.txt", "\nruff==", "\nruff==9.", set()),
    "a comment": (f"{ROOM}/experiment.py", "    _obey(p", "    # why\n\n    _obey(p", set()),
    "a docstring": (f"{ROOM}/experiment.py", "Count parameters", "Tell parameters", set()),
    "a claims' comment": (f"{ROOM}/claims.yaml", "- id: images", "# note\n- id: images", set()),
    "a smoke size": (f"configs/{KEY}.yaml", "seeds: 8", "seeds: 7", SECOND),
    "a laptop size": (f"configs/{KEY}.yaml", "seeds: 10", "seeds: 11", set()),
    "a size that smoke replaces": (f"configs/{KEY}.yaml", "seeds: 9", "seeds: 99", set()),
    "a size of all scales": (f"configs/{KEY}.yaml", "offset: 0.5", "offset: 0.75", SECOND),
    "what is said of an experiment": (f"configs/{KEY}.yaml", "counts p", "tells p", {"report"}),
    "the root seed": ("configs/default.yaml", "root_seed: 2018", "root_seed: 2019", ALL),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_makes_exactly_these_jobs_stale(
    what: str, edit: Callable[[str, str, str], None], done: Repository
) -> None:
    path, old, new, expected = EDITS[what]
    edit(path, old, new)
    assert planned(done) == expected


def test_a_laptop_size_is_stale_at_laptop_only(
    edit: Callable[[str, str, str], None], done: Repository
) -> None:
    edit(f"configs/{KEY}.yaml", "scale_factor: 0.5", "scale_factor: 0.75")
    assert planned(done, "laptop") == FIRST


def test_the_plan_loads_nothing_heavy(done: Repository) -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['snakemake', '-n', '--config', 'scale=full']\n"
        "try: runpy.run_module('snakemake', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'pandas', 'scipy', 'matplotlib', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit('loaded ' + ', '.join(sorted(heavy)) if heavy else 0)\n"
    )
    outcome = subprocess.run(
        [*done.command()[:1], "-c", code],
        cwd=done.root,
        env=done.environment(),
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert re.search(r"total +[1-9]", outcome.stdout + outcome.stderr)


def test_a_dry_run_of_the_suite_takes_little_longer_than_one_of_a_toy(done: Repository) -> None:
    def spent(root: Path) -> float:
        before = os.times()
        outcome = subprocess.run(
            done.command("snakemake", "-n"), cwd=root, env=done.environment(), capture_output=True
        )
        after = os.times()
        assert outcome.returncode == 0, outcome.stderr.decode()
        # processor time, which other work on the machine does not stretch as it does the clock
        return (
            after.children_user + after.children_system
            - before.children_user - before.children_system
        )  # fmt: skip

    assert spent(ROOT) < 4 * spent(done.root)


def test_results_that_were_deleted_are_made_again(done: Repository) -> None:
    kept = done.results().with_name("kept")
    done.results().rename(kept)
    try:
        assert planned(done) == ALL | {"first", "second"}
    finally:
        kept.rename(done.results())


def test_a_part_does_not_pass_for_the_whole(repository: Repository) -> None:
    table = f"results/smoke/{KEY}/tables/first.parquet"
    assert repository.snakemake("--", table).returncode == 0
    assert planned(repository) == ALL - {"first"} | {"second", "dataset"}


@pytest.mark.parametrize("setting", ["scale=smok", f"papers={KEY}s", "scal=smoke"])
def test_wrong_use_is_one_readable_line(done: Repository, setting: str) -> None:
    outcome = done.run("snakemake", "-n", "--config", setting)
    assert outcome.returncode == 2
    assert "did you mean" in outcome.stderr
    assert "Traceback" not in outcome.stderr + outcome.stdout


def test_a_paper_is_a_target_from_another_directory(done: Repository, tmp_path: Path) -> None:
    snakefile = str(done.root / "Snakefile")
    outcome = done.run(
        "snakemake", "-n", "-s", snakefile, "--config", "scale=smoke", "--", KEY, cwd=tmp_path
    )
    assert outcome.returncode == 0, outcome.stderr
    assert "Nothing to be done" in outcome.stdout + outcome.stderr


def test_lint_is_clean(done: Repository) -> None:
    outcome = done.run("snakemake", "--lint")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_snakemake_makes_its_own_report(done: Repository, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    outcome = done.snakemake("--report", str(page))
    assert outcome.returncode == 0, outcome.stderr
    assert page.stat().st_size > 100_000


def test_check_tells_changed_records_from_equal_ones(done: Repository, tmp_path: Path) -> None:
    accepted = done.cli("record", "--scale", "smoke", "--force")
    assert accepted.returncode == 0, accepted.stderr
    assert done.snakemake("--", "check").returncode == 0
    path = done.root / "results" / "recorded" / "smoke" / f"{KEY}.json"
    original = path.read_text(encoding="utf-8")
    content = json.loads(original)
    content["claims"][0]["measured"] += 0.5
    path.write_text(json.dumps(content), encoding="utf-8")
    outcome = done.snakemake("--", "check")
    path.write_text(original, encoding="utf-8")
    assert outcome.returncode == 1
    assert "parameters-counted" in outcome.stdout + outcome.stderr
    assert "moved" in outcome.stdout + outcome.stderr


# ---------------------------------------------------------------- failures


def names(folder: Path, pattern: str) -> set[str]:
    """Return the names of files, without their suffix."""
    return {path.stem for path in folder.glob(pattern)}


def verdicts(repository: Repository) -> dict[str, str]:
    """Return claim -> verdict."""
    complete = repository.results() / "verdict.json"
    path = complete if complete.is_file() else complete.with_name("verdict.partial.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    return {claim["id"]: claim["verdict"] for claim in content["claims"]}


def test_a_failed_experiment_stops_neither_the_others_nor_the_report(
    repository: Repository,
) -> None:
    (repository.root / "break-first").touch()
    outcome = repository.snakemake()
    said = outcome.stdout + outcome.stderr
    assert outcome.returncode == 1
    assert f"failed: {KEY}/first: RuntimeError: a test broke it" in said
    results = repository.results()
    assert names(results, "tables/*.parquet") == {"second"}
    assert names(results, "failures/*.json") == {"first"}
    assert "a test broke it" in (results / "logs" / "first.log").read_text(encoding="utf-8")
    page = repository.root / "results" / "smoke" / "report"
    assert "a test broke it" in (page / "index.html").read_text(encoding="utf-8")
    assert verdicts(repository) == {
        "parameters-counted": "not tested",
        "images-are-bright": "reproduced",
    }
    # mended, it runs again and leaves no trace of the failure
    (repository.root / "break-first").unlink()
    assert planned(repository) == ALL - {"second"}
    assert repository.snakemake().returncode == 0
    assert set(verdicts(repository).values()) == {"reproduced"}
    assert not list(results.rglob("*.partial*"))
    assert names(results, "failures/*.json") == set()
    assert "a test broke it" not in (page / "index.html").read_text(encoding="utf-8")


def test_a_failed_figure_is_told_and_tried_again(repository: Repository) -> None:
    (repository.root / "break-images").touch()
    for _ in range(2):  # what the first run leaves must not look finished to the second
        outcome = repository.snakemake()
        assert outcome.returncode == 1, outcome.stdout + outcome.stderr
        assert not (repository.results() / "figures" / "index.json").exists()
        index = json.loads((repository.results() / "figures" / "index.partial.json").read_text())
        assert index["figures"] == ["counts"]
        assert "a test broke the figure" in index["skipped"]["images"]
        page = repository.root / "results" / "smoke" / "report" / "index.html"
        assert "a test broke the figure" in page.read_text(encoding="utf-8")
    (repository.root / "break-images").unlink()
    assert repository.snakemake().returncode == 0
    index = json.loads((repository.results() / "figures" / "index.json").read_text())
    assert index == {"figures": ["counts", "images"], "skipped": {}}


def start(repository: Repository, *words: str) -> subprocess.Popen[Any]:
    """Start a command in a process group of its own and wait until the experiment is held."""
    (repository.root / "hold-first").touch()
    process = subprocess.Popen(
        repository.command(*words),
        cwd=repository.root,
        env=repository.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (repository.root / "held").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("by", ["snakemake", "hand"])
def test_a_killed_run_leaves_nothing_that_looks_finished(repository: Repository, by: str) -> None:
    words = {
        "snakemake": ("snakemake", "--cores", "2", "--config", "scale=smoke"),
        "hand": ("reproductions", "run", f"{KEY}/first", "--scale", "smoke"),
    }[by]
    process = start(repository, *words)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (repository.root / "hold-first").unlink()
    assert "first" not in names(repository.results(), "tables/*.parquet")
    assert names(repository.results(), "failures/*.json") == set()
    if by == "snakemake":  # it left a lock as well
        assert repository.run("snakemake", "--unlock").returncode == 0
    outcome = repository.snakemake()
    assert outcome.returncode == 0, outcome.stderr
    assert set(verdicts(repository).values()) == {"reproduced"}


def test_the_experiment_that_took_longest_when_recorded_starts_first() -> None:
    known = rooms.plan(ROOT, {"scale": "laptop"})
    record = json.loads((ROOT / "results/recorded/laptop/reddi2018adam.json").read_text("utf-8"))
    took = {name: about["wall_seconds"] for name, about in record["provenance"].items()}
    asked = [SimpleNamespace(paper="reddi2018adam", experiment=name) for name in took]
    order = sorted(asked, key=known.priority, reverse=True)
    assert order[0].experiment == max(took, key=took.__getitem__)
    assert known.priority(SimpleNamespace(paper="reddi2018adam", experiment="cifarnet")) == 0
