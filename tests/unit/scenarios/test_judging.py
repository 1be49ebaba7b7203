"""Scorers that run a crew of their own: their cost is the bench's, and a bench that is resumed pays none twice."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from callsheet.agents import Agent
from callsheet.core.errors import CallsheetError, LimitError, ModelRequestError
from callsheet.crews import Crew
from callsheet.scenarios import Attempt, Case, Score, Scorer, Suite
from callsheet.scenarios.benching import Bench
from callsheet.scenarios.running import abench, bench
from callsheet.scenarios.scorers import RunCrew
from callsheet.testing import reply, scripted


class Verdict(BaseModel):
    good: bool


class Judge(Scorer):
    """Asks a crew; `swallows` what goes wrong, as a careless scorer may."""

    name = "judge"

    def __init__(self, *, swallows: bool = False) -> None:
        self.crew = Crew("judges", agents=[Agent("judge", role="You judge.", output=Verdict)])
        self.swallows = swallows

    async def score(self, attempt: Attempt, run: RunCrew) -> Score:
        try:
            result = await run(self.crew, f"Is {attempt.text} right?")
        except CallsheetError:
            if not self.swallows:
                raise
            return Score(value=0.0)
        assert isinstance(result.output, Verdict)
        return Score(value=float(result.output.good))


def suite(judge: Judge, count: int = 4) -> Suite:
    return Suite("judged", [Case(id=f"case-{i}", input=f"What is {i}?") for i in range(count)], [judge])


@pytest.fixture
def crew() -> Crew:
    return Crew("solver", agents=[Agent("clerk", role="You answer.")])


def dear(request: Any) -> Any:
    """Every call costs 0.1 USD."""
    return reply('{"good": true}' if request.agent == "judge" else "yes", cost_usd=0.1)


def test_a_judges_answer_is_typed_and_its_cost_is_told_apart(crew: Crew) -> None:
    with scripted(dear):
        result = bench(suite(Judge()), crew, host="inline")
    assert [t.scores["judge"].value for t in result.trials] == [1.0] * 4
    assert [t.cost_usd for t in result.trials] == pytest.approx([0.1] * 4)
    assert [t.judging_usd for t in result.trials] == pytest.approx([0.1] * 4)
    assert [t.llm_calls for t in result.trials] == [1] * 4


def test_a_judge_that_fails_is_a_failure_of_the_scorer_and_is_tried_again_when_asked_for(crew: Crew) -> None:
    broken = True

    def reply_now(request: Any) -> Any:
        return ModelRequestError("no judge today") if request.agent == "judge" and broken else dear(request)

    with scripted(reply_now) as script:
        suite_ = suite(Judge(), 2)
        first = bench(suite_, crew, host="inline")
        assert "no judge today" in first.trials[0].scores["judge"].error
        assert first.trials[0].status == "done"
        broken = False
        before = len(script.requests)
        again = bench(suite_, crew, resume=first.info.bench_id, retry_failed=True)
        assert {request.agent for request in script.requests[before:]} == {"judge"}
    assert [t.scores["judge"].value for t in again.trials] == [1.0, 1.0]


async def test_a_resumed_bench_pays_no_judge_twice(crew: Crew) -> None:
    with scripted(dear) as script:
        suite_ = suite(Judge(), 3)
        begun = Bench.begin(suite_, [crew], host="inline")
        await begun.arun()
        (begun._folder.path / "trials.jsonl").write_text("")  # killed before any line was on disk
        result = await abench(suite_, crew, resume=begun.bench_id)
        assert len(script.requests) == 6
    assert [t.judging_usd for t in result.trials] == pytest.approx([0.1] * 3)


@pytest.mark.parametrize("swallows", [False, True], ids=["raised", "swallowed"])
def test_judges_keep_within_the_budget_too_and_nothing_is_lost(crew: Crew, swallows: bool) -> None:
    with scripted(dear) as script:
        suite_ = suite(Judge(swallows=swallows), 6)
        with pytest.raises(LimitError) as caught:
            bench(suite_, crew, host="inline", at_once=2, budget_usd=0.5)
        error = caught.value
        assert error.used >= 0.5
        assert len(script.requests) <= 8
        result = bench(suite_, crew, resume=error.partial.info.bench_id, budget_usd=3.0)
        assert len(script.requests) == 12
    assert [t.scores["judge"].value for t in result.trials] == [1.0] * 6
    assert sum((t.cost_usd or 0.0) + t.judging_usd for t in result.trials) == pytest.approx(1.2)


@pytest.mark.parametrize("swallows", [False, True], ids=["raised", "swallowed"])
def test_a_judge_that_finds_no_money_left_ends_the_bench_and_fails_no_score(
    crew: Crew, swallows: bool
) -> None:
    with scripted(dear) as script:
        suite_ = suite(Judge(swallows=swallows), 3)
        with pytest.raises(LimitError) as caught:
            bench(suite_, crew, host="inline", at_once=1, budget_usd=0.3)
        assert [request.agent for request in script.requests] == ["clerk", "judge", "clerk"]
        assert [t.case for t in caught.value.partial.trials] == ["case-0"]
        result = bench(suite_, crew, resume=caught.value.partial.info.bench_id, budget_usd=1.0)
        assert len(script.requests) == 6
    assert [t.scores["judge"].value for t in result.trials] == [1.0] * 3


async def test_a_judge_that_is_asked_something_else_after_a_kill_is_asked_anew(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted(dear) as script:
        suite_ = suite(Judge(), 1)
        begun = Bench.begin(suite_, [crew], host="inline")
        await begun.arun()
        (begun._folder.path / "trials.jsonl").write_text("")
        monkeypatch.setattr(Attempt, "text", "something else")
        result = await abench(suite_, crew, resume=begun.bench_id)
        assert [request.agent for request in script.requests] == ["clerk", "judge", "judge"]
    assert result.trials[0].scores["judge"].value == 1.0
