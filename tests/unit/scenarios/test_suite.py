"""Suites: what they hold together, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from callsheet.core.errors import DefinitionError, UnknownNameError
from callsheet.scenarios import Attempt, Case, Suite, scorer


def case(identity: str = "1", **fields: Any) -> Case:
    return Case(**{"id": identity, "input": "hello", "expected": "yes", **fields})


class Order(BaseModel):
    """What a flow is given."""

    number: int


@scorer
def polite(attempt: Attempt) -> bool:
    """Whether it says please."""
    return "please" in attempt.text


def test_the_digest_follows_from_cases_and_scorers_alone() -> None:
    suite = Suite("a", [case()], ["contains", "cost"])
    assert suite.digest == Suite("b", [case()], ["contains", "cost"], description="other").digest
    others = [
        Suite("a", [case(expected="no")], ["contains", "cost"]),
        Suite("a", [case("2")], ["contains", "cost"]),
        Suite("a", [case(metadata={"topic": "tax"})], ["contains", "cost"]),
        Suite("a", [case()], ["cost", "contains"]),
        Suite("a", [case()], [{"use": "contains", "words": True}, "cost"]),
    ]
    assert len({suite.digest, *(other.digest for other in others)}) == 1 + len(others)


def test_a_part_keeps_all_but_its_cases() -> None:
    suite = Suite("a", [case("1"), case("2"), case("3")], [{"use": "contains", "words": True}, polite])
    part = suite.only(["3", "1", "3"])
    assert [c.id for c in part.cases] == ["3", "1"]
    assert [c.id for c in suite.only(limit=2).cases] == ["1", "2"]
    assert [s.name for s in part.scorers] == ["contains", "polite"]
    assert suite.only(["1", "2", "3"]).digest == suite.digest
    with pytest.raises(UnknownNameError, match="no case of suite 'a' is called '9'"):
        suite.only(["9"])


def test_other_scorers_can_take_the_place_of_its_own() -> None:
    suite = Suite("a", [case()], ["exact"])
    assert [s.name for s in suite.with_scorers(["contains", "time"]).scorers] == ["contains", "time"]


def test_paths_begin_at_the_file_that_makes_the_suite() -> None:
    suite = Suite("a", [case()], documents=[Path(__file__).name])
    assert suite.documents == (Path(__file__),)


def test_paths_begin_at_its_folder(tmp_path: Path) -> None:
    (tmp_path / "guide.md").write_text("# Guide")
    suite = Suite("a", [case(files=("guide.md",))], documents=["guide.md"], folder=tmp_path)
    assert suite.documents == (tmp_path / "guide.md",)
    with pytest.raises(DefinitionError, match="files of case '1'"):
        Suite("a", [case(files=("other.md",))], folder=tmp_path)
    with pytest.raises(DefinitionError, match="its documents"):
        Suite("a", [case()], documents=["other.md"], folder=tmp_path)


def test_inputs_may_be_data_and_models() -> None:
    suite = Suite("a", [case("1", input={"order": 3}), case("2", input=Order(number=3))])
    assert len(suite.digest) == 32


@pytest.mark.parametrize(
    ("cases", "scorers", "said"),
    [
        ([], ["exact"], "has no cases"),
        ([case(), case()], ["exact"], "two cases with the id '1'"),
        ([case()], [], "scorers is"),
        ([case()], "exact", "It is a list, also of one"),
        ([case()], ["exact", "exact"], "two scorers called 'exact'"),
        (
            [case("7", expected=None)],
            ["contains"],
            "case '7': the scorer 'contains': the case has no expected",
        ),
        ([case(input=object())], [polite], "has no JSON form"),
        ([case()], [3], "3 is no scorer"),
    ],
)
def test_what_cannot_work_is_refused_at_once(cases: list[Case], scorers: Any, said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Suite("a", cases, scorers)
    assert said in str(caught.value)


def test_an_unknown_scorer_is_told_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean exact"):
        Suite("a", [case()], ["exat"])
