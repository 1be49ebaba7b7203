"""`choice`: the option that an answer in free text picks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.core.errors import DefinitionError
from callsheet.scenarios import Case
from callsheet.scenarios.scorers import make_scorer
from callsheet.scenarios.scorers.choice import Choice
from tests.data_sets import data_file


@pytest.mark.parametrize(
    "answer",
    [
        "B",
        "b",
        "(B)",
        "B.",
        "**B**",
        "B) Paris",
        "Option B",
        "Answer: B",
        "The answer is B",
        "The answer is B because A and C are too small.",
        "The correct answer is (B) Paris.",
        "the answer would be option B",
        "A is too small, C too large. The final answer is: **B**",
        "So $\\boxed{B}$.",
        "$\\boxed{\\text{B}}$",
        "#### B",
        "B. Paris\nIt is the capital.",
        "A and C are wrong.\nB: Paris",
        "It must be B, I think.",
        "I choose B over C.",
        '"B"',
        "Answer:\nB",
    ],
)
def test_a_letter_is_found(judged: Any, answer: str) -> None:
    assert judged.right("choice", answer, "B")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("A or B", "ambiguous: A, B"),
        ("The answer is A or B.", "ambiguous: A, B"),
        ("The answer is A. No: the answer is B.", "ambiguous: A, B"),
        ("A) no\nB) yes", "ambiguous: A, B"),
        ("B and C both fit", "ambiguous: B, C"),
        ("Paris", "no option found in the answer"),
        ("", "no option found in the answer"),
        ("A cat sat there.", "no option found in the answer"),
        ("I think so, but vitamin b helps", "no option found in the answer"),
        ("C", "C is not B"),
        ("The answer is not B but C.", "ambiguous: B, C"),
    ],
)
def test_none_or_several_is_wrong_and_told(judged: Any, answer: str, said: str) -> None:
    score = judged("choice", answer, "B")
    assert (score.value, score.explanation) == (0, said)


def test_an_article_is_not_the_letter_a(judged: Any) -> None:
    assert judged.right("choice", "A cat is a mammal, so B.", "B")
    assert judged.right("choice", "The answer is A because cats are.", "A")
    assert judged.right("choice", "I pick A.", "A")


@pytest.mark.parametrize(
    "answer",
    [
        "yes",
        "Yes.",
        "YES!",
        "True",
        "**Yes**, it would.",
        "Yes, because he starred in it.",
        "Yes it is.",
        "The answer is yes.",
        "The answer is yes because there is no reason against it.",
        "He did, so the statement is true.",
        "He was there. There is no doubt, so the answer is: true",
        "Answer: **Yes**",
        "That is not false.",
        "Reasoning: he was there.\nYes",
        True,
    ],
)
def test_yes_is_found_and_true_is_the_same(judged: Any, answer: Any) -> None:
    for expected in ("yes", "Yes", "true", True):
        assert judged.right("choice", answer, expected), expected
    assert not judged.right("choice", answer, "no")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("There is no evidence.", "no option found in the answer"),
        ("Yes and no.", "no is not yes"),
        ("The answer is yes or no.", "ambiguous: no, yes"),
        ("That is not true.", "no is not yes"),
        ("No, it would not.", "no is not yes"),
        ("false", "no is not yes"),
        ("Perhaps", "no option found in the answer"),
        ("Yesterday", "no option found in the answer"),
    ],
)
def test_no_is_found_and_what_is_neither_is_wrong(judged: Any, answer: str, said: str) -> None:
    score = judged("choice", answer, "yes")
    assert (score.value, score.explanation) == (0, said)


def test_options_of_ones_own(judged: Any) -> None:
    choices = ["good", "very good", "bad"]
    assert judged.right("choice", "I would say: Very good.", "very good", choices=choices)
    assert not judged.right("choice", "I would say: Very good.", "good", choices=choices)
    assert judged.right("choice", "It is good!", "Good", choices=choices)
    assert judged("choice", "good and bad", "bad", choices=choices).explanation == "ambiguous: bad, good"
    assert judged.right("choice", "The answer is bad, not good.", "bad", choices=choices)


def test_the_answers_of_strategyqa_are_found_in_sentences(judged: Any) -> None:
    for line in data_file("strategyqa/questions.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        word, other = ("yes", "No") if row["answer"] else ("no", "Yes")
        facts = " ".join(row["facts"])
        assert judged.right("choice", f"{facts}\nSo the answer is {word}.", row["answer"]), row["qid"]
        assert judged.right("choice", f"**{word.title()}**, {row['question']}", row["answer"]), row["qid"]
        assert not judged.right("choice", f"{other}. {row['question']}", row["answer"]), row["qid"]


@pytest.mark.parametrize("expected", [None, "Z", "maybe", 1, ["A"], "", "AB"])
def test_a_case_whose_answer_is_no_option_is_refused(expected: Any) -> None:
    with pytest.raises(DefinitionError, match="choice"):
        make_scorer("choice").check(Case(id="c", input="?", expected=expected))


@pytest.mark.parametrize("choices", ["AB", ["A"], ["A", "a"], ["", "b"], [1, 2], 3])
def test_choices_that_cannot_be_are_refused(choices: Any) -> None:
    with pytest.raises(DefinitionError, match="choices"):
        Choice(choices=choices)


@given(st.text(max_size=200), st.sampled_from(["A", "yes"]))
def test_any_text_is_judged(text: str, expected: str) -> None:
    assert Choice().judge(text, expected).value in (0.0, 1.0)


def test_long_hostile_texts_are_judged() -> None:
    for text in (
        "*" * 100_000,
        "answer is " * 10_000,
        "answer is " + "*" * 90_000,
        " \n" * 50_000,
        "A or " * 20_000,
    ):
        assert Choice().judge(text, "B").value == 0
        assert Choice().judge(text, "yes").value == 0
