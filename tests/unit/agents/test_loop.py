"""The think–act loop: what a model's replies make an agent do, and where it stops."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import BaseModel

from callsheet.agents import Agent
from callsheet.core.errors import AgentError, LimitError, ModelRequestError, OutputError
from callsheet.core.limits import Limits
from callsheet.crews import Crew, Result
from callsheet.models.messages import ToolResult
from callsheet.tools import ToolContext, ToolFailure, tool
from tests.unit.crews.fake_models import Bench, call, calls, prompt, reply, until


@tool
def lookup(order: int) -> str:
    """Look up an order."""
    return f"order {order} is on its way"


@tool
def broken(x: int = 0) -> str:
    """Break."""
    raise ZeroDivisionError("no such number")


@tool
def picky(x: int = 0) -> str:
    """Fail politely."""
    raise ToolFailure("the warehouse is closed; ask again for another day")


def one(*tools: Any, limits: Limits | None = None, **fields: Any) -> Crew:
    """A crew of one agent."""
    return Crew("desk", agents=[Agent("clerk", role="You help.", tools=tools, **fields)], limits=limits)


def told(bench: Bench) -> list[ToolResult]:
    return bench.gateway.results()


async def test_an_answer_without_tool_calls_is_the_answer(bench: Bench) -> None:
    gateway = bench.script(["Hello."])
    result = await bench.run(one(), "Say hello.")
    assert result.output == "Hello."
    assert result.usage.llm_calls == 1
    request = gateway.requests[0]
    assert [m.role for m in request.messages] == ["system", "user"]
    assert "You help." in request.messages[0].text
    assert prompt(request) == "Say hello."
    assert request.run_id == result.run_id
    assert request.agent == "clerk"
    assert request.crew == "desk"


async def test_results_come_back_in_the_order_of_the_calls(bench: Bench) -> None:
    bench.script([calls(call("lookup", order=2), call("lookup", order=1)), "done"])
    result = await bench.run(one(lookup))
    assert [r.content for r in told(bench)] == ["order 2 is on its way", "order 1 is on its way"]
    assert [r.call_id for r in told(bench)] == ["call_0", "call_1"]
    assert result.usage.tool_calls == 2


async def test_order_of_results_does_not_follow_who_is_faster(bench: Bench) -> None:
    second_done = asyncio.Event()

    @tool
    async def wait(first: bool) -> str:
        """Wait."""
        if first:
            await second_done.wait()
        else:
            second_done.set()
        return "first" if first else "second"

    bench.script([calls(call("wait", first=True), call("wait", first=False)), "done"])
    await bench.run(one(wait))
    assert [r.content for r in told(bench)] == ["first", "second"]


async def test_tool_calls_run_side_by_side_and_never_more_than_the_limit(bench: Bench) -> None:
    meeting = asyncio.Barrier(3)  # nobody passes alone: three at once must be running
    running = peak = 0

    @tool
    async def meet(number: int) -> str:
        """Meet the others."""
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await meeting.wait()
        running -= 1
        return str(number)

    bench.script([calls(*(call("meet", number=n) for n in range(9))), "done"])
    result = await bench.run(one(meet, limits=Limits(parallel_tool_calls=3)))
    assert result.status == "done"
    assert peak == 3
    assert [r.content for r in told(bench)] == [str(n) for n in range(9)]


async def test_an_unknown_tool_is_told_with_those_there_are(bench: Bench) -> None:
    bench.script([calls(call("look_up", order=1)), "done"])
    result = await bench.run(one(lookup, picky))
    assert result.output == "done"
    (answer,) = told(bench)
    assert answer.is_error
    assert answer.content == "There is no tool called 'look_up'. You have: lookup, picky."
    assert result.usage.tool_calls == 0


@pytest.mark.parametrize(
    "arguments",
    ['{"order": "many"}', "{}", "{", "[]", "", "null", '{"order": 1, "x": 2}', "[" * 100_000, "NaN"],
)
async def test_wrong_arguments_are_told_and_can_be_mended(bench: Bench, arguments: str) -> None:
    bench.script([calls(call("lookup", arguments)), calls(call("lookup", order=3)), "done"])
    result = await bench.run(one(lookup))
    wrong, right = told(bench)
    assert wrong.is_error
    assert "lookup" in wrong.content or "order" in wrong.content or "x" in wrong.content
    assert (right.is_error, right.content) == (False, "order 3 is on its way")
    assert result.status == "done"


async def test_a_failure_that_a_tool_reports_is_told_in_its_words(bench: Bench) -> None:
    bench.script([calls(call("picky")), "done"])
    await bench.run(one(picky))
    assert told(bench)[0].is_error
    assert told(bench)[0].content == "the warehouse is closed; ask again for another day"


async def test_a_tool_that_raises_is_told_and_does_not_end_the_run(bench: Bench) -> None:
    bench.script([calls(call("broken"), call("lookup", order=1)), "done"])
    result = await bench.run(one(broken, lookup))
    assert result.status == "done"
    bad, good = told(bench)
    assert bad.is_error
    assert "ZeroDivisionError: no such number" in bad.content
    assert "Traceback" not in bad.content
    assert not good.is_error


async def test_the_same_call_is_told_off_at_the_third_time_and_stops_the_turn_at_the_fifth(
    bench: Bench,
) -> None:
    ran = 0

    @tool
    def ping(host: str, port: int) -> str:
        """Ping."""
        nonlocal ran
        ran += 1
        return "no answer"

    # The same arguments in another order and spacing are the same call.
    spellings = ['{"host": "a", "port": 1}', '{"port":1,"host":"a"}']
    gateway = bench.script(lambda request: calls(call("ping", spellings[len(request.messages) % 4 // 2])))
    result = await bench.run(one(ping))
    assert ran == 2
    assert len(gateway.requests) == 5
    assert [r.is_error for r in told(bench)] == [False, False, True, True]
    assert "3 times in a row" in told(bench)[2].content
    assert isinstance(result.error, LimitError)
    assert (result.status, result.error.exit_status) == ("limited", 3)
    assert result.error.limit == "repeated_tool_calls"
    assert result.error.run_id == result.run_id


async def test_another_call_in_between_starts_the_count_again(bench: Bench) -> None:
    same, other = call("lookup", order=1), call("lookup", order=2)
    bench.script([calls(c) for c in (same, same, other, same, same)] + ["done"])  # type: ignore[arg-type]
    result = await bench.run(one(lookup))
    assert result.status == "done"
    assert not any(r.is_error for r in told(bench))


async def test_five_equal_calls_in_one_reply_run_none(bench: Bench) -> None:
    ran = 0

    @tool
    def ping() -> str:
        """Ping."""
        nonlocal ran
        ran += 1
        return "pong"

    bench.script([calls(*[call("ping")] * 5)])
    result = await bench.run(one(ping))
    assert isinstance(result.error, LimitError)
    assert ran == 0


async def test_a_turn_has_a_limited_number_of_model_calls(bench: Bench) -> None:
    numbers = iter(range(100))
    ran = []

    @tool
    def count(number: int) -> str:
        """Count."""
        ran.append(number)
        return "go on"

    gateway = bench.script(lambda request: calls(call("count", number=next(numbers)), text="still at it"))
    result = await bench.run(one(count, limits=Limits(model_calls_per_turn=4)))
    assert len(gateway.requests) == 4
    assert ran == [0, 1, 2], "the results of a last call's tools would be read by nobody"
    assert isinstance(result.error, LimitError)
    assert (result.error.limit, result.error.allowed) == ("model_calls_per_turn", 4)
    assert result.error.partial == "still at it"
    assert result.status == "limited"


@pytest.mark.parametrize("stop", ["refusal", "content_filter"])
async def test_a_refusal_fails_the_turn_and_runs_no_tools(bench: Bench, stop: Any) -> None:
    ran = []

    @tool
    def act() -> str:
        """Act."""
        ran.append(1)
        return "done"

    bench.script([reply(stop=stop, message=calls(call("act"), text="I cannot help with that."))])
    result = await bench.run(one(act))
    assert isinstance(result.error, AgentError)
    assert result.error.agent == "clerk"
    assert "I cannot help with that." in result.error.message
    assert result.error.run_id == result.run_id
    assert ran == []


async def test_a_text_that_was_cut_off_fails_the_turn_with_the_text(bench: Bench) -> None:
    bench.script([reply("The answer to your ques", stop="length")])
    result = await bench.run(one(max_tokens=5))
    assert isinstance(result.error, AgentError)
    assert result.error.partial == "The answer to your ques"
    assert "max_tokens" in result.error.hint


async def test_a_tool_call_that_was_cut_off_is_told_to_the_model(bench: Bench) -> None:
    bench.script([reply(stop="length", message=calls(call("lookup", '{"ord'))), "done"])
    result = await bench.run(one(lookup))
    assert result.status == "done"
    assert told(bench)[0].is_error


async def test_an_error_of_the_model_ends_the_run_with_its_type_and_fields(bench: Bench) -> None:
    bench.script([ModelRequestError("too long", model="m", provider="p", status=400, hint="Shorten it.")])
    result = await bench.run(one())
    assert isinstance(result.error, ModelRequestError)
    assert result.error.status == 400
    assert result.error.hint.startswith("Shorten it.")  # and then, how the run goes on
    assert result.status == "failed"


async def test_a_tool_knows_its_place_and_each_call_has_a_key_of_its_own(bench: Bench) -> None:
    seen: list[ToolContext] = []

    @tool
    def look(context: ToolContext, n: int) -> str:
        """Look around."""
        seen.append(context)
        return "seen"

    bench.script([calls(call("look", n=1), call("look", n=2)), calls(call("look", n=1)), "done"])
    result = await bench.run(one(look), session="s-1")
    assert {(c.run_id, c.agent, c.crew, c.session_id) for c in seen} == {
        (result.run_id, "clerk", "desk", "s-1")
    }
    assert len({c.idempotency_key for c in seen}) == 3
    assert len({c.turn_id for c in seen}) == 1


async def test_settings_of_the_agent_reach_the_model(bench: Bench) -> None:
    gateway = bench.script(["done"])
    agent = Agent(
        "a", temperature=0.3, max_tokens=77, extra={"top_k": 3}, tools=[lookup], model="openai/gpt-x"
    )
    await bench.run(Crew("c", agents=[agent]))
    request = gateway.requests[0]
    assert (request.temperature, request.max_tokens, request.model) == (0.3, 77, "openai/gpt-x")
    assert json.loads(request.extra) == {"top_k": 3}
    assert [t.name for t in request.tools] == ["lookup"]
    assert request.deadline is not None


async def test_the_model_of_a_run_goes_before_that_of_an_agent(bench: Bench) -> None:
    gateway = bench.script(["done", "done"])
    await bench.run(one(model="openai/gpt-x"), model="anthropic/claude-x")
    await bench.run(one())
    assert [r.model for r in gateway.requests] == ["anthropic/claude-x", "offline"]


# --- structured output -----------------------------------------------------------------------------------


class Verdict(BaseModel):
    """Whether a draft is good."""

    good: bool
    advice: str = ""


async def test_an_agents_output_type_reaches_the_model_and_makes_the_answer(bench: Bench) -> None:
    gateway = bench.script(['{"good": true}'])
    result = await bench.run(one(output=Verdict))
    assert result.output == Verdict(good=True)
    spec = gateway.requests[0].output
    assert spec is not None
    assert spec.name == "Verdict"
    assert spec.description == "Whether a draft is good."
    assert json.loads(spec.schema)["required"] == ["good"]


async def test_an_answer_that_does_not_fit_is_told_at_most_twice(bench: Bench) -> None:
    gateway = bench.script(["good I think", '{"good": "maybe"}', '```json\n{"good": false}\n```'])
    result = await bench.run(one(output=Verdict))
    assert result.output == Verdict(good=False)
    last = gateway.requests[-1].messages
    assert [m.role for m in last] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert last[2].text == "good I think"
    assert "not JSON" in last[3].text
    assert "good: Input should be a valid boolean" in last[5].text


async def test_after_two_corrections_the_turn_fails_with_the_last_answer(bench: Bench) -> None:
    gateway = bench.script(["one", "two", "three", '{"good": true}'])
    result = await bench.run(one(output=Verdict))
    assert len(gateway.requests) == 3
    assert isinstance(result.error, OutputError)
    assert (result.error.partial, result.error.agent) == ("three", "clerk")
    assert result.error.run_id == result.run_id
    assert result.status == "failed"


async def test_tools_come_before_a_structured_answer(bench: Bench) -> None:
    bench.script([calls(call("lookup", order=1)), '{"good": true}'])
    result = await bench.run(one(lookup, output=Verdict))
    assert result.output == Verdict(good=True)
    assert result.usage.llm_calls == 2


async def test_a_type_that_is_no_object_travels_wrapped(bench: Bench) -> None:
    gateway = bench.script(['{"value": ["a", "b"]}', '["c"]'])
    assert (await bench.run(one(output=list[str]))).output == ["a", "b"]
    assert (await bench.run(one(output=list[str]))).output == ["c"]
    spec = gateway.requests[0].output
    assert spec is not None
    assert json.loads(spec.schema)["required"] == ["value"]


def crew_that_asks(output: Any, own: Any = None) -> Crew:
    crew = Crew("asking", agents=[Agent("clerk", output=own)])

    @crew.flow
    async def ask(run: Any, task: Any) -> Any:
        answer = await run.ask("clerk", task, output=output)
        return repr(answer)

    return crew


async def test_a_flow_may_want_another_output_than_the_agents_own(bench: Bench) -> None:
    gateway = bench.script(['{"value": 7}'])
    result = await bench.run(crew_that_asks(int, own=Verdict))
    assert result.output == "7"
    spec = gateway.requests[0].output
    assert spec is not None
    assert spec.name == "int"


async def test_what_a_flow_wants_is_mended_in_the_same_way(bench: Bench) -> None:
    gateway = bench.script(["seven", '{"value": "seven"}', '{"value": 7}'])
    assert (await bench.run(crew_that_asks(int))).output == "7"
    last = gateway.requests[-1].messages
    assert [m.role for m in last] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert [m.text for m in last if m.role == "assistant"] == ["seven", '{"value": "seven"}']


async def test_what_a_flow_wants_and_does_not_get_fails_it(bench: Bench) -> None:
    gateway = bench.script(["one", "two", "three", "four"])
    result = await bench.run(crew_that_asks(int))
    assert len(gateway.requests) == 3
    assert isinstance(result.error, OutputError)
    assert (result.error.partial, result.error.agent) == ("three", "clerk")


# --- steps ------------------------------------------------------------------------------------------------


async def llm_keys(bench: Bench, run: Result) -> list[str]:
    """The keys under which a run's model calls are in the journal, in order."""
    from callsheet.crews.portal import portal
    from callsheet.crews.system import shared_system

    async def query() -> Any:
        system = await shared_system(bench.settings, "inline", lambda _: None)
        return await system.host.client.query("run", run_id=run.run_id)

    _, _, steps = await portal().arun(query())
    return [step.key for step in steps if step.kind == "llm"]


async def test_a_model_call_is_found_again_by_its_conversation_alone(bench: Bench) -> None:
    script = [calls(call("lookup", order=1)), "done"]

    async def keys(crew: Crew, task: str = "Do it.", replies: Any = script, **options: Any) -> list[str]:
        bench.script(replies)
        run = await bench.run(crew, task, **options)
        assert run.status == "done", run.error
        return await llm_keys(bench, run)

    base = await keys(one(lookup))
    assert len(base) == 2
    assert base[0] != base[1]
    assert await keys(one(lookup)) == base
    for other in (
        await keys(one(lookup), "Do that."),
        await keys(one(lookup, picky)),
        await keys(one(lookup), model="openai/x"),
        await keys(one(lookup, temperature=0.5)),
        await keys(one(lookup, max_tokens=5)),
        await keys(one(lookup, extra={"top_k": 1})),
        await keys(Crew("desk", agents=[Agent("clerk", role="You hinder.", tools=[lookup])])),
        await keys(one(lookup, output=str), replies=[script[0], '"done"']),
    ):
        assert not set(other) & set(base)
    first, second = await keys(one(lookup), replies=[calls(call("lookup", order=2)), "done"])
    assert first == base[0], "what was said later does not change an earlier step"
    assert second != base[1]


async def test_a_stopped_run_stops_its_tools(bench: Bench) -> None:
    started, stopped = asyncio.Event(), []

    @tool
    async def hang() -> str:
        """Hang."""
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(1)
            raise
        return ""

    bench.script([calls(call("hang"), text="")])
    run = await one(hang).astart("x", **bench.options())
    await until(started.is_set)
    run.cancel()
    result = await run.aresult(check=False)
    assert result.status == "cancelled"
    await until(lambda: bool(stopped))
