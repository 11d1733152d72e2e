"""`check` notices what moved, and nothing else."""

from __future__ import annotations

import copy
import json
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reproductions.harness.errors import UserError
from reproductions.harness.records import (
    COLUMNS,
    Difference,
    compare,
    count,
    junit_xml,
    read_record,
    record,
    rows,
    summary_markdown,
    tolerance,
)


def claim(name: str, measured, interval, n, verdict="reproduced", reason="") -> dict:
    return {
        "id": name,
        "says": f"{name} is <so> | so",
        "where": "Figure 1",
        "read_as": "stated",
        "metric": name,
        "unit": "1",
        "expect": {"op": "at_least", "value": 0.0},
        "because": "it says so",
        "measured": measured,
        "interval": interval,
        "n": n,
        "verdict": verdict,
        "reason": reason,
        "figure": None,
    }


@pytest.fixture
def verdict() -> dict:
    return {
        "version": 1,
        "paper": "reddi2018adam",
        "scale": "laptop",
        "data": "mnist",
        "provenance": {"device": "cpu"},
        "claims": [
            claim("exact", 2.0, [2.0, 2.0], None),
            claim("sampled", 2.0, [1.5, 2.5], 16),
            claim("refuted", -1.0, [-1.5, -0.5], 16, "refuted"),
            claim("single", 1.0, None, 1, "inconclusive", "one seed: its interval is unknown"),
            claim("cifar", None, None, None, "not tested", "judged at full only"),
        ],
    }


@pytest.fixture
def recorded(verdict, tmp_path) -> dict:
    record(verdict, tmp_path / "record.json")
    return read_record(tmp_path / "record.json")


def test_a_record_keeps_numbers_verdicts_tolerances_and_provenance(recorded, verdict):
    assert list(recorded["accepted"]) == ["commit", "dirty"]
    assert recorded["provenance"] == {"device": "cpu"}
    kept = ["id", "metric", "unit", "measured", "interval", "n", "verdict", "tolerance"]
    assert [list(entry) for entry in recorded["claims"]] == [kept] * 5
    assert [entry["verdict"] for entry in recorded["claims"]][2] == "refuted"
    tolerances = [entry["tolerance"] for entry in recorded["claims"]]
    assert tolerances[:3] == pytest.approx([2e-6 + 1e-9, 1.0 + 2e-6, 1.0 + 1e-6], rel=1e-8)
    assert tolerances[3:] == [None, None]


def test_what_was_recorded_passes(verdict, recorded):
    assert compare(verdict, recorded) == []


@pytest.mark.parametrize(("place", "step"), [(0, 1.9e-6), (1, 0.99), (1, -0.99)])
def test_a_number_within_its_tolerance_passes(verdict, recorded, place, step):
    verdict["claims"][place]["measured"] += step
    assert compare(verdict, recorded) == []


@pytest.mark.parametrize(("place", "step"), [(0, 2.1e-6), (0, -2.1e-6), (1, 1.01), (2, -1.01)])
def test_a_number_beyond_its_tolerance_is_reported(verdict, recorded, place, step):
    now = verdict["claims"][place]
    was = now["measured"]
    now["measured"] += step
    difference = compare(verdict, recorded)[0]
    assert difference[:5] == ("reddi2018adam", now["id"], "moved", was, now["measured"])
    assert difference.tolerance == tolerance(recorded["claims"][place])


def test_a_perturbed_record_is_reported(verdict, recorded):
    recorded["claims"][0]["measured"] += 1e-3
    assert [one.kind for one in compare(verdict, recorded)] == ["moved"]


def test_a_changed_verdict_is_reported(verdict, recorded):
    verdict["claims"][1]["verdict"] = "inconclusive"
    expected = Difference("reddi2018adam", "sampled", "verdict", "reproduced", "inconclusive")
    assert compare(verdict, recorded) == [expected]


def test_a_single_seed_is_held_to_its_verdict_only(verdict, recorded):
    verdict["claims"][3]["measured"] = 55.0
    assert compare(verdict, recorded) == []


@pytest.mark.parametrize("place", [0, 3])
def test_a_number_that_is_gone_is_reported(verdict, recorded, place):
    verdict["claims"][place]["measured"] = None
    assert [(one.kind, one.now) for one in compare(verdict, recorded)] == [("moved", None)]


def test_a_number_where_there_was_none_is_reported(verdict, recorded):
    verdict["claims"][4]["measured"] = 1.0
    assert [one.kind for one in compare(verdict, recorded)] == ["moved"]


def test_a_new_claim_and_a_vanished_one_are_reported(verdict, recorded):
    verdict["claims"][0]["id"] = "renamed"
    found = {one.kind: one.claim for one in compare(verdict, recorded)}
    assert found == {"new": "renamed", "gone": "exact"}


def test_other_data_or_scale_is_reported(verdict, recorded):
    verdict["data"] = "synthetic_mnist"
    difference = compare(verdict, recorded)[0]
    assert difference.kind == "setting" and "synthetic_mnist" in difference.sentence()


def test_another_version_is_an_error(verdict, recorded, tmp_path):
    with pytest.raises(UserError, match="a record of version 0; this is version 1"):
        compare(verdict, recorded | {"version": 0})
    with pytest.raises(UserError, match="a verdict of version 2"):
        compare(verdict | {"version": 2}, recorded)
    (tmp_path / "old.json").write_text(json.dumps(recorded | {"version": 0}))
    with pytest.raises(UserError, match=r"old.json: version: a record of version 0"):
        read_record(tmp_path / "old.json")


def test_a_record_cut_short_is_an_error(recorded, tmp_path):
    text = (tmp_path / "record.json").read_text()
    (tmp_path / "record.json").write_text(text[:200])
    with pytest.raises(UserError, match="record.json: cut short"):
        read_record(tmp_path / "record.json")


def test_an_absent_record_is_an_error(tmp_path):
    with pytest.raises(UserError, match="there is no such record"):
        read_record(tmp_path / "none.json")


def test_differences_are_rows_of_text():
    differences = [
        Difference("p", "c", "moved", 1.0, 2.5, 0.25),
        Difference("p", "", "setting", "data a", "data b"),
    ]
    assert rows(differences) == [
        ("p", "c", "moved", "1", "2.5", "0.25"),
        ("p", "-", "setting", "data a", "data b", "-"),
    ]
    assert all(len(row) == len(COLUMNS) for row in rows(differences))


def test_every_kind_of_difference_has_a_sentence():
    assert Difference("p", "c", "moved", 1.0, 2.0, 0.5).sentence() == (
        "measured 2, recorded 1 ± 0.5"
    )
    assert "not recorded yet" in Difference("p", "c", "new", None, "refuted").sentence()
    assert "no longer claimed" in Difference("p", "c", "gone", "refuted", None).sentence()
    changed = Difference("p", "c", "verdict", "refuted", "reproduced").sentence()
    assert changed == "reproduced, recorded refuted"


def test_count_has_all_four_verdicts(verdict):
    assert count(verdict) == {
        "reproduced": 2, "refuted": 1, "inconclusive": 1, "not tested": 1,
    }  # fmt: skip


def test_junit_has_a_case_per_claim_and_fails_only_on_differences(verdict, recorded):
    verdict["claims"][0]["measured"] = 3.0
    del verdict["claims"][1]
    verdict["claims"][-1]["reason"] = "failed: \x1b[31mred\x00"
    root = ElementTree.fromstring(junit_xml([verdict], compare(verdict, recorded)))
    suite = root.find("testsuite")
    assert suite.attrib == {
        "name": "reddi2018adam at laptop", "tests": "5", "failures": "2", "skipped": "1",
    }  # fmt: skip
    cases = {case.get("name"): case for case in suite}
    failed = [name for name, case in cases.items() if case.find("failure") is not None]
    assert failed == ["exact", "sampled"]
    assert "recorded 2" in cases["exact"].find("failure").get("message")
    assert cases["cifar"].find("skipped").get("message") == "failed: ?[31mred?"
    assert "is <so> | so" in cases["refuted"].find("system-out").text


def test_junit_shows_a_difference_of_setting(verdict, recorded):
    verdict["data"] = "other"
    root = ElementTree.fromstring(junit_xml([verdict], compare(verdict, recorded)))
    assert root.find("testsuite/testcase[@name='setting']/failure") is not None


def test_the_summary_counts_verdicts_and_lists_differences(verdict, recorded):
    text = summary_markdown([verdict], [])
    assert "| reddi2018adam | laptop | mnist | 2 | 1 | 1 | 1 |" in text
    assert "Nothing differs" in text
    verdict["claims"][0]["measured"] = 3.0
    changed = summary_markdown([verdict], compare(verdict, recorded))
    assert "1 difference from the record" in changed
    assert "| reddi2018adam | exact | moved | 2 | 3 |" in changed


def test_the_summary_keeps_its_columns_whatever_the_text(verdict):
    verdict["data"] = "a|b\nc"
    row = next(line for line in summary_markdown([verdict], []).splitlines() if "a\\|b" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 8


@given(st.floats(-1e6, 1e6), st.floats(0, 10), st.sampled_from([None, 8]))
def test_a_result_always_agrees_with_itself(value, width, n):
    entry = claim("a", value, [value - width, value + width], n)
    content = {"version": 1, "paper": "p", "scale": "full", "data": None, "claims": [entry]}
    saved = copy.deepcopy(content)
    saved["claims"][0]["tolerance"] = tolerance(entry)
    assert compare(content, saved) == []
    entry["measured"] = value + 1.01 * tolerance(entry) + 1e-6
    assert [one.kind for one in compare(content, saved)] == ["moved"]
