"""Settings are read strictly, and bound to the signature that is their schema."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reproductions.harness.bind import bind
from reproductions.harness.errors import UserError
from reproductions.harness.settings import (
    SCALES,
    Config,
    Run,
    experiments,
    read_config,
    read_run,
    resolve,
    signature,
)
from reproductions.harness.yaml_files import as_number
from tests.conftest import ROOT

DEFAULT = "scale: laptop\npapers: all\nroot_seed: 2018\ndevice: auto\n"
CONFIG = """\
paper: {title: T, authors: A, year: 2020, venue: V, url: "https://example.org"}
experiments:
  first:
    about: one line
    full: {steps: 100, lr: 0.1, widths: [3, 2]}
    laptop: {steps: 10}
    smoke: {steps: 1, lr: 1}
    ours: [lr]
"""
SOURCE = """\
def first(*, steps: int, lr: float, widths: list[int], data, device: str, root_seed, progress):
    pass
def second(steps): pass
def third(*, steps: int = 3, **rest): pass
def _helper(*, steps: int): pass
"""


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Config]:
    """Return a reader of the good config with parts replaced."""

    def read(*changes: str) -> Config:
        text = CONFIG
        for old, new in zip(changes[::2], changes[1::2], strict=True):
            assert old in text
            text = text.replace(old, new)
        file = tmp_path / "room.yaml"
        file.write_text(text, encoding="utf-8")
        return read_config(file)

    return read


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return an experiment.py."""
    file = tmp_path / "experiment.py"
    file.write_text(SOURCE, encoding="utf-8")
    return file


@pytest.fixture
def default(tmp_path: Path) -> Callable[[str], Path]:
    """Return a writer of default.yaml."""

    def write(text: str = DEFAULT) -> Path:
        file = tmp_path / "default.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


# ---------------------------------------------------------------- what every run starts from


def test_the_default_is_taken_and_the_command_line_wins(default: Callable[..., Path]) -> None:
    assert read_run(default()) == Run("laptop", None, 2018, "auto")
    given = {"scale": "smoke", "device": None, "root_seed": 1}
    assert read_run(default(), given) == Run("smoke", None, 1, "auto")


@pytest.mark.parametrize(
    ("papers", "keys"),
    [
        ("all", None),
        ("a2020b", ("a2020b",)),
        ("a2020b,c2021d", ("a2020b", "c2021d")),
        ("a2020b, c2021d", ("a2020b", "c2021d")),
        (["a2020b"], ("a2020b",)),
    ],
)
def test_papers_are_all_one_or_a_list(
    default: Callable[..., Path], papers: Any, keys: tuple[str, ...] | None
) -> None:
    assert read_run(default(), {"papers": papers}).papers == keys
    text = DEFAULT.replace("papers: all", f"papers: {json.dumps(papers)}")
    assert read_run(default(text)).papers == keys


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("laptop", "laptp", "scale: no scale is called 'laptp' .did you mean"),
        ("scale: laptop", "scael: laptop", "scael: unknown key .did you mean 'scale'"),
        ("root_seed: 2018\n", "", "root_seed: is missing"),
        ("2018", "1e3", "root_seed: must be a whole number, got '1e3', which YAML reads as text"),
        ("2018", "0.5", "root_seed: must be a whole number, got 0.5"),
        ("2018", "true", "root_seed: must be a whole number, got True"),
        ("device: auto", "device: 0", "device: must be text, got 0 .put it in quotes"),
        ("papers: all", "papers: []", "papers: must be all, a room's key, or a list"),
        ("papers: all", "papers: [1]", "papers: must be all, a room's key, or a list"),
        ("papers: all", "papers: 3", "papers: must be all, a room's key, or a list"),
        (DEFAULT, "- scale", "must be keys and values"),
        (DEFAULT, "", "the file is empty"),
        ("scale: laptop", "scale: [", "line .*not valid YAML"),
        ("scale: laptop", "scale: smoke\nscale: laptop", "'scale' is given twice"),
    ],
)
def test_an_unusable_default_names_file_and_key(
    default: Callable[..., Path], old: str, new: str, message: str
) -> None:
    assert old in DEFAULT
    with pytest.raises(UserError, match=f"default.yaml: .*{message}"):
        read_run(default(DEFAULT.replace(old, new)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scale": "smok"}, "here: scale: no scale is called 'smok' .did you mean 'smoke'"),
        ({"scal": "smoke"}, "here: scal: unknown key .did you mean 'scale'"),
        ({"root_seed": "x"}, "here: root_seed: must be a whole number"),
        ({"device": 3}, "here: device: must be text"),
    ],
)
def test_an_unusable_override_says_where_it_was_given(
    default: Callable[..., Path], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        read_run(default(), given, asked="here")


def test_the_suites_own_default_is_usable() -> None:
    assert read_run(ROOT / "configs" / "default.yaml").scale in SCALES


# ---------------------------------------------------------------- a room's config


def test_a_config_is_read_with_its_defaults(config: Callable[..., Config]) -> None:
    entry = config().experiments["first"]
    assert (entry.scales, entry.data, entry.threads, entry.ours) == (SCALES, {}, 2, ("lr",))
    assert entry.sizes["laptop"] == {"steps": 10}


def test_one_data_set_for_all_means_for_every_scale_that_is_run(
    config: Callable[..., Config],
) -> None:
    changed = config("about: one line", "about: one line\n    data: mnist\n    scales: [full]")
    assert changed.experiments["first"].data == {"full": "mnist"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: T", "titel: T", "paper.titel: unknown key .did you mean 'title'"),
        ("title: T, ", "", "paper.title: must be str"),
        ("year: 2020", "year: '2020'", "paper.year: must be int"),
        ("experiments:", "experimnts:", "experimnts: unknown key .did you mean 'experiments'"),
        ("    about: one line\n", "", "experiments.first.about: must be text, got None"),
        ("laptop: {", "laptp: {", "experiments.first.laptp: unknown key .did you mean 'laptop'"),
        ("ours: [lr]", "ours: [rl]", "experiments.first.ours: no setting is called 'rl'"),
        ("ours: [lr]", "ours: lr", "experiments.first.ours: must be a list, got 'lr'"),
        ("ours: [lr]", "scales: [smok]", "first.scales: no scale is called 'smok' .did you mean"),
        ("ours: [lr]", "threads: 0", "experiments.first.threads: must be at least 1"),
        ("ours: [lr]", "threads: many", "first.threads: must be a whole number, got 'many'"),
        ("ours: [lr]", "data: {smok: mnist}", "first.data: no scale is called 'smok'"),
        ("ours: [lr]", "data: {smoke: 3}", "first.data.smoke: must be text, got 3"),
        ("laptop: {steps: 10}", "laptop: 10", "first.laptop: must be keys and values, got 10"),
        ("laptop: {steps: 10}", "laptop: {1: 10}", "first.laptop: the key 1 must be text"),
        ("lr: 0.1", "steps: 1", "the key 'steps' is given twice"),
    ],
)
def test_an_unusable_config_names_file_and_key(
    config: Callable[..., Config], old: str, new: str, message: str
) -> None:
    with pytest.raises(UserError, match=f"room.yaml: .*{message}"):
        config(old, new)


def test_an_absent_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent.yaml: there is no such file"):
        read_config(tmp_path / "absent.yaml")


# ---------------------------------------------------------------- bound to the signature


def test_reserved_arguments_are_no_settings(config: Callable[..., Config], source: Path) -> None:
    assert list(signature(source, "first")) == [
        "steps", "lr", "widths", "data", "device", "root_seed", "progress",
    ]  # fmt: skip
    assert list(resolve(config(), source, "first", "full")) == ["steps", "lr", "widths"]


def test_a_scale_changes_what_it_lists_and_nothing_else(
    config: Callable[..., Config], source: Path
) -> None:
    full = {"steps": 100, "lr": 0.1, "widths": [3, 2]}
    assert resolve(config(), source, "first", "full") == full
    assert resolve(config(), source, "first", "laptop") == full | {"steps": 10}
    smoke = resolve(config(), source, "first", "smoke")
    assert smoke == full | {"steps": 1, "lr": 1.0}
    assert isinstance(smoke["lr"], float)


@pytest.mark.parametrize(
    ("old", "new", "scale", "message"),
    [
        ("lr: 0.1", "lrr: 0.1", "full", "first.full.lrr: unknown key .did you mean 'lr'"),
        ("lr: 0.1, ", "", "full", "experiments.first.full: the setting 'lr' is missing"),
        ("lr: 0.1", "lr: 1e-3", "full", "full.lr: must be a number, got '1e-3', which YAML reads"),
        ("lr: 0.1", "lr: 1e-3", "full", "write 0.001$"),
        ("lr: 0.1", "lr: .nan", "full", "full.lr: must be a finite number, got nan"),
        ("lr: 0.1", "lr: -.inf", "full", "full.lr: must be a finite number, got -inf"),
        ("lr: 0.1", "lr: fast", "full", "full.lr: must be a number, got 'fast'$"),
        ("lr: 0.1", "lr: true", "full", "full.lr: must be a number, got True"),
        ("steps: 10}", "steps: 1.5}", "laptop", "first.laptop.steps: must be a whole number"),
        ("steps: 10}", "stesp: 1}", "laptop", "first.laptop.stesp: unknown key .did you mean"),
        ("[3, 2]", "[3, x]", "full", r"full.widths\[1\]: must be a whole number, got 'x'"),
        ("[3, 2]", "3", "full", "full.widths: must be a list, got 3"),
        ("lr: 0.1", "lr: 0.1, device: cpu", "full", "full.device: unknown key"),
    ],
)
def test_what_the_signature_does_not_know_is_refused(
    config: Callable[..., Config], source: Path, old: str, new: str, scale: str, message: str
) -> None:
    made = config("    ours: [lr]\n", "", old, new)
    with pytest.raises(UserError, match=f"room.yaml: .*{message}"):
        resolve(made, source, "first", scale)


def test_another_scales_settings_do_not_matter(config: Callable[..., Config], source: Path) -> None:
    made = config("smoke: {steps: 1, lr: 1}", "smoke: {nonsense: 1}")
    assert resolve(made, source, "first", "laptop")["steps"] == 10


def test_unknown_experiments_and_scales_are_named(
    config: Callable[..., Config], source: Path
) -> None:
    with pytest.raises(UserError, match="experiments: no experiment is called 'frist' .*'first'"):
        resolve(config(), source, "frist", "smoke")
    with pytest.raises(UserError, match="no scale is called 'smok' .did you mean 'smoke'"):
        resolve(config(), source, "first", "smok")
    made = config("  first:", "  fourth:")
    with pytest.raises(UserError, match="experiment.py: no experiment is called 'fourth'"):
        resolve(made, source, "fourth", "smoke")


@pytest.mark.parametrize("name", ["second", "third"])
def test_an_experiment_takes_keywords_only(source: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"experiment.py: {name}: an experiment takes keyword-only"):
        signature(source, name)


def test_a_further_name_of_an_experiment_is_one_too(tmp_path: Path) -> None:
    source = tmp_path / "experiment.py"
    source.write_text(SOURCE + "fourth = fifth = first\nsixth = _helper\nSIZES = 3\n")
    assert set(experiments(source)) == {*("first", "second", "third"), "fourth", "fifth", "sixth"}
    assert signature(source, "fifth").keys() == signature(source, "first").keys()


def test_a_source_that_is_not_python_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "experiment.py"
    file.write_text("x = 1\ndef first(*, a: int:\n", encoding="utf-8")
    with pytest.raises(UserError, match="experiment.py: line 2: not valid Python"):
        signature(file, "first")


# ---------------------------------------------------------------- one value

PLAIN = {
    "int": st.integers(),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "str": st.text("a1 .-ü", max_size=5),
    "bool": st.booleans(),
}
ANNOTATION = st.recursive(
    st.sampled_from(sorted(PLAIN)),
    lambda inner: st.builds("list[{}]".format, inner) | st.builds("dict[str, {}]".format, inner),
    max_leaves=3,
)


def values(annotation: str) -> st.SearchStrategy[Any]:
    """Return what YAML may hold for an annotation."""
    if annotation in PLAIN:
        return PLAIN[annotation]
    inner = annotation.partition("[")[2][:-1]
    if annotation.startswith("dict"):
        return st.dictionaries(PLAIN["str"], values(inner.removeprefix("str, ")), max_size=3)
    return st.lists(values(inner), max_size=3)


ANNOTATED = ANNOTATION.flatmap(lambda text: st.tuples(st.just(text), values(text)))


@given(ANNOTATED)
def test_a_value_of_its_type_stays_as_it_is(case: tuple[str, Any]) -> None:
    annotation, value = case
    bound = bind(value, annotation, "f.yaml", "key")
    assert bound == value and type(bound) is type(value)
    assert bind(bound, annotation, "f.yaml", "key") == bound
    assert bind(value, f"{annotation} | None", "f.yaml", "key") == value
    assert bind([value], f"tuple[{annotation}, ...]", "f.yaml", "key") == (value,)


@given(ANNOTATED)
def test_nothing_is_no_value_unless_the_annotation_says_so(case: tuple[str, Any]) -> None:
    annotation, _ = case
    assert bind(None, f"{annotation} | None", "f.yaml", "key") is None
    with pytest.raises(UserError, match=r"^f.yaml: key: must be .*got None"):
        bind(None, annotation, "f.yaml", "key")


@given(st.one_of(*PLAIN.values()), st.sampled_from(sorted(PLAIN)))
def test_only_a_whole_number_becomes_another_type(value: Any, annotation: str) -> None:
    given_type = type(value).__name__
    if given_type == annotation:
        return
    if (given_type, annotation) == ("int", "float"):
        assert type(bind(value, annotation, "f.yaml", "key")) is float
        return
    with pytest.raises(UserError, match=r"^f.yaml: key: must be "):
        bind(value, annotation, "f.yaml", "key")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_advice_for_text_is_read_as_the_number_that_was_meant(number: float) -> None:
    for text in (repr(number), f"{number:e}", f"{number:g}"):
        advice = as_number(text)
        assert advice is not None
        assert type(yaml.safe_load(advice)) is float
        assert yaml.safe_load(advice) == float(text)


@pytest.mark.parametrize("text", ["", "fast", "1e", "0x10", "1 2"])
def test_text_that_is_no_number_gets_no_advice(text: str) -> None:
    assert as_number(text) is None


@pytest.mark.parametrize(
    ("value", "annotation", "bound"),
    [
        ([3, 2], "tuple[int, ...]", (3, 2)),
        ([3, 0.5], "tuple[int, float]", (3, 0.5)),
        ([[0, 1]], "list[tuple[float, float]]", [(0.0, 1.0)]),
        ("adam", "Literal['adam', 'sgd']", "adam"),
        (None, "float | None", None),
        (2, "int | str", 2),
        ("2", "int | str", "2"),
        ([1], "'list[int]'", [1]),
        ([1], "Sequence[int]", [1]),
    ],
)
def test_an_annotation_converts(value: Any, annotation: str, bound: Any) -> None:
    assert bind(value, annotation, "f.yaml", "key") == bound


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        ([1, 2], "tuple[int]", "f.yaml: key: must be a list of 1"),
        ("adma", "Literal['adam', 'sgd']", "must be one of 'adam', 'sgd', got 'adma'"),
        (True, "Literal[1]", "must be one of 1, got True"),
        ({1: 2}, "dict[str, int]", "key: must be text, got 1"),
        ({"a": "x"}, "dict[str, int]", "key.a: must be a whole number, got 'x'"),
        pytest.param(10**400, "float", "key: must be a finite number, got 1000", id="too large"),
        ([[1], [2, "x"]], "list[list[int]]", r"key\[1\]\[1\]: must be a whole number"),
        ("x", "int | float", "key: must be a whole number, got 'x'"),
        (3, "set[int]", r"experiment.py: key: the annotation 'set\[int\]' is not one of"),
        (3, "Tensor", "experiment.py: key: the annotation 'Tensor' is not one of"),
    ],
)
def test_a_value_of_another_type_names_its_place(value: Any, annotation: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        bind(value, annotation, "f.yaml", "key", source="experiment.py")


def test_an_argument_without_annotation_is_the_sources_fault() -> None:
    with pytest.raises(UserError, match="experiment.py: lr: the annotation is missing"):
        bind(1, None, "f.yaml", "experiments.first.full.lr", source="experiment.py")


@given(st.sampled_from([math.nan, math.inf, -math.inf]), st.integers(0, 3))
def test_no_depth_hides_a_number_that_is_not_finite(number: float, depth: int) -> None:
    value: Any = number
    for _ in range(depth):
        value = [value]
    annotation = ast.parse("list[" * depth + "float" + "]" * depth, mode="eval").body
    with pytest.raises(UserError, match=r"must be a finite number"):
        bind(value, annotation, "f.yaml", "key")
