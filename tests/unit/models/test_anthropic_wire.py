"""The Messages form: what a request becomes, and what a body becomes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from callsheet.models.anthropic_wire import anthropic_tools, from_anthropic, to_anthropic
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
    assistant,
    system,
    tool_results,
    user,
)
from callsheet.models.structured import ANSWER_TOOL

NEW = "anthropic/claude-sonnet-4-5"
OLD = "anthropic/claude-3-5-haiku-20241022"
LOOK = ToolSpec(
    name="look", description="Look.", schema='{"type":"object","properties":{"q":{"type":"string"}}}'
)
RECURSIVE = json.dumps(
    {
        "type": "object",
        "properties": {"child": {"$ref": "#/$defs/Node"}},
        "$defs": {"Node": {"type": "object", "properties": {"child": {"$ref": "#/$defs/Node"}}}},
    }
)
VERDICT = OutputSpec(name="verdict", schema='{"type":"object","properties":{"good":{"type":"boolean"}}}')


def body(model: str = NEW, **fields: Any) -> dict[str, Any]:
    request = ModelRequest(**{"id": "r", "model": model, "messages": (user("Hi"),), **fields})
    return to_anthropic(request, parse_model(model))


def reply(blocks: list[Any], stop: str = "end_turn", output: OutputSpec | None = None, **data: Any) -> Any:
    request = ModelRequest(id="r", model=NEW, messages=(), output=output)
    return from_anthropic({"content": blocks, "stop_reason": stop, **data}, request, parse_model(NEW))


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", None),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ("look", {"type": "tool", "name": "look"}),
    ],
)
def test_each_tool_choice_has_its_form(choice: str, sent: Any) -> None:
    assert body(tools=(LOOK,), tool_choice=choice).get("tool_choice") == sent


def test_system_texts_stand_apart_from_the_turns() -> None:
    sent = body(messages=(system("A."), user("x"), system("B."), system(" ")))
    assert [block["text"] for block in sent["system"]] == ["A.", "B."]
    assert sent["messages"] == [{"role": "user", "content": "x"}]
    assert body(messages=(system("A."), user("x")))["system"] == "A."


def test_neighbours_of_one_side_become_one_turn_with_results_first() -> None:
    call = ToolCall(id="t:1", name="look", arguments='{"q": "x"}')
    result = ToolResult(call_id="t:1", name="look", content="no", is_error=True)
    sent = body(messages=(user("a"), user("b"), assistant("", call), user("c"), tool_results(result)))[
        "messages"
    ]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "user"]
    assert [block["text"] for block in sent[0]["content"]] == ["a", "b"]
    assert sent[1]["content"] == [{"type": "tool_use", "id": "t_1", "name": "look", "input": {"q": "x"}}]
    assert [block["type"] for block in sent[2]["content"]] == ["tool_result", "text"]
    assert sent[2]["content"][0] == {
        "type": "tool_result", "tool_use_id": "t_1", "content": "no", "is_error": True,
    }  # fmt: skip


def test_empty_texts_are_left_out_and_the_first_turn_is_the_users() -> None:
    sent = body(messages=(assistant("hello"), user("  "), assistant("again")))["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant"]
    assert body(messages=())["messages"][0]["role"] == "user"


@pytest.mark.parametrize(
    "arguments",
    ["", "not json", "[1]", '{"q": ', '{"q": NaN}', '{"q": -Infinity}', "[" * 100_000, '{"q": "\\ud83d"}'],
)
def test_arguments_that_are_no_object_become_one_that_can_be_sent(arguments: str) -> None:
    sent = body(messages=(user("x"), assistant("", ToolCall(id="1", name="look", arguments=arguments))))
    assert isinstance(sent["messages"][1]["content"][0]["input"], dict)
    assert json.dumps(sent, allow_nan=False, ensure_ascii=False).encode()


def test_pairs_of_surrogates_in_arguments_are_one_character() -> None:
    call = ToolCall(id="1", name="look", arguments='{"q": "\\ud83d\\ude00 \\\\u0041"}')
    sent = body(messages=(user("x"), assistant("", call)))
    assert sent["messages"][1]["content"][0]["input"] == {"q": "😀 \\u0041"}


def test_thinking_is_handed_back_and_that_of_others_is_not() -> None:
    parts = (
        Thinking(text="a", signature="s"),
        Thinking(redacted="d"),
        Thinking(text="another provider's"),
        Opaque(provider="anthropic", json='{"type": "server_tool_use", "id": "1"}'),
        Opaque(provider="openai:message", json="{}"),
        Text(text="Yes."),
    )
    blocks = body(messages=(user("x"), Message(role="assistant", parts=parts)))["messages"][1]["content"]
    assert [block["type"] for block in blocks] == ["thinking", "redacted_thinking", "server_tool_use", "text"]
    assert blocks[0] == {"type": "thinking", "thinking": "a", "signature": "s"}


def test_the_api_enforces_the_output_where_model_and_schema_allow_it() -> None:
    form = body(output=VERDICT)["output_config"]["format"]
    assert form["type"] == "json_schema"
    assert form["schema"]["additionalProperties"] is False
    assert "tools" not in body(output=VERDICT)


@pytest.mark.parametrize(
    ("model", "schema"),
    [
        (OLD, VERDICT.schema),
        (NEW, '{"type":"object","properties":{"n":{"type":"integer","minimum":1}}}'),
        (NEW, '{"type":"object","additionalProperties":{"type":"string"}}'),
        (NEW, RECURSIVE),
    ],
)  # fmt: skip
def test_elsewhere_the_model_must_call_a_tool_with_the_answer(model: str, schema: str) -> None:
    output = OutputSpec(name="x", schema=schema)
    sent = body(model, output=output)
    assert "output_config" not in sent
    assert sent["tools"][-1]["name"] == ANSWER_TOOL
    assert sent["tools"][-1]["input_schema"] == json.loads(schema)
    assert sent["tool_choice"] == {"type": "tool", "name": ANSWER_TOOL}
    both = body(model, output=output, tools=(LOOK,))
    assert both["tool_choice"] == {"type": "any"}, "the model may look first"
    assert anthropic_tools((LOOK,)) == both["tools"][:1], "the shared translation was not changed"


def test_the_answer_by_tool_reads_as_text() -> None:
    block = {"type": "tool_use", "id": "1", "name": ANSWER_TOOL, "input": {"good": True}}
    made = reply([block], "tool_use", VERDICT)
    assert (made.message.text, made.stop, made.message.tool_calls) == ('{"good": true}', "end", ())
    assert reply([block], "tool_use").message.tool_calls, "without an output it is a tool like any other"


def test_extra_effort_stands_beside_the_output_format() -> None:
    sent = body(output=VERDICT, extra='{"output_config": {"effort": "low"}}')
    assert set(sent["output_config"]) == {"format", "effort"}


def test_cached_tokens_are_counted_in() -> None:
    usage = {
        "input_tokens": 5,
        "cache_read_input_tokens": 70,
        "cache_creation_input_tokens": 20,
        "output_tokens": 1,
    }
    made = reply([], usage=usage).usage
    assert (made.input_tokens, made.cache_read_tokens, made.cache_write_tokens) == (95, 70, 20)


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("end_turn", "end"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("stop_sequence", "stop_sequence"),
        ("refusal", "refusal"),
        ("pause_turn", "other"),
        ("something new", "other"),
    ],
)
def test_each_reason_to_stop_has_its_word(reason: str, stop: str) -> None:
    assert reply([], reason).stop == stop


def test_unknown_blocks_are_carried_whole() -> None:
    block = {"type": "container_upload", "file_id": "f", "new": {"ä": 1}}
    assert json.loads(reply([block]).message.parts[0].json) == block


def test_citations_are_kept_beside_their_text_and_not_handed_back() -> None:
    made = reply([{"type": "text", "text": "Sunny.", "citations": [{"url": "https://example.org"}]}])
    assert made.message.text == "Sunny."
    assert json.loads(made.message.parts[1].json) == [{"url": "https://example.org"}]
    assert body(messages=(user("x"), made.message))["messages"][1]["content"] == "Sunny."


def test_no_two_calls_of_a_reply_have_one_id() -> None:
    blocks = [{"type": "tool_use", "id": id_, "name": "f", "input": {}} for id_ in ("c", "c", None, None)]
    calls = reply(blocks, stop_reason="tool_use").message.tool_calls
    assert len({call.id for call in calls}) == 4
    assert calls[0].id == "c"
