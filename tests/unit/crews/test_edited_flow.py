"""A flow that is edited after a crash reuses every step whose input is unchanged, wherever it stands now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.core.errors import ModelUnavailableError
from callsheet.crews import Crew, FlowRun
from tests.unit.crews.fake_models import Bench, ScriptedGateway, prompt
from tests.unit.crews.past import past_of

AGENTS = [Agent(name, "Work.") for name in ("finder", "checker", "writer")]
OPEN_THEN = "finder on the task + checker on the task"
Flow = Callable[[FlowRun, str], Any]


def crew(flow: Flow) -> Crew:
    made = Crew("edited", agents=AGENTS)
    made.flow(flow)
    return made


async def as_it_was(run: FlowRun, task: str) -> Any:
    found, checked = await asyncio.gather(run.ask("finder", task), run.ask("checker", task))
    return await run.ask("writer", f"{found} + {checked}")


async def with_a_step_before(run: FlowRun, task: str) -> Any:
    await run.ask("checker", "Are you there?")
    return await as_it_was(run, task)


async def in_another_order(run: FlowRun, task: str) -> Any:
    checked = await run.ask("checker", task)
    found = await run.ask("finder", task)
    return await run.ask("writer", f"{found} + {checked}")


async def with_one_text_changed(run: FlowRun, task: str) -> Any:
    found, checked = await asyncio.gather(run.ask("finder", task), run.ask("checker", f"{task} Really?"))
    return await run.ask("writer", f"{found} + {checked}")


async def with_a_step_less(run: FlowRun, task: str) -> Any:
    return await run.ask("writer", await run.ask("finder", task))


async def twice(run: FlowRun, task: str) -> Any:
    first = await run.ask("finder", task)
    return await run.ask("writer", f"{first} + {await run.ask('finder', task)}")


async def cut_off(bench: Bench) -> tuple[str, ScriptedGateway]:
    """A run whose writer's model was down, and the gateway that is up again."""

    def answer(request: Any) -> Any:
        if request.agent == "writer" and down:
            return ModelUnavailableError("down")
        return f"{request.agent} on {prompt(request)}"

    down = True
    gateway = bench.script(answer)
    result = await bench.run(crew(as_it_was), "the task")
    assert result.status == "failed"
    down = False
    gateway.requests.clear()
    return result.run_id, gateway


@pytest.mark.parametrize(
    ("flow", "asked"),
    [
        (as_it_was, []),
        (with_a_step_before, ["checker"]),
        (in_another_order, []),
        (with_one_text_changed, ["checker", "writer"]),
        (with_a_step_less, ["writer"]),
        (twice, ["finder", "writer"]),
    ],
)
async def test_only_what_is_new_or_changed_is_asked(bench: Bench, flow: Flow, asked: list[str]) -> None:
    run_id, gateway = await cut_off(bench)
    result = await crew(flow).aresume(run_id, check=False, **bench.options())
    assert result.status == "done", result.error
    # The writer's turn that was open then is finished in any case.
    new = [request.agent for request in gateway.requests if prompt(request) != OPEN_THEN]
    assert new == asked
    anew = await bench.run(crew(flow), "the task")
    assert result.output == anew.output


async def test_an_agent_made_otherwise_thinks_again_where_it_had_not_answered(bench: Bench) -> None:
    run_id, gateway = await cut_off(bench)
    other = Crew("edited", agents=[*AGENTS[:2], Agent("writer", "Work in verse.")])
    other.flow(as_it_was)
    result = await other.aresume(run_id, **bench.options())
    assert [request.agent for request in gateway.requests] == ["writer"]
    assert "Work in verse." in gateway.requests[0].messages[0].text
    assert result.usage.llm_calls == 3
    assert len([step for step in past_of(bench, run_id)[2] if step.kind == "llm"]) == 3
