"""What can be a crew and a flow, and what is refused at once with a word on what to do."""

from __future__ import annotations

import dataclasses
import typing
import warnings
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.core.errors import CallsheetError, DefinitionError, UnknownNameError, UsageError
from callsheet.core.limits import Limits
from callsheet.crews import Crew, starting
from callsheet.settings import load_settings
from tests.unit.crews.fake_models import Bench

CLERK = Agent("clerk", role="You help.")


@pytest.mark.parametrize("name", ["", "Desk", "two words", "desk\n", "-x", "é", "x" * 49, None])
def test_a_crews_name_is_checked(name: Any) -> None:
    with pytest.raises(DefinitionError, match="cannot be called"):
        Crew(name, agents=[CLERK])


@pytest.mark.parametrize("agents", [[], (), None])
def test_a_crew_has_agents(agents: Any) -> None:
    with pytest.raises(DefinitionError, match="has no agents"):
        Crew("desk", agents=agents)


@pytest.mark.parametrize("agents", [CLERK, "clerk", 5])
def test_agents_are_a_list_also_of_one(agents: Any) -> None:
    with pytest.raises(DefinitionError, match="agents is") as caught:
        Crew("desk", agents=agents)
    assert "agents=[…]" in caught.value.hint


@pytest.mark.parametrize(("agent", "told"), [("clerk", "Agent('clerk')"), (5, "Agent(…)")])
def test_what_is_no_agent_is_refused(agent: Any, told: str) -> None:
    with pytest.raises(DefinitionError, match=f"{agent!r} is neither an Agent nor a Crew") as caught:
        Crew("desk", agents=[agent])
    assert told in caught.value.hint


def test_two_agents_of_one_name_are_refused_by_name() -> None:
    with pytest.raises(DefinitionError, match="two agents called 'clerk'") as caught:
        Crew("desk", agents=[CLERK, Agent("editor"), Agent("clerk")])
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("limits", [5, {"turns": 3}])
def test_a_crews_limits_are_limits(limits: Any) -> None:
    with pytest.raises(DefinitionError, match="limits is"):
        Crew("desk", agents=[CLERK], limits=limits)


# --- flows ------------------------------------------------------------------------------------------------


def plain(run: Any, task: Any) -> Any: ...
async def stream(run: Any, task: Any) -> AsyncIterator[str]:
    yield ""


async def lonely(run: Any) -> Any: ...
async def crowded(run: Any, task: Any, more: Any) -> Any: ...
async def by_name(run: Any, *, task: Any) -> Any: ...
async def odd_input(run: Any, task: Callable[[], int]) -> Any: ...
async def odd_output(run: Any, task: Any) -> Bench: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("flow", "said"),
    [
        (plain, "'plain' is not an `async def`"),
        (stream, "'stream' is not an `async def`"),
        (5, "'5' is not an `async def`"),
        (lonely, "'lonely' must take two arguments"),
        (crowded, "'crowded' must take two arguments"),
        (by_name, "'by_name' must take two arguments"),
        (partial(lonely), "must take two arguments"),
        (odd_input, "'odd_input': input"),
        (odd_output, "'odd_output': output"),
    ],
)
def test_what_cannot_be_a_flow_is_refused_when_it_is_defined(flow: Any, said: str) -> None:
    crew = Crew("desk", agents=[CLERK])
    for define in (crew.flow, lambda f: Crew("desk", agents=[CLERK], flow=f)):
        with pytest.raises(DefinitionError, match=said) as caught:
            define(flow)
        assert caught.value.hint


def test_a_flow_stays_the_function_it_was() -> None:
    crew = Crew("desk", agents=[CLERK])

    @crew.flow
    async def flow(run: Any, task: str, extra: int = 0) -> str:
        return task

    assert flow.__name__ == "flow"


# --- options of a run -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"budget": 3}, UnknownNameError, "'budget'"),
        ({"model": 5}, DefinitionError, "model is 5"),
        ({"budget_usd": 0}, DefinitionError, "budget_usd is 0"),
        ({"budget_usd": "5"}, DefinitionError, "budget_usd is '5'"),
        ({"deadline_s": -1}, DefinitionError, "deadline_s is -1"),
        ({"deadline_s": float("nan")}, DefinitionError, "deadline_s is nan"),
        ({"limits": 5}, DefinitionError, "limits is 5"),
        ({"model": "gpt-4o"}, UnknownNameError, "gpt-4o"),
        ({"host": "moon"}, UsageError, "moon"),
        ({"docs": "not/there"}, CallsheetError, "not/there"),
        ({"docs": ["not/there"]}, CallsheetError, "not/there"),
    ],
)  # fmt: skip
async def test_options_that_make_no_sense_are_refused_before_a_run_begins(
    bench: Bench, options: dict[str, Any], kind: type[CallsheetError], said: str
) -> None:
    if "docs" not in options:
        bench.script([])
    crew = Crew("desk", agents=[CLERK])
    with pytest.raises(kind, match=said) as caught:
        await bench.run(crew, **options)
    assert caught.value.exit_status == 2
    assert caught.value.hint
    assert bench.gateway.requests == []


@pytest.mark.parametrize("task", [object(), {"when": object()}, b"\xff"])
async def test_an_input_without_json_form_is_refused(bench: Bench, task: Any) -> None:
    bench.script([])
    with pytest.raises(UsageError, match="cannot be sent"):
        await bench.run(Crew("desk", agents=[CLERK]), task)


def test_the_options_are_spelled_out_for_editors_type_checkers_and_help() -> None:
    of_run, of_start = (
        typing.get_type_hints(Crew.run)["options"],
        typing.get_type_hints(Crew.start)["options"],
    )
    checked = {field.name for field in dataclasses.fields(starting.RunOptions)}
    (keywords,) = typing.get_args(of_start)
    known = set(typing.get_type_hints(keywords))
    assert known == checked | {"host", "settings", "progress"}
    assert set(typing.get_type_hints(typing.get_args(of_run)[0])) == known - {"watch", "stream"}
    assert typing.get_type_hints(Crew.arun)["options"] == of_run
    assert typing.get_type_hints(Crew.astart)["options"] == of_start
    told = (Crew.run.__doc__ or "") + (Crew.start.__doc__ or "")
    assert [name for name in known if f"`{name}`" not in told] == []


async def test_the_hint_for_a_slip_names_the_option_that_was_meant(bench: Bench) -> None:
    with pytest.raises(UnknownNameError) as caught:
        await bench.run(Crew("desk", agents=[CLERK]), deadline=5)
    assert "deadline_s" in caught.value.hint


async def test_the_hint_for_inline_names_the_host(bench: Bench) -> None:
    with pytest.raises(UnknownNameError) as caught:
        await bench.run(Crew("desk", agents=[CLERK]), inline=True)
    assert 'host="inline"' in caught.value.hint


@pytest.mark.parametrize("task", ["", " \n", None])
async def test_a_chain_needs_a_task_and_a_flow_may_do_without(bench: Bench, task: Any) -> None:
    bench.script([])
    crew = Crew("desk", agents=[CLERK])
    with pytest.raises(UsageError, match="the input is") as caught:
        await bench.run(crew, task)
    assert caught.value.hint

    @crew.flow
    async def flow(run: Any, task: Any) -> str:
        return f"got {task!r}"

    assert (await bench.run(crew, task)).output == f"got {task!r}"


# --- the offline engine -----------------------------------------------------------------------------------


@pytest.fixture
def nobody_was_told() -> None:
    starting._warn_of_offline.cache_clear()


@pytest.mark.usefixtures("nobody_was_told")
async def test_python_is_told_once_that_the_offline_engine_answers(bench: Bench) -> None:
    bench.script(lambda request: "done")
    with pytest.warns(starting.OfflineWarning, match="no language model.*ANTHROPIC_API_KEY"):
        await bench.run(Crew("desk", agents=[CLERK]))
    with warnings.catch_warnings():
        warnings.simplefilter("error", starting.OfflineWarning)
        assert (await bench.run(Crew("other", agents=[CLERK]))).status == "done"


@pytest.mark.usefixtures("nobody_was_told")
@pytest.mark.parametrize("way", ["run", "settings", "agent", "key", "notices"])
async def test_nobody_is_told_who_chose_a_model_or_is_told_otherwise(
    bench: Bench, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.script(lambda request: "done")
    crew = Crew("desk", agents=[Agent("clerk", model="offline") if way == "agent" else CLERK])
    if way == "key":
        monkeypatch.setenv("OPENAI_API_KEY", "k")
    if way == "settings":
        bench.settings = load_settings(phoenix="off", model="offline")
    options: dict[str, dict[str, Any]] = {"run": {"model": "offline"}, "notices": {"notices": []}}
    with warnings.catch_warnings():
        warnings.simplefilter("error", starting.OfflineWarning)
        assert (await bench.run(crew, **options.get(way, {}))).status == "done"


# --- limits -----------------------------------------------------------------------------------------------


async def test_limits_of_a_run_take_the_place_of_the_crews(bench: Bench) -> None:
    bench.script(lambda request: "done")
    crew = Crew("desk", agents=[CLERK], limits=Limits(turns=1))
    assert (await bench.run(crew)).status == "limited"
    assert (await bench.run(crew, limits=Limits())).status == "done"
    assert (await bench.run(crew, limits=Limits(), deadline_s=100, budget_usd=1.0)).status == "done"
