"""Streams, recorded and broken, through the providers: a reply is whole, or it is an error."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from callsheet.core.errors import (
    ModelError,
    ModelRateLimitError,
    ModelReplyError,
    ModelRequestError,
    ModelUnavailableError,
)
from callsheet.models.anthropic_wire import from_anthropic
from callsheet.models.catalogue import parse_model
from callsheet.models.messages import ModelReply, ModelRequest, OutputSpec, user
from callsheet.models.openai_wire import from_openai
from callsheet.models.responses_wire import from_responses
from tests.data_sets import data_file
from tests.loopback.models_recorded import meaning
from tests.loopback.models_server import Answer, serving
from tests.loopback.models_streams import provider_at, streaming
from tests.loopback.test_models_recorded import APIS, exchanges, provider_of, request_of

# What a recorded error in a stream must become, and whether it is tried again.
ERRORS: dict[str, tuple[type[ModelError], bool]] = {
    "s075": (ModelRequestError, False),  # "Token limit reached", with the status 400 in it
    "s076": (ModelReplyError, True),  # tool_use_failed: the model's slip
    "s901": (ModelRateLimitError, False),  # the quota is used up
}

# OpenRouter's, with a list that has no indices in it.
UNREADABLE_FOR_SDK = "s081"


def recorded_streams() -> list[dict[str, Any]]:
    return [row for row in exchanges() if row["stream"] and row["api"] in APIS]


async def sdk_body(row: dict[str, Any], url: str) -> dict[str, Any]:
    """What the official SDK puts the stream together to."""
    if row["api"] == "messages":
        import anthropic

        async with anthropic.AsyncAnthropic(api_key="k", base_url=url, max_retries=0) as client:
            messages: Any = [{"role": "user", "content": "hello"}]
            async with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
                body: dict[str, Any] = (await stream.get_final_message()).to_dict(mode="json")
                return body
    import openai
    from openai.lib.streaming.chat import ChatCompletionStreamState

    async with openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0) as own:
        if row["api"] == "responses":
            async for event in await own.responses.create(model="m", input="hello", stream=True):
                if event.type == "response.completed":
                    return event.response.to_dict(mode="json")
        state: Any = ChatCompletionStreamState()
        chunks: Any = await own.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        async for chunk in chunks:
            state.handle_chunk(chunk)
        final: dict[str, Any] = state.get_final_completion().to_dict(mode="json")
        return final


TRANSLATIONS = {"chat.completions": from_openai, "responses": from_responses, "messages": from_anthropic}


def essence(reply: ModelReply) -> Any:
    """What of a reply counts; how the JSON of arguments is spaced does not."""
    calls = [(call.id, call.name, json.loads(call.arguments)) for call in reply.message.tool_calls]
    others = [part for part in reply.message.parts if part.type not in ("text", "tool_call", "opaque")]
    return (
        reply.message.text,
        calls,
        others,
        reply.stop,
        reply.usage,
        reply.model,
        reply.response_id,
    )


async def check(row: dict[str, Any]) -> str:
    request, expressible = request_of(row)
    said: list[str] = []
    async with serving(Answer(200, None, row["response_text"], row["response_headers"])) as server:
        async with provider_at(server.url, provider_of(row)) as provider:
            if row["id"] in ERRORS:
                kind, retryable = ERRORS[row["id"]]
                with pytest.raises(ModelError) as caught:
                    await provider.stream(request, time.time() + 30, said.append)
                assert type(caught.value) is kind, caught.value
                assert caught.value.retryable is retryable
                assert caught.value.hint
            else:
                reply = await provider.stream(request, time.time() + 30, said.append)
                assert "".join(said) == reply.message.text
                assert reply.message.text or reply.message.tool_calls
                if row["id"] == UNREADABLE_FOR_SDK:
                    lines = [line for line in row["response_text"].splitlines() if line.startswith("data: {")]
                    deltas = [json.loads(line[6:])["choices"][0]["delta"] for line in lines]
                    assert reply.message.text == "".join(delta["content"] for delta in deltas)
                    return "request the same"
                name = parse_model(request.model)
                whole = TRANSLATIONS[row["api"]](await sdk_body(row, server.url), request, name)
                if not whole.usage.reasoning_tokens:  # an SDK of before they were counted
                    known = whole.usage
                    whole = replace(
                        whole, usage=replace(known, reasoning_tokens=reply.usage.reasoning_tokens)
                    )
                assert essence(reply) == essence(whole)
        sent = server.asked[0].body
    assert sent["stream"] is True
    if not expressible:
        return "request not recorded"
    assert meaning({k: v for k, v in sent.items() if k != "stream"}) == meaning(
        {k: v for k, v in row["request"].items() if k != "stream"}
    )
    return "request the same"


async def test_every_recorded_stream_arrives_as_the_sdk_reads_it(capsys: pytest.CaptureFixture[str]) -> None:
    wanted, failures, done, requests = recorded_streams(), [], Counter[str](), Counter[str]()
    for row in wanted:
        try:
            requests[await check(row)] += 1
        except AssertionError as error:
            failures.append(f"{row['id']} ({row['kind']}): {str(error)[:1500]}")
        else:
            done[row["api"]] += 1
    with capsys.disabled():
        passed = sum(done.values())
        print(f"\nrecorded streams: {passed} of {len(wanted)} pass {dict(done)}, {dict(requests)}")
    assert not failures, "\n".join(failures)


def shortest(api: str) -> dict[str, Any]:
    rows = [row for row in recorded_streams() if row["api"] == api and row["id"] not in ERRORS]
    return min(rows, key=lambda row: len(row["response_text"]))


@pytest.mark.parametrize("end", ["cut", "close"])
@pytest.mark.parametrize("api", APIS)
async def test_a_stream_cut_anywhere_is_an_error_that_may_be_retried(api: str, end: Any) -> None:
    row = shortest(api)
    data = row["response_text"].encode()
    request, _ = request_of(row)
    step = max(1, len(data) // 400)  # at every byte: tests/unit/models/test_streams.py
    positions = [*range(0, len(data), step), *range(max(0, len(data) - 40), len(data))]
    async with (
        streaming([data]) as server,
        provider_at(server.url, provider_of(row)) as provider,
    ):
        whole = await provider.stream(request, None, lambda _: None)
    replies, kinds = 0, set()
    async with (
        streaming([], end) as server,
        provider_at(server.url, provider_of(row)) as provider,
    ):
        for position in positions:
            server.pieces = [data[:position]]
            said: list[str] = []
            try:
                reply = await provider.stream(request, time.time() + 20, said.append)
            except ModelError as error:
                kinds.add((type(error), error.retryable))
                assert whole.message.text.startswith("".join(said))
            else:
                # All of it had been said, and only the farewell was missing.
                assert reply == whole
                assert position > len(data) - 40
                replies += 1
    assert kinds <= {(ModelReplyError, True), (ModelUnavailableError, True)}
    assert replies < 40


@pytest.mark.parametrize("api", APIS)
async def test_a_stream_that_stops_talking_ends_with_its_deadline(api: str) -> None:
    row = shortest(api)
    data = row["response_text"].encode()
    request, _ = request_of(row)
    async with (
        streaming([data[: len(data) // 2]], "hang") as server,
        provider_at(server.url, provider_of(row)) as provider,
    ):
        with pytest.raises(ModelUnavailableError, match="no answer within") as caught:
            await provider.stream(request, time.time() + 0.3, lambda _: None)
    assert not caught.value.retryable


async def test_a_stream_that_stops_talking_ends_with_the_request_timeout_and_may_be_retried() -> None:
    async with (
        streaming([b": waiting\n\n"], "hang") as server,
        provider_at(server.url, "openai", request_timeout_s=0.3) as provider,
    ):
        with pytest.raises(ModelUnavailableError, match="no answer within") as caught:
            await provider.stream(ask(), None, lambda _: None)
    assert caught.value.retryable


async def test_a_server_that_never_ends_its_event_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callsheet.models.sse.MAX_EVENT", 100_000)
    async with (
        streaming([b"data: " + b"x" * 60_000, b"x" * 60_000], "hang") as server,
        provider_at(server.url, "openai") as provider,
    ):
        with pytest.raises(ModelReplyError, match="without end"):
            await provider.stream(ask(), time.time() + 20, lambda _: None)


async def test_text_is_emitted_before_the_reply_is_whole() -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": "first"}}]}
    got = asyncio.Event()
    async with (
        streaming([event(chunk)], "hang") as server,
        provider_at(server.url, "openai") as provider,
    ):
        task = asyncio.ensure_future(provider.stream(ask(), None, lambda _: got.set()))
        await asyncio.wait_for(got.wait(), 20)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_connection_serves_again_after_a_stream() -> None:
    data = shortest("chat.completions")["response_text"].encode()
    async with (
        streaming([data]) as server,
        provider_at(server.url, "openai") as provider,
    ):
        for _ in range(3):
            await provider.stream(ask(), None, lambda _: None)
        assert server.connections == 1


async def test_an_overload_in_the_middle_of_a_stream_may_be_retried() -> None:
    lines = data_file("llm_exchanges/reported_errors.jsonl").read_text(encoding="utf-8").splitlines()
    row = next(row for row in map(json.loads, lines) if row["id"] == "anthropic-stream-overloaded")
    async with (
        serving(Answer(200, None, row["body"], row["headers"])) as server,
        provider_at(server.url, "anthropic") as provider,
    ):
        with pytest.raises(ModelUnavailableError) as caught:
            await provider.stream(ask("anthropic/m"), None, lambda _: None)
    assert caught.value.retryable
    assert caught.value.status == 529


async def test_a_failure_before_the_stream_is_the_same_as_without() -> None:
    body = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
    async with (
        serving(Answer(429, body, headers={"retry-after": "7"})) as server,
        provider_at(server.url, "openai") as provider,
    ):
        with pytest.raises(ModelRateLimitError) as caught:
            await provider.stream(ask(), None, lambda _: None)
    assert caught.value.retry_after_s == 7


async def test_a_server_that_does_not_stream_is_read_all_the_same() -> None:
    message = {"role": "assistant", "content": "Hello."}
    body = {"id": "c", "model": "m", "choices": [{"message": message, "finish_reason": "stop"}], "usage": {}}
    said: list[str] = []
    async with (
        serving(Answer(200, body)) as server,
        provider_at(server.url, "openai") as provider,
    ):
        reply = await provider.stream(ask(), None, said.append)
    assert (reply.message.text, said) == ("Hello.", ["Hello."])


async def test_a_server_that_knows_no_stream_options_is_asked_without() -> None:
    refused = Answer(400, {"error": {"message": "Unrecognized request argument: stream_options"}})
    data = shortest("chat.completions")["response_text"]
    good = Answer(200, None, data, {"content-type": "text/event-stream"})
    async with (
        serving(refused, good) as server,
        provider_at(server.url, "vllm") as provider,
    ):
        for _ in range(2):
            await provider.stream(ask("vllm/m"), None, lambda _: None)
        assert ["stream_options" in asked.body for asked in server.asked] == [True, False, False]


async def test_an_answer_by_tool_is_emitted_as_text() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "give_structured_answer", "arguments": '{"a": '}}
    more = {"index": 0, "function": {"arguments": "1}"}}
    pieces = [
        event({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}),
        event({"choices": [{"index": 0, "delta": {"tool_calls": [more]}, "finish_reason": "stop"}]}),
        b"data: [DONE]\n\n",
    ]
    said: list[str] = []
    spec = OutputSpec(name="a", schema='{"type":"object","properties":{"a":{"type":"integer"}}}')
    async with (
        streaming(pieces) as server,
        provider_at(server.url, "openai") as provider,
    ):
        request = ModelRequest(
            id="r", model="openai/m", messages=(user("hi"),), output=spec, output_mode="tool"
        )
        reply = await provider.stream(request, None, said.append)
    assert (reply.message.text, "".join(said), reply.stop) == ('{"a": 1}', '{"a": 1}', "end")
    assert json.loads(server.asked[0])["tool_choice"]["function"]["name"] == "give_structured_answer"


def ask(model: str = "openai/m") -> ModelRequest:
    return ModelRequest(id="r", model=model, messages=(user("hello"),))


def event(data: Any) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"
