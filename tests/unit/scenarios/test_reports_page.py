"""The page: one file that loads nothing, shows every case, and holds hostile text as text."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from callsheet.scenarios.comparing import Comparison, compare
from callsheet.scenarios.reports import write_page
from callsheet.scenarios.results import BenchResult, Candidate, ScoreRecord, ScorerInfo
from tests.unit.scenarios.made_benches import bench, generated, trial

VOID = {"meta", "input", "br"}
HOSTILE = (
    "</pre></td><script>alert(1)</script><img src=x onerror=alert(2)>"
    "\"' onload='x' --><!-- ]]> $x^2$ {0}\x1b\u202e"
)


class Page(HTMLParser):
    """The elements and the text of a page; fails for one that is not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def html_of(result: BenchResult, folder: Path, comparison: Comparison | None = None) -> str:
    write_page(result, folder / "page.html", comparison)
    return (folder / "page.html").read_text(encoding="utf-8")


def hostile() -> BenchResult:
    candidate = Candidate(crew=HOSTILE, model=HOSTILE)
    scores = {HOSTILE: ScoreRecord(value=0.5, explanation=HOSTILE)}
    trials = [
        trial(HOSTILE, 1.0, candidate, output=HOSTILE, scores=scores, trace_url="javascript:alert(3)"),
        trial(
            "c1",
            None,
            candidate,
            output=None,
            error=HOSTILE,
            trace_url='http://x/"><script>alert(4)</script>',
        ),
        trial(
            "c2", 1.0, candidate, scores={HOSTILE: ScoreRecord(value=None, error=HOSTILE)}, trace_url="//x/y"
        ),
    ]
    inputs = {t.case: {"input": HOSTILE, "expected": {HOSTILE: [HOSTILE]}} for t in trials}
    return bench(
        {}, trials=trials, inputs=inputs, suite=HOSTILE, scorers=(ScorerInfo(name=HOSTILE),),
        versions={HOSTILE: HOSTILE}, bench_id=HOSTILE, host=HOSTILE,
    )  # fmt: skip


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    before = hostile().model_copy(update={"trials": hostile().trials[:1]})
    page = Page(html_of(hostile(), tmp_path, compare(hostile(), before)))
    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    links = [attributes.get("href") or "" for attributes in page.all("a")]
    assert links == ['http://x/"><script>alert(4)</script>']
    # input, in the summary too, expected key and value, answer, error …
    assert page.text.count("<script>alert(1)</script>") > 10
    assert not set(page.text) & set("\x1b\u202e")


def test_the_page_loads_nothing_and_allows_no_script_but_its_own(tmp_path: Path) -> None:
    html = html_of(generated(3, 8), tmp_path)
    page = Page(html)
    loading = [
        (tag, name) for tag, a in page.elements for name in a if name in ("src", "srcset", "data", "action")
    ]
    assert loading == []
    assert page.all("link") == page.all("iframe") == page.all("image") == []
    assert not re.search(r"url\((?!#)|@import", html)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = page.all("meta")[1]["content"] or ""
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy


def test_every_case_is_there_with_input_expected_answers_scores_and_traces(tmp_path: Path) -> None:
    result = generated(2, 10, 2)
    page = Page(html_of(result, tmp_path))
    for given in result.inputs.values():
        assert given["input"] in page.text
    for t in result.trials:
        assert (t.output or t.error) in page.text
    links = {attributes["href"] for attributes in page.all("a")}
    assert links == {t.trace_url for t in result.trials}
    assert len(page.all("details")) == 10


def test_cases_are_marked_for_the_filters(tmp_path: Path) -> None:
    now = bench({"a": [1.0, 0.0, 1.0, None], "b": [1.0, 0.0, 0.0, 1.0]})
    then = bench({"a": [1.0, 0.0, 0.0, None], "b": [1.0, 0.0, 0.0, 1.0]})
    page = Page(html_of(now, tmp_path, compare(now, then)))
    tags = [(a["data-tags"] or "").split() for a in page.all("details") if "data-tags" in a]
    assert tags == [[], ["wrong"], ["wrong", "differ", "changed"], ["wrong", "failed", "differ"]]
    assert [a["data-tag"] for a in page.all("button")] == ["", "wrong", "failed", "differ", "changed"]


def test_a_filter_that_no_case_passes_is_not_offered(tmp_path: Path) -> None:
    page = Page(html_of(bench({"a": [1.0, 1.0]}), tmp_path))
    assert [a["data-tag"] for a in page.all("button")] == [""]


def test_the_figures_of_the_ranking_and_the_baseline_are_there(tmp_path: Path) -> None:
    now, then = bench({"a": [0.0, 1.0, None]}), bench({"a": [1.0, 1.0, 1.0]}, bench_id="bench-0")
    text = Page(html_of(now, tmp_path, compare(now, then))).text
    for part in ("0.333", "1/3", "right → wrong", "right → failed", "bench-0", "ModelError: no"):
        assert part in text


def test_plots_are_in_the_page_in_its_own_colours_and_with_ids_of_their_own(tmp_path: Path) -> None:
    html = html_of(generated(3, 20), tmp_path)
    page = Page(html)
    assert [a["aria-label"] for a in page.all("svg")] == [
        "Score", "Cost and score", "Time of a run", "Tokens of a run",
    ]  # fmt: skip
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert {found[1:] for found in re.findall(r'href="(#[^"]+)"', html)} <= set(ids)
    assert "currentColor" in html


def test_without_matplotlib_the_page_says_how_to_get_plots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = Page(html_of(generated(2, 5), tmp_path))
    assert "pip install 'callsheet[bench]'" in page.text
    assert page.all("svg") == []


def test_long_answers_are_cut_and_it_says_by_how_much(tmp_path: Path) -> None:
    page = Page(html_of(bench({}, trials=[trial("c0", 1.0, output="é" * 5000)]), tmp_path))
    assert "é" * 3000 in page.text
    assert "é" * 3001 not in page.text
    assert "2,000 more signs" in page.text


def test_more_cases_than_a_page_bears_are_left_to_the_file(tmp_path: Path) -> None:
    page = Page(html_of(bench({"a": [1.0] * 2003}), tmp_path))
    assert len(page.all("details")) == 2000
    assert "3 more are in the JSON file" in page.text


def test_cases_of_many_runs_each_are_fewer(tmp_path: Path) -> None:
    page = Page(html_of(bench({"a": [1.0] * 3}, repeats=5000), tmp_path))
    assert len(page.all("details")) == 2
    assert "1 more are in the JSON file" in page.text


def test_a_bench_without_a_trial_has_a_page(tmp_path: Path) -> None:
    result = bench({"a": [1.0], "b": [1.0]}).model_copy(update={"trials": ()})
    assert "Unfinished: 0 of 2 runs." in Page(html_of(result, tmp_path)).text
