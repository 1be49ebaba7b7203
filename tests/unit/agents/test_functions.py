"""Functions that a flow offers for one ask: the model calls them, and the flow gets the calls."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies
from pydantic import BaseModel

from callsheet.agents import Agent
from callsheet.agents.functions import Offered, functions_data
from callsheet.core.errors import CallsheetError, UsageError
from callsheet.crews import Crew
from callsheet.models.messages import ToolCall, ToolResult
from callsheet.testing import call, scripted
from callsheet.tools import tool

WEATHER = {
    "name": "weather.get",
    "description": "Tell the weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TIME = {"name": "time", "description": "Tell the time.", "parameters": {"type": "object", "properties": {}}}


class Verdict(BaseModel):
    """What a critic says."""

    good: bool


@tool
def lookup(order: int) -> str:
    """Look up an order."""
    return f"order {order} is on its way"


def desk(functions: Any, *tools: Any, **more: Any) -> Crew:
    """A crew whose flow hands back what the agent answers, with its type."""
    crew = Crew("desk", agents=[Agent("clerk", role="You help.", tools=tools, **more)])

    @crew.flow
    async def flow(run: Any, task: Any) -> Any:
        answer = await run.ask("clerk", task, functions=functions)
        return {"type": type(answer).__name__, "answer": answer}

    return crew


def test_the_answer_is_the_list_of_calls_by_the_functions_own_names() -> None:
    with scripted([[call("weather_get", city="Oslo"), call("weather_get", city="Rome")]]) as script:
        result = desk([WEATHER, TIME]).run("Oslo and Rome?", host="inline")
    assert result.output["answer"] == [
        {"name": "weather.get", "arguments": {"city": "Oslo"}},
        {"name": "weather.get", "arguments": {"city": "Rome"}},
    ]
    assert len(script.requests) == 1
    assert result.usage.tool_calls == 0


def test_an_answer_without_calls_is_the_text() -> None:
    with scripted(["No function fits."]):
        assert desk([WEATHER]).run("Hm?", host="inline").output == {
            "type": "str",
            "answer": "No function fits.",
        }


def test_the_model_is_offered_them_beside_the_agents_tools_which_work_as_ever() -> None:
    with scripted([call("lookup", order=3), call("time")]) as script:
        result = desk([WEATHER, TIME], lookup).run("When?", host="inline")
    assert [spec.name for spec in script.requests[0].tools] == ["lookup", "weather_get", "time"]
    assert json.loads(script.requests[0].tools[1].schema) == WEATHER["parameters"]
    assert result.output["answer"] == [{"name": "time", "arguments": {}}]
    assert result.usage.tool_calls == 1


def test_a_call_beside_one_of_a_tool_ends_the_turn_without_the_tool() -> None:
    with scripted([[call("lookup", order=3), call("time")]]):
        result = desk([TIME], lookup).run("When?", host="inline")
    assert result.output["answer"] == [{"name": "time", "arguments": {}}]
    assert result.usage.tool_calls == 0


@pytest.mark.parametrize("arguments", ["no JSON", "[1]", '{"city": NaN}'])
def test_arguments_that_cannot_be_read_go_back_to_the_model(arguments: str) -> None:
    replies: list[Any] = [[call("weather_get", arguments), call("time")], call("weather_get", city="Oslo")]
    with scripted(replies) as script:
        result = desk([WEATHER, TIME]).run("Oslo?", host="inline")
    told = [part for part in script.requests[1].messages[-1].parts if isinstance(part, ToolResult)]
    assert [part.is_error for part in told] == [True, True]
    assert result.output["answer"] == [{"name": "weather.get", "arguments": {"city": "Oslo"}}]


def test_an_agent_with_an_output_type_answers_with_it_or_with_calls() -> None:
    crew = desk([TIME], output=Verdict)
    with scripted([call("time")]):
        assert crew.run("When?", host="inline").output["answer"] == [{"name": "time", "arguments": {}}]
    with scripted(['{"good": true}']):
        assert crew.run("Good?", host="inline").output["type"] == "Verdict"


def test_the_same_ask_with_other_functions_is_another_step() -> None:
    crew = Crew("desk", agents=[Agent("clerk", role="You help.")])

    @crew.flow
    async def flow(run: Any, task: Any) -> Any:
        return [await run.ask("clerk", task, functions=[f]) for f in (WEATHER, TIME)]

    with scripted([call("weather_get", city="Oslo"), call("time")]):
        result = crew.run("Go.", host="inline")
    assert [calls[0]["name"] for calls in result.output] == ["weather.get", "time"]


def test_a_replay_repeats_the_calls_without_a_model() -> None:
    crew = desk([WEATHER])
    with scripted([call("weather_get", city="Oslo")]):
        result = crew.run("Oslo?", host="inline")
    assert not crew.replay(result.run_id).differences


@pytest.mark.parametrize(
    ("functions", "said"),
    [
        ("time", "It is a list"),
        ([{"description": "x"}], "is no function"),
        ([TIME, TIME], "two functions are called 'time'"),
        ([{**TIME, "paramters": {}}], "'paramters'"),
        ([{**TIME, "parameters": {"type": "string"}}], "JSON Schema of an object"),
        ([{**TIME, "description": 3}], "description is 3"),
        ([{**TIME, "name": "lookup"}], "has a tool of that name"),
    ],
)
def test_what_cannot_be_offered_is_told(functions: Any, said: str) -> None:
    with scripted(["never"]) as script, pytest.raises(CallsheetError) as caught:
        desk(functions, lookup).run("Go.", host="inline")
    assert said in str(caught.value)
    assert not script.requests


def test_functions_and_an_output_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="one after the other"):
        functions_data([TIME], output=Verdict)


def test_a_crew_is_offered_none() -> None:
    crew = Crew("house", agents=[desk([TIME]), Agent("boss", role="You decide.")])

    @crew.flow
    async def flow(run: Any, task: Any) -> Any:
        return await run.ask("desk", task, functions=[TIME])

    with scripted(["never"]), pytest.raises(CallsheetError, match="Offer them to an agent"):
        crew.run("Go.", host="inline")


NAMES = strategies.lists(strategies.text("ab._-: é", min_size=1, max_size=80), unique=True, max_size=8)


@given(NAMES, strategies.sets(strategies.text("ab_", min_size=1, max_size=4), max_size=4))
def test_every_name_is_told_as_providers_take_it_and_comes_back_as_it_was(
    names: list[str], own: set[str]
) -> None:
    names = [name for name in names if name not in own]
    offered = Offered(functions_data([{"name": name} for name in names]), "clerk", tuple(own))
    told = [spec.name for spec in offered.specs]
    assert len({*told, *own}) == len(names) + len(own)
    assert all(name.replace("_", "a").replace("-", "a").isalnum() and name.isascii() for name in told)
    assert all(len(name) <= 64 for name in told)
    calls = offered.calls([ToolCall(id=str(n), name=name, arguments="{}") for n, name in enumerate(told)])
    assert [c["name"] for c in calls if isinstance(c, dict)] == names
    assert [t for n, t in zip(names, told, strict=True) if n in told] == [n for n in names if n in told]
