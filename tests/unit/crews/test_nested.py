"""Crews in crews: one run, one budget, one trace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.core.errors import DefinitionError, LimitError
from callsheet.core.limits import Limits
from callsheet.crews import Crew
from callsheet.models.messages import ModelRequest
from tests.unit.crews.fake_models import Bench, prompt, reply


def desk() -> Crew:
    return Crew("desk", agents=[Agent("clerk", role="You answer."), Agent("editor", role="You polish.")])


async def test_a_crew_is_asked_like_an_agent_and_works_in_the_same_run(bench: Bench) -> None:
    bench.script({"clerk": ["draft"], "editor": ["polished"], "boss": ["approved"]})
    crew = Crew("house", agents=[desk(), Agent("boss", role="You decide.")])
    result = await bench.run(crew, "Do it.")
    assert result.output == "approved"
    assert result.usage.llm_calls == 3
    assert "polished" in prompt(bench.gateway.of("boss")[0])
    assert {request.run_id for request in bench.gateway.requests} == {result.run_id}


async def test_the_work_of_others_reaches_the_agents_of_the_crew_that_is_asked(bench: Bench) -> None:
    bench.script({"boss": ["go north"], "clerk": ["draft"], "editor": ["polished"]})
    crew = Crew("house", agents=[Agent("boss", role="You decide."), desk()])
    assert (await bench.run(crew)).output == "polished"
    assert "go north" in prompt(bench.gateway.of("clerk")[0])


async def test_a_flow_asks_a_crew_by_object_or_name_and_crews_may_be_deep(bench: Bench) -> None:
    bench.script(lambda request: f"{request.agent} heard {prompt(request)}")
    inner = Crew("inner", agents=[Agent("a", role="You are a.")])
    middle = Crew("middle", agents=[inner])
    outer = Crew("outer", agents=[middle, Agent("a", role="You are another a.")])

    @outer.flow
    async def flow(run: Any, task: str) -> list[str]:
        return [await run.ask(middle, "1"), await run.ask("middle", "2"), await run.ask("a", "3")]

    assert (await bench.run(outer)).output == ["a heard 1", "a heard 2", "a heard 3"]


async def test_the_budget_of_the_run_holds_for_the_crews_in_it(bench: Bench) -> None:
    bench.script(lambda request: reply("yes", cost_usd=0.04))
    bench.gateway.quote = 0.04
    crew = Crew("house", agents=[desk(), Agent("boss", role="You decide.")], limits=Limits(budget_usd=0.1))
    result = await bench.run(crew)
    assert isinstance(result.error, LimitError)
    assert result.error.limit == "budget_usd"
    assert len(bench.gateway.requests) == 2
    assert result.usage.cost_usd <= 0.1


async def test_parallel_agents_never_overshoot_the_budget(bench: Bench) -> None:
    spent = 0.0
    most = 0.0

    async def answer(request: ModelRequest) -> Any:
        nonlocal spent, most
        await asyncio.sleep(0)
        spent += 0.03
        most = max(most, spent)
        return reply("yes", cost_usd=0.03)

    bench.script(answer)
    bench.gateway.quote = 0.05
    agents = [Agent(f"a{i}", role="You answer.") for i in range(12)]
    crew = Crew("many", agents=agents)

    @crew.flow
    async def flow(run: Any, task: str) -> list[str]:
        return list(await asyncio.gather(*(run.ask(agent, task) for agent in agents)))

    result = await bench.run(crew, budget_usd=0.2)
    assert isinstance(result.error, LimitError)
    assert most <= 0.2
    # 0.03 × 5 + 0.05 ≤ 0.2 lets a sixth in, and 0.18 + 0.05 none more.
    assert len(bench.gateway.requests) == 6
    enough = await bench.run(crew, budget_usd=0.5)
    assert enough.status == "done"
    assert enough.usage.cost_usd == pytest.approx(0.36)


async def test_a_budget_of_tokens_holds_too(bench: Bench) -> None:
    bench.script(lambda request: "yes")
    crew = Crew("desk", agents=[Agent("clerk", role="You answer.", max_tokens=100)])
    result = await bench.run(crew, budget_tokens=50)
    assert isinstance(result.error, LimitError)
    assert result.error.limit == "budget_tokens"
    assert not bench.gateway.requests
    assert "--budget-tokens " in result.error.hint
    assert (await bench.run(crew, budget_tokens=5000)).status == "done"


async def test_a_run_that_a_limit_stopped_goes_on_with_more(bench: Bench) -> None:
    bench.script(lambda request: reply("yes", cost_usd=0.04))
    bench.gateway.quote = 0.04
    crew = desk()
    result = await bench.run(crew, budget_usd=0.05)
    assert result.status == "limited"
    assert result.error is not None
    assert f"callsheet resume {result.run_id} --budget 0.25" in result.error.hint
    again = await crew.aresume(result.run_id, budget_usd=0.1, **bench.options())
    assert again.status == "done"
    assert [request.agent for request in bench.gateway.requests] == ["clerk", "editor"]
    assert again.usage.cost_usd == pytest.approx(0.08)


def test_two_members_of_one_name_are_refused() -> None:
    with pytest.raises(DefinitionError, match="two agents called 'desk'"):
        Crew("house", agents=[desk(), Agent("desk", role="You answer.")])
