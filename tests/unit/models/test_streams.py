"""Streams without a network: pieces of any size, cut at every byte, and what servers do differently."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.core.errors import ModelReplyError
from callsheet.models.anthropic_stream import MessageStream
from callsheet.models.anthropic_wire import from_anthropic
from callsheet.models.catalogue import ModelName
from callsheet.models.messages import ModelReply, ModelRequest, Thinking, user
from callsheet.models.openai_stream import ChatStream
from callsheet.models.openai_wire import from_openai
from callsheet.models.responses_stream import ResponseStream
from callsheet.models.responses_wire import from_responses
from callsheet.models.sse import EventParser
from tests.data_sets import data_file

NAME = ModelName(provider="openai", model="m")
REQUEST = ModelRequest(id="r", model="openai/m", messages=(user("hello"),))
HAS_ERROR = ("s075", "s076", "s901")

READERS: dict[str, tuple[Callable[..., Any], Callable[..., ModelReply]]] = {
    "chat.completions": (ChatStream, from_openai),
    "responses": (ResponseStream, from_responses),
    "messages": (MessageStream, from_anthropic),
}


def recorded() -> list[tuple[str, str, bytes]]:
    lines = data_file("llm_exchanges/exchanges.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [
        (row["id"], row["api"], row["response_text"].encode())
        for row in rows
        if row["stream"] and row["api"] in READERS and row["id"] not in HAS_ERROR
    ]


def read(api: str, pieces: list[bytes], said: list[str] | None = None) -> ModelReply:
    """The reply of a stream that came in these pieces; ModelReplyError where it is not whole."""
    stream_of, translate = READERS[api]
    parser, stream = EventParser(), stream_of(NAME, (said if said is not None else []).append)
    for piece in pieces:
        for data in parser.feed(piece):
            stream.take(None if data == b"[DONE]" else json.loads(data))
    return translate(stream.body(), REQUEST, NAME)


def test_a_stream_cut_at_any_byte_is_never_taken_for_a_whole_one() -> None:
    for id_, api, data in recorded():
        whole = read(api, [data])
        parser_size = len(data)
        # Read once, asked after each byte: what would be made of the stream if it ended here.
        stream_of, translate = READERS[api]
        said: list[str] = []
        parser, stream = EventParser(), stream_of(NAME, said.append)
        for position in range(parser_size):
            events = parser.feed(data[position : position + 1])
            for event in events:
                stream.take(None if event == b"[DONE]" else json.loads(event))
            if position and not events:
                continue  # nothing is new since the last look
            try:
                reply = translate(stream.body(), REQUEST, NAME)
            except ModelReplyError as error:
                assert error.retryable  # noqa: PT017 - both outcomes are right, each at its place
            else:
                assert reply == whole, (id_, position)
                assert parser_size - position < 60, (id_, position)
        assert "".join(said) == whole.message.text


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_how_a_stream_is_cut_into_pieces_changes_nothing(data: st.DataObject) -> None:
    _, api, text = data.draw(st.sampled_from(recorded()))
    if data.draw(st.booleans()):
        text = text.replace(b"\n", b"\r\n")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
    assert read(api, pieces) == read(api, [text])


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\r\n\r\ndata:  b\r\r", [b"a", b" b"]),
        (b": comment\n\nevent: x\nid: 1\nretry: 5\ndata: a\n\n", [b"a"]),
        (b"data: a\ndata: b\ndata\n\n", [b"a\nb\n"]),
        (b"\n\n\ndata: a\n", []),
        ("data: é\n\n".encode(), ["é".encode()]),
    ],
)
def test_events_are_read_as_the_specification_says(text: bytes, events: list[bytes]) -> None:
    assert EventParser().feed(text) == events
    parser = EventParser()
    assert [event for byte in text for event in parser.feed(bytes([byte]))] == events


def chat(*deltas: dict[str, Any], finish: str = "stop") -> ModelReply:
    stream = ChatStream(NAME, lambda _: None)
    for delta in deltas:
        stream.take({"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta}]})
    stream.take({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    stream.take(None)
    return from_openai(stream.body(), REQUEST, NAME)


def call(**fields: Any) -> dict[str, Any]:
    function = {key: fields.pop(key) for key in ("name", "arguments") if key in fields}
    return {"tool_calls": [{**fields, "function": function}]}


@pytest.mark.parametrize(
    "deltas",
    [
        pytest.param(
            [
                call(index=0, id="a", name="f", arguments=""),
                call(index=0, arguments='{"x":'),
                call(index=0, arguments="1}"),
                call(index=1, id="b", name="g", arguments="{}"),
            ],
            id="as OpenAI does",
        ),
        pytest.param(
            [call(id="a", name="f", arguments='{"x":1}'), call(id="b", name="g", arguments="{}")],
            id="without an index",
        ),
        pytest.param(
            [
                call(index=0, id="a", name="f", arguments='{"x":1}'),
                call(index=0, id="b", name="g", arguments="{}"),
            ],
            id="all under one index",
        ),
        pytest.param(
            [
                call(index=0, id="a", name="f", arguments='{"x":'),
                call(index=0, id="a", name="f", arguments="1}"),
                call(index=1, id="b", name="g", arguments={}),
            ],
            id="with the name and id again in each piece",
        ),
    ],
)
def test_calls_are_put_together_however_the_server_cuts_them(deltas: list[dict[str, Any]]) -> None:
    calls = chat(*deltas, finish="tool_calls").message.tool_calls
    assert [(c.id, c.name, json.loads(c.arguments)) for c in calls] == [("a", "f", {"x": 1}), ("b", "g", {})]


def test_reasoning_and_refusals_come_in_pieces_too() -> None:
    reply = chat(
        {"reasoning_content": "Let me "},
        {"reasoning_content": "see."},
        {"refusal": "I "},
        {"refusal": "won't."},
    )
    assert reply.message.parts[0] == Thinking(text="Let me see.")
    assert (reply.message.text, reply.stop) == ("I won't.", "refusal")


def test_a_chat_stream_that_ends_without_saying_so_is_whole_once_it_was_counted() -> None:
    stream = ChatStream(NAME, lambda _: None)
    stream.take({"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]})
    with pytest.raises(ModelReplyError):
        stream.body()
    stream.take({"choices": [], "usage": {"prompt_tokens": 3}})
    assert from_openai(stream.body(), REQUEST, NAME).usage.input_tokens == 3


def test_done_without_a_reason_to_stop_is_not_a_whole_reply() -> None:
    stream = ChatStream(NAME, lambda _: None)
    stream.take({"choices": [{"index": 0, "delta": {"content": "Hi"}}]})
    stream.take(None)
    with pytest.raises(ModelReplyError, match="before it was whole"):
        stream.body()


def test_arguments_that_are_no_json_reach_the_agent_as_they_are() -> None:
    stream = MessageStream(NAME, lambda _: None)
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    for event in (
        {
            "type": "message_start",
            "message": {"id": "m", "model": "c", "content": [], "usage": {"input_tokens": 2}},
        },
        {"type": "content_block_start", "index": 0, "content_block": block},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": '{"a": '},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ):
        stream.take(event)
    reply = from_anthropic(stream.body(), REQUEST, NAME)
    assert [c.arguments for c in reply.message.tool_calls] == ['{"a": ']
    assert (reply.stop, reply.usage.input_tokens, reply.usage.output_tokens) == ("length", 2, 7)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
CHUNK = st.fixed_dictionaries(
    {},
    optional={
        "choices": JSON
        | st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "index": JSON,
                    "finish_reason": JSON,
                    "message": JSON,
                    "delta": JSON
                    | st.fixed_dictionaries(
                        {},
                        optional={
                            "content": JSON,
                            "refusal": JSON,
                            "tool_calls": JSON
                            | st.lists(st.fixed_dictionaries({"index": JSON, "id": JSON, "function": JSON})),
                            "function_call": JSON,
                            "reasoning": JSON,
                        },
                    ),
                },
            ),
            max_size=3,
        ),
        "usage": JSON,
        "id": JSON,
        "model": JSON,
        "x_groq": JSON,
    },
)
KINDS = st.sampled_from(
    [
        "message", "message_start", "content_block_start", "content_block_delta", "content_block_stop",
        "message_delta", "message_stop", "ping", "response.completed", "response.output_text.delta",
    ]
)  # fmt: skip
DELTA = JSON | st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["text_delta", "input_json_delta", "thinking_delta", "citations_delta", "new_delta"]
        )
    },
    optional={"text": JSON, "partial_json": JSON, "thinking": JSON, "citation": JSON},
)
BLOCK = JSON | st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "tool_use", "thinking", "new"])},
    optional={"text": JSON, "id": JSON, "name": JSON, "input": JSON, "thinking": JSON},
)
EVENT = st.fixed_dictionaries(
    {"type": KINDS | JSON},
    optional={
        "index": st.integers(0, 2) | JSON, "content_block": BLOCK, "delta": DELTA, "usage": JSON,
        "message": JSON | st.fixed_dictionaries({}, optional={"content": JSON, "usage": JSON, "id": JSON}),
        "content": JSON, "response": JSON | st.fixed_dictionaries({"output": JSON | st.lists(BLOCK)}),
    },
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(api=st.sampled_from(sorted(READERS)), chunks=st.lists(CHUNK | EVENT, max_size=6), done=st.booleans())
def test_whatever_a_server_sends_is_a_reply_or_a_reply_error(api: str, chunks: list[Any], done: bool) -> None:
    stream_of, translate = READERS[api]
    said: list[str] = []
    stream = stream_of(NAME, said.append)
    try:
        for chunk in chunks:
            stream.take(chunk)
        if done:
            stream.take(None)
        reply = translate(stream.body(), REQUEST, NAME)
    except ModelReplyError as error:
        assert error.hint  # noqa: PT017 - both outcomes are right
    else:
        assert isinstance(reply, ModelReply)
    assert all(isinstance(text, str) and text for text in said)
