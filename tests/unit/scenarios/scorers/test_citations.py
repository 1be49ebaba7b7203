"""`citation_precision` and `citation_recall`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.core.errors import DefinitionError
from callsheet.scenarios import Case
from callsheet.scenarios.scorers import make_scorer
from callsheet.scenarios.scorers.citations import Citations, cited_in


def both(judged: Any, answer: Any, expected: Any = None, **options: Any) -> tuple[float, float]:
    return (
        judged("citation_precision", answer, expected, **options).value,
        judged("citation_recall", answer, expected, **options).value,
    )


@pytest.mark.parametrize(
    ("answer", "expected", "precision", "recall"),
    [
        ("It is red. [docs/x.md#L1-L7]", ["docs/x.md"], 1, 1),
        ("It is red. [docs/x.md#L1-L7] [docs/x.md#L9]", ["docs/x.md"], 1, 1),
        ("Red [a.md#L1]. Blue [b.md#L2].", ["a.md"], 0.5, 1),
        ("Red [a.md#L1].", ["a.md", "b.md"], 1, 0.5),
        ("Red [a.md#L1, b.md#L2; c.md].", ["a.md", "c.md"], 2 / 3, 1),
        ("Red [source: a.md#L1-L2].", ["a.md"], 1, 1),
        ("Red [./a.md] and [/home/me/docs/b.md]", ["a.md", "docs/b.md"], 1, 1),
        ("Red [ba.md]", ["a.md"], 0, 0),
        ("Red [paper.pdf#p3]", ["paper.pdf"], 1, 1),
        ("Red [my notes.md#L1-L2]", ["my notes.md"], 1, 1),
        ("See [the page](https://example.com/a/).", ["https://example.com/a"], 1, 1),
        ("See [https://example.com/a].", ["https://example.com/a"], 1, 1),
        ("Red [hp-0005] [hp-0009]", ["hp-0005"], 0.5, 1),
        ("Red [Gallu]", ["Gallu"], 1, 1),
        ("A note [1], [sic], [...], [see below].", ["a.md"], 0, 0),
        ("Nothing cited.", ["a.md"], 0, 0),
        ("Nothing cited.", [], 1, 1),
        ("Red [a.md]", [], 0, 1),
        ({"text": "Red [a.md#L3]"}, ["a.md"], 1, 1),
    ],
)
def test_documents_cited_are_compared_with_those_wanted(
    judged: Any, answer: Any, expected: list[str], precision: float, recall: float
) -> None:
    assert both(judged, answer, expected) == (pytest.approx(precision), pytest.approx(recall))


@pytest.mark.parametrize(
    ("cited", "wanted", "met"),
    [
        ("a.md#L10-L24", "a.md#L20-L30", True),
        ("a.md#L24", "a.md#L20-L30", True),
        ("a.md#L31-L40", "a.md#L20-L30", False),
        ("a.md", "a.md#L20-L30", False),
        ("a.pdf#p3", "a.pdf#p3", True),
        ("a.pdf#p2", "a.pdf#p3", False),
        ("a.pdf#L3", "a.pdf#p3", False),
    ],
)
def test_places_are_met_by_what_overlaps_them(judged: Any, cited: str, wanted: str, met: bool) -> None:
    assert both(judged, f"So. [{cited}]", [wanted]) == (met, met)


def test_places_count_one_by_one_where_places_are_wanted(judged: Any) -> None:
    answer = "[a.md#L1] [a.md#L2] [a.md#L90]"
    assert judged("citation_precision", answer, ["a.md#L1-L5"]).value == pytest.approx(2 / 3)
    assert judged("citation_precision", answer, ["a.md"]).value == 1


def test_the_cases_sources_stand_in_its_metadata_or_in_what_it_expects(judged: Any) -> None:
    assert both(judged, "[a.md]", "red", metadata={"sources": ["a.md"]}) == (1, 1)
    assert both(judged, "[a.md]", {"sources": ["a.md"]}, expected_from="expected.sources") == (1, 1)
    assert both(judged, "[a.md]", metadata={"docs": ["a.md"]}, expected_from="metadata.docs") == (1, 1)


def test_what_is_wrong_is_told(judged: Any) -> None:
    assert (
        judged("citation_precision", "[a.md#L1] [b.md]", ["a.md"]).explanation == "should not be cited: b.md"
    )
    assert judged("citation_recall", "[a.md#L1] [b.md]", ["a.md", "c.md"]).explanation == "not cited: c.md"
    assert judged("citation_precision", "So.", ["a.md"]).explanation == "nothing is cited"


@pytest.mark.parametrize("expected", [None, "a.md", {"a.md": 1}, [1], [""], ["a.md", None]])
@pytest.mark.parametrize("use", ["citation_precision", "citation_recall"])
def test_a_case_without_a_list_of_sources_is_refused(use: str, expected: Any) -> None:
    with pytest.raises(DefinitionError, match=use):
        make_scorer(use).check(Case(id="c", input="?", expected=expected))


SOURCES = st.lists(st.sampled_from(["a.md", "b/c.md", "d.pdf", "e-1"]), max_size=4, unique=True)


@given(SOURCES, SOURCES)
def test_precision_and_recall_are_those_of_sets(cited: list[str], wanted: list[str]) -> None:
    answer = " ".join(f"So. [{source}]" for source in cited)
    shared = len(set(cited) & set(wanted))
    assert Citations("recall").judge(answer, wanted).value == pytest.approx(
        shared / len(wanted) if wanted else 1
    )
    none = 0.0 if wanted else 1.0
    assert Citations("precision").judge(answer, wanted).value == pytest.approx(
        shared / len(cited) if cited else none
    )


@given(st.text(alphabet="[]()#L1-p.a \n", max_size=200))
def test_any_text_is_read(text: str) -> None:
    assert 0 <= Citations("precision").judge(text, ["a"]).value <= 1


def test_long_hostile_texts_are_read() -> None:
    for text in ("[" * 100_000, "[a" * 50_000, "[a](" * 25_000, "[a, " * 25_000, "[" + "a; " * 30_000 + "]"):
        assert cited_in(text, []) == []
