"""The report stands alone, says everything, escapes everything, and builds whatever is missing."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from reproductions.harness import report_words as words
from reproductions.harness import style
from reproductions.harness.errors import UserError
from reproductions.harness.files import write_json
from reproductions.harness.report import RoomInfo, build, cite, escape_markdown
from reproductions.harness.report_images import LARGEST_SVG, embed
from reproductions.harness.report_readme import rebase, section, to_html
from reproductions.harness.verdict_table import print_verdicts, verdict_table

VERDICTS = ("reproduced", "refuted", "inconclusive", "not tested")
NASTY = """<script>alert("x")</script> & <img src="http://evil.example/x.png"> | * _"""
README = """# A room
## Findings
* **Figure 1**: the text says *x*, the curve says `y`. <script>bad()</script>
  See [the notes](README.md).
![picture](http://evil.example/p.png)

```
# not a heading
```
## Deviations and why
Fewer steps.
### In detail
Ten times fewer.
## Minutes
Three.
"""


class Page(HTMLParser):
    """Collect tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, attribute: str) -> list[str]:
        return [attrs[attribute] for _, attrs in self.tags if attrs.get(attribute)]


def claim(number: int, **changes) -> dict:
    verdict = VERDICTS[number % 4]
    tested = verdict != "not tested"
    entry = {
        "id": f"claim-{number:02d}",
        "says": f"saying {number} & more",
        "where": f"Figure {number}, left",
        "read_as": "digitised",
        "metric": f"metric_{number}",
        "unit": "nat",
        "expect": {"op": "at_least", "value": 0.25},
        "because": f"tolerance of {number}",
        "measured": 0.5 if tested else None,
        "interval": [0.45, 0.55] if tested else None,
        "n": 16 if tested else None,
        "verdict": verdict,
        "reason": "" if tested else "judged at full only",
        "figure": "curve" if number % 2 else None,
    }
    return entry | changes


def room(tmp_path: Path, key: str = "reddi2018adam", **changes) -> RoomInfo:
    readme = tmp_path / "rooms" / key / "README.md"
    readme.parent.mkdir(parents=True, exist_ok=True)
    readme.write_text(README)
    info = RoomInfo(
        key, "On Adam & Beyond", "Sashank J. Reddi, Satyen Kale, Sanjiv Kumar", 2018, "ICLR 2018",
        "https://arxiv.org/abs/1904.09237", readme, {"online": "regret <of> seven methods"},
    )  # fmt: skip
    return info._replace(**changes)


def write_room(results: Path, key: str = "reddi2018adam", claims=None, data=None) -> Path:
    folder = results / "laptop" / key
    claims = [claim(number) for number in range(30)] if claims is None else claims
    run = {"source_digest": "ab" * 32, "commit": "9fceb02" + "0" * 33, "dirty": True,
           "device": "cpu", "cpu": "A processor", "versions": {"torch": "2.13.0"},
           "wall_seconds": 41.2, "data": data}  # fmt: skip
    content = {"version": 1, "paper": key, "scale": "laptop", "data": data,
               "provenance": {"online": run}, "claims": claims}  # fmt: skip
    write_json(folder / "verdict.json", content)
    figure, ax = style.new_figure()
    ax.plot([0, 1], [0, 1], label="a")
    meta = {"caption": "First line\nof it.\n\nSecond <part>.", "scale": "laptop", "data": data,
            "seeds": 16, "cost_seconds": 72.0, "command": f"snakemake -- {key}",
            "provenance": f"online {'ab' * 32}"}  # fmt: skip
    style.save(figure, folder / "figures", "curve", meta)
    index = {"figures": ["curve"], "skipped": {"cifarnet": "it runs at full scale only"}}
    write_json(folder / "figures" / "index.json", index)
    return folder


def write_failure(folder: Path, reason: str) -> None:
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "logs" / "grid.log").write_text("trace")
    content = {"experiment": "grid", "reason": reason, "kind": "MemoryError",
               "log": str(folder / "logs" / "grid.log"), "when": "2026-01-01T00:00:00"}  # fmt: skip
    write_json(folder / "failures" / "grid.json", content)


@pytest.fixture
def built(tmp_path):
    folder = write_room(tmp_path / "results", data={"name": "mnist", "sha256": "00"})
    write_failure(folder, f"MemoryError: {NASTY}")
    return build(tmp_path / "results", "laptop", [room(tmp_path)])


def parts(path: Path) -> tuple[str, str, str]:
    names = ("index.html", "report.md", "summary.md")
    html, twin, summary = ((path.parent / name).read_text(encoding="utf-8") for name in names)
    return html, twin, summary


def test_the_page_loads_nothing_from_anywhere(built):
    html = parts(built)[0]
    page = Page(html)
    assert all(source.startswith("data:") for source in page.all("src"))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "iframe", "object", "embed"})
    assert all(a["href"].startswith("data:") for tag, a in page.tags if tag == "link")
    css = "".join(re.findall(r"<style>(.*?)</style>", html, re.S))
    assert "url(" not in css and "@import" not in css
    assert "default-src 'none'" in html
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)


def test_pictures_are_in_the_page_with_a_size_and_a_text(built):
    pictures = [attrs for tag, attrs in Page(parts(built)[0]).tags if tag == "img"]
    assert len(pictures) == 1
    assert pictures[0]["alt"] == "First line of it."
    assert int(pictures[0]["width"]) > 100 and int(pictures[0]["height"]) > 100


def test_every_claim_is_in_the_table_with_an_anchor(built):
    html, twin, _ = parts(built)
    page = Page(html)
    rows = [attrs for tag, attrs in page.tags if tag == "tr" and "id" in attrs]
    assert [row["id"] for row in rows] == [f"reddi2018adam--claim-{n:02d}" for n in range(30)]
    for number in range(30):
        assert f"saying {number} &amp; more" in html and f"tolerance of {number}" in html
        assert f"`claim-{number:02d}`" in twin


def test_a_claim_says_expected_measured_interval_n_verdict_and_figure(built):
    text = re.search(
        r'<tr class="claim refuted" id="[^"]*claim-01">.*?</tr>', parts(built)[0], re.S
    )
    for part in ("at least 0.25 nat", "0.5 nat", "[0.45, 0.55]", "n = 16", "✗", "read off a figure",
                 "Figure 1, left", 'href="#reddi2018adam--figure--curve"'):  # fmt: skip
        assert part in text[0], part


def test_every_inner_link_has_its_target(built):
    page = Page(parts(built)[0])
    targets = set(page.all("id"))
    assert len(targets) == len(page.all("id"))
    inner = {href[1:] for href in page.all("href") if href.startswith("#")}
    assert inner <= targets


def test_relative_links_lead_to_files(built):
    links = [href for href in Page(parts(built)[0]).all("href")
             if not href.startswith(("#", "http", "data:"))]  # fmt: skip
    assert any(link.endswith("curve.csv") for link in links)
    for link in links:
        assert (built.parent / link.split("#")[0]).resolve().is_file(), link


def test_text_is_escaped_in_the_page_and_in_the_twin(tmp_path):
    fields = dict.fromkeys(("says", "where", "because", "reason", "unit"), NASTY)
    folder = write_room(tmp_path / "results", claims=[claim(0, **fields)])
    write_failure(folder, NASTY)
    info = room(tmp_path, title=NASTY, venue=NASTY, url="javascript:alert(1)", authors=NASTY)
    html, twin, summary = parts(build(tmp_path / "results", "laptop", [info]))
    page = Page(html)
    assert "script" not in {tag for tag, _ in page.tags} and "evil.example" in "".join(page.text)
    assert not any("evil" in source for source in page.all("src"))
    assert not any(href.startswith("javascript") for href in page.all("href"))
    for markdown in (twin, summary):
        assert not re.search(r"(?<!\\)<(script|img)|!\[[^\]]*\]\(http", markdown)
    row = next(line for line in twin.splitlines() if "claim-00" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 9


def test_failures_are_shown_with_their_reason_and_log(built):
    for text in parts(built):
        assert "MemoryError" in text and "grid" in text and "../reddi2018adam/logs/grid.log" in text
    assert "1 experiment failed" in parts(built)[0]


def test_nothing_failed_is_said(tmp_path):
    write_room(tmp_path / "results")
    for text in parts(build(tmp_path / "results", "laptop", [room(tmp_path)]))[:2]:
        assert "Nothing failed." in text


def test_what_was_not_drawn_is_told_apart_from_failures(built):
    html, twin, _ = parts(built)
    assert "it runs at full scale only" in html and "it runs at full scale only" in twin
    assert "it runs at full scale only" not in html[html.index('<section id="failures">') :]


def test_a_room_without_a_verdict_does_not_break_the_page(tmp_path):
    write_room(tmp_path / "results")
    rooms = [room(tmp_path), room(tmp_path, "dauphin2014saddle")]
    html, twin, summary = parts(build(tmp_path / "results", "laptop", rooms))
    for text in (html, twin):
        assert "python -m reproductions judge dauphin2014saddle --scale laptop" in text
    assert html.count('class="claim ') == 30 and "dauphin2014saddle" in summary


def test_an_empty_results_folder_and_no_rooms_still_give_a_page(tmp_path):
    assert "No verdict yet" in parts(build(tmp_path / "none", "smoke", [room(tmp_path)]))[0]
    assert "no rooms to report on" in parts(build(tmp_path / "none", "smoke", []))[0]


def test_a_missing_picture_is_said_and_the_page_is_built(tmp_path):
    folder = write_room(tmp_path / "results")
    for kind in ("svg", "png"):
        (folder / "figures" / f"curve.{kind}").unlink()
    html = parts(build(tmp_path / "results", "laptop", [room(tmp_path)]))[0]
    assert "The picture is missing" in html


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("verdict.json", '{"version": 99}'),
        ("verdict.json", '{"version": 1, "pap'),
        ("figures/index.json", "[]"),
        ("figures/curve.json", '{"caption"'),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, name, content):
    folder = write_room(tmp_path / "results")
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=re.escape(name)):
        build(tmp_path / "results", "laptop", [room(tmp_path)])


def test_the_same_results_give_the_same_bytes_whatever_the_order_of_rooms(tmp_path):
    write_room(tmp_path / "results")
    write_room(tmp_path / "results", "zhang2022adam")
    rooms = [room(tmp_path), room(tmp_path, "zhang2022adam")]
    first = parts(build(tmp_path / "results", "laptop", rooms))
    assert parts(build(tmp_path / "results", "laptop", rooms[::-1])) == first


def test_the_twin_and_the_page_give_the_same_verdicts(built):
    html, twin, _ = parts(built)
    page = dict(re.findall(r'<tr class="claim ([a-z-]+)" id="reddi2018adam--([^"]+)"', html))
    told = re.findall(r'<tr class="claim ([a-z-]+)" id="reddi2018adam--([^"]+)"', html)
    rows = re.findall(r"\(`(claim-\d+)`\).*?\| . \*\*([a-z ]+)\*\*", twin)
    assert page and [(name, verdict.replace(" ", "-")) for name, verdict in rows] == [
        (name, verdict) for verdict, name in told
    ]


def test_counts_agree_everywhere(built):
    line = "8 reproduced, 8 refuted, 7 inconclusive, 7 not tested"
    html, twin, summary = parts(built)
    assert line in twin and line in summary
    pairs = re.findall(r"<b>(\d+)</b> . ([a-z ]+)</li>", html)[:4]
    found = {name: count for count, name in pairs}
    assert found == dict(zip(VERDICTS, "8877", strict=True))


def test_refuted_and_inconclusive_claims_are_listed_apart(built):
    html = parts(built)[0]
    open_claims = html[
        html.index('<section id="open">') : html.index('<section id="reddi2018adam"')
    ]
    assert open_claims.count("<li>") == 15
    assert "saying 0 " not in open_claims and "saying 1 " in open_claims


def test_a_figure_says_scale_data_seeds_cost_sources_and_command(built):
    html, twin, _ = parts(built)
    for part in ("mnist", "72 s", "snakemake -- reddi2018adam", "online abababababab", "16"):
        assert part in html[html.index("<figcaption>") :] and part in twin
    assert "abababababababab" not in twin.split("## Provenance")[0]
    assert "Second &lt;part&gt;." in html


@pytest.mark.parametrize("data", ["synthetic_mnist", {"name": "made", "synthetic": True}])
def test_synthetic_data_is_said_to_be_synthetic(tmp_path, data):
    write_room(tmp_path / "results", data=data)
    for text in parts(build(tmp_path / "results", "laptop", [room(tmp_path)])):
        assert "synthetic data" in text


def test_real_data_is_not_called_synthetic(built):
    assert not any("synthetic" in text for text in parts(built))


def test_findings_and_deviations_come_from_the_readme(built):
    html = parts(built)[0]
    assert "<strong>Figure 1</strong>" in html and "Ten times fewer." in html
    assert "Three." not in html
    assert html.count("&lt;script&gt;bad()") == 1


def test_provenance_is_shown_for_every_experiment(built):
    for text in parts(built)[:2]:
        assert "A processor" in text and "2.13.0" in text and "uncommitted changes" in text


def test_the_page_lays_out_on_a_phone_and_on_paper(built):
    html = parts(built)[0]
    assert 'name="viewport" content="width=device-width' in html
    assert "@media (max-width: 720px)" in html and "attr(data-label)" in html
    assert "@media print" in html
    labels = re.findall(r'<td data-label="(\w+)"', html)
    assert labels[:4] == ["Expected", "Measured", "Verdict", "Figure"]


def test_twenty_figures_stay_below_five_megabytes(tmp_path):
    folder = write_room(tmp_path / "results")
    home = folder / "figures"
    figure, axes = style.new_figure(1, 3)
    for ax in axes:
        ax.plot([(i * 37 % 101) + 0.123456 * i for i in range(12_000)])
    style.save(figure, home, "curve", {"caption": "noise"})
    assert (home / "curve.svg").stat().st_size > LARGEST_SVG
    picture = embed(home, "curve")
    assert picture is not None and picture.uri.startswith("data:image/png")
    assert 20 * len(picture.uri) < 5e6


def test_sections_end_at_the_next_heading_of_their_level(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(README)
    assert section(path, "Findings").startswith("* **Figure 1**")
    assert section(path, "Findings").endswith("# not a heading\n```")
    assert section(path, "Deviations") == "Fewer steps.\n### In detail\nTen times fewer."
    assert section(path, "Nothing") == "" and section(tmp_path / "none", "Findings") == ""


def test_relative_links_of_a_readme_are_seen_from_the_page():
    text = rebase("[a](x.csv) [b](#c) [d](https://e.org) ![f](g.png)", "../room")
    assert (
        text == "[a](../room/x.csv) [b](../room/README.md#c) [d](https://e.org) ![f](../room/g.png)"
    )


def test_markdown_loads_no_pictures_and_runs_no_html():
    html = to_html("![x](http://evil.example/p.png) <b>x</b> [a](javascript:alert(1))")
    assert "<img" not in html and "<b>" not in html and 'href="javascript' not in html


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ({"op": "approx", "value": 0.4723131401, "abs": 1e-9}, "0.4723131401 ± 1e-9 nat"),
        ({"op": "approx", "value": 2.0, "rel": 0.05}, "2 nat within 5 %"),
        ({"op": "at_least", "value": 0.198}, "at least 0.198 nat"),
        ({"op": "at_most", "value": -0.4}, "at most -0.4 nat"),
        ({"op": "between", "low": 0.5, "high": 0.6}, "between 0.5 and 0.6 nat"),
        ({"op": "equals", "value": 74.0}, "exactly 74 nat"),
        ({"op": "increasing"}, "increasing"),
    ],
)
def test_expectations_are_said_in_words(expect, said):
    assert words.expected(expect, "nat") == said


@pytest.mark.parametrize(
    ("value", "bounds", "said"),
    [
        (0.69970629, None, "0.69970629"),
        (0.123456, (0.12, 0.13), "0.1235"),
        (42622.0, (42622.0, 42622.0), "42622"),
        (1.0123e-9, (1.0e-9, 1.1e-9), "1.012e-9"),
        (0.0, (0.0, 0.0), "0"),
        (5e-324, (0.0, 1e300), "4.94e-324"),
        (None, None, "—"),
    ],
)
def test_numbers_have_the_digits_their_interval_supports(value, bounds, said):
    assert words.measured(value, bounds) == said


def test_costs_and_seeds_are_said_for_people():
    assert [words.duration(x) for x in (0.123, 12.3, 125, 7300, None)] == [
        "0.12 s", "12 s", "2 min 05 s", "2 h 01 min", "—"]  # fmt: skip
    assert words.seeds([0, 1, 2]) == "3 (0 to 2)" and words.seeds(None).startswith("none")
    assert words.dataset({"a": None, "b": {"name": "mnist"}}) == "mnist"


def test_citations_are_short():
    info = RoomInfo("k", "t", "Ada B. One and Cy Two", 2020, "", "", Path("x"), {})
    assert cite(info) == "One and Two 2020"
    assert cite(info._replace(authors="Ada One, B Two, C Three")) == "One et al. 2020"
    assert cite(info._replace(authors="Ada One")) == "One 2020"


def test_markdown_signs_are_escaped():
    assert escape_markdown("a|b\n<c> *d* [e](f) x_1") == r"a\|b \<c\> \*d\* \[e\](f) x\_1"


def test_the_terminal_table_lists_every_claim_in_plain_lines(tmp_path):
    path = write_room(tmp_path) / "verdict.json"
    verdict = json.loads(path.read_text())
    out = io.StringIO()
    print_verdicts(verdict, out)
    lines = out.getvalue().splitlines()
    assert "8 reproduced" in lines[0] and len(lines) == 31
    assert "✗ refuted" in lines[2] and "[0.45, 0.55]" in lines[2] and "claim-01" in lines[2]
    assert verdict_table(verdict).row_count == 30
