"""Calls whose process died: what each effect makes of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from callsheet.core.errors import CallsheetError, LimitError, ToolError
from callsheet.core.limits import Limits
from callsheet.crews.result import EventReader
from callsheet.runtime.protocol import ResumeRun
from callsheet.tools import Tool, ToolContext, tool
from tests.unit.agents.desk import RUN, Desk
from tests.unit.crews.fake_models import call, calls
from tests.unit.runtime.town import output, until

Open = Callable[..., Awaitable[Desk]]


class Bank:
    """A service with a ledger. Its calls hang after their effect until `answers` is set."""

    def __init__(self, effect: Any, on_unknown: Any = None) -> None:
        self.ledger: list[int] = []
        self.keys: list[str] = []
        self.begun = asyncio.Event()
        self.answers = False

        @tool(effect=effect, on_unknown=on_unknown)
        async def pay(amount: int, run: ToolContext) -> str:
            """Pay an amount."""
            self.ledger.append(amount)
            self.keys.append(run.idempotency_key)
            self.begun.set()
            if not self.answers:
                await asyncio.Event().wait()
            return f"paid {amount}"

        self.tool: Tool = pay

    async def crash(self, at: Desk) -> None:
        """The process of the agent dies between the effect and the result."""
        await self.begun.wait()
        self.begun.clear()
        await at.crash()


ONE_CALL = [calls(call("pay", amount=5)), "done"]


async def test_a_finished_call_is_not_made_again(desk: Open) -> None:
    bank = Bank("once")
    bank.answers = True
    slow = asyncio.Event()

    @tool
    async def wait() -> str:
        """Wait."""
        slow.set()
        if not bank.keys[1:]:
            await asyncio.Event().wait()
        return "waited"

    at = await desk(bank.tool, wait, script=[calls(call("pay", amount=5)), calls(call("wait")), "done"])
    await slow.wait()
    bank.keys.append("go on")
    await at.crash()
    assert output(await at.end()) == "done"
    assert bank.ledger == [5]


@pytest.mark.parametrize("effect", ["none", "idempotent"])
async def test_a_call_that_may_be_repeated_is_made_again_with_the_same_key(desk: Open, effect: str) -> None:
    bank = Bank(effect)
    at = await desk(bank.tool, script=ONE_CALL)
    await bank.begun.wait()
    bank.answers = True
    await bank.crash(at)
    assert output(await at.end()) == "done"
    assert bank.ledger == [5, 5]
    assert len(set(bank.keys)) == 1


async def test_the_intent_of_a_once_call_is_in_the_journal_before_it_is_begun(desk: Open) -> None:
    kept: list[str] = []
    at: Desk

    @tool(effect="once")
    async def pay(amount: int) -> str:
        """Pay an amount."""
        _, steps = await at.records()
        kept.extend(step.state for step in steps if step.name == "pay")
        return "paid"

    @tool
    async def look(n: int) -> str:
        """Look."""
        _, steps = await at.records()
        kept.extend(step.state for step in steps if step.name == "look")
        return "seen"

    at = await desk(pay, look, script=[calls(call("pay", amount=5)), calls(call("look", n=1)), "done"])
    assert output(await at.end()) == "done"
    assert kept == ["intent"], "calls that may be repeated have none"


async def test_an_unknown_outcome_makes_the_run_wait_for_a_person(desk: Open) -> None:
    bank = Bank("once")
    at = await desk(bank.tool, script=ONE_CALL)
    await bank.crash(at)
    question = await at.question()
    assert (question["kind"], question["tool"], question["arguments"]) == ("unknown", "pay", '{"amount":5}')
    assert "whether the call took effect is not known" in question["question"]
    assert bank.keys[0] in question["question"]
    assert bank.ledger == [5]


async def test_a_person_may_say_what_the_result_was(desk: Open) -> None:
    bank = Bank("once")
    at = await desk(bank.tool, script=ONE_CALL)
    await bank.crash(at)
    await at.decide("result", "paid 5, says the bank")
    assert output(await at.end()) == "done"
    assert bank.ledger == [5]
    assert at.told() == [("paid 5, says the bank", False)]
    _, steps = await at.records()
    assert [step.state for step in steps if step.name == "pay"] == ["done"]


async def test_a_person_may_decide_not_to_repeat_it(desk: Open) -> None:
    bank = Bank("once")
    at = await desk(bank.tool, script=ONE_CALL)
    await bank.crash(at)
    await at.decide("deny", "the bank is closed")
    assert output(await at.end()) == "done"
    assert bank.ledger == [5]
    ((told, is_error),) = at.told()
    assert is_error
    assert "decided not to repeat it. They said: the bank is closed" in told


async def test_a_person_may_have_it_repeated_with_the_same_key(desk: Open) -> None:
    bank = Bank("once")
    at = await desk(bank.tool, script=ONE_CALL)
    await bank.crash(at)
    bank.answers = True
    await at.decide("approve")
    assert output(await at.end()) == "done"
    assert bank.ledger == [5, 5]
    assert len(set(bank.keys)) == 1
    assert at.told() == [("paid 5", False)]


@pytest.mark.parametrize(("decision", "counted"), [("deny", 0), ("result", 0), ("approve", 1)])
async def test_what_a_person_decided_counts_as_no_call_and_says_so(
    desk: Open, decision: str, counted: int
) -> None:
    bank = Bank("once")
    at = await desk(bank.tool, script=ONE_CALL)
    await bank.crash(at)
    bank.answers = True
    await at.decide(decision, "so it is")
    assert (await at.end()).usage.tool_calls == counted
    envelopes, steps = await at.records()
    reader = EventReader()
    slow = [replace(step, started=1.0, ended=27.0) for step in steps if step.kind == "tool"]
    events = [reader.read(record) for record in (*envelopes, *slow)]
    told = [(event.decided, event.elapsed_s) for event in events if event.kind == "tool"]
    assert told == [(decision, 0.0), ("", 26.0)][: 1 + counted]


async def test_leave_to_repeat_holds_for_one_attempt(desk: Open) -> None:
    """The second attempt leaves no result either: it is asked about anew, and not made a third time."""
    bank = Bank("once")
    at = await desk(bank.tool, script=ONE_CALL)
    await bank.crash(at)
    first = await at.question()
    await at.decide("approve")
    await bank.crash(at)
    second = await at.question()
    assert second != first
    assert bank.ledger == [5, 5]
    await at.decide("result", "paid 5")
    assert output(await at.end()) == "done"
    assert bank.ledger == [5, 5]
    assert len(set(bank.keys)) == 1


async def test_retry_repeats_it_with_the_same_key_and_asks_nobody(desk: Open) -> None:
    bank = Bank("once", "retry")
    at = await desk(bank.tool, script=ONE_CALL)
    await bank.begun.wait()
    bank.answers = True
    await bank.crash(at)
    assert output(await at.end()) == "done"
    assert bank.ledger == [5, 5]
    assert len(set(bank.keys)) == 1


async def test_fail_ends_the_turn_and_says_what_is_not_known(desk: Open) -> None:
    bank = Bank("once", "fail")
    at = await desk(bank.tool, script=ONE_CALL)
    await bank.crash(at)
    end = await at.end()
    assert end.status == "failed"
    assert end.error is not None
    error = CallsheetError.from_dict(end.error)
    assert isinstance(error, ToolError)
    assert error.tool == "pay"
    assert "not known whether a call of 'pay' took effect" in error.message
    assert bank.keys[0] in error.message
    assert error.hint
    assert bank.ledger == [5]


async def test_two_equal_calls_of_which_one_is_unknown_have_keys_of_their_own(desk: Open) -> None:
    bank = Bank("once")
    at = await desk(bank.tool, script=[calls(call("pay", amount=5), call("pay", amount=5)), "done"])
    while len(bank.keys) < 2:
        await bank.begun.wait()
        bank.begun.clear()
    await at.crash()
    first, second = await at.questions(2)
    assert first.body != second.body
    await at.decide("result", "first", first)
    await at.decide("result", "second", second)
    assert output(await at.end()) == "done"
    assert sorted(at.told()) == [("first", False), ("second", False)]


async def test_a_call_whose_arguments_do_not_fit_is_not_begun(desk: Open) -> None:
    bank = Bank("once")
    at = await desk(bank.tool, script=[calls(call("pay", amount="much")), "done"])
    assert output(await at.end()) == "done"
    assert bank.ledger == []
    _, steps = await at.records()
    assert not [step for step in steps if step.kind == "tool"], "nobody will ever be asked what became of it"


async def test_a_stopped_run_ends_its_synchronous_call_and_asks_about_it_when_it_is_resumed(
    desk: Open,
) -> None:
    begun, ended = threading.Event(), threading.Event()

    @tool(effect="once")
    def pay(amount: int) -> str:
        """Pay an amount."""
        begun.set()
        try:
            while True:
                pass
        finally:
            ended.set()

    at = await desk(pay, script=ONE_CALL)
    await until(begun.is_set)
    at.town.client.cancel(RUN, "enough")
    assert (await at.end()).status == "cancelled"
    await until(ended.is_set)
    at.town.client.resume(ResumeRun(run_id=RUN, launch="crew"))
    assert (await at.question())["kind"] == "unknown"
    await at.decide("result", "paid after all")
    assert output(await at.end()) == "done"


# --- the limit on identical calls -------------------------------------------------------------------------


@pytest.mark.parametrize(("allowed", "made", "requests"), [(1, 1, 2), (2, 2, 3), (3, 2, 4), (6, 2, 7)])
async def test_the_same_call_is_warned_of_at_the_third_time_and_stops_the_turn_past_the_limit(
    desk: Open, allowed: int, made: int, requests: int
) -> None:
    ran = []

    @tool
    def ping() -> str:
        """Ping."""
        ran.append(1)
        return "no answer"

    at = await desk(ping, script=[calls(call("ping"))] * 9, limits=Limits(repeated_tool_calls=allowed))
    end = await at.end()
    assert end.status == "limited"
    assert end.error is not None
    error = CallsheetError.from_dict(end.error)
    assert isinstance(error, LimitError)
    assert (error.limit, error.allowed, error.used) == ("repeated_tool_calls", allowed, allowed + 1)
    assert len(ran) == made
    assert len(at.gateway.requests) == requests
