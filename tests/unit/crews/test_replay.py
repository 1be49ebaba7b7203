"""Replay: today's code against what a run recorded, without a model call, a tool call, or a write."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from callsheet.agents import Agent
from callsheet.core.canonical import digest, to_json
from callsheet.core.errors import ModelUnavailableError, RunError
from callsheet.core.ids import step_key
from callsheet.core.records import PERSON, Envelope
from callsheet.crews import Crew, FlowRun, replaying
from callsheet.tools import tool
from tests.unit.crews.fake_models import Bench, call, calls, prompt
from tests.unit.crews.past import past_of, replayed, up_to

CALLED: list[str] = []


@tool(effect="idempotent")
def order_status(order_id: str) -> str:
    """Look up where an order is."""
    CALLED.append(order_id)
    return f"order {order_id} left on Monday"


class Verdict(BaseModel):
    good: bool


def desk(role: str = "You answer questions about orders.", **clerk: Any) -> Crew:
    clerk.setdefault("tools", [order_status])
    return Crew("desk", agents=[Agent("clerk", role, **clerk), Agent("editor", role="You rewrite.")])


SCRIPT = {"clerk": [calls(call("order_status", order_id="17")), "It left."], "editor": ["It has left."]}


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    CALLED.clear()


async def test_the_same_code_does_the_same_and_calls_nothing(bench: Bench) -> None:
    bench.script(SCRIPT)
    result = await bench.run(desk(), "Where is order 17?")
    assert CALLED == ["17"]
    before = past_of(bench, result)
    replay = await replayed(bench, desk(), result)
    assert replay.same
    assert (replay.turns, replay.steps) == (3, 6)  # 3 model calls, a tool call, and the flow's two asks
    assert CALLED == ["17"]
    assert past_of(bench, result) == before


async def test_another_role_is_the_first_thing_that_differs(bench: Bench) -> None:
    bench.script(SCRIPT)
    result = await bench.run(desk(), "Where is order 17?")
    replay = await replayed(bench, desk("You answer in verse."), result)
    (found,) = replay.differences
    assert (found.agent, found.turn, found.number) == ("clerk", 2, 3)
    assert (found.expected.kind, found.got and found.got.kind) == ("llm", "llm")
    assert "its role, its tools" in found.why
    assert found.got is not None
    assert "You answer in verse." in found.got.text
    assert CALLED == ["17"]


async def test_a_tool_that_is_gone_is_named(bench: Bench) -> None:
    bench.script(SCRIPT)
    result = await bench.run(desk(), "Where is order 17?")
    replay = await replayed(bench, desk(tools=[]), result)
    assert "order_status no more" in replay.differences[0].why


async def test_another_model_of_the_agents_own_is_told(bench: Bench) -> None:
    bench.script(SCRIPT)
    result = await bench.run(desk(model="openai/gpt-a"), "Where is order 17?")
    (found,) = (await replayed(bench, desk(model="openai/gpt-b"), result)).differences
    assert found.why == "the model is another one: openai/gpt-a then, openai/gpt-b today"


async def test_a_model_that_the_run_named_is_no_matter_of_the_code(bench: Bench) -> None:
    bench.script(SCRIPT)
    result = await bench.run(desk(), "Where is order 17?", model="openai/gpt-a")
    record, envelopes, steps = past_of(bench, result)
    later = replace(record, options=record.options.replace("gpt-a", "gpt-b"))
    assert (await replayed(bench, desk(), (later, envelopes, steps))).same


async def test_another_message_of_the_flow_shows_both_texts(bench: Bench) -> None:
    bench.script(SCRIPT)
    crew = desk()

    @crew.flow
    async def then(run: FlowRun, task: str) -> Any:
        return await run.ask("editor", await run.ask("clerk", f"{task}\nBe short."))

    result = await bench.run(crew, "Where is order 17?")

    @crew.flow
    async def now(run: FlowRun, task: str) -> Any:
        return await run.ask("editor", await run.ask("clerk", f"{task}\nBe polite."))

    (found,) = (await replayed(bench, crew, result)).differences
    assert (found.agent, found.number) == ("flow", 2)
    assert found.why == "the message to it reads otherwise"
    assert found.diff() == [" Where is order 17?", "-Be short.", "+Be polite."]


async def test_a_step_that_todays_code_leaves_out_is_told(bench: Bench) -> None:
    bench.script(SCRIPT)
    crew = desk()
    result = await bench.run(crew, "Where is order 17?")

    @crew.flow
    async def shorter(run: FlowRun, task: str) -> Any:
        return await run.ask("clerk", task)

    (found,) = (await replayed(bench, crew, result)).differences
    assert (found.expected.kind, found.expected.name) == ("ask", "editor")
    assert found.why == "today's code ends the turn without this step"
    assert found.got is not None
    assert (found.got.kind, found.got.text) == ("reply", "It left.")


async def test_a_step_more_than_recorded_is_told(bench: Bench) -> None:
    bench.script(SCRIPT)
    crew = desk()
    result = await bench.run(crew, "Where is order 17?")

    @crew.flow
    async def longer(run: FlowRun, task: str) -> Any:
        draft = await run.ask("clerk", task)
        await run.ask("editor", task, given={"clerk": draft})
        return await run.ask("editor", "Once more.")

    (found,) = (await replayed(bench, crew, result)).differences
    assert found.expected.kind == "reply"
    assert found.got is not None
    assert (found.got.kind, found.got.name, found.got.text) == ("ask", "editor", "Once more.")
    assert "more" in found.why


async def test_another_answer_from_the_same_steps_is_told(bench: Bench) -> None:
    bench.script(SCRIPT)
    crew = desk()
    result = await bench.run(crew, "Where is order 17?")

    @crew.flow
    async def louder(run: FlowRun, task: str) -> Any:
        draft = await run.ask("clerk", task)
        return (await run.ask("editor", task, given={"clerk": draft})).upper()

    (found,) = (await replayed(bench, crew, result)).differences
    assert found.diff() == ["-It has left.", "+IT HAS LEFT."]
    assert found.number == len(past_of(bench, result)[1]) + len(past_of(bench, result)[2])


async def test_each_turn_is_compared_by_itself_and_the_first_comes_first(bench: Bench) -> None:
    bench.script(SCRIPT)
    result = await bench.run(desk(), "Where is order 17?")
    today = Crew("desk", agents=[Agent("clerk", "Other."), Agent("editor", "Other too.")])
    replay = await replayed(bench, today, result)
    assert [found.agent for found in replay.differences] == ["clerk", "editor"]
    assert replay.differences[0].number < replay.differences[1].number


async def test_an_agent_that_is_gone_is_told(bench: Bench) -> None:
    bench.script(SCRIPT)
    result = await bench.run(desk(), "Where is order 17?")
    today = Crew("desk", agents=[Agent("secretary", "Answer."), Agent("editor", role="You rewrite.")])
    flow, gone = (await replayed(bench, today, result)).differences[:2]
    assert flow.got is not None
    assert (flow.agent, flow.expected.name, flow.got.name) == ("flow", "clerk", "secretary")
    assert (gone.agent, gone.got) == ("clerk", None)
    assert "has not got an agent called 'clerk' any more" in gone.why
    assert "secretary, editor" in gone.why


async def test_clock_and_dice_are_the_recorded_ones(bench: Bench) -> None:
    bench.script(lambda request: "ok")
    crew = Crew("dice", agents=[Agent("clerk")])

    @crew.flow
    async def go(run: FlowRun, task: str) -> Any:
        await run.ask("clerk", f"{await run.now()} {run.random()} {run.uuid()}")
        return [await run.now(), run.random(), run.uuid()]

    result = await bench.run(crew)
    assert (await replayed(bench, crew, result)).same


async def test_the_first_of_several_answers_is_the_same_one_again(bench: Bench) -> None:
    first_may_answer = asyncio.Event()

    async def answer(request: Any) -> str:
        if request.agent == "slow":
            await first_may_answer.wait()
        return request.agent

    bench.script(answer)
    crew = Crew("race", agents=[Agent("slow"), Agent("quick")])

    @crew.flow
    async def race(run: FlowRun, task: str) -> Any:
        asks = [asyncio.ensure_future(run.ask(name, task)) for name in ("slow", "quick")]
        done, _ = await asyncio.wait(asks, return_when=asyncio.FIRST_COMPLETED)
        won = [ask.result() for ask in done]
        first_may_answer.set()
        await asyncio.gather(*asks)
        return won

    result = await bench.run(crew)
    assert result.output == ["quick"]
    assert (await replayed(bench, crew, result)).same


async def test_a_gather_whose_branches_are_written_in_another_order_is_the_same(bench: Bench) -> None:
    bench.script(lambda request: request.agent)
    crew = Crew("wide", agents=[Agent("a"), Agent("b")])

    def flow(names: str) -> None:
        @crew.flow
        async def wide(run: FlowRun, task: str) -> Any:
            return sorted(await asyncio.gather(*[run.ask(name, task) for name in names]))

    flow("ab")
    result = await bench.run(crew)
    flow("ba")
    assert (await replayed(bench, crew, result)).same


async def test_a_run_that_failed_at_a_model_is_the_same_as_far_as_it_went(bench: Bench) -> None:
    bench.script({"clerk": [SCRIPT["clerk"][0], ModelUnavailableError("down")]})
    result = await bench.run(desk(), "Where is order 17?")
    assert result.status == "failed"
    assert (await replayed(bench, desk(), result)).same


async def test_a_fault_that_was_mended_is_told(bench: Bench) -> None:
    bench.script(SCRIPT)
    crew = desk()

    @crew.flow
    async def broken(run: FlowRun, task: str) -> Any:
        await run.ask("clerk", task)
        raise ValueError("no way")

    result = await bench.run(crew)
    assert isinstance(result.error, RunError)
    assert (await replayed(bench, crew, result)).same

    @crew.flow
    async def mended(run: FlowRun, task: str) -> Any:
        return await run.ask("clerk", task)

    (found,) = (await replayed(bench, crew, result)).differences
    assert found.why == "today's code comes to an answer where the run failed"
    assert "no way" in found.expected.text


async def test_a_fault_in_todays_code_is_told_and_raises_nothing(bench: Bench) -> None:
    bench.script(SCRIPT)
    crew = desk()
    result = await bench.run(crew)

    @crew.flow
    async def broken(run: FlowRun, task: str) -> Any:
        await run.ask("clerk", task)
        raise SystemExit("no way")

    (found,) = (await replayed(bench, crew, result)).differences
    assert found.got is not None
    assert (found.got.kind, found.expected.kind) == ("error", "ask")


async def test_a_run_that_is_cut_off_is_compared_as_far_as_it_goes(bench: Bench) -> None:
    bench.script(SCRIPT)
    past = past_of(bench, await bench.run(desk(), "Where is order 17?"))
    for steps in range(len(past[2]) + 1):
        assert (await replayed(bench, desk(), up_to(past, steps=steps, envelopes=2))).same
    cut = up_to(past, steps=2, envelopes=2)
    assert not (await replayed(bench, desk("You answer in verse."), cut)).same


async def test_a_turn_that_waits_for_what_never_comes_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "PATIENCE_S", 0.05)
    bench.script(SCRIPT)
    crew = desk()
    result = await bench.run(crew)

    @crew.flow
    async def stuck(run: FlowRun, task: str) -> Any:
        await asyncio.Event().wait()

    (found,) = (await replayed(bench, crew, result)).differences
    assert (found.got, found.expected.kind) == (None, "ask")
    assert "never comes" in found.why


async def test_an_answer_that_does_not_fit_any_more_is_told(bench: Bench) -> None:
    bench.script({"critic": ['{"good": true}']})
    crew = Crew("judges", agents=[Agent("critic", "Judge.", output=Verdict)])
    result = await bench.run(crew)
    assert (await replayed(bench, crew, result)).same

    class Other(BaseModel):
        fine: bool

    today = Crew("judges", agents=[Agent("critic", "Judge.", output=Other)])
    assert "output type" in (await replayed(bench, today, result)).differences[0].why


async def test_replies_of_attempts_that_were_left_behind_answer_nothing(bench: Bench) -> None:
    bench.script(SCRIPT)
    record, envelopes, steps = past_of(bench, await bench.run(desk(), "Where is order 17?"))
    root = envelopes[-1]
    failed = replace(root, id=f"{root.id}.1", kind="error", body=to_json(RunError("then").to_dict()))
    assert (await replayed(bench, desk(), (record, [*envelopes[:-1], failed, root], steps))).same


async def test_what_json_shows(bench: Bench) -> None:
    bench.script(SCRIPT)
    result = await bench.run(desk(), "Where is order 17?")
    data = (await replayed(bench, desk("Other."), result)).to_dict()
    assert (data["run_id"], data["same"], data["turns"]) == (result.run_id, False, 3)
    assert data["differences"][0]["expected"]["kind"] == "llm"
    to_json(data)


async def test_what_only_a_crash_led_to_is_no_difference(bench: Bench) -> None:
    bench.script(SCRIPT)
    record, envelopes, steps = past_of(bench, await bench.run(desk(), "Where is order 17?"))
    done = next(step for step in steps if step.kind == "tool")
    place = f"{done.key.removeprefix('tool-')}/{done.nth}"
    again = replace(done, key=step_key("tool", digest("again", place, "1")))
    question = Envelope(
        id="q", run_id=record.run_id, kind="ask", sender="clerk", receiver=PERSON, cause=done.turn_id,
        body=to_json({"question": "?", "kind": "unknown"}), step_key="ask-q", at=done.ended,
    )  # fmt: skip
    reply = Envelope(
        id="q-reply", run_id=record.run_id, kind="reply", sender=PERSON, receiver="clerk", reply_to="q",
        cause="q", body=to_json({"output": {"decision": "approve", "text": ""}}), at=done.ended,
    )  # fmt: skip
    messages = [*envelopes[:2], question, reply, *envelopes[2:]]
    assert (await replayed(bench, desk(), (record, messages, [*steps, again]))).same
    approval = replace(question, body=to_json({"question": "?", "kind": "approval"}))
    messages[2] = approval
    assert not (await replayed(bench, desk(), (record, messages, steps))).same


async def test_a_call_that_was_begun_and_never_came_back_is_no_difference(bench: Bench) -> None:
    bench.script(SCRIPT)
    record, envelopes, steps = past_of(bench, await bench.run(desk(), "Where is order 17?"))
    cut = [*steps[:2], replace(steps[2], state="intent", result="null")]
    assert (await replayed(bench, desk(), (record, envelopes[:2], cut))).same
    failed = replace(envelopes[2], kind="error", body=to_json(RunError("killed").to_dict()))
    up = replace(envelopes[-1], kind="error", body=failed.body)
    assert (await replayed(bench, desk(), (record, [*envelopes[:2], failed, up], cut))).same


async def test_a_flow_that_waits_for_threads_and_timers_of_its_own_goes_on(bench: Bench) -> None:
    forever = asyncio.Event()

    async def answer(request: Any) -> str:
        if request.agent == "slow":
            await forever.wait()
        return request.agent

    bench.script(answer)
    crew = Crew("patient", agents=[Agent("quick"), Agent("slow")])

    @crew.flow
    async def patient(run: FlowRun, task: str) -> Any:
        told = await asyncio.to_thread(str.upper, task)
        try:
            async with asyncio.timeout(0.2):
                return await run.ask("slow", told)
        except TimeoutError:
            return await run.ask("quick", told)

    result = await bench.run(crew, "now")
    assert result.output == "quick"
    assert (await replayed(bench, crew, result)).same


async def test_of_branches_side_by_side_the_one_that_differs_is_told(bench: Bench) -> None:
    bench.script(lambda request: prompt(request))
    crew = Crew("wide", agents=[Agent("a"), Agent("b"), Agent("c")])

    def flow(last_of_a: str, first_of_c: str) -> None:
        async def two(run: FlowRun, name: str, second: str) -> Any:
            return [await run.ask(name, "first"), await run.ask(name, second)]

        @crew.flow
        async def wide(run: FlowRun, task: str) -> Any:
            await asyncio.gather(two(run, "b", "second"), two(run, "a", last_of_a), run.ask("c", first_of_c))

    flow("second", "first")
    result = await bench.run(crew)
    flow("other", "first")
    (found,) = (await replayed(bench, crew, result)).differences
    assert found.got is not None
    assert (found.expected.name, found.expected.text) == ("a", "second")
    assert (found.got.name, found.got.text) == ("a", "other")
    flow("other", "other")
    (found,) = (await replayed(bench, crew, result)).differences
    assert found.got is not None
    assert (found.expected.name, found.got.name) == ("c", "c")


def judges(fault: str) -> Crew:
    class Judgement(BaseModel):
        score: int

        @field_validator("score")
        @classmethod
        def small(cls, score: int) -> int:
            if score > 9:
                raise ValueError(fault)
            return score

    return Crew("judges", agents=[Agent("critic", "Judge.", output=Judgement)])


async def test_what_an_agent_was_told_in_between_is_told_as_such(bench: Bench) -> None:
    bench.script({"critic": ['{"score": 10}', '{"score": 9}']})
    result = await bench.run(judges("at most 9"))
    assert result.status == "done", result.error
    assert (await replayed(bench, judges("at most 9"), result)).same
    (found,) = (await replayed(bench, judges("ten is too much"), result)).differences
    assert found.why == "what critic was told after its model call number 1 of this turn reads otherwise"
    assert found.got is not None
    assert "ten is too much" in found.got.text
