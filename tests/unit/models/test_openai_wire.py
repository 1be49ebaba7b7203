"""The Chat Completions form: what a request becomes, and what a body becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from callsheet.core.errors import ModelReplyError
from callsheet.models.catalogue import parse_model
from callsheet.models.messages import (
    Message,
    ModelRequest,
    Opaque,
    OutputSpec,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
    assistant,
    tool_results,
    user,
)
from callsheet.models.openai_wire import from_openai, openai_tools, to_openai

LOOK = ToolSpec(
    name="look", description="Look.", schema='{"type":"object","properties":{"q":{"type":"string"}}}'
)


def body(model: str = "openai/gpt-4o", **fields: Any) -> dict[str, Any]:
    request = ModelRequest(**{"id": "r", "model": model, "messages": (user("Hi"),), **fields})
    return to_openai(request, parse_model(model))


def reply(message: dict[str, Any], finish: str | None = "stop", **data: Any) -> Any:
    request = ModelRequest(id="r", model="openai/gpt-4o", messages=())
    choices = [{"index": 0, "finish_reason": finish, "message": message}]
    return from_openai({"id": "c1", "choices": choices, **data}, request, parse_model(request.model))


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", None),
        ("none", "none"),
        ("required", "required"),
        ("look", {"type": "function", "function": {"name": "look"}}),
    ],
)
def test_each_tool_choice_has_its_form(choice: str, sent: Any) -> None:
    assert body(tools=(LOOK,), tool_choice=choice).get("tool_choice") == sent


def test_a_tool_choice_without_tools_is_not_sent() -> None:
    assert "tool_choice" not in body(tool_choice="required")


def test_the_token_limit_has_the_name_that_the_server_knows() -> None:
    assert body(max_tokens=5)["max_completion_tokens"] == 5
    assert body("vllm/x", max_tokens=5)["max_tokens"] == 5


def test_names_go_only_where_they_are_taken() -> None:
    named = (user("a", name="clerk"), user("b", name="the clerk"), user("c", name="clerk\n"))
    assert [m.get("name") for m in body(messages=named)["messages"]] == ["clerk", None, None]
    assert [m.get("name") for m in body("ollama/x", messages=named)["messages"]] == [None, None, None]


def test_calls_and_results_become_a_message_each_in_order() -> None:
    calls = (
        ToolCall(id="1", name="look", arguments='{"q": 1}'),
        ToolCall(id="2", name="look", arguments="{}"),
    )
    results = (
        ToolResult(call_id="1", name="look", content="one"),
        ToolResult(call_id="2", name="look", content="no", is_error=True),
    )
    sent = body(messages=(user("x"), assistant("", *calls), tool_results(*results)))["messages"]
    assert [m["role"] for m in sent] == ["user", "assistant", "tool", "tool"]
    assert sent[1]["content"] is None
    assert [call["id"] for call in sent[1]["tool_calls"]] == ["1", "2"]
    assert sent[2] == {"role": "tool", "tool_call_id": "1", "content": "one"}
    assert sent[3]["content"] == "Error: no", "the API has no mark for a failed call"


def test_broken_arguments_of_the_past_are_readable_json_for_other_servers() -> None:
    messages = (user("x"), assistant("", ToolCall(id="1", name="look", arguments='{"q": ')))
    own = body(messages=messages)["messages"][1]["tool_calls"][0]["function"]["arguments"]
    other = body("vllm/x", messages=messages)["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert own == '{"q": '
    assert json.loads(other) == {"arguments": '{"q": '}


def test_ids_from_another_provider_are_made_to_fit_in_call_and_result_alike() -> None:
    long = "toolu_" + "x" * 60 + ":9"
    messages = (
        assistant("", ToolCall(id=long, name="look", arguments="{}")),
        tool_results(ToolResult(call_id=long, name="look", content="")),
    )
    sent = body(messages=messages)["messages"]
    assert sent[0]["tool_calls"][0]["id"] == sent[1]["tool_call_id"]
    assert len(sent[1]["tool_call_id"]) == 40


def test_thinking_and_blocks_of_another_provider_are_left_out() -> None:
    parts = (Thinking(text="hm", signature="s"), Opaque(provider="anthropic", json="{}"), Text(text="Yes."))
    sent = body(messages=(user("x"), Message(role="assistant", parts=parts)))["messages"]
    assert sent[1] == {"role": "assistant", "content": "Yes."}


def test_extra_fields_are_merged_as_they_are() -> None:
    assert body(extra='{"reasoning_effort": "low", "temperature": 1}', temperature=0.5)["temperature"] == 1


def test_a_default_that_json_lacks_does_not_spoil_the_request() -> None:
    schema = '{"type": "object", "properties": {"q": {"type": "number", "default": Infinity}}}'
    tool = ToolSpec(name="look", description="Look.", schema=schema)
    sent = body(tools=(tool,), output=OutputSpec(name="x", schema=schema))
    assert json.dumps(sent, allow_nan=False)


def test_a_count_that_cannot_be_is_none() -> None:
    usage = {"prompt_tokens": 10**30, "completion_tokens": -1}
    assert reply({"content": "x"}, usage=usage).usage == Usage()


def test_a_tool_set_is_translated_once() -> None:
    same = ToolSpec(name=LOOK.name, description=LOOK.description, schema=LOOK.schema)
    assert openai_tools((LOOK,)) is openai_tools((same,))


def test_a_schema_within_strict_mode_is_closed_and_enforced_and_any_other_is_advice() -> None:
    closed = OutputSpec(
        name="a b", schema='{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}'
    )
    form = body(output=closed)["response_format"]["json_schema"]
    assert form["strict"] is True
    assert form["name"] == "a_b"
    assert form["schema"]["additionalProperties"] is False
    optional = OutputSpec(
        name="x", schema='{"type":"object","properties":{"n":{"type":"integer","default":1}}}'
    )
    form = body(output=optional)["response_format"]["json_schema"]
    assert form["strict"] is False
    assert form["schema"] == json.loads(optional.schema)


def test_calls_are_the_reason_to_stop_whatever_the_server_says() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": ""}}
    made = reply({"content": None, "tool_calls": [call]}, "stop")
    assert made.stop == "tool_calls"
    assert made.message.tool_calls == (ToolCall(id="1", name="look", arguments="{}"),)
    assert reply({"content": "x", "tool_calls": []}, "tool_calls").stop == "end"
    assert reply({"content": "x", "tool_calls": [call]}, "length").stop == "length"


def test_arguments_sent_as_an_object_and_calls_without_id_are_taken() -> None:
    call = {"function": {"name": "look", "arguments": {"q": "ä"}}}
    made = reply({"tool_calls": [call, call]}).message.tool_calls
    assert [json.loads(item.arguments) for item in made] == [{"q": "ä"}] * 2
    assert made[0].id != made[1].id


def test_a_refusal_is_text_with_its_own_stop() -> None:
    made = reply({"content": None, "refusal": "I can't."})
    assert (made.message.text, made.stop) == ("I can't.", "refusal")


def test_reasoning_becomes_thinking_and_unknown_things_stay() -> None:
    made = reply({"content": "4", "reasoning_content": "2+2", "audio": {"id": "a"}})
    assert made.message.parts[0] == Thinking(text="2+2")
    assert json.loads(next(p.json for p in made.message.parts if isinstance(p, Opaque))) == {
        "audio": {"id": "a"}
    }


def test_content_in_blocks_is_read() -> None:
    blocks = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "4"}]
    made = reply({"content": blocks})
    assert made.message.text == "4"
    assert isinstance(made.message.parts[0], Opaque)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}, {"prompt_tokens": "9"}, []])
def test_missing_counts_are_zero(usage: Any) -> None:
    assert reply({"content": "x"}, usage=usage).usage.input_tokens == 0


@pytest.mark.parametrize("finish", [None, "load", 3])
def test_an_unknown_reason_to_stop_is_other(finish: Any) -> None:
    assert reply({"content": "x"}, finish).stop == "other"


@pytest.mark.parametrize("call", ["x", {}, {"function": {}}, {"function": {"name": ""}}])
def test_a_call_that_names_no_function_is_a_reply_error(call: Any) -> None:
    with pytest.raises(ModelReplyError):
        reply({"tool_calls": [call]})


def test_no_two_calls_of_a_reply_have_one_id() -> None:
    given = [
        {"id": id_, "function": {"name": "f", "arguments": "{}"}} for id_ in ("c", "c", "2_c", "c", "d" * 50)
    ]
    made = reply({"tool_calls": [*given, given[-1]]}).message
    assert len({call.id for call in made.tool_calls}) == 6
    sent = body(messages=(user("x"), made))["messages"][1]["tool_calls"]
    assert len({call["id"] for call in sent}) == 6
    assert sent[0]["id"] == "c"


def test_nothing_of_a_strange_reply_is_dropped_in_silence() -> None:
    with pytest.raises(ModelReplyError, match="tool calls that are no list"):
        reply({"tool_calls": {"id": "1"}})
    for content in ({"a": 1}, 5):
        (part,) = reply({"content": content}).message.parts
        assert isinstance(part, Opaque)
        assert json.loads(part.json) == content
