"""Claims are read strictly and judged by their interval."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reproductions.harness.claim_models import Accepted
from reproductions.harness.claims import (
    INCONCLUSIVE,
    NOT_TESTED,
    REFUTED,
    REPRODUCED,
    decide,
    judge,
    load_claims,
    read_verdict,
    write_verdict,
)
from reproductions.harness.errors import UserError
from reproductions.harness.statistics import Metric, exact, over_seeds, trend

GOOD = """\
- id: gap-shrinks
  says: the gap shrinks with width
  where: Figure 3, right
  read_as: stated
  metric: gap
  unit: "1"
  expect: {op: at_most, value: 0.0}
  because: the sign is the claim
  scales: [laptop, full]
"""
KEYS = "id says where read_as metric unit expect because measured interval n verdict reason figure"


@pytest.fixture
def load(tmp_path):
    def write_and_load(text: str = GOOD):
        file = tmp_path / "claims.yaml"
        file.write_text(text, encoding="utf-8")
        return load_claims(file)

    return write_and_load


def expecting(load, expect: str, **changes: str):
    text = GOOD.replace("{op: at_most, value: 0.0}", expect)
    for key, value in changes.items():
        text = text.replace(f"  {key}: ", f"  {key}: {value} # ")
    return load(text)[0]


def test_a_good_claim_is_read(load):
    claim = load()[0]
    assert (claim.id, claim.metric, claim.figure) == ("gap-shrinks", "gap", None)
    assert claim.expect.accepted() == Accepted(-math.inf, 0.0)


@pytest.mark.parametrize(
    ("expect", "accepted"),
    [
        ("{op: approx, value: 2, abs: 0.5}", (1.5, 2.5, False)),
        ("{op: approx, value: -2.0, rel: 0.5}", (-3.0, -1.0, False)),
        ("{op: at_least, value: 1}", (1.0, math.inf, False)),
        ("{op: between, low: 1, high: 3}", (1.0, 3.0, False)),
        ("{op: equals, value: 7}", (7.0, 7.0, False)),
        ("{op: increasing}", (0.0, math.inf, True)),
        ("{op: decreasing}", (-math.inf, 0.0, True)),
    ],
)
def test_every_comparison_accepts_what_it_says(load, expect, accepted):
    assert expecting(load, expect).expect.accepted() == accepted


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value: 0.0", "value: 1e-3", "expect.value: must be a number, got the text '1e-3'; YAML"),
        ("value: 0.0", "value: 1e-3", "write 0.001"),
        ("value: 0.0", "value: 2e-07", r"write 2\.0e-07"),
        ("value: 0.0", "value: 1e20", r"write 1\.0e\+20"),
        ("value: 0.0", "value: many", "expect.value: must be a number, got the text 'many'$"),
        ("value: 0.0", "value: true", "expect.value: must be a number, got True"),
        ("value: 0.0", "value: .nan", "expect.value: should be a finite number"),
        ("value: 0.0", "", "expect.value: is missing: at_most needs it"),
        ("value: 0.0", "valeu: 0.0", "expect.valeu: unknown key .did you mean 'value'"),
        ("at_most", "at_mots", "expect.op: unknown comparison 'at_mots' .did you mean 'at_most'"),
        ("op: at_most, ", "", "expect.op: is missing: one of approx, at_least"),
        ("{op: at_most, value: 0.0}", "decreasing", "expect: must be a comparison such as {op:"),
        ("at_most, value: 0.0", "approx, value: 1", "approx needs a tolerance: either abs or rel"),
        ("at_most, value: 0.0", "approx, value: 1, abs: 1, rel: 1", "either abs or rel"),
        ("at_most, value: 0.0", "approx, value: 0, rel: 0.1", "give abs"),
        ("at_most, value: 0.0", "approx, value: 0, abs: -1", "expect.abs: should be greater than"),
        ("at_most, value: 0.0", "between, low: 2, high: 1", "low 2.0 is above high 1.0"),
        ("  because: the sign is the claim\n", "", "because: is missing: why this comparison"),
        ("  where: Figure 3, right\n", "", "where: is missing: the place in the paper"),
        ("  read_as: stated\n", "", "read_as: is missing: stated, tabulated"),
        ("  metric: gap\n", "", "metric: is missing"),
        ("because:", "becuase:", "becuase: unknown key .did you mean 'because'.*1 more: because"),
        ("read_as: stated", "read_as: guessed", "read_as: 'guessed' is not 'stated', 'tabulated'"),
        ('unit: "1"', "unit: 1", r"unit: must be text, got 1: put it in quotes \(\"1\"\)"),
        ("[laptop, full]", "laptop", r"scales: must be a list, got 'laptop': write \[laptop\]"),
        ("[laptop, full]", "[laptp]", "scales.0: 'laptp' is not 'smoke', 'laptop' or 'full'"),
        ("[laptop, full]", "[]", "scales: must not be empty"),
        ("says: the gap shrinks with width", "says: ''", "says: must not be empty"),
    ],
)
def test_a_malformed_claim_names_file_claim_and_key(load, old, new, message):
    with pytest.raises(UserError, match=f"claims.yaml: claim gap-shrinks: .*{message}"):
        load(GOOD.replace(old, new))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("# nothing yet\n", "the file is empty"),
        ("[]\n", "must be a list of claims"),
        ("id: a\n", "must be a list of claims"),
        ("- 3\n", "claim 1: must be keys and values, got 3"),
        (GOOD + GOOD, "claim gap-shrinks: id: another claim has the same id"),
        (GOOD.replace("- id: gap-shrinks\n ", "-"), "claim number 1: id: is missing"),
        (GOOD.replace("gap-shrinks", "gap shrinks"), "id: must be letters, digits"),
        (GOOD + "  unit: s\n", "line 10: not valid YAML: the key 'unit' is given twice"),
        (GOOD.replace("says: ", "says: it says: "), "line 2: not valid YAML"),
        (GOOD + "  - [", "line 10: not valid YAML"),
        ("- ? [a]\n  : 1\n", "not valid YAML|claim"),
    ],
)
def test_an_unusable_file_is_named(load, text, message):
    with pytest.raises(UserError, match=f"claims.yaml: .*({message})"):
        load(text)


def test_an_absent_file_and_a_binary_one_are_named(tmp_path):
    with pytest.raises(UserError, match="claims.yaml: there is no such file"):
        load_claims(tmp_path / "claims.yaml")
    (tmp_path / "claims.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="claims.yaml: not readable"):
        load_claims(tmp_path / "claims.yaml")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-2.0, -1.0, REPRODUCED),
        (-2.0, 0.0, REPRODUCED),  # at_most accepts its limit
        (-1.0, 1.0, INCONCLUSIVE),
        (1.0, 2.0, REFUTED),
    ],
)
def test_the_interval_decides(load, low, high, verdict):
    metric = Metric((low + high) / 2, low, high, 10, "sample")
    assert judge(load(), {"gap": metric}, {}, "laptop")[0]["verdict"] == verdict


def test_a_trend_of_zero_is_not_increasing():
    rising = Accepted(0.0, math.inf, open=True)
    assert decide(exact(0.0), rising) == (REFUTED, "")
    assert decide(Metric(1, 0, 2, 9, "sample"), rising)[0] == INCONCLUSIVE


def test_straddling_says_the_seeds_it_would_take(load):
    metric = Metric(-1.0, -3.0, 1.0, 16, "sample")
    entry = judge(load(), {"gap": metric}, {}, "laptop")[0]
    assert entry["verdict"] == INCONCLUSIVE
    assert "straddles 0; about 64 seeds would decide (now 16)" in entry["reason"]


def test_straddling_both_limits_asks_for_the_harder_one():
    metric = Metric(1.0, -1.0, 3.0, 10, "sample")
    verdict, reason = decide(metric, Accepted(0.5, 2.0))
    assert verdict == INCONCLUSIVE and "0.5 and 2; about 160 seeds" in reason


def test_a_value_on_the_limit_is_decided_by_no_number_of_seeds():
    reason = decide(Metric(0.0, -1.0, 1.0, 10, "sample"), Accepted(0.0, math.inf))[1]
    assert "no feasible number of seeds decides" in reason


def test_an_exact_number_straddling_wants_a_smaller_error():
    verdict, reason = decide(exact(1.0, 0.5), Accepted(0.8, math.inf))
    assert verdict == INCONCLUSIVE and "smaller error bound" in reason


def test_an_exact_number_is_judged_without_seeds():
    assert decide(exact(7), Accepted(7, 7)) == (REPRODUCED, "")
    assert decide(exact(8), Accepted(7, 7)) == (REFUTED, "")


def test_one_seed_is_inconclusive_however_far_away(load):
    entry = judge(load(), {"gap": over_seeds([-1e9])}, {}, "full")[0]
    assert entry["verdict"] == INCONCLUSIVE and "one seed" in entry["reason"]
    assert (entry["measured"], entry["interval"], entry["n"]) == (-1e9, None, 1)


def test_equal_seeds_decide(load):
    entry = judge(load(), {"gap": over_seeds([-1.0] * 4)}, {}, "full")[0]
    assert entry["verdict"] == REPRODUCED and entry["interval"] == [-1.0, -1.0]
    assert entry["reason"] == "all 4 seeds gave the same"


def test_a_diverged_seed_makes_it_inconclusive_and_null(load):
    entry = judge(load(), {"gap": over_seeds([-1.0, math.nan])}, {}, "full")[0]
    assert entry["verdict"] == INCONCLUSIVE
    assert entry["reason"] == "1 of 2 seeds have no finite value"
    assert (entry["measured"], entry["interval"], entry["n"]) == (None, None, 2)


def test_a_claim_of_another_scale_is_not_tested(load):
    entry = judge(load(), {}, {}, "smoke")[0]
    assert entry["verdict"] == NOT_TESTED and entry["reason"] == "judged at laptop, full only"


def test_a_metric_that_could_not_be_measured_is_not_tested(load):
    entry = judge(load(), {}, {"gap": "experiment widths failed"}, "laptop")[0]
    assert (entry["verdict"], entry["reason"]) == (NOT_TESTED, "experiment widths failed")


def test_a_skipped_measure_function_is_the_reason(load):
    entry = judge(load(), {}, {"measure_widths": "no table widths"}, "laptop")[0]
    assert entry["reason"] == "not measured; measure_widths: no table widths"


def test_of_several_skipped_the_one_that_the_metric_is_named_after_is_the_reason(load):
    missing = {"measure_ga": "no ga", "measure_gap": "no gap", "measure_gap_of": "no gap of"}
    for metric, reason in (("gap_of_two", "no gap of"), ("gap_two", "no gap"), ("ga_p", "no ga")):
        claim = load()[0].model_copy(update={"metric": metric})
        assert judge([claim], {}, missing, "laptop")[0]["reason"] == reason


def test_a_metric_nobody_measures_is_an_error(load):
    message = "claims.yaml: claim gap-shrinks: metric: .*'gap' .did you mean 'gaps'"
    with pytest.raises(UserError, match=message):
        judge(load(), {"gaps": exact(1)}, {}, "laptop", file="claims.yaml")


def test_a_trend_of_the_other_direction_is_an_error(load):
    claim = expecting(load, "{op: decreasing}")
    rising = trend([[1, 1.1], [2, 2.1]])
    with pytest.raises(UserError, match=r"gap-shrinks: expect.op: .*trend\(..., 'increasing'\)"):
        judge([claim], {"gap": rising}, {}, "laptop")


def test_an_entry_has_the_agreed_keys_and_survives_json(load, tmp_path):
    entries = judge(load(), {"gap": Metric(-1.0, -2.0, -0.5, 8, "sample")}, {}, "laptop")
    assert list(entries[0]) == KEYS.split()
    write_verdict(tmp_path / "verdict.json", "key", "laptop", "mnist", {"a": 1}, entries)
    content = json.loads((tmp_path / "verdict.json").read_text())
    assert list(content) == ["version", "paper", "scale", "data", "provenance", "claims"]
    assert content["version"] == 1 and content["claims"] == entries
    assert content["claims"][0]["expect"] == {"op": "at_most", "value": 0.0}
    assert content["claims"][0]["interval"] == [-2.0, -0.5]
    assert read_verdict(tmp_path / "verdict.json") == content


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"version": 2}', "version: a verdict of version 2; this is version 1"),
        ("[]", "a verdict of version None"),
        ('{"version": 1, "paper": "a", "scale"', "cut short or not JSON"),
        ("", "cut short or not JSON"),
        ('{"version": 1, "paper": "a", "scale": "full"}', "a verdict without 'claims'"),
    ],
)
def test_an_unusable_verdict_is_named(tmp_path, text, message):
    (tmp_path / "verdict.json").write_text(text)
    with pytest.raises(UserError, match=f"verdict.json: .*{message}"):
        read_verdict(tmp_path / "verdict.json")


numbers = st.floats(-100, 100)
widths = st.floats(0, 50)
accepted_sets = st.builds(
    lambda low, width, shape: {
        "box": Accepted(low, low + width),
        "above": Accepted(low, math.inf),
        "below": Accepted(-math.inf, low),
        "rising": Accepted(0.0, math.inf, open=True),
        "falling": Accepted(-math.inf, 0.0, open=True),
    }[shape],
    numbers,
    widths,
    st.sampled_from(["box", "above", "below", "rising", "falling"]),
)


def sample(value: float, below: float, above: float) -> Metric:
    return Metric(value, value - below, value + above, 10, "sample")


@given(numbers, widths, widths, widths, widths, accepted_sets)
def test_widening_an_interval_only_loses_certainty(value, below, above, left, right, accepted):
    narrow = decide(sample(value, below, above), accepted)[0]
    wide = decide(sample(value, below + left, above + right), accepted)[0]
    assert wide in (narrow, INCONCLUSIVE)


@given(numbers, widths, widths)
def test_the_negated_claim_swaps_reproduced_and_refuted(value, below, above):
    swap = {REPRODUCED: REFUTED, REFUTED: REPRODUCED, INCONCLUSIVE: INCONCLUSIVE}
    metric = sample(value, below, above)
    rising, not_rising = Accepted(0.0, math.inf, open=True), Accepted(-math.inf, 0.0)
    assert decide(metric, not_rising)[0] == swap[decide(metric, rising)[0]]


@given(numbers, widths, widths, accepted_sets)
def test_mirroring_claim_and_metric_keeps_the_verdict(value, below, above, accepted):
    mirrored = Accepted(-accepted.high, -accepted.low, accepted.open)
    metric = sample(value, below, above)
    other = Metric(-metric.value, -metric.high, -metric.low, 10, "sample")
    assert decide(metric, accepted)[0] == decide(other, mirrored)[0]


@given(numbers, widths, widths, accepted_sets)
def test_the_promised_seeds_would_decide(value, below, above, accepted):
    metric = sample(value, below, above)
    verdict, reason = decide(metric, accepted)
    if verdict != INCONCLUSIVE or "about" not in reason:
        return
    n = int(reason.split("about ")[1].split()[0])
    shrink = math.sqrt(10 / (n + 1))
    decided = decide(sample(value, below * shrink, above * shrink), accepted)[0]
    assert decided in (REPRODUCED, REFUTED)


@given(st.permutations(range(4)), st.lists(numbers, min_size=4, max_size=4))
def test_verdicts_do_not_depend_on_the_order_of_claims(order, values):
    claims = _four_claims()
    metrics = {f"m{i}": exact(value) for i, value in enumerate(values)}
    straight = judge(claims, metrics, {}, "full")
    shuffled = judge([claims[i] for i in order], metrics, {}, "full")
    assert shuffled == [straight[i] for i in order]


def _four_claims():
    from reproductions.harness.claim_models import AtLeast, Claim

    text = dict.fromkeys(("says", "where", "unit", "because"), "x")
    expect = AtLeast(op="at_least", value=0.0)
    return [
        Claim(id=f"c{i}", metric=f"m{i}", read_as="stated", expect=expect, scales=["full"], **text)
        for i in range(4)
    ]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_suggested_spelling_is_a_number_to_yaml(number):
    import yaml

    from reproductions.harness.yaml_files import as_number

    for text in (repr(number), f"{number:e}", str(int(number))):
        read = yaml.safe_load(as_number(text))
        assert isinstance(read, float) and read == float(text)
