"""The offline engine keeps to what a request allows, and says what it cannot see."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from callsheet.models.messages import (
    Image,
    Message,
    ModelRequest,
    OutputSpec,
    Text,
    ToolResult,
    tool_results,
    user,
)
from callsheet.models.offline import answer_offline
from callsheet.models.offline_text import count_tokens

PASSAGES = """[source: a.md]
A crash costs no finished step. The journal has every step of a crash.
[source: b.md]
After a crash each recorded step returns at once.
"""


def request(**more: Any) -> ModelRequest:
    messages = (
        user("What does a crash cost?"),
        tool_results(ToolResult(call_id="c", name="search", content=PASSAGES)),
    )
    return ModelRequest(**{"id": "q", "model": "offline", "messages": messages, **more})


def test_fewer_sentences_are_quoted_where_there_is_room_for_fewer() -> None:
    whole = answer_offline(request())
    short = answer_offline(request(max_tokens=20))
    assert short.stop == "end"
    assert whole.message.text.startswith(short.message.text)
    assert short.message.text.endswith("]")
    assert short.usage.output_tokens <= 20 < whole.usage.output_tokens


@given(st.integers(1, 80), st.booleans())
def test_no_answer_is_longer_than_allowed(most: int, structured: bool) -> None:
    output = OutputSpec(name="A", schema='{"type":"object","properties":{"answer":{"type":"string"}}}')
    reply = answer_offline(request(max_tokens=most, output=output if structured else None))
    assert count_tokens(reply.message.text) <= most
    if structured and reply.stop == "end":
        json.loads(reply.message.text)


def test_an_answer_that_is_cut_says_so() -> None:
    assert answer_offline(request(max_tokens=3)).stop == "length"


def test_it_stops_where_it_is_told_to() -> None:
    whole = answer_offline(request()).message.text
    reply = answer_offline(request(stop=("zzz", "step")))
    assert reply.stop == "stop_sequence"
    assert reply.message.text == whole.partition("step")[0]


def test_it_says_that_it_sees_no_picture() -> None:
    message = Message(
        role="user", parts=(Text(text="What is this?"), Image(media_type="image/png", data="AA"))
    )
    text = answer_offline(request(messages=(message,))).message.text
    assert "cannot see the pictures" in text
    assert "no language model" in text
