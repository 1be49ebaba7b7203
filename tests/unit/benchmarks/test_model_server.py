"""The model server's replies follow from the request alone, and are what the protocol promises."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.model_server import TEXT, Connection, Desk, arguments_for, reply_to, tool_wanted

TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {
            "type": "object",
            "properties": {"word": {"type": "string"}, "limit": {"type": "integer"}},
            "required": ["word"],
        },
    },
}
OTHER = {
    "type": "function",
    "function": {"name": "other", "parameters": {"type": "object", "properties": {}}},
}
USER = {"role": "user", "content": "go"}
CALL = {"role": "assistant", "content": None, "tool_calls": []}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "found"}


def request(*messages: dict[str, Any], tools: Any = (TOOL, OTHER), **more: Any) -> bytes:
    body = {"model": "gpt-4o-mini", "messages": list(messages), **more}
    return json.dumps(body | ({"tools": list(tools)} if tools else {})).encode()


def message(body: bytes) -> dict[str, Any]:
    kind, reply = reply_to(body)
    assert kind == "application/json"
    found: dict[str, Any] = json.loads(reply)["choices"][0]["message"]
    return found


def test_with_tools_and_no_result_yet_the_first_tool_is_called_once() -> None:
    (call,) = message(request(USER))["tool_calls"]
    assert call["function"]["name"] == "look_up"
    assert json.loads(call["function"]["arguments"]) == {"word": "durable"}


@pytest.mark.parametrize(
    "body",
    [request(USER, CALL, RESULT), request(USER, tools=())],
    ids=["a result is there", "no tools are offered"],
)
def test_else_the_answer_is_a_text_of_sixty_tokens(body: bytes) -> None:
    found = message(body)
    assert "tool_calls" not in found
    assert found["content"] == TEXT
    assert len(TEXT.split()) == 60


def test_a_result_before_the_last_user_message_does_not_count() -> None:
    assert message(request(USER, CALL, RESULT, USER))["tool_calls"]


def test_words_in_a_text_are_taken_for_no_result() -> None:
    assert message(request({"role": "user", "content": '{"role": "tool"}'}))["tool_calls"]


def test_the_same_request_has_the_same_reply_and_another_has_another_id() -> None:
    assert reply_to(request(USER)) == reply_to(request(USER))
    ids = {message(request({"role": "user", "content": text}))["tool_calls"][0]["id"] for text in ("a", "b")}
    assert len(ids) == 2


@pytest.mark.parametrize(("length", "calls"), [(8, True), (9, True), (10, False), (11, False)])
def test_a_model_called_until_n_asks_for_the_tool_until_the_request_is_so_long(
    length: int, calls: bool
) -> None:
    asked = {"model": "until-10", "tools": [TOOL], "messages": [USER] * length}
    assert (tool_wanted(asked) is not None) is calls


def test_each_required_parameter_is_given_what_fits_its_type() -> None:
    types = {"s": "string", "i": "integer", "b": "boolean", "a": "array", "o": "object"}
    schema = {"properties": {name: {"type": type_} for name, type_ in types.items()}, "required": list(types)}
    given = arguments_for({"name": "t", "parameters": schema})
    assert [type(given[name]).__name__ for name in types] == ["str", "int", "bool", "list", "dict"]


def test_an_answer_in_parts_says_the_same_as_one_in_whole() -> None:
    kind, body = reply_to(request(USER, CALL, RESULT, stream=True))
    events = [line.removeprefix("data: ") for line in body.decode().split("\n\n") if line]
    assert kind == "text/event-stream"
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text == TEXT
    assert chunks[-1]["usage"]["completion_tokens"] == 60


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.sent = b""

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.sent += data


def connected() -> tuple[Desk, Connection, Wire]:
    desk, wire = Desk(), Wire()
    connection = Connection(desk)
    connection.connection_made(wire)  # type: ignore[arg-type]
    return desk, connection, wire


def posted(path: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_requests_are_understood_however_the_bytes_are_cut(size: int) -> None:
    desk, connection, wire = connected()
    stream = posted("/v1/chat/completions", request(USER)) + posted(
        "/v1/chat/completions", request(USER, RESULT)
    )
    for begin in range(0, len(stream), size):
        connection.data_received(stream[begin : begin + size])
    assert desk.requests == 2
    assert wire.sent.count(b"HTTP/1.1 200 OK") == 2
    assert wire.sent.index(b"look_up") < wire.sent.index(TEXT.encode())


def test_spans_are_taken_and_an_unknown_path_is_refused() -> None:
    desk, connection, wire = connected()
    connection.data_received(posted("/v1/traces", b"12345") + posted("/nothing", b""))
    assert desk.spans_bytes == 5
    assert desk.requests == 0
    assert wire.sent.startswith(b"HTTP/1.1 200 OK")
    assert b"HTTP/1.1 404" in wire.sent


def test_the_pause_is_set_by_a_request() -> None:
    desk, connection, _ = connected()
    connection.data_received(posted("/latency", b"200"))
    assert desk.latency_s == 0.2
