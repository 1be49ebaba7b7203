"""The gateway against recorded exchanges with real providers, served back over loopback HTTP."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import struct
from collections import Counter
from typing import Any

import pytest

from callsheet.core.errors import (
    ModelAuthError,
    ModelError,
    ModelRateLimitError,
    ModelReplyError,
    ModelRequestError,
    ModelUnavailableError,
)
from callsheet.models.config import GatewayConfig
from callsheet.models.embeddings import EmbedRequest
from callsheet.models.gateway import Gateway
from callsheet.models.messages import (
    ModelReply,
    ModelRequest,
    Opaque,
    Text,
    Thinking,
    reply_from_data,
    reply_to_data,
    user,
)
from tests.data_sets import data_file
from tests.loopback.models_recorded import InexpressibleError, as_request, meaning
from tests.loopback.models_server import Answer, ModelServer, serving

STOPS = {
    "stop": "end", "length": "length", "tool_calls": "tool_calls", "function_call": "tool_calls",
    "end_turn": "end", "max_tokens": "length", "tool_use": "tool_calls", "stop_sequence": "stop_sequence",
    "refusal": "refusal", "content_filter": "content_filter",
}  # fmt: skip

# What each recorded error must become: its class, whether it is tried again, and the wait it asks for.
ERRORS: dict[tuple[str, int], tuple[type[ModelError], bool]] = {
    ("openai", 400): (ModelRequestError, False),
    ("openai", 401): (ModelAuthError, False),
    ("openai", 429): (ModelRateLimitError, False),  # the quota is used up, which no wait mends
    ("anthropic", 400): (ModelRequestError, False),
    ("anthropic", 401): (ModelAuthError, False),
    ("anthropic", 404): (ModelRequestError, False),
    ("azure", 429): (ModelRateLimitError, True),
    ("groq", 400): (ModelReplyError, True),  # tool_use_failed: the model's slip, not the request's
    ("azure", 200): (ModelRequestError, False),  # a content filter's 400 inside of a 200
}


APIS = ("chat.completions", "responses", "messages")


def exchanges() -> list[dict[str, Any]]:
    lines = data_file("llm_exchanges/exchanges.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def in_scope(row: dict[str, Any]) -> bool:
    return row["api"] in APIS and not row["stream"]


def provider_of(row: dict[str, Any]) -> str:
    return row["provider"] if row["provider"] in ("openai", "anthropic", "ollama") else "openai-compatible"


def gateway_for(provider: str, server: ModelServer, **settings: Any) -> Gateway:
    environ = {"OPENAI_API_KEY": "key-of-test", "ANTHROPIC_API_KEY": "key-of-test"}
    config = GatewayConfig(
        base_urls={provider: server.url}, first_backoff_s=0.0, **{"max_attempts": 1, **settings}
    )
    return Gateway(config, environ=environ)


def request_of(row: dict[str, Any]) -> tuple[ModelRequest, bool]:
    """The request that was recorded, or another one where none was, or none that can be said."""
    if row["request"] is not None:
        with contextlib.suppress(InexpressibleError):
            return as_request(row["request"], row["api"], provider_of(row)), True
    model = (row["request"] or {"model": "some-model"})["model"]
    extra = '{"api":"responses"}' if row["api"] == "responses" else "{}"
    name = f"{provider_of(row)}/{model}"
    return ModelRequest(id="plain", model=name, messages=(user("hello"),), extra=extra), False


async def exchange(row: dict[str, Any]) -> tuple[ModelReply | ModelError, dict[str, Any] | None]:
    """The reply or error to a recorded answer, and the body that was sent (None: not expressible)."""
    request, expressible = request_of(row)
    text = row.get("response_text")
    answer = Answer(row["status"], row.get("response_json"), text, row["response_headers"])
    async with serving(answer) as server:
        gateway = gateway_for(provider_of(row), server)
        try:
            result: ModelReply | ModelError = await gateway.handle(request)
        except ModelError as error:
            result = error
        finally:
            await gateway.close()
        return result, server.asked[0].body if expressible else None


def check_openai(reply: ModelReply, data: dict[str, Any]) -> None:
    choice = data["choices"][0]
    message, usage = choice["message"], data["usage"]
    assert reply.message.text == (message.get("content") or "") + (message.get("refusal") or "")
    wanted = [call["function"] for call in message.get("tool_calls") or ()]
    if message.get("function_call"):
        wanted = [message["function_call"]]
    calls = [{"name": call.name, "arguments": call.arguments} for call in reply.message.tool_calls]
    assert calls == [{"name": call["name"], "arguments": call["arguments"]} for call in wanted]
    ids = [call["id"] for call in message.get("tool_calls") or ()]
    assert [call.id for call in reply.message.tool_calls][: len(ids)] == ids
    expected = STOPS[choice["finish_reason"]]
    if wanted and expected == "end":
        expected = "tool_calls"
    assert reply.stop == ("refusal" if message.get("refusal") else expected)
    assert reply.usage.input_tokens == usage["prompt_tokens"]
    assert reply.usage.output_tokens == usage["completion_tokens"]
    details = usage.get("completion_tokens_details") or {}
    assert reply.usage.reasoning_tokens == details.get("reasoning_tokens", 0)
    others = [json.loads(part.json) for part in reply.message.parts if isinstance(part, Opaque)]
    assert [other for other in others if "message" in other] == data["choices"][1:]
    assert reply.model.endswith("/" + data["model"])
    assert reply.response_id == data["id"]


def check_anthropic(reply: ModelReply, data: dict[str, Any]) -> None:
    blocks = data["content"]
    assert reply.message.text == "".join(block["text"] for block in blocks if block["type"] == "text")
    calls = [(call.id, call.name, json.loads(call.arguments)) for call in reply.message.tool_calls]
    assert calls == [(b["id"], b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"]
    thinking = [part for part in reply.message.parts if isinstance(part, Thinking)]
    assert [part.signature for part in thinking if part.signature] == [
        block["signature"] for block in blocks if block["type"] == "thinking"
    ]
    assert [part.redacted for part in thinking if part.redacted] == [
        block["data"] for block in blocks if block["type"] == "redacted_thinking"
    ]
    known = ("text", "tool_use", "thinking", "redacted_thinking")
    opaque = [p for p in reply.message.parts if isinstance(p, Opaque) and p.provider == "anthropic"]
    assert [json.loads(part.json) for part in opaque] == [b for b in blocks if b["type"] not in known]
    assert reply.stop == STOPS[data["stop_reason"]]
    usage = data["usage"]
    cached = (usage.get("cache_creation_input_tokens") or 0) + (usage.get("cache_read_input_tokens") or 0)
    assert reply.usage.input_tokens == usage["input_tokens"] + cached
    assert reply.usage.output_tokens == usage["output_tokens"]
    assert reply.usage.cache_read_tokens == (usage.get("cache_read_input_tokens") or 0)
    assert reply.response_id == data["id"]


def check_responses(reply: ModelReply, data: dict[str, Any]) -> None:
    items = data["output"]
    blocks = [block for item in items if item["type"] == "message" for block in item["content"]]
    assert reply.message.text == "".join(block["text"] for block in blocks)
    assert [(call.id, call.name, call.arguments) for call in reply.message.tool_calls] == [
        (item["call_id"], item["name"], item["arguments"])
        for item in items
        if item["type"] == "function_call"
    ]
    kept = [json.loads(part.json) for part in reply.message.parts if isinstance(part, Opaque)]
    assert [item["encrypted_content"] for item in kept if item.get("type") == "reasoning"] == [
        item["encrypted_content"] for item in items if item["type"] == "reasoning"
    ]
    assert reply.stop == ("tool_calls" if reply.message.tool_calls else "end")
    usage = data["usage"]
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (
        usage["input_tokens"],
        usage["output_tokens"],
    )
    assert reply.usage.reasoning_tokens == usage["output_tokens_details"]["reasoning_tokens"]
    assert reply.model.endswith("/" + data["model"])
    assert reply.response_id == data["id"]


CHECKS = {"chat.completions": check_openai, "responses": check_responses, "messages": check_anthropic}


async def check(row: dict[str, Any]) -> str:
    """Check one exchange; returns whether its request was comparable."""
    result, sent = await exchange(row)
    data = row.get("response_json") or {}
    if row["status"] >= 400 or data.get("error"):
        expected, retryable = ERRORS[(row["provider"], row["status"])]
        assert type(result) is expected, result
        assert isinstance(result, ModelError)
        assert result.retryable is retryable
        assert result.hint
        assert result.provider == provider_of(row)
        if "retry-after" in row["response_headers"]:
            assert result.retry_after_s == float(row["response_headers"]["retry-after"])
    else:
        assert isinstance(result, ModelReply), result
        CHECKS[row["api"]](result, data)
        assert reply_from_data(json.loads(json.dumps(reply_to_data(result)))) == result
    if sent is None:
        return "request not expressible"
    assert meaning(sent) == meaning(row["request"])
    return "request the same"


async def test_every_recorded_exchange_in_scope_arrives_whole(capsys: pytest.CaptureFixture[str]) -> None:
    rows = exchanges()
    wanted = [row for row in rows if in_scope(row)]
    failures, done, requests = [], Counter[str](), Counter[str]()
    for row in wanted:
        try:
            requests[await check(row)] += 1
        except AssertionError as error:
            failures.append(f"{row['id']} ({row['kind']}): {str(error)[:600]}")
        else:
            done[row["api"]] += 1
    apart = Counter(f"{row['api']}{' stream' if row['stream'] else ''}" for row in rows if not in_scope(row))
    with capsys.disabled():
        print(
            f"\nrecorded exchanges: {sum(done.values())} of {len(wanted)} pass {dict(done)}, {dict(requests)}"
        )
        print(f"out of scope: {dict(apart)}")
    assert not failures, "\n".join(failures)


REPORTED = {
    "anthropic-529": (ModelUnavailableError, None),
    "anthropic-429-retry-after": (ModelRateLimitError, 16.0),
    "anthropic-429-no-retry-after": (ModelRateLimitError, 0.0),  # the limit's reset lies in the past
    "openai-429-tpm-ms": (ModelRateLimitError, 0.976),
    "openai-429-tpm-seconds": (ModelRateLimitError, 26.604),
    "openai-429-tpd-minutes": (ModelRateLimitError, 69.696),
}


@pytest.mark.parametrize("name", REPORTED)
async def test_reported_errors_are_retried_after_the_wait_they_ask_for(name: str) -> None:
    lines = data_file("llm_exchanges/reported_errors.jsonl").read_text(encoding="utf-8").splitlines()
    row = next(row for row in map(json.loads, lines) if row["id"] == name)
    expected, wait = REPORTED[name]
    async with serving(Answer(row["status"], None, row["body"], row["headers"])) as server:
        gateway = gateway_for(row["provider"], server)
        request = ModelRequest(id="r", model=f"{row['provider']}/m", messages=(user("hello"),))
        with pytest.raises(ModelError) as caught:
            await gateway.handle(request)
        await gateway.close()
    assert type(caught.value) is expected
    assert caught.value.retryable
    assert caught.value.retry_after_s == (None if wait is None else pytest.approx(wait))


async def test_recorded_embeddings_arrive_whole() -> None:
    row = next(row for row in exchanges() if row["kind"] == "openai embeddings")
    body, data = row["request"], row["response_json"]
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    if any(isinstance(item["embedding"], str) for item in data["data"]):
        data = copy.deepcopy(data)  # recorded in base64; we ask for numbers
        for item in data["data"]:
            raw = base64.b64decode(item["embedding"])
            item["embedding"] = list(struct.unpack(f"<{len(raw) // 4}f", raw))
    async with serving(Answer(200, data)) as server:
        gateway = gateway_for("openai", server)
        vectors = await gateway.handle(EmbedRequest(model=f"openai/{body['model']}", texts=tuple(texts)))
        await gateway.close()
    assert vectors == [item["embedding"] for item in data["data"]]
    sent = server.asked[0]
    assert (sent.path, sent.body["model"], sent.body["input"]) == ("/embeddings", body["model"], texts)


async def test_thinking_goes_back_to_its_provider_as_it_came() -> None:
    row = next(row for row in exchanges() if row["kind"] == "anthropic: thinking")
    result, _ = await exchange(row)
    assert isinstance(result, ModelReply)
    answer = Answer(200, row["response_json"])
    async with serving(answer) as server:
        gateway = gateway_for("anthropic", server)
        messages = (user("What is the weather in Tokyo?"), result.message, user("And tomorrow?"))
        await gateway.handle(ModelRequest(id="r", model="anthropic/claude-sonnet-4-5", messages=messages))
        await gateway.close()
    assert server.asked[0].body["messages"][1]["content"] == row["response_json"]["content"]
    assert any(isinstance(part, Text) for part in result.message.parts)
