"""`normalised` and `f1`: hand-computed cases, and laws."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.core.errors import DefinitionError
from callsheet.scenarios import Case
from callsheet.scenarios.scorers import make_scorer
from callsheet.scenarios.scorers.squad import normalise_answer, token_f1
from tests.data_sets import data_file

WORDS = st.lists(st.sampled_from(["the", "a", "Cat", "cat", "dog", "U.S.", "1990", "-", "é"]), max_size=8)
TEXTS = st.one_of(WORDS.map(" ".join), st.text(max_size=40))


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Cat!", "cat"),
        ("  a  cat\nand\tthe dog ", "cat and dog"),
        ("U.S.A.", "usa"),
        ("an apple, another", "apple another"),
        ("theatre", "theatre"),
        ("1,000", "1000"),
        ("Café – “x”", "café – “x”"),  # SQuAD drops ASCII punctuation alone
        ("The", ""),
        ("rock-a-bye", "rockabye"),  # punctuation goes before articles
    ],
)
def test_answers_are_normalised_in_squads_order(text: str, normal: str) -> None:
    assert normalise_answer(text) == normal


@pytest.mark.parametrize(
    ("answer", "expected", "f1"),
    [
        ("the cat sat", "cat", 2 / 3),  # p 1/2, r 1
        ("cat sat on the mat", "a cat on mat", 6 / 7),  # p 3/4, r 1
        ("cat cat dog", "cat dog dog", 2 / 3),  # counted with repeats: p 2/3, r 2/3
        ("Stanley Hall", "G. Stanley Hall", 4 / 5),  # p 1, r 2/3
        ("dog", "cat", 0),
        ("The cat.", "cat", 1),
        ("", "cat", 0),
        ("the", "a", 1),  # neither has a token
        ("yes it is", "yes", 1 / 2),
    ],
)
def test_f1_is_what_one_computes_by_hand(judged: Any, answer: str, expected: str, f1: float) -> None:
    assert token_f1(answer, expected) == pytest.approx(f1)
    assert judged("f1", answer, expected).value == pytest.approx(f1)


@given(TEXTS, TEXTS)
def test_f1_is_symmetric_and_a_share(one: str, other: str) -> None:
    assert token_f1(one, other) == token_f1(other, one)
    assert 0 <= token_f1(one, other) <= 1


@given(TEXTS)
def test_f1_of_a_text_with_itself_is_one(text: str) -> None:
    assert token_f1(text, text) == 1
    assert token_f1(f"the {text.upper() if text.isascii() else text}", text) == 1


@given(TEXTS, TEXTS)
def test_an_exact_match_has_f1_one_and_only_permutations_have_it_besides(one: str, other: str) -> None:
    same_bag = sorted(normalise_answer(one).split()) == sorted(normalise_answer(other).split())
    assert (token_f1(one, other) == 1) == same_bag


@given(TEXTS)
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise_answer(text)
    # Lower case of a few signs has no lower case of its own that is stable; SQuAD's script has that too.
    assert normalise_answer(once) == once or not text.isascii()


def test_the_best_alias_counts(judged: Any) -> None:
    for aliases in (["G. Stanley Hall", "Hall"], {"answer": "G. Stanley Hall", "aliases": ["Hall"]}):
        assert judged.right("normalised", "hall", aliases)
        assert judged.right("f1", "hall", aliases)
        assert not judged.right("normalised", "Stanley", aliases)
    assert judged("f1", "Stanley Hall", ["nobody", "G. Stanley Hall"]).value == pytest.approx(0.8)
    assert "G. Stanley Hall" in judged("f1", "Stanley Hall", ["nobody", "G. Stanley Hall"]).explanation


def test_a_number_is_a_text_too(judged: Any) -> None:
    assert judged.right("normalised", "1990.", 1990)


def test_hotpots_rule_gives_no_part_of_a_score_for_yes_and_no(judged: Any) -> None:
    assert judged("f1", "no it is", "no").value > 0
    assert judged("f1", "no it is", "no", hotpot=True).value == 0
    assert judged("f1", "no", "no country for old men", hotpot=True).value == 0
    assert judged("f1", "No.", "no", hotpot=True).value == 1
    assert judged("f1", "noanswer", "an answer", hotpot=True).value == 0
    assert judged("f1", "no country", "no country for old men", hotpot=True).value == pytest.approx(4 / 7)


@pytest.mark.parametrize("name", ["multihop_hotpotqa", "multihop_musique"])
def test_the_answers_of_the_public_sets_are_right_against_themselves(name: str) -> None:
    scorers = [make_scorer("normalised"), make_scorer({"use": "f1", "hotpot": True})]
    for line in data_file(f"{name}/questions.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        expected = [row["answer"], *row.get("answer_aliases", [])]
        for scorer in scorers:
            for answer in expected:
                assert scorer.judge(f" The {answer}. ", expected).value == 1, row  # type: ignore[attr-defined]
            assert scorer.judge("surely not this", expected).value == 0, row  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "expected", [None, [], True, [True], {"text": "x"}, {"answer": "x", "aliases": "y"}, [["x"]]]
)
@pytest.mark.parametrize("use", ["normalised", "f1"])
def test_a_case_without_texts_is_refused(use: str, expected: Any) -> None:
    with pytest.raises(DefinitionError, match=use):
        make_scorer(use).check(Case(id="c", input="?", expected=expected))
