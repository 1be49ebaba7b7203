"""Forks around a call that a crash left without a result: it is never made anew without a person being asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.core.canonical import from_json, to_json
from callsheet.core.records import Envelope, Step, is_question
from callsheet.crews import Crew, Result
from callsheet.crews.forking import fork_records
from callsheet.crews.numbering import Numbered, numbered
from callsheet.tools import ToolContext, tool
from tests.unit.crews.fake_models import Bench, call, calls, until
from tests.unit.crews.past import Past, fork, past_of, replayed

MADE: list[str] = []
"""The idempotency keys of the calls that were made."""

ANSWERS = asyncio.Event()


@tool(effect="once")
async def book(place: str, run: ToolContext) -> str:
    """Book a place; says so only while the service answers."""
    MADE.append(run.idempotency_key)
    if not ANSWERS.is_set():
        await asyncio.Event().wait()
    return f"booked {place}"


@pytest.fixture(autouse=True)
def nothing_made() -> None:
    MADE.clear()
    ANSWERS.clear()


def bookers() -> Crew:
    return Crew("bookers", agents=[Agent("booker", "Book.", tools=[book])])


def booker(request: Any) -> Any:
    last = request.messages[-1]
    return calls(call("book", place="17")) if last.role == "user" else f"{last.parts[0].content}!"


async def unknown(bench: Bench) -> Result:
    """A run whose process ended while a call was being made, and which now asks what became of it."""
    bench.script(booker)
    run = await bookers().astart("Book 17.", **bench.options())
    await until(lambda: bool(MADE))
    run.cancel()
    await run.aresult(check=False)
    waiting = await bookers().aresume(run.run_id, check=False, **bench.options())
    assert (waiting.status, waiting.questions[0].kind, len(MADE)) == ("waiting", "unknown", 1)
    return waiting


def places(past: Past) -> dict[str, int]:
    """The numbers of the call, the question and its answer, and of the call's next attempt."""
    found: dict[str, int] = {}
    question = ""
    for item in numbered(*past[1:]):
        match item.record:
            case Step(kind="tool"):
                found["again" if "call" in found else "call"] = item.number
            case Envelope() as message if is_question(message):
                found["question"], question = item.number, message.id
            case Envelope(kind="reply", reply_to=to) if to == question:
                found["answer"] = item.number
    return found


def stands(items: list[Numbered]) -> list[tuple[int, str]]:
    return [
        (i.number, i.record.key if isinstance(i.record, Step) else i.record.id) for i in items
    ]  # fmt: skip


async def resumed(bench: Bench, run_id: str, **answer: Any) -> Result:
    return await bookers().aresume(run_id, check=False, **bench.options(**answer))


@pytest.mark.parametrize(
    "how", [{"approve": False}, {"approve": True}, {"reply": "booked 17, says the desk"}]
)
async def test_numbers_noted_while_it_waited_hold_when_it_is_done(bench: Bench, how: dict[str, Any]) -> None:
    waiting = await unknown(bench)
    before = stands(numbered(*past_of(bench, waiting)[1:]))
    ANSWERS.set()
    assert (await resumed(bench, waiting.run_id, **how)).status == "done"
    assert stands(numbered(*past_of(bench, waiting)[1:]))[: len(before)] == before


@pytest.mark.parametrize("at", ["question", "answer"])
@pytest.mark.parametrize(
    "how", [{"approve": False}, {"approve": True}, {"reply": "booked 17, says the desk"}]
)
async def test_a_fork_at_the_question_or_its_answer_asks_again(
    bench: Bench, at: str, how: dict[str, Any]
) -> None:
    waiting = await unknown(bench)
    ANSWERS.set()
    await resumed(bench, waiting.run_id, **how)
    made = len(MADE)
    forked = await fork(bench, waiting, places(past_of(bench, waiting))[at])
    asks = await resumed(bench, forked)
    assert asks.status == "waiting"
    assert len(MADE) == made
    (question,) = asks.questions
    assert MADE[0] in question.text, "the call that may have taken effect was made with this key"
    done = await resumed(bench, forked, reply="it was")
    assert (done.output, len(MADE)) == ("it was!", made)
    again = await fork(bench, forked, places(past_of(bench, forked))["answer"])
    assert (await resumed(bench, again)).questions[0].text == question.text
    repeated = await resumed(bench, again, approve=True)
    assert (repeated.output, len(MADE), len(set(MADE))) == ("booked 17!", made + 1, 1)
    assert (await replayed(bench, bookers(), past_of(bench, again))).same


async def test_a_fork_before_there_is_an_answer_asks_about_the_key_that_the_call_was_made_with(
    bench: Bench,
) -> None:
    waiting = await unknown(bench)
    past = past_of(bench, waiting)
    forked = await fork(bench, waiting, len(past[1]) + len(past[2]))
    (question,) = (await resumed(bench, forked)).questions
    assert question.text == waiting.questions[0].text


async def test_a_fork_at_the_approved_repetition_makes_it_and_one_after_it_does_not(bench: Bench) -> None:
    waiting = await unknown(bench)
    ANSWERS.set()
    await resumed(bench, waiting.run_id, approve=True)
    assert len(MADE) == 2
    repetition = places(past_of(bench, waiting))["again"]
    after = await resumed(bench, await fork(bench, waiting, repetition + 1))
    assert (after.output, len(MADE)) == ("booked 17!", 2)
    anew = await resumed(bench, await fork(bench, waiting, repetition))
    assert (anew.output, len(MADE), len(set(MADE))) == ("booked 17!", 3, 1)


async def test_a_fork_at_the_call_itself_makes_it_anew(bench: Bench) -> None:
    waiting = await unknown(bench)
    ANSWERS.set()
    await resumed(bench, waiting.run_id, reply="booked")
    at = places(past_of(bench, waiting))["call"]
    anew = await resumed(bench, await fork(bench, waiting, at))
    assert (anew.output, len(MADE), len(set(MADE))) == ("booked 17!", 2, 2)


@pytest.mark.parametrize("skew_s", [0.0, 3600.0])
async def test_records_without_a_mark_are_forked_alike_by_any_clock(bench: Bench, skew_s: float) -> None:
    waiting = await unknown(bench)
    await resumed(bench, waiting.run_id, reply="booked")
    record, envelopes, steps = past_of(bench, waiting)

    def old(step: Step) -> Step:
        given = from_json(step.input)
        given.pop("once", None)
        return replace(step, input=to_json(given), started=step.started + skew_s, ended=step.ended + skew_s)

    past = record, envelopes, [old(step) if step.kind == "tool" else step for step in steps]
    for at in (places(past)["question"], places(past)["answer"]):
        copied = fork_records(*past, at, run_id="fork-0001", now=2e9).steps
        assert [(step.state, step.result) for step in copied if step.kind == "tool"] == [("intent", "null")]
