"""What README says of the verdicts is what is recorded."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
VERDICTS = ("reproduced", "refuted", "inconclusive", "not tested")
RECORDS = sorted((ROOT / "results" / "recorded" / "laptop").glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_readme_counts_the_recorded_verdicts(path) -> None:
    claims = json.loads(path.read_text(encoding="utf-8"))["claims"]
    found = Counter(claim["verdict"] for claim in claims)
    counts = " | ".join(str(found[verdict]) for verdict in VERDICTS)
    (row,) = re.findall(rf"^\| \[.*papers/{path.stem}/README.md\) \| (.*) \|$", README, re.M)
    assert row == counts


def test_readme_lists_every_refuted_and_open_claim() -> None:
    rows = re.findall(r"\| (refuted|inconclusive) \|$", README, re.M)
    listed = Counter(rows)
    recorded = Counter(
        claim["verdict"]
        for path in RECORDS
        for claim in json.loads(path.read_text(encoding="utf-8"))["claims"]
    )
    assert (listed["refuted"], listed["inconclusive"]) == (
        recorded["refuted"],
        recorded["inconclusive"],
    )


def test_what_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", README)
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def test_the_code_in_readme_runs() -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
