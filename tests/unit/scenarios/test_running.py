"""Benches in this process: what they do, keep, and say when something goes wrong."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.core.errors import DefinitionError, LimitError, ModelRequestError, RunError, UsageError
from callsheet.core.limits import Limits
from callsheet.crews import Crew
from callsheet.scenarios import Case, Suite, scorer
from callsheet.scenarios.benching import Bench
from callsheet.scenarios.progress import BenchProgress
from callsheet.scenarios.running import abench, bench
from callsheet.testing import call, reply, scripted
from callsheet.tools import tool


@scorer
def right(attempt: Any) -> bool:
    return bool(attempt.output == attempt.case.expected)


@tool
def double(number: int) -> int:
    """Double a number.

    Args:
        number: The number.
    """
    return 2 * number


def crew(name: str = "solver", **fields: Any) -> Crew:
    return Crew(name, agents=[Agent("clerk", role="You answer.", **fields)])


def suite(count: int = 4, **fields: Any) -> Suite:
    cases = [Case(id=f"case-{i}", input=f"What is {i}?", expected=f"it is {i}") for i in range(count)]
    return Suite("small", cases, scorers=fields.pop("scorers", [right]), **fields)


def asked(request: Any) -> str:
    """The number that a case asks for."""
    return str(request.messages[-1].text).rpartition("What is ")[2].partition("?")[0]


def answers(request: Any) -> Any:
    return f"it is {asked(request)}"


def test_each_case_is_in_the_result_once_with_its_score() -> None:
    with scripted(answers):
        result = bench(suite(4), crew(), host="inline")
    assert result.complete
    assert [trial.case for trial in result.trials] == [f"case-{i}" for i in range(4)]
    assert all(trial.scores["right"].value == 1 for trial in result.trials)
    assert [trial.llm_calls for trial in result.trials] == [1] * 4


def test_all_candidates_of_a_case_come_before_the_next_case() -> None:
    with scripted(answers):
        result = bench(
            suite(2),
            crew("one"),
            crew("two"),
            models=["offline", "openai/gpt-5-mini"],
            repeats=2,
            host="inline",
        )
    order = [(t.case, t.repeat, t.candidate.label) for t in result.trials]
    labels = ["one · offline", "one · openai/gpt-5-mini", "two · offline", "two · openai/gpt-5-mini"]
    assert order == [(f"case-{i}", r, label) for i in range(2) for r in range(2) for label in labels]
    assert [t.number for t in result.trials] == list(range(1, 17))


def test_so_many_runs_as_asked_for_are_under_way_and_no_more() -> None:
    under_way, most, three = 0, 0, asyncio.Barrier(3)

    async def reply_together(request: Any) -> str:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await three.wait()
        under_way -= 1
        return "yes"

    with scripted(reply_together):
        bench(suite(12), crew(), host="inline", at_once=3)
    assert most == 3


def test_a_scorer_sees_the_tool_calls_in_order_and_counts_steps() -> None:
    seen: list[Any] = []

    @scorer
    def looks(attempt: Any) -> bool:
        seen.append(attempt)
        return True

    with scripted([[call("double", number=1), call("double", number=2)], call("double", number=3), "6"]):
        result = bench(suite(1, scorers=[looks]), crew(tools=[double]), host="inline")
    (attempt,) = seen
    assert [(c.name, c.arguments) for c in attempt.calls] == [("double", {"number": n}) for n in (1, 2, 3)]
    assert attempt.steps == result.trials[0].steps == 3 + 3 + 1
    assert result.trials[0].tool_calls == 3


def test_a_run_that_fails_is_a_failure_and_no_wrong_answer() -> None:
    def sometimes(request: Any) -> Any:
        return ModelRequestError("no such thing") if asked(request) == "2" else answers(request)

    with scripted(sometimes):
        result = bench(suite(4), crew(), host="inline")
    failed = result.trials[2]
    assert (failed.status, failed.scores) == ("failed", {})
    assert failed.error.startswith("ModelRequestError: no such thing")
    assert [t.status for t in result.trials].count("done") == 3


def test_a_scorer_that_fails_is_shown_as_that() -> None:
    @scorer
    def breaks(attempt: Any) -> bool:
        raise ValueError("cannot tell")

    @scorer
    def endless(attempt: Any) -> float:
        return float("nan")

    with scripted(answers):
        result = bench(suite(1, scorers=[right, breaks, endless]), crew(), host="inline")
    scores = result.trials[0].scores
    assert scores["right"].value == 1
    assert scores["breaks"].value is None
    assert "ValueError: cannot tell" in scores["breaks"].error
    assert scores["endless"].value is None
    assert scores["endless"].error


def test_a_candidate_that_only_fails_ends_the_bench_with_one_error() -> None:
    with scripted(lambda request: ModelRequestError("no such model")) as script:
        with pytest.raises(
            RunError, match=r"every run of solver failed: ModelRequestError: .*no such model"
        ) as caught:
            bench(suite(50), crew(), host="inline", at_once=2)
        assert "--retry-failed" in caught.value.hint
        assert 10 <= len(caught.value.partial.trials) < 14
        assert len(script.requests) < 20


def test_what_failed_is_tried_again_where_that_is_asked_for() -> None:
    broken = True

    def reply_now(request: Any) -> Any:
        return ModelRequestError("out of order") if broken and asked(request) == "1" else answers(request)

    with scripted(reply_now) as script:
        crew_, suite_ = crew(), suite(3)
        first = bench(suite_, crew_, host="inline")
        broken = False
        same = bench(suite_, crew_, resume=first.info.bench_id)
        assert [t.status for t in same.trials] == ["done", "failed", "done"]
        asked_before = len(script.requests)
        again = bench(suite_, crew_, resume=first.info.bench_id, retry_failed=True)
        assert len(script.requests) == asked_before + 1
    assert [t.status for t in again.trials] == ["done"] * 3
    assert again.trials[1].scores["right"].value == 1


def test_an_input_that_the_crew_does_not_take_fails_its_trial_alone() -> None:
    cases = [Case(id="text", input="What is 1?", expected="it is 1"), Case(id="empty", input=" ")]
    with scripted(answers):
        result = bench(Suite("mixed", cases, [right]), crew(), host="inline")
    assert [t.status for t in result.trials] == ["done", "failed"]
    assert result.trials[1].error.startswith("UsageError: the input is ' '")


# --- stopped in the middle ---------------------------------------------------------------------------------


async def test_a_bench_that_is_cancelled_goes_on_where_it_was() -> None:
    asked_for: list[str] = []
    stuck = threading.Event()
    free = False

    async def reply_now(request: Any) -> Any:
        asked_for.append(asked(request))
        if len(asked_for) > 5 and not free:
            stuck.set()
            await asyncio.Event().wait()
        return answers(request)

    with scripted(reply_now):
        crew_, suite_ = crew(), suite(12)
        begun = Bench.begin(suite_, [crew_], host="inline", at_once=2)
        task = asyncio.create_task(begun.arun())
        assert await asyncio.to_thread(stuck.wait, 60.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        kept = {t.case for t in begun.result().trials}
        assert 0 < len(kept) < 12
        free = True
        result = await abench(suite_, crew_, resume=begun.bench_id)
    assert result.complete
    assert sorted(t.case for t in result.trials) == sorted(c.id for c in suite_.cases)
    again = {number for number in asked_for if asked_for.count(number) > 1}
    assert not {f"case-{number}" for number in again} & kept


async def test_a_run_that_was_done_when_its_bench_was_killed_is_scored_without_a_model_call() -> None:
    with scripted(answers) as script:
        crew_, suite_ = crew(), suite(2)
        begun = Bench.begin(suite_, [crew_], host="inline")
        await begun.arun()
        trials = begun._folder.path / "trials.jsonl"
        lines = trials.read_text().splitlines(keepends=True)
        trials.write_text(lines[0] + lines[1][:40])  # killed while it wrote the second line
        result = await abench(suite_, crew_, resume=begun.bench_id)
        assert len(script.requests) == 2
    assert [t.scores["right"].value for t in result.trials] == [1, 1]


def test_a_bench_goes_on_only_with_what_it_was_begun_with() -> None:
    with scripted(answers):
        crew_ = crew()
        first = bench(suite(2), crew_, host="inline")
        bench_id = first.info.bench_id
        with pytest.raises(UsageError, match="the suite 'small' has changed"):
            bench(suite(3), crew_, resume=bench_id)
        with pytest.raises(UsageError, match="compares solver, and other are given"):
            bench(suite(2), crew("other"), resume=bench_id)
        with pytest.raises(UsageError, match="the crew 'solver' has changed"):
            bench(suite(2), crew(tools=[double]), resume=bench_id)
        with pytest.raises(UsageError, match="no bench is called"):
            bench(suite(2), crew_, resume="../../etc")
        with pytest.raises(UsageError, match="models is given"):
            bench(suite(2), crew_, resume=bench_id, models=["offline"])


async def test_one_process_at_a_time_works_on_a_bench() -> None:
    begun = asyncio.Event()
    go = threading.Event()

    async def reply_now(request: Any) -> Any:
        loop.call_soon_threadsafe(begun.set)
        await asyncio.to_thread(go.wait, 60.0)
        return answers(request)

    loop = asyncio.get_running_loop()
    with scripted(reply_now):
        crew_, suite_ = crew(), suite(1)
        first = Bench.begin(suite_, [crew_], host="inline")
        task = asyncio.create_task(first.arun())
        await begun.wait()
        with pytest.raises(UsageError, match="another process works on the bench"):
            await abench(suite_, crew_, resume=first.bench_id)
        go.set()
        assert (await task).complete


# --- budgets -----------------------------------------------------------------------------------------------


def dear(request: Any) -> Any:
    """An answer of 0.1 USD, whatever was reserved for it."""
    return reply(answers(request), cost_usd=0.1)


def test_all_runs_together_keep_within_the_budget_and_more_money_finishes_the_bench() -> None:
    with scripted(dear) as script:
        crew_, suite_ = crew(), suite(12)
        with pytest.raises(LimitError, match=r"budget of 0\.55 USD has no room") as caught:
            bench(suite_, crew_, models=["openai/gpt-5"], host="inline", at_once=4, budget_usd=0.55)
        error = caught.value
        assert error.exit_status == 3
        assert f"--resume {error.partial.info.bench_id} --budget" in error.hint
        result = bench(suite_, crew_, resume=error.partial.info.bench_id, budget_usd=5.0)
        assert len(script.requests) < 20
    assert result.complete
    assert sum(t.cost_usd or 0.0 for t in result.trials) == pytest.approx(1.2)


def test_a_budget_of_the_run_itself_is_a_limit_of_that_run_and_not_of_the_bench() -> None:
    with scripted(dear) as script:
        result = bench(suite(3, limits=Limits(budget_usd=0.05)), crew(), host="inline", budget_usd=5.0)
        assert len(script.requests) == 3
    assert [trial.status for trial in result.trials] == ["limit"] * 3
    assert all(trial.error.startswith("LimitError: ") for trial in result.trials)


def test_the_standing_tells_score_failures_and_spending() -> None:
    told: list[tuple[int, int, float, float | None]] = []

    def on_trial(so_far: BenchProgress) -> None:
        (tally,) = so_far.tallies.values() or [None]
        told.append((so_far.done, so_far.failed, so_far.spent_usd, tally and tally.score))

    def sometimes(request: Any) -> Any:
        return ModelRequestError("no") if asked(request) == "3" else dear(request)

    with scripted(sometimes):
        bench(suite(4), crew(), host="inline", at_once=1, on_trial=on_trial)
    assert [row[:2] for row in told] == [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1)]
    assert told[-1][2] == pytest.approx(0.3)
    assert told[-1][3] == pytest.approx(0.75)


# --- what cannot be benched --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"repeats": 0}, "repeats is 0"), ({"at_once": 0}, "at_once is 0"), ({"budget_usd": -1}, "budget_usd is -1"),
        ({"models": ["nonsense"]}, "nonsense"), ({"host": "moon"}, "moon"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_before_anything_is_kept(options: Any, told: str, home: Path) -> None:
    with pytest.raises(UsageError, match=told):
        bench(suite(1), crew(), **{"host": "inline", **options})
    assert not (home / "benches").exists()


def test_a_bench_wants_a_crew_and_tells_two_of_one_name_apart() -> None:
    with pytest.raises(DefinitionError, match="without a crew"):
        bench(suite(1), host="inline")
    with pytest.raises(DefinitionError, match="two of what is to be compared are called 'solver'"):
        bench(suite(1), crew(), crew(), host="inline")
    with pytest.raises(DefinitionError, match="is no crew"):
        bench(suite(1), "solver", host="inline")  # type: ignore[arg-type]


def test_a_suites_own_crew_answers_where_none_is_named() -> None:
    with scripted(answers):
        assert bench(suite(1, crew=crew("own")), host="inline").trials[0].candidate.crew == "own"
