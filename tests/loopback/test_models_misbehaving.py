"""Servers that misbehave: whatever they send, the call ends in time, with a reply or with one clear error."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.core.errors import (
    ModelError,
    ModelRateLimitError,
    ModelReplyError,
    ModelUnavailableError,
)
from callsheet.models.messages import ModelReply, ModelRequest, ToolSpec, user
from tests.loopback.models_server import Answer, serving
from tests.loopback.models_streams import provider_at

LOOK = ToolSpec(name="look", description="Look.", schema='{"type":"object","properties":{}}')
WAYS = ("complete", "stream")
APIS = {
    "chat": ("openai/m", "{}"),
    "responses": ("openai/m", '{"api":"responses"}'),
    "messages": ("anthropic/m", "{}"),
}


def ask(api: str) -> ModelRequest:
    model, extra = APIS[api]
    return ModelRequest(id="r", model=model, messages=(user("hello"),), tools=(LOOK,), extra=extra)


async def answer(url: str, api: str, way: str, within_s: float = 20) -> ModelReply:
    async with provider_at(url, APIS[api][0].partition("/")[0]) as provider:
        deadline = time.time() + within_s
        if way == "complete":
            return await provider.complete(ask(api), deadline)
        return await provider.stream(ask(api), deadline, lambda _: None)


class RawServer:
    """Sends these bytes, whatever it is asked, and then hangs up; or holds the line."""

    def __init__(self) -> None:
        self.data = b""
        self.hangs = False
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            await reader.readexactly(
                next(int(x.split(b":")[1]) for x in lines if x.startswith(b"content-length"))
            )
            writer.write(self.data)
            await writer.drain()
            if self.hangs:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def raw() -> AsyncIterator[RawServer]:
    state = RawServer()
    server = await asyncio.start_server(state.serve, "127.0.0.1", 0)
    state.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield state
    finally:
        server.close()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="hangs up"),
        pytest.param(b"hello\r\n\r\n", id="is no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", id="a header without end"),
        pytest.param(HEAD + b"content-length: 100\r\n\r\n{}", id="less than was promised"),
        pytest.param(HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}", id="chunks that are none"),
        pytest.param(
            HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}", id="a coding it is not in"
        ),
        pytest.param(HEAD + b"content-length: 2\r\n\r\n[]", id="a list"),
        pytest.param(HEAD + b"content-length: 4\r\n\r\n\xff\xfe\xfd\xfc", id="bytes that are no text"),
        pytest.param(HEAD + b"content-length: 0\r\n\r\n", id="nothing"),
        pytest.param(HEAD + b"connection: close\r\n\r\n" + b"[" * 100_000, id="nesting without end"),
    ],
)
async def test_a_broken_answer_is_an_error_that_may_be_retried(data: bytes, api: str, way: str) -> None:
    async with raw() as server:
        server.data = data
        with pytest.raises((ModelReplyError, ModelUnavailableError)) as caught:
            await answer(server.url, api, way)
    assert caught.value.retryable
    assert caught.value.hint


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="no word"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-", id="half a header"),
        pytest.param(HEAD + b"content-length: 100\r\n\r\n{", id="half a body"),
        pytest.param(b"HTTP/1.1 500 No\r\ncontent-length: 100\r\n\r\n{", id="half an error"),
    ],
)
async def test_a_server_that_stops_in_the_middle_holds_nobody_beyond_the_deadline(
    data: bytes, way: str
) -> None:
    async with raw() as server:
        server.data, server.hangs = data, True
        with pytest.raises(ModelUnavailableError, match="no answer within") as caught:
            await answer(server.url, "chat", way, within_s=0.4)
    assert not caught.value.retryable


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("status", "headers", "kind", "wait"),
    [
        (429, {"retry-after": "3"}, ModelRateLimitError, 3.0),
        (429, {"retry-after-ms": "1500"}, ModelRateLimitError, 1.5),
        (429, {}, ModelRateLimitError, None),
        (500, {}, ModelUnavailableError, None),
        (529, {"retry-after": "9"}, ModelUnavailableError, 9.0),
        (503, {"x-should-retry": "true"}, ModelUnavailableError, None),
    ],
)
async def test_a_bad_day_is_an_error_with_the_wait_it_asks_for(
    status: int, headers: dict[str, str], kind: type[ModelError], wait: float | None, api: str, way: str
) -> None:
    async with serving(Answer(status, {"error": {"message": "not now"}}, headers=headers)) as server:
        with pytest.raises(kind) as caught:
            await answer(server.url, api, way)
    assert (caught.value.retryable, caught.value.retry_after_s) == (True, wait)
    assert caught.value.status == status


def calls(api: str, *made: tuple[str, str, str]) -> dict[str, Any]:
    """A reply in one piece with these calls: id, name, arguments."""
    if api == "chat":
        listed = [{"id": i, "function": {"name": n, "arguments": a}} for i, n, a in made]
        return {"choices": [{"message": {"tool_calls": listed}, "finish_reason": "tool_calls"}]}
    if api == "responses":
        items = [{"type": "function_call", "call_id": i, "name": n, "arguments": a} for i, n, a in made]
        return {"object": "response", "status": "completed", "output": items}
    blocks = [{"type": "tool_use", "id": i, "name": n, "input": a} for i, n, a in made]
    return {"type": "message", "content": blocks, "stop_reason": "tool_use"}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("api", APIS)
async def test_calls_that_are_wrong_reach_the_agent_which_tells_the_model(api: str, way: str) -> None:
    made = (("c", "look", '{"a": '), ("c", "no_such_tool", "[1]"))
    async with serving(Answer(200, calls(api, *made))) as server:
        reply = await answer(server.url, api, way)
    found = reply.message.tool_calls
    assert [(call.name, call.arguments) for call in found] == [("look", '{"a": '), ("no_such_tool", "[1]")]
    assert len({call.id for call in found}) == 2
    assert reply.stop == "tool_calls"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("chat", {"choices": []}),
        ("chat", {"choices": [{}]}),
        ("chat", {"choices": [{"message": {"tool_calls": [{"function": {"name": 5}}]}}]}),
        ("responses", {"object": "response", "output": None}),
        ("messages", {"type": "message", "content": None}),
        ("messages", {"type": "message", "content": [{"type": "tool_use", "name": "x", "input": 5}]}),
        *((api, {"error": {"message": "upstream fell over"}}) for api in APIS),
    ],
)
async def test_a_good_status_does_not_make_a_good_reply(api: str, body: Any, way: str) -> None:
    async with serving(Answer(200, body)) as server:
        with pytest.raises(ModelReplyError) as caught:
            await answer(server.url, api, way)
    assert caught.value.retryable


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
KEYS = st.sampled_from(
    [
        "choices", "message", "delta", "content", "tool_calls", "function", "name", "arguments", "id", "error",
        "code", "type", "status", "output", "usage", "model", "finish_reason", "stop_reason", "text", "input",
        "reasoning", "refusal", "response", "index", "content_block", "prompt_tokens", "completion_tokens_details",
    ]
)  # fmt: skip
VALUES = st.sampled_from(
    [
        "error",
        "message",
        "tool_use",
        "text",
        "function_call",
        "reasoning",
        "completed",
        "failed",
        "refusal",
        "c",
    ]
)
LIKE_A_REPLY = st.recursive(
    JSON | VALUES,
    lambda inner: st.dictionaries(KEYS, inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=25,
)
STATUSES = st.sampled_from(
    [200, 200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 408, 418, 429, 500, 503, 529, 599]
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "retry-after-ms", "x-should-retry", "x-ratelimit-remaining-requests"]),
    st.sampled_from(["", "0", "-5", "1e9", "nan", "soon", "true", "Wed, 21 Oct 2015 07:28:00 GMT", "é"]),
    max_size=2,
)


@settings(max_examples=60, deadline=None)
@given(
    api=st.sampled_from(sorted(APIS)),
    way=st.sampled_from(WAYS),
    status=STATUSES,
    headers=HEADERS,
    body=LIKE_A_REPLY.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60),
    events=st.booleans(),
)
def test_whatever_a_server_answers_is_a_reply_or_a_model_error(
    api: str, way: str, status: int, headers: dict[str, str], body: bytes, events: bool
) -> None:
    async def once() -> ModelReply:
        async with raw() as server:
            kind = "text/event-stream" if events else "application/json"
            lines = [f"{name}: {value}" for name, value in {"content-type": kind, **headers}.items()]
            sent = b"data: " + body.replace(b"\n", b" ") + b"\n\ndata: [DONE]\n\n" if events else body
            head = (
                f"HTTP/1.1 {status} X\r\n" + "\r\n".join(lines) + f"\r\ncontent-length: {len(sent)}\r\n\r\n"
            )
            server.data = head.encode() + sent
            return await answer(server.url, api, way)

    try:
        reply = asyncio.run(once())
    except ModelError as error:
        assert error.hint or error.message  # noqa: PT017 - both outcomes are right
        assert error.model.endswith("/m")  # noqa: PT017
    else:
        assert isinstance(reply, ModelReply)
        assert status < 300
