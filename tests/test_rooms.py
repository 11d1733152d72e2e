"""What every room keeps to: one suite, run on each room that is found."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from reproductions.harness import claims, records
from reproductions.harness.claim_models import Claim
from reproductions.harness.dataset_registry import REAL, SYNTHETIC
from reproductions.harness.errors import UserError
from reproductions.harness.report_readme import section
from reproductions.harness.rooms import DOORS, KEY, Room, find_rooms
from reproductions.harness.settings import RESERVED, SCALES, experiments, signature
from reproductions.harness.source_modules import read_tree
from reproductions.harness.statistics import Metric
from reproductions.harness.tables import COLUMNS, OK, read_points, read_provenance, read_table
from reproductions.stages import evidence
from reproductions.stages.new_room import OPEN
from reproductions.stages.place import Place
from reproductions.stages.run import Request, run_one
from tests.conftest import ROOT
from tests.test_layers import behind

ROOMS = find_rooms(ROOT)
HEADINGS = ("What is reproduced", "What is not", "Deviations", "Findings", "Minutes")
RECORDED = ROOT / "results" / "recorded"


_SEEDS = r"(\w+_)?seeds"
_RATE = r"(wider_)?learning_rates?|lr|alpha"


def has(room: Room, experiment: str, pattern: str) -> list[str]:
    """Return the settings of an experiment whose names match a pattern."""
    return [k for k in room.experiment(experiment).sizes["full"] if re.fullmatch(pattern, k)]


def cases(what: str) -> Any:
    """Parametrise a test over (room, experiment), (room, claim id), ... named key-name."""
    listed = {
        "experiment": lambda room: room.config.experiments,
        "seeded": lambda room: [n for n in room.config.experiments if has(room, n, _SEEDS)],
        "fed": lambda room: [n for n, one in room.config.experiments.items() if one.data],
        "rate": lambda room: [
            f"{n}.{k}" for n in room.experiments("smoke") for k in has(room, n, _RATE)
        ],
        "claim": lambda room: stated(room),
        "figure": lambda room: functions(room, "draw_"),
        "points": lambda room: {path.stem: path for path in points(room)},
        "record": lambda room: {path.parent.name: path for path in record_files(room)},
    }[what]
    found = [(room, name) for room in ROOMS.values() for name in listed(room)]
    return pytest.mark.parametrize(("room", what), found, ids=[f"{r.key}-{n}" for r, n in found])


each_room = pytest.mark.parametrize("room", ROOMS.values(), ids=ROOMS)


@cache
def stated(room: Room) -> dict[str, Claim]:
    """Return a room's claims by id."""
    return {claim.id: claim for claim in claims.load_claims(room.folder / "claims.yaml")}


@cache
def functions(room: Room, prefix: str) -> dict[str, ast.FunctionDef]:
    """Return the functions of figures.py with a prefix, by the rest of their names."""
    tree = read_tree(room.folder / "figures.py")
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {f.name.removeprefix(prefix): f for f in found if f.name.startswith(prefix)}


def points(room: Room) -> list[Path]:
    """Return the files of a room's digitised points."""
    return sorted((room.folder / "digitised").glob("*"))


def record_files(room: Room) -> list[Path]:
    """Return the records of a room, one a scale."""
    return sorted(RECORDED.glob(f"*/{room.key}.json"))


@cache
def named(room: Room) -> tuple[set[str], list[re.Pattern[str]]]:
    """Return the texts of the figures' side, and patterns of those that are filled in later."""
    texts, patterns = set(), []
    for name in behind("figures", room.folder, ROOT):
        for node in ast.walk(read_tree(room.folder / f"{name}.py")):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                fixed = [str(v.value) if isinstance(v, ast.Constant) else "" for v in node.values]
                # what is nearly all gaps would match anything
                if len("".join(fixed)) >= 6:
                    patterns.append(re.compile("".join(re.escape(s) or r"\w+" for s in fixed)))
    return texts, patterns


def arguments(function: ast.FunctionDef) -> list[str]:
    """Return the names of a function's arguments."""
    own = function.args
    return [argument.arg for argument in (*own.posonlyargs, *own.args, *own.kwonlyargs)]


def test_there_is_a_room() -> None:
    assert ROOMS


@each_room
def test_a_room_has_its_key_its_four_doors_and_its_config(room: Room) -> None:
    assert KEY.fullmatch(room.key)
    for path in (*(room.folder / door for door in DOORS), room.config_path):
        assert path.is_file(), path


@each_room
def test_nothing_is_left_to_be_filled_in(room: Room) -> None:
    texts = [room.config_path, *(p for p in room.folder.rglob("*") if p.suffix != ".pyc")]
    for path in texts:
        assert not path.is_file() or OPEN not in path.read_text(encoding="utf-8"), path


@each_room
def test_the_readme_says_what_a_reader_asks(room: Room) -> None:
    readme = room.folder / "README.md"
    assert readme.read_text(encoding="utf-8").startswith(f"# {room.key}: {room.info['title']}\n")
    for heading in HEADINGS:
        assert section(readme, heading), f"{readme}: nothing under {heading!r}"


@each_room
def test_the_readme_names_every_experiment_and_figure(room: Room) -> None:
    words = set(re.findall(r"\w+", (room.folder / "README.md").read_text(encoding="utf-8")))
    assert not room.config.experiments.keys() - words
    assert not functions(room, "draw_").keys() - words


@each_room
def test_the_paper_can_be_found(room: Room) -> None:
    assert room.info["url"].startswith("https://")
    assert 1950 < room.info["year"] < 2100
    assert str(room.info["year"]) in room.info["venue"]
    assert all(room.info[key].strip() for key in ("title", "authors", "venue"))


@each_room
def test_the_paper_is_cited(room: Room) -> None:
    assert room.info["title"] in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


# ---------------------------------------------------------------- experiments


@each_room
def test_every_experiment_is_configured_and_the_other_way_round(room: Room) -> None:
    assert experiments(room.folder / "experiment.py").keys() == set(room.config.experiments)


@cases("experiment")
def test_settings_bind_to_the_signature_at_every_scale(room: Room, experiment: str) -> None:
    entry = room.experiment(experiment)
    assert entry.scales
    for scale in entry.scales:
        settings = room.settings(experiment, scale)
        json.dumps(settings, allow_nan=False)  # as the provenance and the workflow hold it
        assert settings.keys() == entry.sizes["full"].keys()


@cases("experiment")
def test_an_experiment_takes_keywords_and_returns_rows(room: Room, experiment: str) -> None:
    path = room.folder / "experiment.py"
    assert signature(path, experiment)  # raises for anything but keyword-only arguments
    function = experiments(path)[experiment]
    assert ast.unparse(function.returns or ast.Constant(None)) == "Rows"
    assert ast.get_docstring(function)
    assert not function.args.kwonlyargs or not any(function.args.kw_defaults)


@cases("experiment")
def test_an_experiment_is_told_of_by_one_line(room: Room, experiment: str) -> None:
    about = room.experiment(experiment).about
    assert about.strip() and "\n" not in about


@cases("experiment")
def test_an_experiment_has_data_where_it_asks_for_it(room: Room, experiment: str) -> None:
    entry = room.experiment(experiment)
    asks = "data" in signature(room.folder / "experiment.py", experiment)
    assert set(entry.data) == (set(entry.scales) if asks else set())


@cases("fed")
def test_smoke_data_are_synthetic_and_all_others_real(room: Room, fed: str) -> None:
    for scale, name in room.experiment(fed).data.items():
        assert name in (SYNTHETIC if scale == "smoke" else REAL)


@cases("seeded")
def test_what_has_seeds_takes_the_root_seed_they_descend_from(room: Room, seeded: str) -> None:
    assert "root_seed" in signature(room.folder / "experiment.py", seeded)


def cheapest(room: Room) -> str:
    """Return the experiment that took least when the smoke scale was last recorded."""
    names = room.experiments("smoke")
    path = RECORDED / "smoke" / f"{room.key}.json"
    if not path.is_file():
        return names[0]
    about = records.read_record(path)["provenance"]
    return min(names, key=lambda name: about.get(name, {}).get("wall_seconds", float("inf")))


@each_room
def test_the_cheapest_experiment_gives_a_tidy_table_that_can_be_judged(
    room: Room, tmp_path: Path
) -> None:
    name = cheapest(room)
    tables = [_run_at_smoke(room, name, Place(tmp_path / again, "smoke")) for again in "ab"]
    table = tables[0]
    pd.testing.assert_frame_equal(*tables)  # the same root seed, the same numbers
    assert list(table.columns[: len(COLUMNS)]) == list(COLUMNS)
    assert set(table["quantity"]) <= set(table.attrs["units"])
    assert (np.isfinite(table["value"]) == (table["status"] == OK)).all()
    assert not table.drop(columns=["value", "status"]).duplicated().any()
    place = Place(tmp_path / "a", "smoke")
    metrics, missing = evidence.measure(room, evidence.Tables(room, place))
    assert all(isinstance(metric, Metric) for metric in metrics.values())
    measured = {key for key, f in functions(room, "measure_").items() if arguments(f) == [name]}
    assert not {f"measure_{key}" for key in measured} & missing.keys()
    given = [one for one in stated(room).values() if one.metric in metrics]
    for entry in claims.judge(given, metrics, {}, "smoke"):
        assert (entry["verdict"] == claims.NOT_TESTED) == (
            "smoke" not in stated(room)[entry["id"]].scales
        )


def _run_at_smoke(room: Room, name: str, place: Place) -> pd.DataFrame:
    """Run an experiment and read its table."""
    request = Request(ROOT, room, name, place, "cpu", 2018)
    path = run_one(request, lambda *_: None, place.log(room, name))
    settings = read_provenance(path)["settings"]
    told = {"root_seed": 2018, **room.settings(name, "smoke")}
    assert settings == json.loads(json.dumps(told))
    return read_table(path)


@cases("rate")
def test_a_negative_learning_rate_is_refused_by_name(room: Room, rate: str, tmp_path: Path) -> None:
    name, key = rate.split(".")
    chosen = room.settings(name, "smoke")[key]
    content = yaml.safe_load(room.config_path.read_text(encoding="utf-8"))
    bad = [*chosen[:-1], -0.125] if isinstance(chosen, list) else -0.125
    content["experiments"][name]["smoke"][key] = bad
    config, place = tmp_path / "config.yaml", Place(tmp_path, "smoke")
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    request = Request(ROOT, room._replace(config_path=config), name, place, "cpu", 2018)
    where = re.escape(f"{config}: experiments.{rate}: ")
    with pytest.raises(UserError, match=f"^{where}.*not negative, got -0.125"):
        run_one(request, lambda *_: None, tmp_path / "log")
    assert not place.table(room, name).exists()


# ---------------------------------------------------------------- claims


@each_room
def test_every_room_claims_something(room: Room) -> None:
    assert stated(room)


@cases("claim")
def test_a_claim_says_where_how_and_why(room: Room, claim: str) -> None:
    one = stated(room)[claim]
    assert len(one.where.split()) >= 2, f"{one.where!r} is no place that one can find"
    assert one.read_as in ("stated", "tabulated", "digitised", "derived")
    assert one.because.lower() != one.says.lower()
    assert len(one.because.split()) >= 4, f"{one.because!r} is no reason"
    assert len(one.scales) == len(set(one.scales))
    assert "full" in one.scales, "a claim that holds of a reduced run alone is not the paper's"


@cases("claim")
def test_a_claims_metric_is_one_that_the_figures_side_names(room: Room, claim: str) -> None:
    metric = stated(room)[claim].metric
    texts, patterns = named(room)
    assert metric in texts or any(pattern.fullmatch(metric) for pattern in patterns), metric


@cases("claim")
def test_a_claims_figure_is_drawn(room: Room, claim: str) -> None:
    figure = stated(room)[claim].figure
    assert figure is None or figure in functions(room, "draw_")


@each_room
def test_two_claims_never_say_the_same(room: Room) -> None:
    said = [(claim.says, claim.where) for claim in stated(room).values()]
    assert len(said) == len(set(said))


# ---------------------------------------------------------------- figures


@each_room
def test_figures_and_measures_ask_for_experiments_that_there_are(room: Room) -> None:
    known = room.config.experiments
    for prefix in ("draw_", "measure_"):
        asked = functions(room, prefix)
        assert asked
        for name, function in asked.items():
            assert arguments(function) and set(arguments(function)) <= set(known), prefix + name


@each_room
def test_every_experiment_is_measured_and_drawn(room: Room) -> None:
    for prefix in ("draw_", "measure_"):
        used = {name for f in functions(room, prefix).values() for name in arguments(f)}
        assert used == set(room.config.experiments)


@cases("figure")
def test_a_figure_has_a_caption(room: Room, figure: str) -> None:
    caption = ast.get_docstring(functions(room, "draw_")[figure]) or ""
    assert len(caption.split()) >= 8, f"{caption!r} explains nothing"


@cases("points")
def test_digitised_points_parse_and_say_how_they_were_read(room: Room, points: str) -> None:
    path = room.folder / "digitised" / f"{points}.csv"
    read = read_points(path)
    assert read.attrs["notes"], f"{path} does not say how it was read"
    numbers = read.select_dtypes("number")
    assert len(read) > 1 and len(numbers.columns) >= 2
    assert numbers.abs().to_numpy().max() < float("inf")


@cases("points")
def test_digitised_points_are_referred_to(room: Room, points: str) -> None:
    # a common stem may be completed by an ending: f"{name}_every100.csv"
    names = [text.removesuffix(".csv") for text in named(room)[0] if len(text) >= 8]
    assert any(points.startswith(name) for name in names), f"nothing uses {points}.csv"


# ---------------------------------------------------------------- records


@cases("record")
def test_a_record_holds_the_claims_that_there_are(room: Room, record: str) -> None:
    content = records.read_record(RECORDED / record / f"{room.key}.json")
    assert record in SCALES
    assert (content["paper"], content["scale"]) == (room.key, record)
    kept = {one["id"]: one for one in content["claims"]}
    assert list(kept) == list(stated(room))
    for name, claim in stated(room).items():
        assert (kept[name]["metric"], kept[name]["unit"]) == (claim.metric, claim.unit), name


def unavailable(content: dict[str, Any]) -> set[str]:
    """Return the optional data sets that could not be had when a record was made."""
    told = [about.get("data") or {} for about in content["provenance"].values()]
    return {data["name"] for data in told if data.get("missing")}


@cases("record")
def test_a_record_has_a_number_for_every_claim_of_its_scale(room: Room, record: str) -> None:
    content = records.read_record(RECORDED / record / f"{room.key}.json")
    assert len(content["claims"]) > 0
    for one in content["claims"]:
        judged = one["verdict"] != claims.NOT_TESTED
        excused = not judged and unavailable(content)
        assert excused or judged == (record in stated(room)[one["id"]].scales), one["id"]
        assert one["verdict"] in claims.VERDICTS
        assert (one["measured"] is not None) == judged or one["verdict"] == claims.INCONCLUSIVE
        assert one["tolerance"] is None or one["tolerance"] > 0


@cases("record")
def test_a_record_rests_on_every_experiment_of_its_scale(room: Room, record: str) -> None:
    content = records.read_record(RECORDED / record / f"{room.key}.json")
    assert list(content["provenance"]) == room.experiments(record)
    used = {room.experiment(name).data.get(record) for name in room.experiments(record)} - {None}
    told, used = content["data"], used - unavailable(content)
    assert set(told if isinstance(told, list) else [told] if told else []) == used


@cases("record")
def test_a_record_was_made_with_the_present_settings(room: Room, record: str) -> None:
    content = records.read_record(RECORDED / record / f"{room.key}.json")
    for name, about in content["provenance"].items():
        told = {key: about["settings"][key] for key in about["settings"] if key not in RESERVED}
        assert told == json.loads(json.dumps(room.settings(name, record))), name
