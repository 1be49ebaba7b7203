"""Runs: begun from scripts, loops and flows; followed, waited for, stopped; many at once."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.core.errors import CancelledError, LimitError, ModelRequestError, UsageError
from callsheet.core.limits import Limits
from callsheet.crews import Crew, FlowRun, Result, RunEvent
from callsheet.crews.portal import close_portal, portal
from callsheet.tools import tool
from tests.unit.crews.fake_models import Bench, call, calls, prompt, until


@tool
def lookup(order: int) -> str:
    """Look up an order."""
    return f"order {order} is on its way"


def helpdesk() -> Crew:
    clerk = Agent("clerk", tools=[lookup])
    return Crew("helpdesk", agents=[clerk, Agent("editor")])


SCRIPT = {"clerk": [calls(call("lookup", order=17)), "on its way"], "editor": ["It is on its way."]}


# --- ways to run ------------------------------------------------------------------------------------------


def test_run_blocks_and_gives_the_result(bench: Bench) -> None:
    bench.script(SCRIPT)
    result = helpdesk().run("Where is order 17?", **bench.options(session="s-1"))
    assert result.output == "It is on its way."
    assert (result.status, result.crew, result.session_id, result.error) == ("done", "helpdesk", "s-1", None)
    assert (result.usage.llm_calls, result.usage.tool_calls) == (3, 1)
    assert (result.usage.input_tokens, result.usage.output_tokens) == (30, 15)
    assert result.elapsed_s > 0
    assert len(result.trace_id) == 32
    data = result.to_dict()
    assert list(data) == [
        "run_id", "crew", "status", "output", "usage", "elapsed_s", "trace_id", "trace_url", "session_id",
        "questions", "error",
    ]  # fmt: skip
    json.dumps(data)


async def test_run_also_works_where_a_loop_is_running(bench: Bench) -> None:
    """As in a notebook: a cell's code runs within the kernel's event loop."""
    bench.script(SCRIPT)
    assert helpdesk().run("Where is order 17?", **bench.options()).output == "It is on its way."


async def test_arun_leaves_the_callers_loop_free(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def answer(request: Any) -> str:
        await go_on.wait()
        return "done"

    bench.script(answer)
    waiting = asyncio.create_task(bench.run(helpdesk()))
    await until(lambda: bool(bench.gateway.requests))
    portal().run(_set(go_on))
    assert (await waiting).output == "done"


async def _set(event: asyncio.Event) -> None:
    event.set()


def test_a_second_run_finds_the_crew_launched(bench: Bench) -> None:
    bench.script(lambda request: "done")
    crew = helpdesk()
    first, second = crew.run("a", **bench.options()), crew.run("b", **bench.options())
    assert first.run_id != second.run_id
    assert len(launches(bench)) == 1


def launches(bench: Bench) -> list[str]:
    """The names under which crews are launched."""
    from callsheet.crews.system import shared_system

    async def query() -> Any:
        system = await shared_system(bench.settings, "inline", lambda _: None)
        return await system.host.client.query("launches")

    return [launch["name"] for launch in portal().run(query())]


def test_a_flow_that_is_defined_again_is_the_one_that_runs(bench: Bench) -> None:
    bench.script([])
    crew = helpdesk()

    @crew.flow
    async def before(run: FlowRun, task: str) -> str:
        return "before"

    assert crew.run("x", **bench.options()).output == "before"

    @crew.flow
    async def after(run: FlowRun, task: str) -> int:
        return 2

    assert crew.run("x", **bench.options()).output == 2


async def test_crews_of_one_name_do_not_mix(bench: Bench) -> None:
    bench.script(lambda request: f"{request.agent}: {prompt(request)}")
    one, other = Crew("twin", agents=[Agent("one")]), Crew("twin", agents=[Agent("other")])
    results = await asyncio.gather(*(bench.run(crew, str(n)) for n in range(5) for crew in (one, other)))
    assert [r.output for r in results] == [f"{who}: {n}" for n in range(5) for who in ("one", "other")]


def test_runs_go_on_after_the_portal_was_closed(bench: Bench) -> None:
    bench.script(lambda request: "done")
    crew = helpdesk()
    crew.run("a", **bench.options())
    close_portal()
    close_portal()
    assert crew.run("b", **bench.options()).output == "done"


async def test_a_flow_may_run_another_crew(bench: Bench) -> None:
    bench.script(lambda request: f"{request.crew}: {prompt(request)}")
    inner = Crew("inner", agents=[Agent("a")])
    outer = Crew("outer", agents=[Agent("a")])

    @outer.flow
    async def nested(run: FlowRun, task: str) -> Any:
        return (await inner.arun(task, **bench.options())).output

    assert (await bench.run(outer, "x")).output == "inner: x"


@pytest.mark.parametrize("way", ["run", "start", "result"])
async def test_a_flow_that_would_wait_for_itself_is_told_so(bench: Bench, way: str) -> None:
    bench.script(lambda request: "done")
    inner = Crew("inner", agents=[Agent("a")])
    outer = Crew("outer", agents=[Agent("a")])

    @outer.flow
    async def nested(run: FlowRun, task: str) -> Any:
        if way == "result":
            (await inner.astart(task, **bench.options())).result()
        return getattr(inner, way)(task, **bench.options())

    result = await bench.run(outer)
    assert isinstance(result.error, UsageError)
    assert "await crew.arun" in result.error.hint


def test_runs_may_be_begun_from_many_threads(bench: Bench) -> None:
    bench.script(lambda request: prompt(request))
    crew, found = Crew("c", agents=[Agent("a")]), {}

    def one(n: int) -> None:
        found[n] = crew.run(str(n), **bench.options()).output

    threads = [threading.Thread(target=one, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {n: str(n) for n in range(8)}


async def test_a_hundred_runs_at_once_each_get_their_own_answer(bench: Bench) -> None:
    def answer(request: Any) -> Any:
        number = prompt(request).split("\n")[0]
        if request.agent == "clerk" and len(request.messages) == 2:
            return calls(call("lookup", order=int(number)))
        said = request.messages[-1]
        return f"{request.agent} {said.parts[0].content if said.role == 'tool' else prompt(request).split(chr(10))[3]}"

    bench.script(answer)
    crew = helpdesk()
    results = await asyncio.gather(*(bench.run(crew, str(n)) for n in range(100)))
    assert [r.output for r in results] == [f"editor clerk order {n} is on its way" for n in range(100)]
    assert len({r.run_id for r in results}) == 100
    assert {r.usage.llm_calls for r in results} == {3}


# --- events -----------------------------------------------------------------------------------------------


async def test_events_tell_everything_in_order_and_end(bench: Bench) -> None:
    bench.script(SCRIPT)
    run = await helpdesk().astart("Where is order 17?", **bench.options())
    events = [event async for event in run.events()]
    assert [_short(e) for e in events] == [
        "person>flow ask: Where is order 17?",
        "flow>clerk ask: Where is order 17?",
        "clerk llm offline",
        'clerk tool lookup {"order":17}',
        "clerk llm offline",
        "clerk>flow reply: on its way",
        "flow>editor ask: Where is order 17?",
        "editor llm offline",
        "editor>flow reply: It is on its way.",
        "flow>person reply: It is on its way.",
        "end done",
    ]
    assert [e.at for e in events] == sorted(e.at for e in events)
    steps = [e.usage for e in events if e.usage is not None and e.kind != "end"]
    assert sum(u.llm_calls for u in steps) == 3
    assert events[-1].usage is not None
    assert events[-1].usage.llm_calls == 3
    assert (await run.aresult()).output == "It is on its way."


def _short(event: RunEvent) -> str:
    if event.kind == "message":
        return f"{event.sender}>{event.receiver} {event.name}: {event.text}"
    if event.kind == "end":
        return f"end {event.text}"
    return f"{event.sender} {event.kind} {event.name} {event.text}".strip()


async def test_what_follows_an_event_has_not_happened_before_it_is_told(bench: Bench) -> None:
    """Events can be watched while the run is under way, not only afterwards."""
    go_on = asyncio.Event()

    async def answer(request: Any) -> str:
        if request.agent == "editor":
            await go_on.wait()
        return "done"

    bench.script(answer)
    run = await Crew("c", agents=[Agent("clerk"), Agent("editor")]).astart("x", **bench.options())
    seen = []
    async for event in run.events():
        seen.append(event)
        if event.receiver == "editor":
            portal().run(_set(go_on))
    assert seen[-1].kind == "end"


def test_a_run_that_nobody_follows_ends_all_the_same(bench: Bench) -> None:
    bench.script(SCRIPT)
    run = helpdesk().start("x", **bench.options())
    assert run.result().output == "It is on its way."
    assert run.result().output == "It is on its way."


# --- stopping ---------------------------------------------------------------------------------------------


def hanging() -> tuple[Crew, Any, list[str]]:
    """A crew whose agent never answers, its script, and who was stopped."""
    stopped: list[str] = []

    async def answer(request: Any) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(request.agent)
            raise
        return ""

    return Crew("hanging", agents=[Agent("clerk")]), answer, stopped


async def test_a_cancelled_run_stops_its_work_and_says_why(bench: Bench) -> None:
    crew, answer, stopped = hanging()
    bench.script(answer)
    run = await crew.astart("x", **bench.options())
    await until(lambda: bool(bench.gateway.requests))
    run.cancel("changed my mind")
    run.cancel()
    result = await run.aresult(check=False)
    assert isinstance(result.error, CancelledError)
    assert (result.status, result.error.exit_status, result.error.message) == (
        "cancelled",
        130,
        "changed my mind",
    )
    await until(lambda: stopped == ["clerk"])
    with pytest.raises(CancelledError):
        await run.aresult()


async def test_cancelling_arun_cancels_the_run(bench: Bench) -> None:
    crew, answer, stopped = hanging()
    bench.script(answer)
    waiting = asyncio.create_task(bench.run(crew))
    await until(lambda: bool(bench.gateway.requests))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: stopped == ["clerk"])


async def test_cancelling_the_wait_for_a_result_leaves_the_run_alone(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def answer(request: Any) -> str:
        await go_on.wait()
        return "done"

    bench.script(answer)
    run = await Crew("c", agents=[Agent("a")]).astart("x", **bench.options())
    waiting = asyncio.create_task(run.aresult())
    await until(lambda: bool(bench.gateway.requests))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    portal().run(_set(go_on))
    assert (await run.aresult()).output == "done"


async def test_a_deadline_stops_the_work(bench: Bench) -> None:
    crew, answer, stopped = hanging()
    bench.script(answer)
    result = await bench.run(crew, deadline_s=0.05)
    assert isinstance(result.error, LimitError)
    assert (result.status, result.error.limit, result.error.allowed) == ("limited", "deadline_s", 0.05)
    assert result.error.exit_status == 3
    assert result.error.run_id == result.run_id
    if bench.gateway.requests:  # a slow machine may not have come that far
        await until(lambda: stopped == ["clerk"])


# --- results ----------------------------------------------------------------------------------------------


async def test_check_decides_between_raising_and_carrying_the_error(bench: Bench) -> None:
    bench.script(lambda request: ModelRequestError("no", status=400))
    crew = helpdesk()
    with pytest.raises(ModelRequestError, match="no") as caught:
        await crew.arun("x", **bench.options())
    assert caught.value.run_id
    with pytest.raises(ModelRequestError):
        crew.run("x", **bench.options())
    result = crew.run("x", **bench.options(), check=False)
    assert isinstance(result, Result)
    assert isinstance(result.error, ModelRequestError)
    assert result.output is None
    hint = f"`callsheet resume {result.run_id}` takes the failed turns again, once the cause is mended."
    assert result.to_dict()["error"] == {"type": "ModelRequestError", "message": "no", "hint": hint}


async def test_one_bad_run_leaves_the_others_alone(bench: Bench) -> None:
    def answer(request: Any) -> Any:
        return ModelRequestError("no") if prompt(request) == "bad" else "done"

    bench.script(answer)
    crew = Crew("c", agents=[Agent("a")])
    results = await asyncio.gather(*(bench.run(crew, t) for t in ("good", "bad", "good")))
    assert [r.status for r in results] == ["done", "failed", "done"]


async def test_what_no_price_is_known_for_has_no_price(bench: Bench) -> None:
    from tests.unit.crews.fake_models import reply

    bench.script({"clerk": [reply("x", cost_usd=0.5)], "editor": [reply("y", cost_usd=None)]})
    result = await bench.run(helpdesk())
    assert result.usage.unpriced_calls == 1
    assert result.to_dict()["usage"]["cost_usd"] is None


async def test_a_run_that_a_limit_stopped_carries_the_answers_it_had(bench: Bench) -> None:
    bench.script(["the first answer", "the second answer"])
    crew = Crew("c", agents=[Agent("a"), Agent("b"), Agent("d")], limits=Limits(turns=3))
    result = await bench.run(crew)
    assert isinstance(result.error, LimitError)
    assert result.error.limit == "turns"
    assert result.error.partial == {"a": "the first answer", "b": "the second answer"}


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_a_flow_that_raises_what_ends_a_process_only_fails_its_run(
    bench: Bench, error: type[BaseException]
) -> None:
    bench.script(["fine"])

    async def flow(run: FlowRun, task: str) -> str:
        if task == "fail":
            raise error
        return "fine"

    crew = Crew("c", agents=[Agent("a")], flow=flow)
    result = await bench.run(crew, "fail")
    assert result.status == "failed"
    assert result.error is not None
    assert error.__name__ in result.error.message
    assert (await bench.run(crew, "go on")).output == "fine"


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
@pytest.mark.parametrize("synchronous", [True, False])
async def test_a_tool_that_raises_what_ends_a_process_is_a_fault_of_the_tool(
    bench: Bench, error: type[BaseException], synchronous: bool
) -> None:
    async def look_async() -> str:
        """Look."""
        raise error

    def look_sync() -> str:
        """Look."""
        raise error

    look = tool(name="look")(look_sync if synchronous else look_async)
    bench.script([calls(call("look")), "it went wrong"])
    result = await bench.run(Crew("c", agents=[Agent("a", tools=[look])]))
    assert result.output == "it went wrong"
    told = bench.gateway.requests[-1].messages[-1].parts[0]
    assert error.__name__ in told.content  # type: ignore[union-attr]


async def test_a_task_that_tries_to_end_the_loop_does_not(bench: Bench) -> None:
    bench.script(["fine"])

    async def leave() -> None:
        raise SystemExit(3)

    async def flow(run: FlowRun, task: str) -> str:
        if task == "fail":
            await asyncio.gather(asyncio.create_task(leave()))
        return "fine"

    crew = Crew("c", agents=[Agent("a")], flow=flow)
    assert (await bench.run(crew, "fail")).status == "failed"
    assert (await bench.run(crew, "go on")).output == "fine"
