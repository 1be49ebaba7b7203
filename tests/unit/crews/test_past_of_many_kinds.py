"""Replay and fork where people decide, effects are unknown, crews stand in crews, and what was resumed."""

from __future__ import annotations

from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.core.errors import ModelUnavailableError, WaitingError
from callsheet.core.records import PERSON, Envelope, Step
from callsheet.crews import Crew, FlowRun
from callsheet.crews.forking import fork_past
from callsheet.crews.numbering import Numbered, is_retired, numbered
from callsheet.crews.replaying import replay_past
from callsheet.tools import tool
from tests.unit.crews.fake_models import Bench, call, calls, prompt
from tests.unit.crews.past import fork, past_of, replayed

PAID: list[str] = []


@tool(effect="once", approval=True)
def pay(amount: str) -> str:
    """Pay an amount."""
    PAID.append(amount)
    return f"paid {amount}"


@pytest.fixture(autouse=True)
def nothing_paid() -> None:
    PAID.clear()


def payers() -> Crew:
    return Crew("payers", agents=[Agent("cashier", "Pay.", tools=[pay])])


def cashier(request: Any) -> Any:
    last = request.messages[-1]
    return calls(call("pay", amount="5")) if last.role == "user" else f"{last.parts[0].content}!"


async def approved(bench: Bench) -> str:
    bench.script(cashier)
    waiting = await bench.run(payers(), "Pay 5.")
    assert isinstance(waiting.error, WaitingError)
    assert (await replayed(bench, payers(), waiting)).same
    done = await payers().aresume(waiting.run_id, approve=True, **bench.options())
    assert (done.output, PAID) == ("paid 5!", ["5"])
    return done.run_id


async def test_a_run_that_a_person_decided_is_replayed_without_asking_anybody(bench: Bench) -> None:
    run_id = await approved(bench)
    replay = await replayed(bench, payers(), past_of(bench, run_id))
    assert replay.same
    assert replay.turns == 2
    assert PAID == ["5"]


async def test_an_approval_that_todays_tool_wants_no_more_is_a_difference(bench: Bench) -> None:
    run_id = await approved(bench)

    @tool(effect="once", name="pay")
    def pay_at_once(amount: str) -> str:
        """Pay an amount."""
        return amount

    today = Crew("payers", agents=[Agent("cashier", "Pay.", tools=[pay_at_once])])
    (found,) = (await replayed(bench, today, past_of(bench, run_id))).differences
    assert (found.expected.kind, found.expected.name) == ("ask", PERSON)


async def test_a_decision_can_be_another_one_in_a_fork(bench: Bench) -> None:
    run_id = await approved(bench)
    past = past_of(bench, run_id)
    question = next(
        item.number for item in numbered(*past[1:])
        if isinstance(item.record, Envelope) and item.record.receiver == PERSON and item.record.kind == "ask"
    )  # fmt: skip
    for at in (question, question + 1):
        other = await fork(bench, run_id, at)
        waiting = await payers().aresume(other, check=False, **bench.options())
        assert waiting.status == "waiting"
        denied = await payers().aresume(other, approve=False, reply="too much", **bench.options())
        assert "too much" in denied.output
        assert (await replayed(bench, payers(), past_of(bench, other))).same
    assert PAID == ["5"]


async def test_a_fork_before_an_effect_pays_again_and_one_after_it_does_not(bench: Bench) -> None:
    run_id = await approved(bench)
    past = past_of(bench, run_id)
    paid = next(
        item.number for item in numbered(*past[1:])
        if isinstance(item.record, Step) and item.record.kind == "tool"
    )  # fmt: skip
    after = await payers().aresume(await fork(bench, run_id, paid + 1), **bench.options())
    assert (after.output, PAID) == ("paid 5!", ["5"])
    before = await payers().aresume(await fork(bench, run_id, paid), **bench.options())
    assert (before.output, PAID) == ("paid 5!", ["5", "5"])


def office(model: str = "openai/own") -> Crew:
    inner = Crew("desk", agents=[Agent("clerk", "Look.", model=model), Agent("editor", "Write.")])
    return Crew("office", agents=[inner, Agent("chief", "Sign.")])


async def test_a_crew_in_a_crew_is_looked_back_at_like_any(bench: Bench) -> None:
    bench.script(lambda request: f"{request.model} {request.agent}")
    crew = office()

    @crew.flow
    async def go(run: FlowRun, task: str) -> Any:
        return [await run.ask("desk", task), await run.ask("chief", task)]

    result = await bench.run(crew, "the task")
    assert result.status == "done", result.error
    assert (await replayed(bench, crew, result)).same
    items = numbered(*past_of(bench, result)[1:])
    for at in range(1, len(items) + 1):
        bench.gateway.requests.clear()
        again = await crew.aresume(await fork(bench, result.run_id, at), **bench.options())
        assert again.output == result.output
        kept = [item for item in items if item.number < at and item.record.kind == "llm"]
        assert len(bench.gateway.requests) == 3 - len(kept)
    today = office("openai/new")
    today.flow(go)
    (found,) = (await replayed(bench, today, result)).differences
    assert found.agent == "desk/clerk"
    assert "openai/own then, openai/new today" in found.why


def _of(item: Numbered) -> tuple[int, str, str, float]:
    record = item.record
    return item.number, item.agent, record.kind, record.at if isinstance(record, Envelope) else record.ended


async def test_a_run_that_failed_and_was_resumed_is_the_same_and_shows_its_earlier_attempt(
    bench: Bench,
) -> None:
    down = True

    def answer(request: Any) -> Any:
        return ModelUnavailableError("down") if down and request.agent == "editor" else request.agent

    bench.script(answer)
    crew = Crew("chain", agents=[Agent("clerk", "Look."), Agent("editor", "Write.")])
    failed = await bench.run(crew, "the task")
    down = False
    before = numbered(*past_of(bench, failed)[1:])
    result = await crew.aresume(failed.run_id, **bench.options())
    past = past_of(bench, result)
    assert (await replayed(bench, crew, past)).same
    assert sum(is_retired(e) for e in past[1]) == 2
    now = numbered(*past[1:])
    assert [_of(item) for item in now[: len(before)]] == [_of(item) for item in before]
    copy = await fork(bench, result.run_id, len(now))
    assert not any(is_retired(e) for e in past_of(bench, copy)[1])
    assert (await crew.aresume(copy, **bench.options())).output == result.output


def test_looking_back_from_a_script(bench: Bench) -> None:
    bench.script(lambda request: prompt(request))
    crew = Crew("one", agents=[Agent("clerk", "Look.")])
    result = crew.run("the task", **bench.options())
    assert replay_past(crew, result.run_id, bench.settings).same
    forked = fork_past(crew, result.run_id, 1, given="another", **bench.options())
    assert forked.output == "another"
