"""Crews whose agents have policies and cascades, on a provider's real SDK and a server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from callsheet import Agent, Cascade, Crew, ModelPolicy, UsageError
from callsheet.crews.portal import close_portal
from callsheet.settings import load_settings
from tests.loopback.crew_providers import KEY, get_weather, short_waits
from tests.loopback.models_server import Answer, ModelServer, serving

FAST = ModelPolicy(tier="fast")


def chat(text: str | None, *calls: dict[str, object]) -> Answer:
    message = {"role": "assistant", "content": text, **({"tool_calls": list(calls)} if calls else {})}
    choice = {"index": 0, "finish_reason": "tool_calls" if calls else "stop", "message": message}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return Answer(body={"id": "1", "model": "gpt-5-nano", "choices": [choice], "usage": usage})


@pytest.fixture
async def openai(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ModelServer]:
    short_waits(monkeypatch)
    async with serving(chat("Hello.")) as server:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server
        await asyncio.to_thread(close_portal)


async def test_a_policy_answers_within_a_budget_and_its_cost_is_counted(openai: ModelServer) -> None:
    weather = {"name": "get_weather", "arguments": '{"location": "Rome"}'}
    call = {"id": "c1", "type": "function", "function": weather}
    openai.answers = [chat(None, call), chat("It is sunny.")]
    crew = Crew("weather", agents=[Agent("clerk", "You know.", tools=[get_weather], model=FAST)])
    done = await crew.arun("Rome?", host="inline", settings=load_settings(), budget_usd=0.05)
    assert done.output == "It is sunny."
    assert [asked.body["model"] for asked in openai.asked] == ["gpt-5-nano"] * 2
    assert done.usage.llm_calls == 2
    assert 0 < done.usage.cost_usd < 0.01


async def test_a_cascade_escalates_over_the_wire(openai: ModelServer) -> None:
    openai.answers = [chat("I am not sure."), chat("It is 42.")]
    cascade = Cascade([FAST, ModelPolicy(tier="frontier")], accept=lambda text: "not sure" not in text)
    crew = Crew("sure", agents=[Agent("clerk", "You know.", model=cascade)])
    done = await crew.arun("What is it?", host="inline", settings=load_settings())
    assert done.output == "It is 42."
    assert [asked.body["model"] for asked in openai.asked] == ["gpt-5-nano", "gpt-5.5"]
    assert done.usage.llm_calls == 2


async def test_a_policy_that_no_model_fits_sends_nothing_and_says_what_is_missing(
    openai: ModelServer,
) -> None:
    policy = ModelPolicy(tier="fast", max_usd_per_call=1e-9)
    crew = Crew("poor", agents=[Agent("clerk", "You know.", model=policy)])
    done = await crew.arun("Hi", host="inline", settings=load_settings(), check=False)
    assert done.status == "failed"
    assert isinstance(done.error, UsageError)
    assert "above 1e-09" in done.error.hint
    assert openai.asked == []


async def test_entries_of_the_settings_decide_what_is_picked(openai: ModelServer) -> None:
    settings = load_settings(models={"openai/gpt-5-nano": {"tools": False}})
    crew = Crew("weather", agents=[Agent("clerk", "You know.", tools=[get_weather], model=FAST)])
    await crew.arun("Rome?", host="inline", settings=settings)
    assert openai.asked[0].body["model"] == "gpt-4.1-nano"


async def test_a_run_is_given_a_policy_in_the_place_of_its_agents_models(openai: ModelServer) -> None:
    crew = Crew("sure", agents=[Agent("clerk", "You know.", model="offline")])
    done = await crew.arun("What is it?", host="inline", settings=load_settings(), model=FAST)
    assert done.output == "Hello."
    assert [asked.body["model"] for asked in openai.asked] == ["gpt-5-nano"]


async def test_a_run_is_given_a_cascade_which_goes_on_from_what_does_not_fit(openai: ModelServer) -> None:
    openai.answers = [chat("no number"), chat("42")]
    crew = Crew("sure", agents=[Agent("clerk", "You know.", output=int)])
    cascade = Cascade([FAST, "openai/gpt-5.5"])
    done = await crew.arun("What is it?", host="inline", settings=load_settings(), model=cascade)
    assert done.output == 42
    assert [asked.body["model"] for asked in openai.asked] == ["gpt-5-nano", "gpt-5.5"]
