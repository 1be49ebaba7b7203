"""Flows: chains, loops, branches and gathers, what goes between them, and how they fail."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from callsheet.agents import Agent
from callsheet.core.errors import (
    LimitError,
    ModelUnavailableError,
    OutputError,
    RunError,
    UnknownNameError,
    UsageError,
)
from callsheet.core.limits import Limits
from callsheet.crews import Crew, FlowRun
from callsheet.crews.portal import portal
from callsheet.crews.system import shared_system
from callsheet.tools import tool
from tests.unit.crews.fake_models import Bench, call, calls, prompt, reply


class Verdict(BaseModel):
    good: bool
    advice: str = ""


class Question(BaseModel):
    text: str
    when: dt.date


class Answer(BaseModel):
    text: str = Field(alias="theText")


CLERK, CRITIC, EDITOR = Agent("clerk"), Agent("critic", output=Verdict), Agent("editor")


async def journal(bench: Bench, run_id: str) -> tuple[Any, list[Any], list[Any]]:
    """A run's record, envelopes and steps, as they are in the journal."""

    async def query() -> Any:
        system = await shared_system(bench.settings, "inline", lambda _: None)
        return await system.host.client.query("run", run_id=run_id)

    record, envelopes, steps = await portal().arun(query())
    return record, list(envelopes), list(steps)


async def test_a_chain_passes_the_task_and_the_work_before_on(bench: Bench) -> None:
    gateway = bench.script({"clerk": ["draft"], "editor": ["better"], "last": ["final"]})
    crew = Crew("chain", agents=[CLERK, EDITOR, Agent("last")])
    result = await bench.run(crew, "Where is order 17?")
    assert result.output == "final"
    assert prompt(gateway.of("clerk")[0]) == "Where is order 17?"
    assert prompt(gateway.of("editor")[0]) == 'Where is order 17?\n\n<from agent="clerk">\ndraft\n</from>'
    assert prompt(gateway.of("last")[0]) == 'Where is order 17?\n\n<from agent="editor">\nbetter\n</from>'


async def test_a_chain_passes_typed_work_on_as_json_and_ends_with_the_last_ones_type(bench: Bench) -> None:
    gateway = bench.script({"critic": ['{"good": true}'], "judge": ['{"good": false, "advice": "no"}']})
    crew = Crew("typed-chain", agents=[CRITIC, Agent("judge", output=Verdict)])
    result = await bench.run(crew)
    assert result.output == Verdict(good=False, advice="no")
    assert '{"advice":"","good":true}' in prompt(gateway.of("judge")[0])


async def test_a_loop_ends_by_its_rounds_or_its_verdict(bench: Bench) -> None:
    crew = Crew("loop", agents=[CLERK, CRITIC])

    @crew.flow
    async def improve(run: FlowRun, task: str) -> dict[str, Any]:
        draft = await run.ask(CLERK, task)
        while not (verdict := await run.ask(CRITIC, draft)).good and run.rounds < 3:
            draft = await run.ask(CLERK, verdict.advice)
        return {"draft": draft, "rounds": run.rounds}

    no, yes = '{"good": false, "advice": "shorter"}', '{"good": true}'
    bench.script({"clerk": ["1", "2", "3"], "critic": [no, no, no]})
    assert (await bench.run(crew)).output == {"draft": "3", "rounds": 3}
    gateway = bench.script({"clerk": ["1", "2"], "critic": [no, yes]})
    assert (await bench.run(crew)).output == {"draft": "2", "rounds": 2}
    assert prompt(gateway.of("clerk")[1]) == "shorter"
    assert prompt(gateway.of("critic")[1]) == "2"


async def test_gathered_asks_are_under_way_together(bench: Bench) -> None:
    meeting = asyncio.Barrier(3)

    async def answer(request: Any) -> str:
        await meeting.wait()
        return f"about {prompt(request)}"

    bench.script(answer)
    crew = Crew("gather", agents=[CLERK, EDITOR])

    @crew.flow
    async def spread(run: FlowRun, task: str) -> list[str]:
        asks = (run.ask(CLERK, "a"), run.ask(EDITOR, "b"), run.ask(CLERK, "c"))
        return list(await asyncio.gather(*asks))

    assert (await bench.run(crew)).output == ["about a", "about b", "about c"]


async def test_input_and_output_have_the_types_that_the_flow_declares(bench: Bench) -> None:
    bench.script(["done"])
    crew = Crew("typed", agents=[CLERK])
    seen: list[Any] = []

    @crew.flow
    async def typed(run: FlowRun, question: Question) -> Answer:
        seen.append(question)
        return Answer(theText=await run.ask(CLERK, question))

    result = await bench.run(crew, Question(text="when?", when=dt.date(2026, 1, 2)))
    assert seen == [Question(text="when?", when=dt.date(2026, 1, 2))]
    assert result.output == Answer(theText="done")
    assert json.loads(prompt(bench.gateway.requests[0])) == {"text": "when?", "when": "2026-01-02"}
    assert result.to_dict()["output"] == {"theText": "done"}


async def test_an_input_that_does_not_fit_is_told_by_place(bench: Bench) -> None:
    bench.script([])
    crew = Crew("typed", agents=[CLERK])

    @crew.flow
    async def typed(run: FlowRun, question: Question) -> str:
        return await run.ask(CLERK, question)  # type: ignore[no-any-return]

    result = await bench.run(crew, {"text": "when?", "when": "soon"})
    assert isinstance(result.error, UsageError)
    assert "when" in result.error.message
    assert result.error.exit_status == 2


async def test_what_a_flow_returns_must_fit_what_it_declares(bench: Bench) -> None:
    bench.script([])
    crew = Crew("typed", agents=[CLERK])

    @crew.flow
    async def typed(run: FlowRun, task: Any) -> Verdict:
        return task  # type: ignore[no-any-return]

    assert (await bench.run(crew, {"good": True})).output == Verdict(good=True)
    result = await bench.run(crew, {"well": True})
    assert isinstance(result.error, OutputError)
    assert "good: Field required" in result.error.message
    assert result.error.partial == {"well": True}


async def test_a_flow_that_returns_what_json_lacks_fails_with_its_type(bench: Bench) -> None:
    bench.script([])
    crew = Crew("odd", agents=[CLERK])

    @crew.flow
    async def odd(run: FlowRun, task: str) -> Any:
        return object()

    result = await bench.run(crew)
    assert isinstance(result.error, UsageError)
    assert "a object cannot be sent" in result.error.message


async def test_a_fault_in_a_flow_names_its_file_and_line(bench: Bench) -> None:
    bench.script(["no json"])
    crew = Crew("faulty", agents=[CLERK])

    @crew.flow
    async def faulty(run: FlowRun, task: str) -> Any:
        return json.loads(await run.ask(CLERK, task))  # the marked line

    line = next(
        n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "# the marked line" in text
    )
    result = await bench.run(crew)
    assert type(result.error) is RunError
    assert "JSONDecodeError" in result.error.message
    assert result.error.message.endswith(f"({__file__}:{line})")
    assert "Traceback" not in str(result.error)
    assert result.error.run_id == result.run_id
    assert (result.status, result.error.exit_status) == ("failed", 1)


async def test_asking_who_is_not_there_names_the_nearest_and_keeps_the_journal(bench: Bench) -> None:
    bench.script(["draft"])
    crew = Crew("lost", agents=[CLERK, EDITOR])

    @crew.flow
    async def lost(run: FlowRun, task: str) -> Any:
        draft = await run.ask("clerk", task)
        return await run.ask("editr", draft)

    result = await bench.run(crew)
    assert isinstance(result.error, UnknownNameError)
    assert result.error.exit_status == 2
    assert (result.error.kind, result.error.name) == ("agent of this crew", "editr")
    assert "editor" in result.error.hint
    record, envelopes, steps = await journal(bench, result.run_id)
    assert record.status == "failed"
    assert [(e.sender, e.receiver, e.kind) for e in envelopes] == [
        ("person", "flow", "ask"), ("flow", "clerk", "ask"), ("clerk", "flow", "reply"), ("flow", "person", "error"),
    ]  # fmt: skip
    assert [s.kind for s in steps] == ["llm"]
    assert "editr" in record.error


async def test_an_agent_of_another_crew_is_not_there(bench: Bench) -> None:
    bench.script([])
    crew = Crew("lost", agents=[CLERK])

    @crew.flow
    async def lost(run: FlowRun, task: str) -> Any:
        return await run.ask(EDITOR, task)

    error = (await bench.run(crew)).error
    assert isinstance(error, UnknownNameError)
    assert "Add editor to the crew's agents=[…]" in error.hint


async def inner(run: FlowRun, task: str) -> Any:
    return await run.ask(CLERK, run.ask(CLERK, task))


async def in_what_is_given(run: FlowRun, task: str) -> Any:
    return await run.ask(CLERK, task, given={"draft": run.ask(CLERK, task)})


async def in_a_list(run: FlowRun, task: str) -> Any:
    return await run.ask(CLERK, [run.ask(CLERK, task), {"more": run.ask(CLERK, task)}])


async def returned(run: FlowRun, task: str) -> Any:
    return run.ask(CLERK, task)


async def returned_as_a_type(run: FlowRun, task: str) -> Verdict:
    return run.ask(CLERK, task)  # type: ignore[return-value]


@pytest.mark.parametrize("flow", [inner, in_what_is_given, in_a_list, returned, returned_as_a_type])
async def test_a_forgotten_await_is_told_and_python_need_not_warn(
    bench: Bench, flow: Any, recwarn: pytest.WarningsRecorder
) -> None:
    bench.script([])
    result = await bench.run(Crew("hasty", agents=[CLERK], flow=flow))
    assert isinstance(result.error, UsageError)
    assert "was not awaited" in result.error.message
    assert "forget `await`" in result.error.hint
    gc.collect()
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
async def test_using_what_was_not_awaited_hints_at_it(bench: Bench) -> None:
    bench.script([])
    crew = Crew("hasty", agents=[CLERK])

    @crew.flow
    async def hasty(run: FlowRun, task: str) -> Any:
        return run.ask(CLERK, task).good  # type: ignore[attr-defined]

    error = (await bench.run(crew)).error
    assert isinstance(error, RunError)
    assert "forget `await`" in error.hint


async def test_what_is_given_without_a_name_is_refused(bench: Bench) -> None:
    bench.script([])
    crew = Crew("hasty", agents=[CLERK])

    @crew.flow
    async def hasty(run: FlowRun, task: str) -> Any:
        return await run.ask(CLERK, task, given="a draft")  # type: ignore[arg-type]

    error = (await bench.run(crew)).error
    assert isinstance(error, UsageError)
    assert "by name" in error.hint


async def test_what_contains_itself_is_refused(bench: Bench) -> None:
    bench.script([])
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(UsageError, match="a list cannot be sent"):
        await bench.run(Crew("desk", agents=[CLERK]), endless)


async def test_a_flow_can_catch_what_an_agent_failed_with(bench: Bench) -> None:
    bench.script({"clerk": [ModelUnavailableError("away", provider="p", status=503)], "editor": ["instead"]})
    crew = Crew("fallback", agents=[CLERK, EDITOR])

    @crew.flow
    async def fallback(run: FlowRun, task: str) -> Any:
        try:
            return await run.ask(CLERK, task)
        except ModelUnavailableError as error:
            return [error.status, await run.ask(EDITOR, task)]

    assert (await bench.run(crew)).output == [503, "instead"]


async def test_a_step_of_another_kind_stands_between_agents(bench: Bench) -> None:
    gateway = bench.script({"clerk": ["2 3 4"], "editor": ["nine"]})
    crew = Crew("pipeline", agents=[CLERK, EDITOR])

    @crew.flow
    async def pipeline(run: FlowRun, task: str) -> str:
        numbers = await run.ask(CLERK, task)
        total = sum(int(n) for n in numbers.split())
        answer = await run.ask(EDITOR, "Spell it.", given={"sum": total, "numbers": numbers})
        assert run.session_id == "s"
        return f"{answer} {run.run_id}"

    result = await bench.run(crew, session="s")
    assert result.output == f"nine {result.run_id}"
    assert prompt(gateway.of("editor")[0]) == (
        'Spell it.\n\n<from agent="sum">\n9\n</from>\n\n<from agent="numbers">\n2 3 4\n</from>'
    )


async def test_a_gather_that_fails_stops_the_others(bench: Bench) -> None:
    stopped = asyncio.Event()

    async def answer(request: Any) -> Any:
        if request.agent == "clerk":
            return ModelUnavailableError("away")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.set()
            raise

    bench.script(answer)
    crew = Crew("gather", agents=[CLERK, EDITOR])

    @crew.flow
    async def gather(run: FlowRun, task: str) -> Any:
        return await asyncio.gather(run.ask(EDITOR, task), run.ask(CLERK, task))

    result = await bench.run(crew)
    assert isinstance(result.error, ModelUnavailableError)
    await portal().arun(asyncio.wait_for(stopped.wait(), 30))


async def test_the_budget_stops_a_run_at_the_call_that_exceeds_it(bench: Bench) -> None:
    gateway = bench.script(lambda request: reply("more", cost_usd=0.4))
    crew = Crew("spender", agents=[CLERK])

    @crew.flow
    async def spend(run: FlowRun, task: str) -> Any:
        while True:
            await run.ask(CLERK, f"again {run.rounds}")

    result = await bench.run(crew, budget_usd=1.0)
    assert isinstance(result.error, LimitError)
    assert (result.error.limit, result.error.allowed) == ("budget_usd", 1.0)
    assert (result.status, result.error.exit_status) == ("limited", 3)
    assert result.error.run_id == result.run_id
    assert len(gateway.requests) == 3
    assert result.usage.cost_usd == pytest.approx(1.2)


@pytest.mark.parametrize("limits", [Limits(turns=4), Limits(messages=6)])
async def test_a_flow_that_never_ends_is_stopped_by_its_turns_and_messages(
    bench: Bench, limits: Limits
) -> None:
    bench.script(lambda request: "more")
    crew = Crew("endless", agents=[CLERK], limits=limits)

    @crew.flow
    async def endless(run: FlowRun, task: str) -> Any:
        while True:
            task = await run.ask(CLERK, task)

    result = await bench.run(crew)
    assert isinstance(result.error, LimitError)
    assert result.error.limit in ("turns", "messages")
    assert len(bench.gateway.requests) == 3 if limits.turns == 4 else 2


async def test_clock_dice_and_ids_are_there_for_flows(bench: Bench) -> None:
    bench.script([])
    crew = Crew("dice", agents=[CLERK])

    @crew.flow
    async def dice(run: FlowRun, task: str) -> Any:
        return [await run.now(), run.random(), run.random(), run.uuid(), run.uuid()]

    at, one, two, a, b = (await bench.run(crew)).output
    assert at > 1.7e9
    assert 0 <= one < 1
    assert one != two
    assert a != b


async def test_a_flow_that_is_begun_again_asks_nobody_twice(bench: Bench) -> None:
    """The flow's process dies between two asks; its successor gets the answers that were there already."""
    from callsheet.runtime.participant import Participant

    first_is_in, go_on = asyncio.Event(), asyncio.Event()
    seen: list[list[Any]] = []

    async def answer(request: Any) -> str:
        if prompt(request) == "second":
            first_is_in.set()
            await go_on.wait()
        return f"{prompt(request)} done"

    @tool
    def unused() -> str:
        """Nothing."""
        return ""

    gateway = bench.script(answer)
    crew = Crew("restarted", agents=[CLERK])

    @crew.flow
    async def script(run: FlowRun, task: str) -> Any:
        seen.append([run.random(), run.uuid(), await run.now(), await run.ask(CLERK, "first")])
        return await run.ask(CLERK, "second")

    run = await crew.astart("x", **bench.options())

    async def replace_flow() -> None:
        await first_is_in.wait()
        system = await shared_system(bench.settings, "inline", lambda _: None)
        host: Any = system.host
        (name,) = host._launched
        card = host._launched[name][0]._hello.card
        await host._launched[name][0].close()
        services = {service: caller.request for service, caller in host._calls.items()}
        heir = Participant(
            card=card, name="flow", handler=crew.participants()[0].factory(),
            transport=host._coordinator.exchange, services=services, client=f"{name}/flow#0",
            incarnation="the next",
        )  # fmt: skip
        host._launched[name][0] = heir
        heir.open()
        await heir.joined()
        go_on.set()

    await portal().arun(replace_flow())
    result = await run.aresult()
    assert result.output == "second done"
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert [prompt(r) for r in gateway.requests] == ["first", "second"]
    _, envelopes, _ = await journal(bench, result.run_id)
    assert len(envelopes) == len({e.id for e in envelopes}) == 6


async def test_a_tool_may_be_used_by_the_flow_as_the_function_it_is(bench: Bench) -> None:
    @tool
    def double(x: int) -> int:
        """Double."""
        return 2 * x

    bench.script([calls(call("double", x=2)), "4"])
    crew = Crew("tools", agents=[Agent("clerk", tools=[double])])

    @crew.flow
    async def flow(run: FlowRun, task: str) -> list[Any]:
        return [double(21), await run.ask("clerk", task)]

    assert (await bench.run(crew)).output == [42, "4"]
