"""Runs that are recorded, and runs that a cassette answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.core.errors import DefinitionError, LimitError, ModelRequestError, UsageError
from callsheet.crews import Crew
from callsheet.settings import Settings, load_settings
from callsheet.testing import call, reply, scripted
from callsheet.tools import tool

MODEL = "openai/gpt-5.4-mini"
REPLIES: dict[str, list[Any]] = {
    "clerk": [call("lookup", order=17), "Order 17 left on Monday."],
    "editor": [reply("Good news: it left on Monday.", cost_usd=0.25)],
}
done: list[int] = []


@tool
def lookup(order: int) -> str:
    """Look an order up."""
    done.append(order)
    return f"order {order}: Monday"


def desk(role: str = "You answer.", **more: Any) -> Crew:
    clerk = Agent("clerk", role=role, tools=[lookup], **more)
    return Crew("desk", agents=[clerk, Agent("editor", role="You polish.")])


@pytest.fixture
def settings(home: Path) -> Settings:
    done.clear()
    return load_settings(phoenix="off")


@pytest.fixture
def cassette(settings: Settings, tmp_path: Path) -> Path:
    """What models said about order 17; its runs are of another process as far as the tests can tell."""
    path = tmp_path / "desk.jsonl"
    with scripted(REPLIES):
        desk().run("Where is 17?", host="inline", settings=settings, model=MODEL, record=path)
    done.clear()
    return path


def run(crew: Crew, settings: Settings, task: str = "Where is 17?", **options: Any) -> Any:
    return crew.run(task, host="inline", settings=settings, **options)


def test_a_replayed_run_is_the_recorded_one_without_a_key_or_a_model(
    cassette: Path, settings: Settings, recwarn: pytest.WarningsRecorder
) -> None:
    result = run(desk(), settings, replay=cassette)
    assert result.output == "Good news: it left on Monday."
    assert result.usage.cost_usd == 0.25
    assert (result.usage.llm_calls, result.usage.tool_calls) == (3, 1)
    assert done == [17]  # tools are not replayed: they run
    assert not recwarn.list  # of the offline engine, which is not asked


def test_it_answers_any_number_of_runs(cassette: Path, settings: Settings) -> None:
    crew = desk()
    outputs = {run(crew, settings, replay=str(cassette)).output for _ in range(3)}
    assert outputs == {"Good news: it left on Monday."}


def test_agents_that_name_a_model_keep_it(cassette: Path, settings: Settings) -> None:
    assert run(desk(model=MODEL), settings, replay=cassette, model=None).status == "done"
    with pytest.raises(ModelRequestError, match=r"recorded openai/gpt-5\.4-mini, now openai/gpt-5\.5"):
        run(desk(model="openai/gpt-5.5"), settings, replay=cassette)


def test_what_has_changed_in_the_crew_is_shown(cassette: Path, settings: Settings) -> None:
    with pytest.raises(ModelRequestError) as caught:
        run(desk("You answer in French."), settings, replay=cassette)
    assert "clerk asks" in caught.value.message
    assert "differs, system:" in caught.value.message
    assert "+You answer in French." in caught.value.message.replace("  ", "")
    with pytest.raises(ModelRequestError, match=r"Where is 18\?"):
        run(desk(), settings, "Where is 18?", replay=cassette)


def test_budgets_act_as_they_did_by_the_recorded_costs(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    costly = {
        "clerk": [reply("", call("lookup", order=17), cost_usd=2.0), "It left."],
        "editor": ["It left."],
    }
    with scripted(costly):
        assert run(desk(), settings, model=MODEL, record=path, budget_usd=5.0).status == "done"
    assert run(desk(), settings, replay=path, budget_usd=5.0).usage.cost_usd == 2.0
    with pytest.raises(LimitError):
        run(desk(), settings, replay=path, budget_usd=1.0)


def test_a_run_adds_to_what_was_recorded_before(cassette: Path, settings: Settings) -> None:
    with scripted({"clerk": ["Order 18 is here."], "editor": ["It is here."]}):
        run(desk(), settings, "Where is 18?", model=MODEL, record=cassette)
    assert len(cassette.read_text().splitlines()) == 5
    assert run(desk(), settings, "Where is 18?", replay=cassette).output == "It is here."
    assert run(desk(), settings, replay=cassette).output == "Good news: it left on Monday."


def test_who_reads_along_gets_each_reply_in_one_part(cassette: Path, settings: Settings) -> None:
    async def tokens() -> list[tuple[str, str]]:
        started = await desk().astart(
            "Where is 17?", host="inline", settings=settings, replay=cassette, stream=True
        )
        return [(e.sender, e.text) async for e in started.events() if e.kind == "tokens"]

    import asyncio

    assert asyncio.run(tokens()) == [
        ("clerk", "Order 17 left on Monday."),
        ("editor", "Good news: it left on Monday."),
    ]


def test_a_resumed_run_goes_on_recording(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    crew = desk()
    with scripted({"clerk": ["It left."]}):
        failed = run(crew, settings, model=MODEL, record=path, check=False)
    assert failed.status == "failed"
    with scripted({"editor": ["It has left."]}):
        assert crew.resume(failed.run_id, host="inline", settings=settings).output == "It has left."
    agents = [json.loads(line)["agent"] for line in path.read_text().splitlines()]
    assert agents == ["clerk", "editor"]


def test_a_fork_of_a_replayed_run_lives_on_with_models(cassette: Path, settings: Settings) -> None:
    crew = desk()
    replayed = run(crew, settings, replay=cassette)
    with scripted({"clerk": ["Order 18 is here."], "editor": ["It is here."]}) as script:
        forked = crew.fork(replayed.run_id, 1, given="Where is 18?", host="inline", settings=settings)
    assert forked.output == "It is here."
    assert not any(request.replay for request in script.requests)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"record": "a.jsonl", "replay": "a.jsonl"}, DefinitionError, "at once"),
        ({"record": 5}, DefinitionError, "path of a file"),
        ({"replay": ""}, DefinitionError, "path of a file"),
        ({"replay": "none.jsonl"}, UsageError, "cannot be read"),
        ({"record": "none/c.jsonl"}, UsageError, "cannot be recorded to"),
    ],
)
def test_a_cassette_that_cannot_be_used_is_told_before_anything_is_run(
    settings: Settings, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    with scripted({}) as script, pytest.raises(error, match=told):
        run(desk(), settings, **options)
    assert not script.requests
