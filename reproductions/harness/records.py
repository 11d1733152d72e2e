"""Hold results against the ones we accepted before."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from reproductions.harness.claims import NOT_TESTED, VERDICTS, VERSION, read_versioned
from reproductions.harness.errors import UserError
from reproductions.harness.files import write_json
from reproductions.harness.provenance import commit

_RELATIVE, _ABSOLUTE = 1e-6, 1e-9
_KEPT = ("id", "metric", "unit", "measured", "interval", "n", "verdict")


class Difference(NamedTuple):
    """One way in which a result is not what was recorded.

    Fields:
        kind: "moved", "verdict", "new", "gone" or "setting".
        claim: its id; "" for "setting".
        recorded, now: what is compared: numbers, verdicts or text; None where there is none.
        tolerance: how far a number may move; None for the rest.
    """

    paper: str
    claim: str
    kind: str
    recorded: Any
    now: Any
    tolerance: float | None = None

    def sentence(self) -> str:
        """Say it in words."""
        was, now = shown(self.recorded), shown(self.now)
        if self.kind == "moved":
            return f"measured {now}, recorded {was} ± {shown(self.tolerance)}"
        if self.kind == "new":
            return f"a new claim ({now}): not recorded yet"
        if self.kind == "gone":
            return f"recorded ({was}), but no longer claimed"
        return f"{now}, recorded {was}"


def shown(value: Any) -> str:
    """Return a number or a text for a table."""
    return "-" if value is None else f"{value:.8g}" if isinstance(value, float) else str(value)


def record(verdict: Mapping[str, Any], path: Path | str) -> dict[str, Any]:
    """Accept a verdict: write its numbers, verdicts and tolerances, and return what was written.

    Args:
        verdict: what `read_verdict` returns.
        path: results/recorded/<scale>/<key>.json.
    """
    content = {
        "version": VERSION,
        "paper": verdict["paper"],
        "scale": verdict["scale"],
        "data": verdict.get("data"),
        "accepted": commit(),
        "provenance": verdict.get("provenance", {}),
        "claims": [
            {key: claim[key] for key in _KEPT} | {"tolerance": tolerance(claim)}
            for claim in verdict["claims"]
        ],
    }
    write_json(path, content)
    return content


def tolerance(claim: Mapping[str, Any]) -> float | None:
    """Return how far a measured number may move before `check` reports it.

    An exact number: 1e-6 of it + 1e-9. A number over seeds: besides, the full width of its
    interval, for another machine rounds otherwise and a trained network then ends elsewhere.
    None where there is no number, or only one seed, which says nothing about its spread.
    """
    measured, interval = claim["measured"], claim["interval"]
    if measured is None or (claim["n"] is not None and interval is None):
        return None
    width = interval[1] - interval[0] if claim["n"] is not None else 0.0
    return width + _RELATIVE * abs(measured) + _ABSOLUTE


def read_record(path: Path | str) -> dict[str, Any]:
    """Read a record.

    Raises:
        UserError: absent, cut short, of another version, or not a record.
    """
    return read_versioned(path, "record")


def compare(verdict: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[Difference]:
    """Return every way in which a verdict is not what was recorded, in the order of the claims.

    Raises:
        UserError: either is of another version.
    """
    for what, content in (("verdict", verdict), ("record", recorded)):
        if content.get("version") != VERSION:
            message = f"a {what} of version {content.get('version')}; this is version {VERSION}"
            raise UserError(f"{message}: make it again", key=str(content.get("paper")))
    paper = verdict["paper"]
    found = [
        Difference(
            paper,
            "",
            "setting",
            f"{key} {recorded.get(key)}",
            f"{key} {verdict.get(key)}",
        )
        for key in ("paper", "scale", "data")
        if recorded.get(key) != verdict.get(key)
    ]
    before = {claim["id"]: claim for claim in recorded["claims"]}
    for claim in verdict["claims"]:
        found += _differences(paper, claim, before.pop(claim["id"], None))
    found += [Difference(paper, key, "gone", old["verdict"], None) for key, old in before.items()]
    return found


def _differences(
    paper: str, claim: Mapping[str, Any], before: Mapping[str, Any] | None
) -> list[Difference]:
    """Compare one claim with its record."""
    if before is None:
        return [Difference(paper, claim["id"], "new", None, claim["verdict"])]
    found = []
    if claim["verdict"] != before["verdict"]:
        verdicts = before["verdict"], claim["verdict"]
        found.append(Difference(paper, claim["id"], "verdict", *verdicts))
    was, now, allowed = before["measured"], claim["measured"], before["tolerance"]
    if was is None and now is None:
        return found
    if was is None or now is None or (allowed is not None and not abs(now - was) <= allowed):
        found.append(Difference(paper, claim["id"], "moved", was, now, allowed))
    return found


def count(verdict: Mapping[str, Any]) -> dict[str, int]:
    """Return how many claims got each of the four verdicts."""
    given = [claim["verdict"] for claim in verdict["claims"]]
    return {name: given.count(name) for name in VERDICTS}


COLUMNS = ("paper", "claim", "what", "recorded", "now", "tolerance")


def rows(differences: Sequence[Difference]) -> list[tuple[str, ...]]:
    """Return the differences as text under `COLUMNS`, for a table."""
    return [
        (
            one.paper,
            one.claim or "-",
            one.kind,
            *map(shown, (one.recorded, one.now, one.tolerance)),
        )
        for one in differences
    ]


def junit_xml(verdicts: Sequence[Mapping[str, Any]], differences: Sequence[Difference]) -> str:
    """Return JUnit XML: a suite per paper, a case per claim, a failure where `check` fails.

    A refuted claim passes: it is a result. A claim that is not tested is skipped.
    """
    root = ElementTree.Element("testsuites", name="reproductions")
    for verdict in verdicts:
        paper = verdict["paper"]
        own = [one for one in differences if one.paper == paper]
        claims = {claim["id"]: claim for claim in verdict["claims"]}
        others = {one.claim for one in own} - set(claims)
        suite = ElementTree.SubElement(root, "testsuite", name=f"{paper} at {verdict['scale']}")
        for name in (*claims, *sorted(others)):
            wrong = [one.sentence() for one in own if one.claim == name]
            _case(suite, paper, name, claims.get(name), wrong)
        failed = len({one.claim for one in own})
        skipped = len(suite.findall("testcase/skipped"))
        suite.attrib.update(tests=str(len(suite)), failures=str(failed), skipped=str(skipped))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(
    suite: ElementTree.Element,
    paper: str,
    name: str,
    claim: Mapping[str, Any] | None,
    wrong: Sequence[str],
) -> None:
    case = ElementTree.SubElement(suite, "testcase", classname=paper, name=name or "setting")
    if wrong:
        said = _xml("; ".join(wrong))
        ElementTree.SubElement(case, "failure", message=said, type="difference").text = said
    elif claim and claim["verdict"] == NOT_TESTED:
        ElementTree.SubElement(case, "skipped", message=_xml(claim["reason"]))
    if claim:
        output = f"{claim['says']} ({claim['where']}): {claim['verdict']}. {claim['reason']}"
        ElementTree.SubElement(case, "system-out").text = _xml(output)


def _xml(text: str) -> str:
    """Replace the control characters that XML cannot hold, such as a terminal's colours."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)


def summary_markdown(
    verdicts: Sequence[Mapping[str, Any]], differences: Sequence[Difference]
) -> str:
    """Return the verdicts counted by paper, and a table of the differences."""
    lines = ["## Verdicts", "", *_table(("paper", "scale", "data", *VERDICTS), [
        (one["paper"], one["scale"], shown(one.get("data")), *map(str, count(one).values()))
        for one in verdicts
    ])]  # fmt: skip
    if differences:
        plural = "s" if differences[1:] else ""
        lines += ["", f"## {len(differences)} difference{plural} from the record", ""]
        lines += _table(COLUMNS, rows(differences))
    else:
        lines += ["", "Nothing differs from the record."]
    return "\n".join(lines) + "\n"


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    clean = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in body]
    divider = ["---"] * len(header)
    return [f"| {' | '.join(row)} |" for row in (header, divider, *clean)]
