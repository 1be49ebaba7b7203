"""A crew on Anthropic's Messages API, over real HTTP on loopback."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from callsheet.core.errors import ModelAuthError, ModelRequestError, ModelUnavailableError
from callsheet.crews.portal import close_portal
from tests.loopback.crew_providers import (
    KEY,
    Score,
    files_that_hold,
    recorded,
    run,
    short_waits,
    weather_crew,
)
from tests.loopback.models_server import Answer, ModelServer, serving

MODEL = "anthropic/claude-sonnet-4-5"


def message(*content: dict[str, Any], stop: str = "end_turn") -> Answer:
    return Answer(
        200,
        {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929",
            "content": list(content), "stop_reason": stop, "usage": {"input_tokens": 100, "output_tokens": 10},
        },
    )  # fmt: skip


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def use(id_: str, name: str, **given: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": name, "input": given}


@pytest.fixture(autouse=True)
def provider(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A key in the environment, short waits, and a portal that ends with the test."""
    close_portal()
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    short_waits(monkeypatch)
    yield monkeypatch
    close_portal()


def serve(server: ModelServer, provider: pytest.MonkeyPatch) -> None:
    provider.setenv("ANTHROPIC_BASE_URL", server.url)


async def test_a_plain_answer(provider: pytest.MonkeyPatch, home: Path) -> None:
    async with serving(message(text("Sunny."))) as server:
        serve(server, provider)
        result = await run(weather_crew(max_tokens=50), "Will it rain?", MODEL)
    assert result.output == "Sunny."
    (asked,) = server.asked
    assert asked.path == "/v1/messages"
    assert asked.body["max_tokens"] == 50
    assert "You know the weather." in json.dumps(asked.body["system"])
    assert [m["role"] for m in asked.body["messages"]] == ["user"]
    assert [t["name"] for t in asked.body["tools"]] == ["get_weather"]
    assert result.usage.cost_usd == pytest.approx(100 * 3e-6 + 10 * 15e-6)
    close_portal()
    assert files_that_hold("Will it rain?", home), "the search for keys below would find nothing either"
    assert files_that_hold(KEY, home) == []


async def test_tool_calls_and_then_an_answer(provider: pytest.MonkeyPatch) -> None:
    both = message(
        text("Let me look."), use("t1", "get_weather", location="Rome"), use("t2", "get_weather", place="Oslo"),
        stop="tool_use",
    )  # fmt: skip
    async with serving(both, message(text("Sunny in Rome."))) as server:
        serve(server, provider)
        result = await run(weather_crew(), "Rome and Oslo?", MODEL)
    assert result.output == "Sunny in Rome."
    assistant, results = server.asked[1].body["messages"][1:]
    assert [b["type"] for b in assistant["content"]] == ["text", "tool_use", "tool_use"]
    assert results["role"] == "user"
    good, bad = results["content"]
    assert (good["type"], good["tool_use_id"], bad["tool_use_id"]) == ("tool_result", "t1", "t2")
    assert "sunny in Rome" in json.dumps(good)
    assert bad["is_error"]
    assert "location" in json.dumps(bad), "wrong arguments are told by name"


async def test_structured_output_with_one_correction(provider: pytest.MonkeyPatch) -> None:
    async with serving(message(text("four")), message(text('{"score": 4}'))) as server:
        serve(server, provider)
        result = await run(weather_crew(output=Score), "Score it.", MODEL)
    assert result.output == Score(score=4)
    assert '"score"' in json.dumps(server.asked[0].body), "the model is told the schema"
    assert "not JSON" in json.dumps(server.asked[1].body["messages"][-1])


async def test_recorded_replies_of_anthropic_make_a_run(provider: pytest.MonkeyPatch) -> None:
    from callsheet.agents import Agent
    from callsheet.crews import Crew
    from callsheet.tools import tool

    @tool
    def weather(latitude: str, longitude: str) -> str:
        """Gets current weather for a location."""
        return f"75°F at {latitude}, {longitude}"

    async with serving(recorded("s046"), recorded("s050")) as server:
        serve(server, provider)
        crew = Crew("recorded", agents=[Agent("a", tools=[weather])])
        result = await run(crew, "What's the weather in Berlin?", "anthropic/claude-haiku-4-5")
    assert result.output.startswith("The current weather in San Francisco, CA is **sunny**")
    assert "75°F at 52.5200, 13.4050" in json.dumps(server.asked[1].body, ensure_ascii=False)
    assert (result.usage.input_tokens, result.usage.output_tokens) == (508 + 772, 66 + 49)
    assert result.usage.unpriced_calls == 0
    assert result.usage.cost_usd > 0


async def test_a_refused_key_is_told_by_the_name_of_its_variable(
    provider: pytest.MonkeyPatch, home: Path
) -> None:
    body = {"type": "error", "error": {"type": "authentication_error", "message": f"invalid x-api-key {KEY}"}}
    async with serving(Answer(401, body)) as server:
        serve(server, provider)
        result = await run(weather_crew(), "Will it rain?", MODEL)
    assert isinstance(result.error, ModelAuthError)
    assert "ANTHROPIC_API_KEY" in str(result.error)
    assert (result.status, result.error.status, result.error.run_id) == ("failed", 401, result.run_id)
    assert len(server.asked) == 1
    assert KEY not in json.dumps(result.to_dict()) + repr(result)
    close_portal()
    assert files_that_hold(KEY, home) == []


async def test_a_missing_key_is_told_by_the_name_of_its_variable(provider: pytest.MonkeyPatch) -> None:
    provider.delenv("ANTHROPIC_API_KEY")
    result = await run(weather_crew(), "Will it rain?", MODEL)
    assert isinstance(result.error, ModelAuthError)
    assert "ANTHROPIC_API_KEY" in str(result.error)


async def test_a_server_that_is_not_there_is_told_with_its_address(provider: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    provider.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{port}")
    result = await run(weather_crew(), "Will it rain?", MODEL)
    assert isinstance(result.error, ModelUnavailableError)
    assert f"127.0.0.1:{port}" in str(result.error)
    assert "ANTHROPIC_BASE_URL" in result.error.hint


async def test_an_unknown_model_is_told_by_its_name(provider: pytest.MonkeyPatch) -> None:
    body = {"type": "error", "error": {"type": "not_found_error", "message": "model: claude-sonet-4-5"}}
    async with serving(Answer(404, body)) as server:
        serve(server, provider)
        result = await run(weather_crew(), "Will it rain?", "anthropic/claude-sonet-4-5")
    assert isinstance(result.error, ModelRequestError)
    assert "claude-sonet-4-5" in result.error.message
    assert (result.error.status, len(server.asked)) == (404, 1)
