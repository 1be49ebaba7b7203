"""Forks: a new run with another one's past, which lives on from a step. Nothing of the past is paid twice."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.core.canonical import to_json
from callsheet.core.errors import UsageError
from callsheet.core.events import EndRun
from callsheet.core.ids import root_envelope_id
from callsheet.core.limits import Limits
from callsheet.core.records import PERSON, Envelope, RunRecord, Step, answers
from callsheet.core.state import rebuild
from callsheet.crews import Crew, FlowRun
from callsheet.crews.forking import Fork, fork_records
from callsheet.crews.numbering import numbered
from callsheet.tools import tool
from tests.unit.crews.fake_models import Bench, call, calls, prompt
from tests.unit.crews.past import Past, fork, past_of, replayed, resumed

NEW = "fork-0001"
DONE: list[str] = []


@tool(effect="idempotent")
def look_up(what: str) -> str:
    """Look something up."""
    DONE.append(what)
    return f"{what}: found"


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    DONE.clear()


def chain() -> Crew:
    return Crew("chain", agents=[Agent("clerk", "Look.", tools=[look_up]), Agent("editor", "Write.")])


def answer(request: Any) -> Any:
    """What the models say: from what they were told, so that another past makes another answer."""
    if request.agent == "clerk" and request.messages[-1].role == "user":
        return calls(call("look_up", what=prompt(request)))
    return f"{request.model} {request.agent} of [{prompt(request).splitlines()[0]}]"


async def ran(bench: Bench, crew: Crew | None = None, **options: Any) -> Past:
    gateway = bench.script(answer)
    past = past_of(bench, await bench.run(crew or chain(), "the order", **options))
    gateway.requests.clear()
    DONE.clear()
    return past


def forked(past: Past, at: int, **changes: Any) -> Fork:
    return fork_records(*past, at, run_id=NEW, now=2_000_000_000.0, **changes)


def number_of(past: Past, wanted: Any) -> int:
    return next(item.number for item in numbered(*past[1:]) if wanted(item.record))


def asks(receiver: str) -> Any:
    return lambda record: (
        isinstance(record, Envelope) and record.kind == "ask" and record.receiver == receiver
    )


def step_of(kind: str) -> Any:
    return lambda record: isinstance(record, Step) and record.kind == kind


def text_of(end: EndRun) -> str:
    assert end.status == "done", end.error
    return str(json.loads(end.output or "")["output"])


async def test_the_numbers_run_from_the_input_to_the_answer(bench: Bench) -> None:
    past = await ran(bench)
    items = numbered(*past[1:])
    assert [item.number for item in items] == list(range(1, len(past[1]) + len(past[2]) + 1))
    told = [
        f"{item.record.kind}:{item.record.receiver}"
        if isinstance(item.record, Envelope)
        else item.record.kind
        for item in items
    ]
    assert told == [
        "ask:flow", "ask:clerk", "llm", "tool", "llm", "reply:flow", "ask:editor", "llm", "reply:flow",
        "reply:person",
    ]  # fmt: skip
    assert [item.agent for item in items][2:5] == ["clerk"] * 3


async def test_steps_stand_in_their_turn_also_when_clocks_differ(bench: Bench) -> None:
    _, envelopes, steps = await ran(bench)
    ahead = [replace(step, ended=step.ended + 3600) for step in steps]
    behind = [replace(step, ended=1.0) for step in steps]
    order = [item.record.key if isinstance(item.record, Step) else "" for item in numbered(envelopes, steps)]
    for skewed in (ahead, behind):
        found = [
            item.record.key if isinstance(item.record, Step) else "" for item in numbered(envelopes, skewed)
        ]
        assert found == order


@pytest.mark.parametrize("at", range(1, 11))
async def test_what_stands_before_is_kept_under_new_ids(bench: Bench, at: int) -> None:
    past = await ran(bench)
    old = {record.id for record in past[1]}
    fork = forked(past, at)
    kept = numbered(fork.envelopes, fork.steps)
    assert len(kept) == max(at - 1, 1)
    same = (
        "kind",
        "body",
        "sender",
        "receiver",
        "key",
        "nth",
        "step_key",
        "step_nth",
        "result",
        "input",
        "name",
    )
    for new, was in zip(kept, numbered(*past[1:]), strict=False):
        for field in same:
            assert getattr(new.record, field, None) == getattr(was.record, field, None)
    assert all(e.run_id == NEW and e.id not in old and e.cause not in old for e in fork.envelopes)
    assert all(s.run_id == NEW and s.turn_id not in old and s.usage is None for s in fork.steps)
    assert fork.envelopes[0].id == root_envelope_id(NEW)
    assert all(answers(e) for e in fork.envelopes if e.kind != "ask")
    assert fork.record.input == past[0].input


async def test_the_copied_past_counts_towards_turns_and_messages_but_costs_nothing(bench: Bench) -> None:
    past = await ran(bench)
    fork = forked(past, 9)
    state = rebuild(fork.envelopes[0], Limits(), "running", fork.envelopes, fork.steps)
    assert (state.turns, state.messages) == (3, 4)
    assert state.usage.llm_calls == 0
    editor = next(turn for turn in state.open.values() if turn.envelope.receiver == "editor")
    assert editor.model_calls == 1


async def test_a_fork_tells_where_it_comes_from_and_can_be_resumed(bench: Bench) -> None:
    past = await ran(bench)
    record = forked(past, 3).record
    assert record.status == "cancelled"
    assert (record.output, record.owner, record.session_id) == (None, "", past[0].session_id)
    options = json.loads(record.options)
    assert (options["forked_from"]["run"], options["forked_from"]["at"]) == (past[0].run_id, 3)
    assert "callsheet resume" in (record.error or "")


@pytest.mark.parametrize("at", range(1, 11))
async def test_a_fork_comes_to_the_same_end_and_asks_only_what_follows(bench: Bench, at: int) -> None:
    past = await ran(bench)
    kept = [item.record for item in numbered(*past[1:]) if item.number < at]
    end = await resumed(bench, chain(), await fork(bench, past[0].run_id, at))
    assert text_of(end) == json.loads(past[0].output or "")["output"]
    assert len(bench.gateway.requests) == 3 - sum(step_of("llm")(record) for record in kept)
    assert len(DONE) == 1 - sum(step_of("tool")(record) for record in kept)


async def test_another_input_of_the_run(bench: Bench) -> None:
    past = await ran(bench)
    run_id = await fork(bench, past[0].run_id, 1, given="the invoice")
    end = await resumed(bench, chain(), run_id)
    assert text_of(end) == "offline editor of [the invoice]"
    assert past_of(bench, run_id)[0].input == to_json({"input": "the invoice"})
    assert DONE == ["the invoice"]


async def test_another_task_for_an_agent_keeps_the_work_that_came_with_it(bench: Bench) -> None:
    past = await ran(bench)
    at = number_of(past, asks("editor"))
    run_id = await fork(bench, past[0].run_id, at, given="in verse")
    end = await resumed(bench, chain(), run_id)
    assert text_of(end) == "offline editor of [in verse]"
    (request,) = bench.gateway.requests
    assert prompt(request) == 'in verse\n\n<from agent="clerk">\noffline clerk of [the order]\n</from>'
    assert (await replayed(bench, chain(), past_of(bench, run_id))).same


async def test_another_model_answers_from_there_on(bench: Bench) -> None:
    past = await ran(bench)
    at = [item.number for item in numbered(*past[1:]) if step_of("llm")(item.record)][1]
    run_id = await fork(bench, past[0].run_id, at, model="openai/other")
    end = await resumed(bench, chain(), run_id)
    assert text_of(end) == "openai/other editor of [the order]"
    assert [request.agent for request in bench.gateway.requests] == ["clerk", "editor"]
    assert DONE == []
    names = [step.name for step in past_of(bench, run_id)[2] if step.kind == "llm"]
    assert names == ["offline", "openai/other", "openai/other"]


async def test_a_fork_of_a_fork(bench: Bench) -> None:
    past = await ran(bench)
    first = await fork(bench, past[0].run_id, number_of(past, asks("editor")), given="in verse")
    await resumed(bench, chain(), first)
    again = past_of(bench, first)
    bench.gateway.requests.clear()
    end = await resumed(bench, chain(), await fork(bench, first, len(again[1]) + len(again[2])))
    assert text_of(end) == "offline editor of [in verse]"
    assert bench.gateway.requests == []


async def test_only_what_was_recorded_of_a_gather_is_kept(bench: Bench) -> None:
    crew = Crew("wide", agents=[Agent("a", "A."), Agent("b", "B."), Agent("c", "C.")])

    @crew.flow
    async def wide(run: FlowRun, task: str) -> Any:
        return await asyncio.gather(*[run.ask(name, task) for name in "abc"])

    past = await ran(bench, crew)
    items = numbered(*past[1:])
    for at in range(2, len(items) + 1):
        kept = sum(step_of("llm")(item.record) for item in items if item.number < at)
        bench.gateway.requests.clear()
        end = await resumed(bench, crew, await fork(bench, past[0].run_id, at))
        assert json.loads(end.output or "") == json.loads(past[0].output or "")
        assert len(bench.gateway.requests) == 3 - kept


async def test_a_run_that_is_cut_off_can_be_forked(bench: Bench) -> None:
    record, envelopes, steps = await ran(bench)
    cut = (replace(record, status="running", output=None, ended=None), envelopes[:2], steps[:2])
    assert len(forked(cut, 4).steps) == 1
    with pytest.raises(UsageError, match="no step 5"):
        forked(cut, 5)


@pytest.mark.parametrize("at", [0, -1, 11, 1000])
async def test_a_number_that_is_not_there_is_refused(bench: Bench, at: int) -> None:
    past = await ran(bench)
    with pytest.raises(UsageError, match=f"no step {at}") as told:
        forked(past, at)
    assert "1 to 10" in told.value.hint


@pytest.mark.parametrize("at", [3, 4, 6, 10])
async def test_only_a_message_takes_another_input(bench: Bench, at: int) -> None:
    past = await ran(bench)
    with pytest.raises(UsageError, match="no message to an agent") as told:
        forked(past, at, given="other")
    assert "1 (to flow), 2 (to clerk), 7 (to editor)" in told.value.hint


def asking_past() -> Past:
    root = Envelope(
        id=root_envelope_id("old-run"), run_id="old-run", kind="ask", sender=PERSON, receiver="flow",
        body='{"input":"x"}', at=1.0,
    )  # fmt: skip
    question = Envelope(
        id="q", run_id="old-run", kind="ask", sender="flow", receiver=PERSON, body='{"question":"Which?"}',
        cause=root.id, step_key="ask-k", at=2.0,
    )  # fmt: skip
    reply = Envelope(
        id="q-reply", run_id="old-run", kind="reply", sender=PERSON, receiver="flow", body='{"output":"A"}',
        cause="q", reply_to="q", at=3.0,
    )  # fmt: skip
    return (
        RunRecord(run_id="old-run", crew="c", status="done", input='{"input":"x"}'),
        [root, question, reply],
        [],
    )


def test_a_question_to_a_person_is_asked_again_or_left_open() -> None:
    assert [e.receiver for e in forked(asking_past(), 2).envelopes] == ["flow"]
    assert [e.receiver for e in forked(asking_past(), 3).envelopes] == ["flow", PERSON]
    with pytest.raises(UsageError, match="question to a person") as told:
        forked(asking_past(), 2, given="Which one?")
    assert "callsheet reply" in told.value.hint


def test_replies_that_a_resumed_run_left_behind_stay_behind() -> None:
    record, (root, question, reply), steps = asking_past()
    retired = replace(reply, id="q-reply.1", kind="error")
    fork = forked((record, [root, question, retired, reply], steps), 4)
    assert [e.kind for e in fork.envelopes] == ["ask", "ask"]


def test_an_effect_whose_end_is_unknown_stays_unknown_and_a_reserved_call_does_not() -> None:
    record, envelopes, _ = asking_past()
    turn = envelopes[0].id
    common = {"run_id": "old-run", "turn_id": turn, "nth": 0, "state": "intent", "started": 1.5}
    steps = [
        Step(key="tool-k", kind="tool", name="pay", **common),
        Step(key="llm-k", kind="llm", name="m", **common),
    ]
    assert [step.name for step in forked((record, envelopes, steps), 5).steps] == ["pay"]


async def test_the_dice_of_the_past_are_those_of_the_fork(bench: Bench) -> None:
    past = await ran(bench)
    first = forked(past, 7)
    root = past[1][0].id
    assert json.loads(first.record.options)["forked_from"]["seeds"] == {first.envelopes[0].id: root}
    second = fork_records(first.record, first.envelopes, first.steps, 1, run_id="fork-0002", now=1.0)
    assert json.loads(second.record.options)["forked_from"]["seeds"] == {second.envelopes[0].id: root}


def test_another_task_keeps_material_and_format_and_drops_the_repairs_of_the_old_one() -> None:
    record, (root, _, _), _ = asking_past()
    body = {
        "input": "old", "from": [{"agent": "a", "text": "b"}], "output_format": {"name": "N", "schema": "{}"},
        "repair": [{"answer": "x", "fault": "y"}],
    }  # fmt: skip
    ask = Envelope(
        id="a", run_id="old-run", kind="ask", sender="flow", receiver="clerk", body=to_json(body),
        cause=root.id, step_key="ask-k", step_nth=2, at=2.0,
    )  # fmt: skip
    (_, new) = forked((record, [root, ask], []), 2, given=["new"]).envelopes
    assert json.loads(new.body) == {
        "input": ["new"],
        "from": body["from"],
        "output_format": body["output_format"],
    }
    assert (new.step_key, new.step_nth) == ("ask-k", 2)


async def test_a_flow_that_throws_dice_finds_its_kept_steps_in_a_fork(bench: Bench) -> None:
    crew = chain()

    @crew.flow
    async def flow(run: FlowRun, task: str) -> str:
        first = await run.ask("clerk", f"{run.uuid()} {run.random()}")
        return str(await run.ask("editor", f"{first} {run.uuid()} {run.random()}"))

    gateway = bench.script(lambda request: f"{request.agent} of {prompt(request)}")
    before = await bench.run(crew, "the order")
    past = past_of(bench, before)
    _, envelopes, steps = past
    at = next(n.number for n in numbered(envelopes, steps) if n.record == steps[-1])
    gateway.requests.clear()
    forked = crew.fork(before.run_id, at, **bench.options())
    assert [request.agent for request in gateway.requests] == ["editor"]
    assert forked.output == before.output
    assert crew.replay(forked.run_id, settings=bench.settings).same
