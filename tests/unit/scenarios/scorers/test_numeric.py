"""`numeric`, and what the recorded solutions of GSM8K score."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.core.errors import DefinitionError
from callsheet.scenarios import Case
from callsheet.scenarios.scorers.numeric import Numeric
from tests.data_sets import data_file


def test_the_recorded_solutions_of_gsm8k_score_as_their_source_says() -> None:
    finals = {row["id"]: row["final"] for row in rows("gsm8k/problems.jsonl")}
    scorer = Numeric()
    right: Counter[str] = Counter()
    disagreements = []
    for row in rows("gsm8k/model_solutions.jsonl"):
        for model, solution in row["models"].items():
            found = scorer.judge(solution["solution"], finals[row["id"]]).value == 1
            right[model] += found
            if found != solution["is_correct"]:
                disagreements.append((row["id"], model))
    assert disagreements == []
    assert right == {
        "6b_finetuning": 37, "6b_verification": 79, "175b_finetuning": 64, "175b_verification": 112,
    }  # fmt: skip


def test_the_worked_solutions_of_gsm8k_are_right() -> None:
    scorer = Numeric()
    found = [scorer.judge(row["answer"], row["final"]).value for row in rows("gsm8k/problems.jsonl")]
    assert found == [1.0] * 200


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("18", 18),
        ("18.0", "18"),
        ("$18", 18),
        ("18 %", "18%"),
        ("The total is 1,234,567 dollars.", 1234567),
        ("-3", -3),
        ("It fell by −2.5 degrees", -2.5),
        ("-$5", -5),
        ("10-8", 8),
        ("x=.5", 0.5),
        ("1.5e3", 1500),
        ("First 3, then 4, so 7.", 7),
        ("#### 72\nThat took 3 steps.", 72),
        ("So \\boxed{1{,}000} it is, in 2 ways.", 1000),
        ("A: 12\n(by 3 methods)", 12),
        ("**Answer:** 3 + 4 = 7 apples, 2 days", 7),
        ("The answer is 9, not 10.", 9),
        ("A: 5 at first.\nA: 6", 6),
        ("Water is H2O; there are 3", 3),
        ("$0.30", 0.3),
        (18.0, 18),
        (0.1 + 0.2, 0.3),
        ({"result": 4}, 4),
    ],
)
def test_the_number_of_an_answer_is_found(judged: Any, answer: Any, expected: Any) -> None:
    assert judged.right("numeric", answer, expected)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("19", 18),
        ("eighteen", 18),
        ("", 0),
        ("18, or 19", 18),
        ("-18", 18),
        (True, 1),
        ("1.8", 18),
        ("180", 18),
    ],
)
def test_other_numbers_are_wrong(judged: Any, answer: Any, expected: Any) -> None:
    assert not judged.right("numeric", answer, expected)


def test_what_is_wrong_is_told(judged: Any) -> None:
    assert judged("numeric", "about 20", 18).explanation == "20 is not 18"
    assert judged("numeric", "many", 18).explanation == "no number found in the answer"


def test_a_tolerance_is_in_the_numbers_unit_or_a_share(judged: Any) -> None:
    assert judged.right("numeric", "3.14", 3.1416, tolerance=0.01)
    assert not judged.right("numeric", "3.14", 3.1416, tolerance=0.001)
    assert judged.right("numeric", "101", 100, relative=0.01)
    assert not judged.right("numeric", "101.1", 100, relative=0.01)


def test_a_marker_of_ones_own_must_stand_in_the_answer(judged: Any) -> None:
    assert judged.right("numeric", "RESULT> 5 of 7", 5, marker="result>")
    assert not judged.right("numeric", "It is 5", 5, marker="result>")


@pytest.mark.parametrize("expected", [None, "many", True, [1], "12 apples", float("nan")])
def test_a_case_without_a_number_is_refused(expected: Any) -> None:
    with pytest.raises(DefinitionError, match="numeric"):
        Numeric().check(Case(id="c", input="?", expected=expected))


@pytest.mark.parametrize("options", [{"tolerance": -1}, {"relative": "much"}, {"marker": 3}])
def test_options_that_cannot_be_are_refused(options: Any) -> None:
    with pytest.raises(DefinitionError):
        Numeric(**options)


@given(st.integers(-(10**12), 10**12), st.sampled_from(["{}", "{:,}", "It is {:,}.", "A: {}", "so **{:,}**"]))
def test_any_whole_number_is_read_as_it_is_written(number: int, form: str) -> None:
    assert Numeric().judge(form.format(number), number).value == 1
    assert Numeric().judge(form.format(number), number + 1).value == 0


@given(st.text(max_size=300))
def test_any_text_is_judged(text: str) -> None:
    assert Numeric().judge(text, 12.25).value in (0.0, 1.0)


def test_long_hostile_texts_are_judged_at_once() -> None:
    for text in (
        "####" * 25_000,
        "A:\n" * 30_000,
        "\n" * 100_000,
        "1," * 50_000,
        "9" * 100_000,
        "-" * 100_000,
    ):
        assert Numeric().judge(text, 5).value == 0


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data_file(name).read_text(encoding="utf-8").splitlines()]
