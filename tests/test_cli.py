"""The command line: what it refuses and how it says so, what it loads, new rooms, and check."""

from __future__ import annotations

import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reproductions import cli, papers
from reproductions.harness import rooms
from tests.conftest import KEY, Repository

COMMANDS = ["list", "fetch", "run", "draw", "judge", "report", "finish", "check", "record", "new"]
SMOKE = ("--scale", "smoke")
ROOM_MODULES = (f"reproductions.papers.{KEY}", "reproductions.papers.smith2020thing")
CONFIG = f"configs/{KEY}.yaml"
CLAIMS = f"reproductions/papers/{KEY}/claims.yaml"
EXPERIMENT = f"reproductions/papers/{KEY}/experiment.py"
FIGURES = f"reproductions/papers/{KEY}/figures.py"
RESULTS = f"results/smoke/{KEY}"
TABLE = f"{RESULTS}/tables/first.parquet"
VERDICT = f"{RESULTS}/verdict.json"
RECORD = f"results/recorded/smoke/{KEY}.json"
DATA = "results/data/synthetic_mnist.npz"
FIRST, SECOND = f"{KEY}/first", f"{KEY}/second"
NEW = "smith2020thing"
Files = dict[Path, bytes]


class Outcome(NamedTuple):
    """What a command came to, as subprocess.run tells it."""

    returncode: int
    stdout: str
    stderr: str


def call(repository: Repository, *words: str) -> Outcome:
    """Run a command line in this process, on another repository: a tenth of a process's time."""
    out, err = io.StringIO(), io.StringIO()
    rooms._config.cache_clear()
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.startswith(ROOM_MODULES)]:
        del sys.modules[name]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(cli, "repository_root", lambda: repository.root)
        patch.setattr(papers, "__path__", [str(repository.root / "reproductions" / "papers")])
        patch.setattr(sys, "dont_write_bytecode", True)  # an edit may keep size and second
        with pytest.raises(SystemExit) as end:
            cli.main(list(words))
    return Outcome(int(end.value.code or 0), out.getvalue(), err.getvalue())


def files(repository: Repository) -> Files:
    """Return the files of a repository that people or later stages read."""
    found = (path for path in repository.root.rglob("*") if path.is_file())
    return {p: p.read_bytes() for p in found if p.suffix not in (".pyc", ".log")}


@pytest.fixture(scope="module")
def made(make: Callable[[str], Repository]) -> Repository:
    """Share a repository in which the toy room was run, judged, drawn, reported and recorded."""
    repository = make("cli")
    ran = repository.cli("run", KEY, *SMOKE)  # outside any checkout, which may have changes
    assert ran.returncode == 0, ran.stderr
    for command in ("judge", "draw", "report", "record"):
        outcome = call(repository, command, *SMOKE)
        assert outcome.returncode == 0, outcome.stderr
    return repository


@pytest.fixture
def done(made: Repository) -> Iterator[Repository]:
    """Put the shared repository back after a test."""
    before = files(made)
    times = {path: path.stat().st_mtime_ns for path in before}
    yield made
    after = files(made)
    for path in after.keys() - before.keys():
        path.unlink()
    for path, content in before.items():
        if after.get(path) != content:
            path.write_bytes(content)
            os.utime(path, ns=(times[path], times[path]))


def refused(repository: Repository, *words: str) -> str:
    """Run a command that must be refused in one message and must lose nothing; return that."""
    before = files(repository)
    outcome = call(repository, *words)
    said = outcome.stdout + outcome.stderr
    assert outcome.returncode == 2, said
    assert "Traceback" not in said
    after = files(repository)
    assert {path: after.get(path) for path in before} == before, "a file was changed"
    (message,) = re.findall(r"^error: (.*)", outcome.stderr, re.M)
    return message


# ---------------------------------------------------------------- words that are refused

WORDS = {
    "an unknown paper, run": (["run", f"{KEY}s"], f"did you mean '{KEY}'"),
    "an unknown paper, judged": (["judge", "toy202room"], f"did you mean '{KEY}'"),
    "an unknown paper, drawn": (["draw", "toy202room"], f"did you mean '{KEY}'"),
    "an unknown paper, reported": (["report", "toy202room"], f"did you mean '{KEY}'"),
    "an unknown paper, finished": (["finish", "toy202room"], f"did you mean '{KEY}'"),
    "an unknown paper, checked": (["check", "toy202room"], f"did you mean '{KEY}'"),
    "an unknown paper, recorded": (["record", "toy202room"], f"did you mean '{KEY}'"),
    "one unknown paper of two": (["judge", KEY, "other"], "no paper is called 'other'"),
    "an unknown scale": (["judge", "--scale", "smok"], "command line: scale: no scale is called"),
    "an unknown scale, guessed": (["run", KEY, "--scale", "laptp"], "did you mean 'laptop'"),
    "an unknown experiment": (["run", f"{KEY}/secnd"], f"{CONFIG}: experiments: .*mean 'second'"),
    "an experiment of other scales": (
        ["run", SECOND, "--scale", "full"],
        f"{CONFIG}: experiments.second.scales: runs at smoke, laptop only",
    ),
    "an unknown data set": (["fetch", "synthetic_mnits"], "did you mean 'synthetic_mnist'"),
    "a device that is not there": (
        ["run", FIRST, *SMOKE, "--device", "cuda:99"],
        "device: device 'cuda:99' is not there: torch sees",
    ),
    "a device that no one knows": (
        ["run", FIRST, *SMOKE, "--device", "gpu"],
        "device: device 'gpu' is unknown; use auto, cpu, cuda",
    ),
    "a scale without verdicts, checked": (
        ["check", "--scale", "full"],
        "results/full: no verdict at full scale to check: run the workflow first",
    ),
    "a scale without verdicts, recorded": (["record", "--scale", "full"], "no verdict at full"),
    "a key that is there": (["new", KEY], f"{CONFIG}: is already there; nothing was written"),
    "a key in capitals": (["new", "Smith2020adam"], "'Smith2020adam' is no key: first author"),
    "a key without a year": (["new", "smithadam"], "is no key"),
    "a key without a word": (["new", "smith2020"], "is no key"),
    "a key that is a path": (["new", "../smith2020adam"], "is no key"),
    "a key with foreign digits": (["new", "smith٢٠٢٠adam"], "is no key"),
    "an empty key": (["new", ""], "is no key"),
}


@pytest.mark.parametrize("what", WORDS)
def test_wrong_words_are_refused_in_one_message(what: str, done: Repository) -> None:
    words, message = WORDS[what]
    assert re.search(message, refused(done, *words))


USAGE = {
    "an unknown command": (["judg"], "Did you mean 'judge'"),
    "an unknown option": (["judge", "--scael", "smoke"], "--scale"),
    "nothing to run": (["run"], "Missing argument 'what'"),
    "text for a seed": (["run", FIRST, "--root-seed", "1e3"], "Invalid value for '--root-seed'"),
    "no workers": (["draw", "--workers", "0"], "Invalid value for '--workers'"),
}


@pytest.mark.parametrize("what", USAGE)
def test_wrong_usage_is_explained(what: str, done: Repository) -> None:
    words, message = USAGE[what]
    outcome = call(done, *words)
    assert outcome.returncode == 2
    assert message in outcome.stderr
    assert "Traceback" not in outcome.stderr


# ---------------------------------------------------------------- files that are refused

RUN_FIRST = ["run", FIRST, *SMOKE]
JUDGE, DRAW, CHECK = ["judge", *SMOKE], ["draw", *SMOKE], ["check", *SMOKE]
TEXTS = {
    "a key that the signature lacks": (
        (CONFIG, "{widths: [3, 2],", "{widhts: [3, 2],"),
        RUN_FIRST,
        f"{CONFIG}: experiments.first.full.widhts: unknown key .did you mean 'widths'",
    ),
    "a key that no experiment has": (
        (CONFIG, "    threads: 1", "    treads: 1"),
        ["list"],
        f"{CONFIG}: experiments.first.treads: unknown key .did you mean 'threads'",
    ),
    "text where a number belongs": (
        (CONFIG, "smoke: {scale_factor: 0.25}", "smoke: {scale_factor: 1e-3}"),
        RUN_FIRST,
        f"{CONFIG}: experiments.first.smoke.scale_factor: must be a number, got '1e-3', which YAML"
        " reads as text: write 0.001",
    ),
    "a number that is not finite": (
        (CONFIG, "smoke: {scale_factor: 0.25}", "smoke: {scale_factor: .nan}"),
        RUN_FIRST,
        f"{CONFIG}: experiments.first.smoke.scale_factor: must be a finite number, got nan",
    ),
    "a number that the experiment refuses": (
        (CONFIG, "offset: 0.5", "offset: -0.5"),
        ["run", SECOND, *SMOKE],
        f"{CONFIG}: experiments.second.offset: offset must not be negative, got -0.5",
    ),
    "a setting that is missing": (
        (CONFIG, "widths: [3, 2], ", ""),
        RUN_FIRST,
        f"{CONFIG}: experiments.first.full: the setting 'widths' is missing",
    ),
    "a config that is not YAML": (
        (CONFIG, "full: {widths", "full: {{widths"),
        ["list"],
        f"{CONFIG}: line \\d+: not valid YAML",
    ),
    "an unknown scale in a config": (
        (CONFIG, "scales: [smoke, laptop]", "scales: [smok, laptop]"),
        ["list"],
        f"{CONFIG}: experiments.second.scales: no scale is called 'smok' .did you mean 'smoke'",
    ),
    "an unknown key in the defaults": (
        ("configs/default.yaml", "device: auto", "devise: auto"),
        ["list"],
        "configs/default.yaml: devise: unknown key .did you mean 'device'",
    ),
    "text for the root seed": (
        ("configs/default.yaml", "root_seed: 2018", "root_seed: 2e3"),
        ["list"],
        "configs/default.yaml: root_seed: must be a whole number, got '2e3'",
    ),
    "a claim without its key": (
        (CLAIMS, "  because: it is arithmetic\n", ""),
        JUDGE,
        f"{CLAIMS}: claim parameters-counted: because: is missing",
    ),
    "a claim's key misspelt": (
        (CLAIMS, "  where: Section 1", "  wehre: Section 1"),
        JUDGE,
        f"{CLAIMS}: claim parameters-counted: wehre: unknown key .did you mean 'where'",
    ),
    "a claim that is no list": (
        (CLAIMS, "scales: [smoke, laptop]\n", "scales: smoke\n"),
        JUDGE,
        f"{CLAIMS}: claim images-are-bright: scales: must be a list",
    ),
    "an unknown comparison": (
        (CLAIMS, "{op: at_least, value: 0.1}", "{op: at_leats, value: 0.1}"),
        JUDGE,
        f"{CLAIMS}: claim images-are-bright: expect.op: unknown comparison .*mean 'at_least'",
    ),
    "a claim of no metric": (
        (CLAIMS, "metric: brightness", "metric: britness"),
        JUDGE,
        f"{CLAIMS}: claim images-are-bright: metric: .*did you mean 'brightness'",
    ),
    "two claims of one name": (
        (CLAIMS, "id: images-are-bright", "id: parameters-counted"),
        JUDGE,
        f"{CLAIMS}: claim parameters-counted: id: another claim has the same id",
    ),
    "a measure of no experiment": (
        (FIGURES, "def measure_second(second)", "def measure_second(secnd)"),
        JUDGE,
        f"{FIGURES}: no experiment is called 'secnd' .did you mean 'second'",
    ),
    "a figure of no experiment": (
        (FIGURES, "def draw_images(second)", "def draw_images(secnd)"),
        DRAW,
        f"{FIGURES}: no experiment is called 'secnd'",
    ),
    "a column that the table lacks": (
        (FIGURES, 'second["value"].to_numpy()', 'select(second, width=3)["value"].to_numpy()'),
        JUDGE,
        "tables/second.parquet: width: no such column .known: arm",
    ),
    "a verdict of another version": (
        (VERDICT, '"version": 1', '"version": 2'),
        CHECK,
        f"{VERDICT}: version: a verdict of version 2; this is version 1: make it again",
    ),
    "a verdict of another version, recorded": (
        (VERDICT, '"version": 1', '"version": 2'),
        ["record", *SMOKE],
        f"{VERDICT}: version: a verdict of version 2",
    ),
    "a verdict of another version, finished": (
        (VERDICT, '"version": 1', '"version": 2'),
        ["finish", *SMOKE],
        f"{VERDICT}: version: a verdict of version 2",
    ),
    "a verdict without claims": (
        (VERDICT, '"claims": [', '"clams": ['),
        CHECK,
        f"{VERDICT}: claims: a verdict without 'claims'",
    ),
    "a record of another version": (
        (RECORD, '"version": 1', '"version": 0'),
        CHECK,
        f"{RECORD}: version: a record of version 0; this is version 1",
    ),
    "a source that is not Python": (
        (EXPERIMENT, "def second(*,", "def second(:*,"),
        ["run", SECOND, *SMOKE],
        f"{EXPERIMENT}: line \\d+: not valid Python",
    ),
}


@pytest.mark.parametrize("what", TEXTS)
def test_an_unusable_file_is_named_with_its_key(what: str, done: Repository) -> None:
    (path, old, new), words, message = TEXTS[what]
    done.replace(path, old, new)
    if "select(" in new:
        done.replace(
            path,
            "import style\n",
            "import style\nfrom reproductions.harness.tables import select\n",
        )
    assert re.search(message, refused(done, *words))


def cut(path: Path) -> None:
    """Cut a file short."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def drop_column(path: Path) -> None:
    """Take a column out of a table."""
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["status"]), path)


def drop_rows(path: Path) -> None:
    """Take every row out of a table."""
    pq.write_table(pq.read_table(path)[:0], path)


def drop_header(path: Path) -> None:
    """Make a table that this suite did not write."""
    pq.write_table(pa.table({"value": [1.0]}), path)


def age(path: Path) -> None:
    """Let a table be of another version of the schema."""
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"reproductions"]) | {"schema": 0}
    metadata = {b"reproductions": json.dumps(about).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)


DAMAGE = {
    "a table cut short": (TABLE, cut, JUDGE, "first.parquet: cut short or damaged"),
    "a table cut short, drawn": (TABLE, cut, DRAW, "first.parquet: cut short or damaged"),
    "a table without a column": (TABLE, drop_column, JUDGE, "the table has no column 'status'"),
    "an empty table": (TABLE, drop_rows, JUDGE, "first.parquet: the table is empty; delete"),
    "a table of others": (TABLE, drop_header, JUDGE, "first.parquet: not a table of this suite"),
    "a table of another version": (TABLE, age, JUDGE, "written with schema version 0, this is"),
    "a verdict cut short": (VERDICT, cut, CHECK, f"{VERDICT}: cut short or not JSON"),
    "a record cut short": (RECORD, cut, CHECK, f"{RECORD}: cut short or not JSON"),
    "data cut short": (DATA, cut, ["run", SECOND, *SMOKE], "synthetic_mnist.npz"),
    "a verdict that is gone": (VERDICT, Path.unlink, CHECK, "no verdict at smoke scale to check"),
    "a config that is gone": (CONFIG, Path.unlink, ["list"], f"{CONFIG}: there is no such file"),
    "figures that are gone": (FIGURES, Path.unlink, JUDGE, f"{FIGURES}: there is no such file"),
    "claims that are gone": (CLAIMS, Path.unlink, JUDGE, f"{CLAIMS}: there is no such file"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_file_is_named(what: str, done: Repository) -> None:
    path, damage, words, message = DAMAGE[what]
    damage(done.root / path)
    assert re.search(message, refused(done, *words))


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        ("-0.5", "lr must be finite and not negative, got -0.5"),
        (".inf", "must be a finite number, got inf"),
        (".nan", "must be a finite number, got nan"),
        ("1e-3", "must be a number, got '1e-3', which YAML reads as text: write 0.001"),
    ],
)
def test_a_learning_rate_that_no_method_can_use_is_named(
    rate: str, message: str, done: Repository
) -> None:
    train = "from reproductions.optim.first_order import sgd\n    [sgd(lr) for lr in rates]\n    "
    done.replace(EXPERIMENT, "_obey(progress)\n    rows", f"{train}rows")
    done.replace(
        EXPERIMENT,
        "scale_factor: float, progress",
        "scale_factor: float, rates: list[float], progress",
    )
    done.replace(CONFIG, "smoke: {scale_factor: 0.25}", f"smoke: {{rates: [0.1, {rate}]}}")
    done.replace(CONFIG, "full: {widths", "full: {rates: [0.1], widths")
    where = rf"{CONFIG}: experiments\.first(\.smoke)?\.rates(\[1\])?: "
    assert re.search(where + re.escape(message), refused(done, *RUN_FIRST))


def test_an_experiment_without_rows_leaves_the_table_of_before(done: Repository) -> None:
    done.replace(EXPERIMENT, "return rows\n\n\ndef second", "return Rows({})\n\n\ndef second")
    said = refused(done, *RUN_FIRST)
    assert re.search(f"{CONFIG}: experiments.first: .*the experiment returned no rows", said)
    assert call(done, *JUDGE).returncode == 0
    verdicts = json.loads((done.root / VERDICT).read_text(encoding="utf-8"))["claims"]
    assert verdicts[0]["verdict"] == "not tested"  # the table is of other sources by now


def test_wrong_use_leaves_a_good_table_in_force(done: Repository) -> None:
    refused(done, *RUN_FIRST, "--device", "gpu")
    assert not list((done.root / RESULTS).glob("failures/*"))
    assert call(done, *JUDGE).returncode == 0
    assert call(done, *CHECK).returncode == 0


def test_wrong_use_without_a_table_is_told_in_the_report(done: Repository) -> None:
    (done.root / TABLE).unlink()
    refused(done, *RUN_FIRST, "--device", "gpu")
    outcome = call(done, *JUDGE)
    assert outcome.returncode == 0
    (first, _) = json.loads((done.root / VERDICT).read_text(encoding="utf-8"))["claims"]
    assert (first["verdict"], first["measured"]) == ("not tested", None)
    assert "device 'gpu' is unknown" in first["reason"]


def test_a_mistake_in_the_code_is_one_line_and_exit_status_1(done: Repository) -> None:
    done.replace(FIGURES, 'second["value"]', 'second["valeu"]')
    outcome = call(done, *JUDGE)
    assert outcome.returncode == 1
    assert re.search(r"^error: KeyError: 'valeu'; --traceback shows where$", outcome.stderr, re.M)
    assert "Traceback" not in outcome.stderr
    assert "Traceback" in (done.root / RESULTS / "logs" / "verdict.log").read_text("utf-8")


@pytest.mark.parametrize(
    "words",
    [
        ["--traceback", "run", FIRST, *SMOKE, "--device", "gpu"],
        ["run", f"{KEY}/secnd", "--traceback"],
        ["judge", "--traceback", "--scale", "smok"],
    ],
)
def test_traceback_anywhere_shows_where_an_error_arose(words: list[str], done: Repository) -> None:
    outcome = done.cli(*words)
    assert outcome.returncode != 0
    assert "Traceback (most recent call last)" in outcome.stderr
    assert "UserError" in outcome.stderr


# ---------------------------------------------------------------- help, and what is loaded


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_a_command(command: str, made: Repository) -> None:
    outcome = call(made, command, "--help")
    assert outcome.returncode == 0
    assert f"reproductions {command}" in outcome.stdout
    text = re.sub(r"[^\w.:,;` ]+", " ", outcome.stdout).partition("Options")[0]
    assert len(text.split()) >= 8, text
    for option in set(re.findall(r" (--[a-z-]+)", outcome.stdout)):
        line = re.findall(rf"{option} .*$", outcome.stdout, re.M)[0]
        assert len(re.findall(r"[a-z]{2,}", line)) > 3, f"{option} is not explained"


def test_help_lists_every_command_and_the_exit_statuses(made: Repository) -> None:
    outcome = call(made, "--help")
    said = " ".join(outcome.stdout.split())
    assert outcome.returncode == 0
    assert re.findall(r"│ ([a-z]+) {2,}[A-Z]", outcome.stdout) == COMMANDS
    assert "Exit status: 0 well, 1 something failed or moved, 2 wrong use." in said


LOADS = """\
import json, sys
from reproductions.cli import main
loaded = {}
for command in (["list"], ["check"], ["record", "--force"], ["report"], ["finish"], ["judge"], ["draw"]):
    try:
        main(command + (["--scale", "smoke"] if command != ["list"] else []))
    except SystemExit as end:
        assert not end.code, (command, end.code)
    loaded[command[0]] = sorted({"torch", "torchvision", "pandas", "matplotlib"} & set(sys.modules))
print(json.dumps(loaded))
"""


def test_what_does_not_compute_never_loads_torch(done: Repository) -> None:
    outcome = subprocess.run(
        [sys.executable, "-c", LOADS],
        cwd=done.root,
        env=done.environment(),
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == 0, outcome.stderr
    loaded = json.loads(outcome.stdout.splitlines()[-1])
    assert not any("torch" in name for names in loaded.values() for name in names), loaded
    assert loaded["list"] == loaded["check"] == loaded["report"] == []
    assert "matplotlib" in loaded["draw"]  # the count does see what is loaded


def test_list_tells_papers_experiments_and_verdicts(made: Repository) -> None:
    said = call(made, "list").stdout
    for part in (f"{KEY}: A toy (Ada Toy, Nowhere)", "counts parameters", "smoke: 2 reproduced"):
        assert part in said
    assert re.search(r"second .*\[smoke, laptop only\]", said)


# ---------------------------------------------------------------- a new room


def test_a_new_room_fails_loudly_until_it_is_filled_in(done: Repository) -> None:
    before = files(done)
    outcome = call(done, "new", NEW)
    assert outcome.returncode == 0, outcome.stderr
    written = {str(path.relative_to(done.root)) for path in files(done).keys() - before.keys()}
    assert written == set(re.findall(r"^made (.*)$", outcome.stdout, re.M))
    room = f"reproductions/papers/{NEW}"
    doors = {f"{room}/{name}" for name in ("README.md", "claims.yaml", "experiment.py")}
    assert doors | {f"{room}/figures.py", f"configs/{NEW}.yaml"} <= written
    for words, culprit in (
        (["run", NEW], f"configs/{NEW}.yaml"),
        (["judge", NEW], "claims.yaml"),
        (["draw", NEW], "figures.py"),
    ):
        said = refused(done, *words, *SMOKE)
        assert re.search(rf"{culprit}: line \d+: still to be done: .*FILL IN", said)
    assert not (done.root / f"results/smoke/{NEW}/verdict.json").exists()


def test_a_new_room_stops_no_other_room(done: Repository) -> None:
    assert call(done, "new", NEW).returncode == 0
    assert NEW in call(done, "list").stdout
    assert call(done, *CHECK).returncode == 0
    assert call(done, "judge", KEY, *SMOKE).returncode == 0


def test_a_new_room_works_once_it_is_filled_in(done: Repository) -> None:
    assert call(done, "new", NEW).returncode == 0
    room = done.root / "reproductions" / "papers" / NEW
    for path in (done.root / "configs" / f"{NEW}.yaml", *room.glob("*.*")):
        path.write_text(path.read_text(encoding="utf-8").replace("FILL IN", "Told"), "utf-8")
    outcome = call(done, "run", NEW, *SMOKE)
    assert outcome.returncode == 1  # nobody wrote the experiment
    assert "`first` is not written yet" in outcome.stderr
    text = (room / "experiment.py").read_text(encoding="utf-8")
    body = 'rows = Rows({"value": "1"})\n    rows.add(arm="a", quantity="value", value=[1.0] * steps, seed=range(steps))\n    return rows\n'
    (room / "experiment.py").write_text(re.sub(r"raise .*\n", body, text), encoding="utf-8")
    for words in (["run", NEW], ["judge", NEW], ["draw", NEW], ["report"]):
        outcome = call(done, *words, *SMOKE)
        assert outcome.returncode == 0, outcome.stderr
    content = json.loads((done.root / f"results/smoke/{NEW}/verdict.json").read_text("utf-8"))
    assert [claim["verdict"] for claim in content["claims"]] == ["reproduced"]


# ---------------------------------------------------------------- record and check


def test_check_finds_the_record_from_another_directory(done: Repository, tmp_path: Path) -> None:
    outcome = done.cli(*CHECK, cwd=tmp_path)
    assert (outcome.returncode, outcome.stdout) == (
        0,
        f"check: 2 claims of {KEY}: as recorded\n",
    )
    assert not list(tmp_path.iterdir())


def test_recording_again_changes_nothing(done: Repository) -> None:
    before = files(done)
    assert call(done, "record", *SMOKE).returncode == 0
    assert files(done) == before


def test_check_exits_1_where_a_number_moved(done: Repository, tmp_path: Path) -> None:
    content = json.loads((done.root / VERDICT).read_text(encoding="utf-8"))
    content["claims"][1]["measured"] += 1.0
    (done.root / VERDICT).write_text(json.dumps(content), encoding="utf-8")
    outcome = done.cli(*CHECK, cwd=tmp_path)
    assert outcome.returncode == 1
    assert re.search(rf"^{KEY} +images-are-bright +moved +0\.\d+ +1\.\d+", outcome.stdout, re.M)
    assert "parameters-counted" not in outcome.stdout


def test_check_exits_1_where_a_verdict_changed(done: Repository) -> None:
    content = json.loads((done.root / VERDICT).read_text(encoding="utf-8"))
    content["claims"][0]["verdict"] = "refuted"
    (done.root / VERDICT).write_text(json.dumps(content), encoding="utf-8")
    outcome = call(done, *CHECK)
    assert outcome.returncode == 1
    assert re.search(r"parameters-counted +verdict +reproduced +refuted", outcome.stdout)


def test_check_exits_1_where_a_table_changed(done: Repository) -> None:
    table = pq.read_table(done.root / TABLE)
    doubled = pa.array([2 * value for value in table["value"].to_pylist()])
    at = table.column_names.index("value")
    pq.write_table(table.set_column(at, "value", doubled), done.root / TABLE)
    assert call(done, *JUDGE).returncode == 0
    outcome = call(done, *CHECK)
    assert outcome.returncode == 1
    assert re.search(r"parameters-counted +moved +2 +4", outcome.stdout)


def test_a_refuted_claim_that_was_recorded_so_passes(done: Repository) -> None:
    done.replace(CLAIMS, "value: 1.0", "value: 100.0")
    assert call(done, *JUDGE).returncode == 0
    assert call(done, *CHECK).returncode == 1
    assert call(done, "record", *SMOKE).returncode == 0
    outcome = call(done, *CHECK)
    assert outcome.returncode == 0
    assert "as recorded" in outcome.stdout


def test_check_passes_over_rooms_that_were_not_run(done: Repository, tmp_path: Path) -> None:
    assert call(done, "new", NEW).returncode == 0
    outcome = call(done, *CHECK)
    assert outcome.returncode == 0
    assert f"{NEW}: not run at smoke scale" in outcome.stdout
    assert call(done, "check", KEY, *SMOKE).returncode == 0
    assert "no verdict at smoke scale" in refused(done, "check", NEW, *SMOKE)


def test_check_exits_1_where_nothing_was_recorded(done: Repository) -> None:
    (done.root / RECORD).unlink()
    outcome = call(done, *CHECK)
    assert outcome.returncode == 1
    assert f"python -m reproductions record {KEY} --scale smoke" in outcome.stdout


@pytest.mark.parametrize("moved", [False, True])
def test_check_writes_junit_and_a_summary(moved: bool, done: Repository, tmp_path: Path) -> None:
    if moved:
        content = json.loads((done.root / VERDICT).read_text(encoding="utf-8"))
        content["claims"][0]["measured"] += 1.0
        (done.root / VERDICT).write_text(json.dumps(content), encoding="utf-8")
    paths = [tmp_path / "deep" / name for name in ("check.xml", "check.md", "check.log")]
    options = [
        f"--{name}={path}" for name, path in zip(("junit", "summary", "log"), paths, strict=True)
    ]
    outcome = call(done, *CHECK, *options)
    assert outcome.returncode == int(moved)
    (suite,) = ElementTree.parse(paths[0]).getroot()
    assert [case.get("name") for case in suite] == ["parameters-counted", "images-are-bright"]
    assert (suite.get("tests"), suite.get("failures")) == ("2", str(int(moved)))
    assert len(suite.findall("testcase/failure")) == int(moved)
    summary = paths[1].read_text(encoding="utf-8")
    assert f"| {KEY} | smoke | synthetic_mnist | 2 | 0 | 0 | 0 |" in summary
    assert ("Nothing differs from the record." in summary) is not moved
    assert paths[2].read_text(encoding="utf-8") == outcome.stdout


def test_record_refuses_what_the_sources_would_not_give_again(done: Repository) -> None:
    done.replace(EXPERIMENT, "/ 255", "/ 256")
    said = refused(done, "record", *SMOKE)
    assert re.search(f"{VERDICT}: second: its table comes from other sources.*--force", said)
    assert call(done, "record", "--force", *SMOKE).returncode == 0


def test_results_can_lie_elsewhere(done: Repository, tmp_path: Path) -> None:
    shutil.copytree(done.root / "results" / "smoke", tmp_path / "other" / "smoke")
    (done.root / VERDICT).unlink()
    assert "no verdict at smoke scale" in refused(done, *CHECK)
    assert done.cli(*CHECK, "--results", "other", cwd=tmp_path).returncode == 0
