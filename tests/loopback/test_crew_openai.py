"""A crew on an OpenAI-compatible server and on OpenAI's API, over real HTTP on loopback."""

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
    get_weather,
    recorded,
    run,
    short_waits,
    weather_crew,
)
from tests.loopback.models_server import Answer, ModelServer, serving

MODEL = "openai-compatible/some/model"


def chat(content: str | None = None, *calls: tuple[str, dict[str, Any]], stop: str = "stop") -> Answer:
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if calls:
        stop = "tool_calls"
        message["tool_calls"] = [
            {
                "id": f"call_{n}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(given)},
            }
            for n, (name, given) in enumerate(calls)
        ]
    choice = {"index": 0, "finish_reason": stop, "message": message}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return Answer(200, {"id": "c-1", "model": "gpt-4o-mini-2024-07-18", "choices": [choice], "usage": usage})


@pytest.fixture(autouse=True)
def provider(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Keys in the environment, short waits, and a portal that ends with the test."""
    close_portal()
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    short_waits(monkeypatch)
    yield monkeypatch
    close_portal()


def serve(server: ModelServer, provider: pytest.MonkeyPatch) -> None:
    provider.setenv("OPENAI_COMPATIBLE_BASE_URL", server.url)
    provider.setenv("OPENAI_BASE_URL", server.url)


async def test_a_plain_answer(provider: pytest.MonkeyPatch, home: Path) -> None:
    async with serving(chat("Sunny.")) as server:
        serve(server, provider)
        result = await run(weather_crew(temperature=0.5, max_tokens=50), "Will it rain?", MODEL)
    assert result.output == "Sunny."
    (asked,) = server.asked
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.body["model"] == "some/model"
    assert [m["role"] for m in asked.body["messages"]] == ["system", "user"]
    assert asked.body["messages"][1]["content"] == "Will it rain?"
    assert [t["function"]["name"] for t in asked.body["tools"]] == ["get_weather"]
    assert (result.usage.input_tokens, result.usage.output_tokens) == (100, 10)
    close_portal()
    assert files_that_hold("Will it rain?", home), "the search for keys below would find nothing either"
    assert files_that_hold(KEY, home) == []


async def test_tool_calls_and_then_an_answer(provider: pytest.MonkeyPatch) -> None:
    wanted = [("get_weather", {"location": place}) for place in ("Rome", "Oslo")]
    async with serving(chat(None, *wanted), chat("Sunny in both.")) as server:
        serve(server, provider)
        result = await run(weather_crew(), "Rome and Oslo?", "openai/gpt-4o-mini")
    assert result.output == "Sunny in both."
    assert (result.usage.llm_calls, result.usage.tool_calls) == (2, 2)
    assert result.usage.cost_usd == pytest.approx(2 * (100 * 0.15e-6 + 10 * 0.6e-6))
    after = server.asked[1].body["messages"][2:]
    assert [m["role"] for m in after] == ["assistant", "tool", "tool"]
    assert [c["id"] for c in after[0]["tool_calls"]] == ["call_0", "call_1"]
    assert [(m["tool_call_id"], m["content"]) for m in after[1:]] == [
        ("call_0", "sunny in Rome"), ("call_1", "sunny in Oslo"),
    ]  # fmt: skip


async def test_structured_output_with_one_correction(provider: pytest.MonkeyPatch) -> None:
    async with serving(chat("four"), chat('{"score": 4}')) as server:
        serve(server, provider)
        result = await run(weather_crew(output=Score), "Score it.", MODEL)
    assert result.output == Score(score=4)
    form = server.asked[0].body["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["schema"]["properties"]["score"]["type"] == "integer"
    assert "not JSON" in server.asked[1].body["messages"][-1]["content"]


async def test_recorded_replies_of_openai_make_a_run(provider: pytest.MonkeyPatch) -> None:
    from callsheet.agents import Agent
    from callsheet.crews import Crew
    from callsheet.tools import Tool

    weather = Tool(get_weather.__wrapped__, name="get_current_weather", description="Get the weather.")  # type: ignore[attr-defined]
    crew = Crew("recorded", agents=[Agent("a", tools=[weather]), Agent("b", output=Score)])
    async with serving(recorded("s008"), recorded("s002"), recorded("s026")) as server:
        serve(server, provider)
        result = await run(
            crew, "What's the weather in Seattle and San Francisco today?", "openai/gpt-4o-mini"
        )
    assert result.output == Score(score=4)
    assert [m["content"] for m in server.asked[1].body["messages"][-2:]] == [
        "sunny in Seattle, WA", "sunny in San Francisco, CA",
    ]  # fmt: skip
    assert "Hello! How can I assist you today?" in server.asked[2].body["messages"][1]["content"]
    assert (result.usage.llm_calls, result.usage.tool_calls, result.usage.unpriced_calls) == (3, 2, 0)


REFUSED = {"error": {"message": f"Incorrect API key provided: {KEY}.", "code": "invalid_api_key"}}


@pytest.mark.parametrize(
    ("model", "variable"),
    [("openai/gpt-4o-mini", "OPENAI_API_KEY"), (MODEL, "OPENAI_COMPATIBLE_API_KEY")],
)
async def test_a_refused_key_is_told_by_the_name_of_its_variable(
    provider: pytest.MonkeyPatch, home: Path, model: str, variable: str
) -> None:
    async with serving(Answer(401, REFUSED)) as server:
        serve(server, provider)
        result = await run(weather_crew(), "Will it rain?", model)
    assert isinstance(result.error, ModelAuthError)
    assert variable in str(result.error)
    assert (result.status, result.error.status, result.error.run_id) == ("failed", 401, result.run_id)
    assert result.error.exit_status == ModelAuthError.exit_status
    assert len(server.asked) == 1, "a refused key is not tried again"
    assert KEY not in json.dumps(result.to_dict()) + repr(result)
    close_portal()
    assert files_that_hold(KEY, home) == []


async def test_a_missing_key_is_told_by_the_name_of_its_variable(provider: pytest.MonkeyPatch) -> None:
    provider.delenv("OPENAI_API_KEY")
    result = await run(weather_crew(), "Will it rain?", "openai/gpt-4o-mini")
    assert isinstance(result.error, ModelAuthError)
    assert "OPENAI_API_KEY" in str(result.error)


async def test_a_server_that_is_not_there_is_told_with_its_address(provider: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    provider.setenv("OPENAI_COMPATIBLE_BASE_URL", f"http://127.0.0.1:{port}")
    result = await run(weather_crew(), "Will it rain?", MODEL)
    assert isinstance(result.error, ModelUnavailableError)
    assert f"127.0.0.1:{port}" in str(result.error)
    assert "OPENAI_COMPATIBLE_BASE_URL" in result.error.hint
    assert result.status == "failed"


async def test_an_unknown_model_is_told_by_its_name(provider: pytest.MonkeyPatch) -> None:
    body = {"error": {"message": "The model `some/model` does not exist.", "code": "model_not_found"}}
    async with serving(Answer(404, body)) as server:
        serve(server, provider)
        result = await run(weather_crew(), "Will it rain?", MODEL)
    assert isinstance(result.error, ModelRequestError)
    assert "some/model" in result.error.message
    assert result.error.status == 404
    assert result.error.hint
    assert len(server.asked) == 1


async def test_an_overloaded_server_is_asked_again_and_the_run_goes_on(provider: pytest.MonkeyPatch) -> None:
    async with serving(Answer(503, {"error": {"message": "overloaded"}}), chat("Sunny.")) as server:
        serve(server, provider)
        result = await run(weather_crew(), "Will it rain?", MODEL)
    assert result.output == "Sunny."
    assert (len(server.asked), result.usage.llm_calls) == (2, 1)


async def test_a_lone_surrogate_from_a_server_harms_no_run(provider: pytest.MonkeyPatch) -> None:
    text = json.dumps(chat("bad").body).replace('"bad"', '"bad \\ud800 text"')
    async with serving(Answer(200, text=text), chat("Sunny.")) as server:
        serve(server, provider)
        crew = weather_crew()
        assert (await run(crew, "Will it rain?", MODEL)).output == "bad ? text"
        assert (await run(crew, "And tomorrow?", MODEL)).output == "Sunny."
