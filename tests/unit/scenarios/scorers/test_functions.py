"""Scorers of one's own, measures, and scorers by name."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

from callsheet.core.errors import CallsheetError, DefinitionError, RunError, UnknownNameError
from callsheet.core.limits import RunUsage
from callsheet.scenarios import Attempt, Case, Score, Scorer, scorer
from callsheet.scenarios.scorers import FunctionScorer, make_scorer
from callsheet.scenarios.scorers.base import RunCrew, checked_score
from callsheet.scenarios.scorers.registry import SCORERS


async def scored(function: Any, **options: Any) -> Score:
    attempt = Attempt(case=Case(id="c7", input="?"), output="text")
    return await FunctionScorer(function, **options).score(attempt, never)


async def never(crew: Any, given: Any) -> Any:
    raise AssertionError("no crew is run")


@pytest.mark.parametrize(
    ("given", "value"),
    [(True, 1), (False, 0), (0.25, 0.25), (1, 1), (np.True_, 1), (np.float32(0.5), 0.5), (Score(value=1), 1)],
)
async def test_a_function_gives_a_judgement(given: Any, value: float) -> None:
    def own(attempt: Attempt) -> Any:
        return given

    async def awaited(attempt: Attempt) -> Any:
        return given

    assert (await scored(own)).value == value
    assert (await scored(awaited)).value == value


async def test_an_explanation_is_kept() -> None:
    assert (await scored(lambda _: Score(value=0, explanation="why"), name="own")).explanation == "why"


@pytest.mark.parametrize("given", [None, "good", math.nan, math.inf, 1.01, -0.5, 3, Score(value=7), [1], 1j])
async def test_what_is_no_share_is_an_error_that_names_the_scorer(given: Any) -> None:
    with pytest.raises(DefinitionError, match="'own'") as caught:
        await scored(lambda _: given, name="own")
    assert caught.value.hint


async def test_with_a_unit_any_finite_number_will_do() -> None:
    assert (await scored(lambda _: -12.5, name="own", unit="points")).value == -12.5
    with pytest.raises(DefinitionError, match="finite"):
        await scored(lambda _: math.nan, name="own", unit="points")


async def test_what_a_function_raises_names_scorer_and_case() -> None:
    def own(attempt: Attempt) -> float:
        return 1 / 0

    with pytest.raises(DefinitionError, match="'own' failed at case 'c7': ZeroDivisionError") as caught:
        await scored(own)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_callsheets_own_errors_pass_as_they_are() -> None:
    def own(attempt: Attempt) -> float:
        raise RunError("no luck")

    with pytest.raises(RunError, match="no luck"):
        await scored(own)


def test_the_decorator_names_the_scorer() -> None:
    @scorer
    def polite(attempt: Attempt) -> bool:
        return "please" in attempt.text

    @scorer(name="words", unit="words", better="lower")
    def count(attempt: Attempt) -> int:
        return len(attempt.text.split())

    assert (polite.name, polite.unit, polite.better) == ("polite", "", "higher")
    assert (count.name, count.unit, count.better) == ("words", "words", "lower")


@pytest.mark.parametrize(
    "make",
    [
        lambda: scorer(lambda attempt: True),
        lambda: scorer(lambda attempt: True, name="a=b"),
        lambda: scorer(lambda attempt: True, name="a", better="more"),
        lambda: scorer(lambda: True, name="a"),
        lambda: scorer(lambda one, two: True, name="a"),
        lambda: scorer(3),
    ],
)
def test_functions_that_cannot_score_are_refused(make: Any) -> None:
    with pytest.raises(DefinitionError) as caught:
        make()
    assert caught.value.hint


@pytest.mark.parametrize(
    ("use", "value", "unit"),
    [("cost", 0.25, "usd"), ("time", 12.5, "s"), ("steps", 7, "steps"), ("tokens", 130, "tokens")],
)
async def test_measures_tell_what_a_run_took_and_less_is_better(use: str, value: float, unit: str) -> None:
    usage = RunUsage(llm_calls=2, input_tokens=100, output_tokens=30, cost_usd=0.25)
    attempt = Attempt(case=Case(id="c", input="?"), output="", usage=usage, elapsed_s=12.5, steps=7)
    made = make_scorer(use)
    made.check(attempt.case)
    assert (await made.score(attempt, never)).value == value
    assert (made.name, made.unit, made.better) == (use, unit, "lower")


async def test_a_cost_that_is_not_known_is_no_zero() -> None:
    usage = RunUsage(llm_calls=3, cost_usd=0.25, unpriced_calls=2)
    with pytest.raises(RunError, match="2 of its 3 model calls have no price"):
        await make_scorer("cost").score(Attempt(case=Case(id="c", input="?"), output="", usage=usage), never)


@pytest.mark.parametrize("use", sorted(SCORERS))
def test_every_scorer_takes_a_name_and_has_its_own(use: str) -> None:
    needed = {"rubric": "Is it good?"} if use == "judge" else {}
    assert make_scorer({"use": use, **needed}).name == use
    assert make_scorer({"use": use, "name": "other", **needed}).name == "other"
    with pytest.raises(DefinitionError, match="cannot be called"):
        make_scorer({"use": use, "name": "a,b", **needed})
    assert inspect.getdoc(SCORERS[use])


def test_slips_in_suites_are_told_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="no scorer is called 'normalized'") as caught:
        make_scorer("normalized")
    assert "normalised" in caught.value.hint
    with pytest.raises(
        UnknownNameError, match="no option of the scorer 'numeric' is called 'tolerence'"
    ) as caught:
        make_scorer({"use": "numeric", "tolerence": 1})
    assert "tolerance" in caught.value.hint
    with pytest.raises(DefinitionError, match="missing"):
        make_scorer("judge")
    for spec in (3, {"name": "x"}, None, {"use": ["exact"]}):
        with pytest.raises(DefinitionError, match="is no scorer"):
            make_scorer(spec)
    for options in ({"answer_from": 3}, {"expected_from": "label"}):
        with pytest.raises(DefinitionError, match="exact"):
            make_scorer({"use": "exact", **options})


def test_scorers_and_functions_stand_for_themselves() -> None:
    def own(attempt: Attempt) -> bool:
        return True

    exact = make_scorer("exact")
    assert make_scorer(exact) is exact
    assert make_scorer(own).name == "own"


def test_a_scorer_class_of_ones_own_is_held_to_the_same_values() -> None:
    class Own(Scorer):
        name = "own"

        async def score(self, attempt: Attempt, run: RunCrew) -> Score:
            return Score(value=2)

    assert checked_score(Own(), Score(value=1)).value == 1
    with pytest.raises(CallsheetError, match="share"):
        checked_score(Own(), Score(value=2))
