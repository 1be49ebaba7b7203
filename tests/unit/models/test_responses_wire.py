"""The Responses form: what is said to the model, and what it gives back for the next call."""

from __future__ import annotations

from typing import Any

import pytest

from callsheet.core.errors import ModelReplyError, ModelRequestError
from callsheet.models.catalogue import parse_model
from callsheet.models.messages import (
    Image,
    Message,
    ModelReply,
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
from callsheet.models.openai_provider import speaks_responses
from callsheet.models.openai_wire import to_openai
from callsheet.models.responses_wire import from_responses, to_responses

LOOK = ToolSpec(name="look", description="Look.", schema='{"type":"object","properties":{}}')

THOUGHT = {
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "Hm."}],
    "encrypted_content": "x",
}
CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}


def request(*messages: Message, model: str = "openai/gpt-5.4", **more: Any) -> ModelRequest:
    return ModelRequest(id="r", model=model, messages=messages or (user("hello"),), **more)


def sent(*messages: Message, **more: Any) -> dict[str, Any]:
    asked = request(*messages, **more)
    return to_responses(asked, parse_model(asked.model))


def got(*output: Any, **more: Any) -> ModelReply:
    data = {"id": "resp", "model": "gpt-5.4", "status": "completed", "output": list(output), **more}
    return from_responses(data, request(), parse_model("openai/gpt-5.4"))


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "id": "msg", "content": [{"type": "output_text", "text": text}], **more}


def test_the_first_system_messages_are_the_instructions() -> None:
    body = sent(system("Be kind."), system("Be brief."), user("hello"), system("Now answer."))
    assert body["instructions"] == "Be kind.\n\nBe brief."
    assert body["input"] == [
        {"role": "user", "content": "hello"},
        {"role": "system", "content": "Now answer."},
    ]


def test_nothing_is_kept_by_the_provider() -> None:
    assert sent()["store"] is False


@pytest.mark.parametrize(
    ("model", "asks"),
    [
        ("gpt-5.4", True),
        ("o3", True),
        ("gpt-5.1-codex", True),
        ("gpt-4o", False),
        ("gpt-5-chat-latest", False),
    ],
)
def test_reasoning_is_asked_for_where_there_is_some(model: str, asks: bool) -> None:
    assert ("include" in sent(model=f"openai/{model}")) is asks


def test_reasoning_goes_back_in_its_place_without_what_was_given_by_the_server() -> None:
    reply = got(
        {
            "type": "reasoning",
            "id": "rs",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "encrypted_content": "x",
        },
        {
            "type": "function_call",
            "id": "fc",
            "call_id": "c1",
            "name": "look",
            "arguments": "{}",
            "status": "completed",
        },
    )
    assert reply.stop == "tool_calls"
    assert [part.text for part in reply.message.parts if isinstance(part, Thinking)] == ["Hm."]
    result = tool_results(ToolResult(call_id="c1", name="look", content="nothing", is_error=True))
    assert sent(user("hello"), reply.message, result)["input"][1:] == [
        THOUGHT,
        CALL,
        {"type": "function_call_output", "call_id": "c1", "output": "Error: nothing"},
    ]


def test_reasoning_of_another_api_or_provider_is_left_out() -> None:
    reply = got({"type": "reasoning", "summary": [], "encrypted_content": "x"}, said("Hi."))
    asked = request(user("hello"), reply.message, model="vllm/m")
    assert to_openai(asked, parse_model("vllm/m"))["messages"][1] == {"role": "assistant", "content": "Hi."}
    assert to_responses(asked, parse_model("vllm/m"))["input"][1:] == [
        {"role": "assistant", "content": "Hi."}
    ]


def test_the_phase_of_a_text_goes_back_with_it() -> None:
    reply = got(said("I look.", phase="commentary"), said("Found.", phase="final_answer"))
    assert reply.message.text == "I look.Found."
    assert sent(user("hello"), reply.message)["input"][1:] == [
        {"role": "assistant", "content": "I look.", "phase": "commentary"},
        {"role": "assistant", "content": "Found.", "phase": "final_answer"},
    ]


def test_items_without_a_form_here_are_carried() -> None:
    reply = got(
        {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"query": "q"}}, said("Hi.")
    )
    assert sent(user("hello"), reply.message)["input"][1] == {
        "type": "web_search_call",
        "action": {"query": "q"},
    }


def test_tools_are_not_strict_unless_said() -> None:
    assert sent(tools=(LOOK,))["tools"] == [
        {
            "type": "function",
            "name": "look",
            "description": "Look.",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        }
    ]


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ("auto", None),
        ("none", "none"),
        ("required", "required"),
        ("look", {"type": "function", "name": "look"}),
    ],
)
def test_the_choice_of_tools(choice: str, wanted: Any) -> None:
    assert sent(tools=(LOOK,), tool_choice=choice).get("tool_choice") == wanted


def test_structured_output_images_and_limits() -> None:
    spec = OutputSpec(name="verdict", schema='{"type":"object","properties":{},"required":[]}')
    picture = Message(
        role="user", parts=(Text(text="What is it?"), Image(media_type="image/png", data="AA=="))
    )
    body = sent(picture, output=spec, max_tokens=9, temperature=0.5, extra='{"text":{"verbosity":"low"}}')
    assert body["text"]["format"]["type"] == "json_schema"
    assert body["text"]["format"]["name"] == "verdict"
    assert body["text"]["verbosity"] == "low"
    assert (body["max_output_tokens"], body["temperature"]) == (9, 0.5)
    assert body["input"][0]["content"] == [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": "data:image/png;base64,AA=="},
    ]


def test_images_of_a_tool_come_after_its_results() -> None:
    message = Message(
        role="tool",
        parts=(ToolResult(call_id="c", name="look", content="See."), Image(url="https://example.org/a.png")),
    )
    assert [item.get("type", item.get("role")) for item in sent(message)["input"]] == [
        "function_call_output",
        "user",
    ]


def test_stop_sequences_are_refused_since_the_api_has_none() -> None:
    with pytest.raises(ModelRequestError) as caught:
        sent(stop=("END",))
    assert "chat" in caught.value.hint


@pytest.mark.parametrize(
    ("more", "stop"),
    [
        ({}, "end"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": None}, "other"),
        ({"status": "cancelled"}, "other"),
    ],
)
def test_why_it_stopped(more: dict[str, Any], stop: str) -> None:
    assert got(said("Hi."), **more).stop == stop


def test_a_refusal_is_text_and_a_reason_to_stop() -> None:
    reply = got({"type": "message", "content": [{"type": "refusal", "refusal": "No."}]})
    assert (reply.message.text, reply.stop) == ("No.", "refusal")


def test_annotations_are_kept_and_not_sent_back() -> None:
    block = {"type": "output_text", "text": "Hi.", "annotations": [{"type": "url_citation", "url": "u"}]}
    reply = got({"type": "message", "content": [block]})
    assert any(isinstance(part, Opaque) for part in reply.message.parts)
    assert sent(user("hello"), reply.message)["input"][1:] == [{"role": "assistant", "content": "Hi."}]


def test_two_calls_of_one_id_are_told_apart() -> None:
    item = {"type": "function_call", "call_id": "c", "name": "look", "arguments": ""}
    calls = got(item, item).message.tool_calls
    assert len({call.id for call in calls}) == 2
    assert {call.arguments for call in calls} == {"{}"}


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        {"output": "text"},
        {"output": ["text"]},
        {"output": [{"type": 5}]},
        {"output": [{"type": "function_call", "name": ""}]},
    ],
)
def test_what_is_no_reply_is_an_error_that_may_be_retried(data: Any) -> None:
    with pytest.raises(ModelReplyError) as caught:
        from_responses(data, request(), parse_model("openai/m"))
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("model", "extra", "wanted"),
    [
        ("openai/gpt-5.4", "{}", False),
        ("openai/gpt-5.4", '{"api":"responses"}', True),
        ("openai/o3-pro", "{}", True),
        ("openai/gpt-5.2-pro-2025-12-11", "{}", True),
        ("openai/gpt-5.1-codex", "{}", True),
        ("openai/o3-pro", '{"api":"chat"}', False),
        ("vllm/codex", "{}", False),
        ("vllm/codex", '{"api":"responses"}', True),
    ],
)
def test_which_api_a_model_is_called_by(model: str, extra: str, wanted: bool) -> None:
    asked = request(model=model, extra=extra)
    assert speaks_responses(asked, parse_model(model)) is wanted
    assert "api" not in to_openai(asked, parse_model(model))
    assert "api" not in to_responses(asked, parse_model(model))


def test_an_api_that_there_is_not_is_refused() -> None:
    with pytest.raises(ModelRequestError) as caught:
        speaks_responses(request(extra='{"api":"assistants"}'), parse_model("openai/m"))
    assert "responses" in caught.value.hint


def test_a_call_before_its_text_keeps_its_place() -> None:
    message = assistant("Done.", ToolCall(id="c", name="look", arguments="{}"))
    kinds = [item.get("type", item.get("role")) for item in sent(user("hello"), message)["input"]]
    assert kinds == ["user", "assistant", "function_call"]
