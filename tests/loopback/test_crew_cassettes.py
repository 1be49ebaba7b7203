"""Recorded over HTTP with a key, replayed without either: policies, cascades, refusals, streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from callsheet import Agent, Cascade, Crew, ModelPolicy, Result
from callsheet.core.errors import ModelRequestError
from callsheet.crews.portal import close_portal
from callsheet.settings import load_settings
from tests.loopback.crew_providers import KEY, get_weather, short_waits
from tests.loopback.models_server import Answer, ModelServer, serving
from tests.loopback.test_crew_policy import chat

FAST = ModelPolicy(tier="fast")
WEATHER = {
    "id": "c1",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"location": "Rome"}'},
}


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ModelServer]:
    short_waits(monkeypatch)
    async with serving(chat("Hello.")) as server:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server
        await asyncio.to_thread(close_portal)


async def unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on there is no key, no address and no gateway that has one."""
    await asyncio.to_thread(close_portal)
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")


async def run(crew: Crew, **options: Any) -> Result:
    return await crew.arun("Rome?", host="inline", settings=load_settings(), check=False, **options)


@pytest.mark.parametrize(
    "model",
    [
        "openai/gpt-5-nano",
        FAST,
        ModelPolicy(tier="fast", max_usd_per_call=0.05),
        Cascade([FAST, ModelPolicy(tier="frontier")], accept=lambda text: "sunny" in text),
    ],
    ids=["name", "policy", "price", "cascade"],
)
async def test_a_recorded_run_is_replayed_without_key_or_server(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Any
) -> None:
    path = tmp_path / "c.jsonl"
    crew = Crew("weather", agents=[Agent("clerk", "You know.", tools=[get_weather], model=model)])
    server.answers = [chat(None, WEATHER), chat("It rains."), chat("It is sunny.")]
    if not isinstance(model, Cascade):
        del server.answers[1]
    first = await run(crew, record=path, budget_usd=1.0)
    assert first.output == "It is sunny."
    asked = len(server.asked)
    await unplugged(monkeypatch)
    again = await run(crew, replay=path, budget_usd=1.0)
    assert again.output == first.output
    assert again.usage == first.usage
    assert len(server.asked) == asked
    assert KEY not in path.read_text()


async def test_a_providers_refusal_is_replayed_as_it_was(
    server: ModelServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "c.jsonl"
    crew = Crew("weather", agents=[Agent("clerk", "You know.", model="openai/gpt-5-nano")])
    server.answers = [
        Answer(400, {"error": {"message": f"bad temperature for {KEY}", "type": "invalid_request_error"}})
    ]
    first = await run(crew, record=path)
    await unplugged(monkeypatch)
    again = await run(crew, replay=path)
    for result in (first, again):
        assert isinstance(result.error, ModelRequestError)
        assert result.error.status == 400
    assert again.error is not None
    assert "bad temperature" in again.error.message
    assert KEY not in path.read_text()


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_bad_day_of_the_provider_leaves_nothing_in_the_cassette(
    server: ModelServer, tmp_path: Path, status: int
) -> None:
    path = tmp_path / "c.jsonl"
    server.answers = [Answer(status, {"error": {"message": "not now"}})]
    crew = Crew("weather", agents=[Agent("clerk", "You know.", model="openai/gpt-5-nano")])
    assert (await run(crew, record=path)).status == "failed"
    assert path.read_bytes() == b""
