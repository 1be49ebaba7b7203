"""The gateway without a network: routing, the spans it emits, and what it refuses."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from callsheet import tracing
from callsheet.core.errors import ModelAuthError, SettingsError, UnknownNameError
from callsheet.models.call_log import CallLog
from callsheet.models.config import GatewayConfig
from callsheet.models.gateway import Gateway, ListModels
from callsheet.models.llm_span import llm_span
from callsheet.models.messages import (
    ModelReply,
    ModelRequest,
    OutputSpec,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
    assistant,
    system,
    tool_results,
    user,
)

TOOL = ToolSpec(name="look", description="Look.", schema='{"type": "object"}')
CALL = ToolCall(id="c1", name="look", arguments='{"q": "x"}')
REQUEST = ModelRequest(
    id="r",
    model="openai/gpt-4o",
    messages=(
        system("Be kind."),
        user("Hi", name="ada"),
        assistant("Looking.", CALL),
        tool_results(ToolResult(call_id="c1", name="look", content="one")),
    ),
    tools=(TOOL,),
    tool_choice="look",
    output=OutputSpec(name="verdict", schema="{}"),
    temperature=0.5,
    max_tokens=9,
    stop=("END",),
    extra='{"seed": 1}',
    run_id="run-1",
    agent="clerk",
    crew="helpdesk",
    session_id="s",
    parent_span_id="p" * 16,
)
REPLY = ModelReply(
    request_id="r",
    message=assistant("Hello."),
    stop="end",
    model="openai/gpt-4o-2024-08-06",
    usage=Usage(
        input_tokens=5, output_tokens=4, cache_read_tokens=3, cache_write_tokens=2, reasoning_tokens=1
    ),
    cost_usd=0.25,
    attempts=2,
)


def offline(**fields: Any) -> ModelRequest:
    return ModelRequest(**{"id": "r", "model": "offline", "messages": (user("Hi"),), **fields})


def test_a_span_holds_the_call() -> None:
    span = llm_span(REQUEST, REPLY, None, 1.0, 2.0)
    assert (span.run_id, span.parent_span_id, span.session_id) == ("run-1", "p" * 16, "s")
    assert (span.agent, span.crew, span.provider, span.model) == ("clerk", "helpdesk", "openai", REPLY.model)
    assert [message["role"] for message in span.input_messages] == ["system", "user", "assistant", "tool"]
    assert span.input_messages[1]["name"] == "ada"
    assert span.input_messages[2]["tool_calls"] == [{"id": "c1", "name": "look", "arguments": '{"q": "x"}'}]
    assert span.input_messages[3]["tool_call_id"] == "c1"
    assert span.output_message == {"role": "assistant", "content": "Hello."}
    assert span.tools[0]["name"] == "look"
    assert span.invocation == {
        "temperature": 0.5,
        "max_tokens": 9,
        "stop": ["END"],
        "tool_choice": "look",
        "output": "verdict",
        "extra": {"seed": 1},
    }
    assert (span.input_tokens, span.output_tokens, span.cache_read_tokens) == (5, 4, 3)
    assert (span.cache_write_tokens, span.reasoning_tokens) == (2, 1)
    assert (span.cost_usd, span.attempts, span.stop, span.error) == (0.25, 2, "end", None)
    assert (span.started, span.ended) == (1.0, 2.0)
    assert pickle.loads(pickle.dumps(span)) == span


def test_a_failed_call_has_a_span_with_its_error() -> None:
    error = ModelAuthError("no key", hint="Set OPENAI_API_KEY.")
    span = llm_span(REQUEST, None, error, 1.0, 2.0, log=CallLog(attempts=3))
    assert span.error == "ModelAuthError: no key\nSet OPENAI_API_KEY."
    assert (span.output_message, span.cost_usd, span.attempts, span.model) == (None, None, 3, "openai/gpt-4o")


def test_content_can_be_left_out() -> None:
    span = llm_span(REQUEST, REPLY, None, 1.0, 2.0, content=False)
    assert (span.input_messages, span.output_message, span.tools) == ((), None, ())
    assert span.input_tokens == 5


async def test_a_call_of_a_run_emits_one_span_when_tracing_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    spans: list[Any] = []
    monkeypatch.setattr(tracing, "emit", spans.append)
    gateway = Gateway(GatewayConfig(), environ={})
    monkeypatch.setattr(tracing, "is_enabled", lambda: False)
    await gateway.handle(offline(run_id="run-1"))
    monkeypatch.setattr(tracing, "is_enabled", lambda: True)
    await gateway.handle(offline())
    assert spans == []
    reply = await gateway.handle(offline(run_id="run-1"))
    assert [(span.model, span.cost_usd, span.output_tokens) for span in spans] == [
        ("offline", 0.0, reply.usage.output_tokens)
    ]


async def test_the_content_switch_reaches_the_span(monkeypatch: pytest.MonkeyPatch) -> None:
    spans: list[Any] = []
    monkeypatch.setattr(tracing, "emit", spans.append)
    monkeypatch.setattr(tracing, "is_enabled", lambda: True)
    await Gateway(GatewayConfig(trace_content=False), environ={}).handle(offline(run_id="run-1"))
    assert spans[0].input_messages == ()


async def test_an_unknown_provider_and_a_missing_address_are_misuse() -> None:
    gateway = Gateway(GatewayConfig(), environ={})
    with pytest.raises(UnknownNameError):
        await gateway.handle(offline(model="nobody/x"))
    with pytest.raises(SettingsError):
        await gateway.handle(offline(model="openai-compatible/x"))


async def test_the_list_of_models_is_of_the_gateways_own_environment() -> None:
    gateway = Gateway(GatewayConfig(), environ={"OPENAI_API_KEY": "sk-secret-1234"})
    found = {info.provider: info for info in await gateway.handle(ListModels())}
    assert found["openai"].available
    assert found["openai"].default
    assert not found["anthropic"].available
    assert "sk-secret" not in repr(found) + repr(gateway)
    assert pickle.loads(pickle.dumps(ListModels())) == ListModels()


def test_a_gateway_refuses_to_be_pickled() -> None:
    with pytest.raises(TypeError, match="holds keys"):
        pickle.dumps(Gateway(GatewayConfig(), environ={}))
