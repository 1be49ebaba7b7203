"""What all wire forms have in common: images, and how an answer that fits a schema is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from callsheet.core.errors import ModelRequestError
from callsheet.models.anthropic_wire import from_anthropic, to_anthropic
from callsheet.models.catalogue import ModelName
from callsheet.models.messages import (
    MESSAGE,
    Image,
    Message,
    ModelReply,
    ModelRequest,
    OutputSpec,
    Text,
    ToolResult,
    ToolSpec,
    assistant,
    system,
    user,
)
from callsheet.models.openai_wire import from_openai, to_openai
from callsheet.models.responses_wire import from_responses, to_responses

SPEC = OutputSpec(
    name="verdict",
    description="What you think.",
    schema='{"type":"object","properties":{"good":{"type":"boolean"}}}',
)
LOOK = ToolSpec(name="look", description="Look.", schema='{"type":"object","properties":{}}')
ANSWER = "give_structured_answer"
NAME = ModelName(provider="openai", model="m")
TO: dict[str, Callable[[ModelRequest, ModelName], dict[str, Any]]] = {
    "chat": to_openai,
    "messages": to_anthropic,
    "responses": to_responses,
}
FORMS = sorted(TO)


def request(*messages: Message, **more: Any) -> ModelRequest:
    return ModelRequest(id="r", model="openai/m", messages=messages or (user("hello"),), **more)


def names(body: dict[str, Any]) -> list[str]:
    return [tool.get("function", tool)["name"] for tool in body.get("tools", ())]


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_by_tool_is_asked_for_with_force(form: str) -> None:
    body = TO[form](request(output=SPEC, output_mode="tool"), NAME)
    assert names(body) == [ANSWER]
    assert ANSWER in json.dumps(body["tool_choice"])
    assert not {"response_format", "output_config", "text"} & body.keys()


@pytest.mark.parametrize("form", FORMS)
def test_with_other_tools_the_model_must_call_one_of_them(form: str) -> None:
    body = TO[form](request(output=SPEC, output_mode="tool", tools=(LOOK,)), NAME)
    assert names(body) == ["look", ANSWER]
    assert body["tool_choice"] in ("required", {"type": "any"})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("before", [(), (system("Be kind."),)])
def test_an_answer_in_words_is_asked_for_in_the_system_message(
    form: str, before: tuple[Message, ...]
) -> None:
    body = TO[form](request(*before, user("hello"), output=SPEC, output_mode="prompt"), NAME)
    assert not {"tools", "response_format", "output_config", "text"} & body.keys()
    told = json.dumps(body.get("system") or body.get("instructions") or body["messages"][0])
    assert "JSON schema" in told
    assert "good" in told


def replies(call: dict[str, Any]) -> dict[str, ModelReply]:
    asked = request(output=SPEC, output_mode="tool")
    text = json.dumps(call["input"])
    function = {"name": call["name"], "arguments": text}
    message = {"tool_calls": [{"id": "c", "function": function}]}
    chat = {"choices": [{"message": message, "finish_reason": "tool_calls"}]}
    block = {"type": "tool_use", "id": "c", **call}
    item = {"type": "function_call", "call_id": "c", **function}
    return {
        "chat": from_openai(chat, asked, NAME),
        "messages": from_anthropic({"content": [block], "stop_reason": "tool_use"}, asked, NAME),
        "responses": from_responses({"output": [item], "status": "completed"}, asked, NAME),
    }


@pytest.mark.parametrize("form", FORMS)
def test_the_answer_by_tool_reads_as_text_and_as_the_end(form: str) -> None:
    reply = replies({"name": ANSWER, "input": {"good": True}})[form]
    assert json.loads(reply.message.text) == {"good": True}
    assert (reply.message.tool_calls, reply.stop) == ((), "end")


@pytest.mark.parametrize("form", FORMS)
def test_a_call_of_another_tool_stays_a_call(form: str) -> None:
    reply = replies({"name": "look", "input": {}})[form]
    assert ([call.name for call in reply.message.tool_calls], reply.stop) == (["look"], "tool_calls")


def test_thinking_does_not_go_with_force_so_the_model_is_told() -> None:
    extra = '{"thinking":{"type":"enabled","budget_tokens":1024}}'
    body = to_anthropic(request(output=SPEC, output_mode="tool", extra=extra), NAME)
    assert "tool_choice" not in body
    assert ANSWER in body["system"]


PICTURE = Image(media_type="image/png", data="AA==")
LINKED = Image(url="https://example.org/a.png")


@pytest.mark.parametrize(
    ("form", "image", "wanted"),
    [
        ("chat", PICTURE, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}),
        ("chat", LINKED, {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}),
        ("responses", PICTURE, {"type": "input_image", "image_url": "data:image/png;base64,AA=="}),
        ("responses", LINKED, {"type": "input_image", "image_url": "https://example.org/a.png"}),
        (
            "messages",
            PICTURE,
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
        ),
        (
            "messages",
            LINKED,
            {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
        ),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_an_image_is_sent_as_the_api_wants_it(form: str, image: Image, wanted: Any, alone: bool) -> None:
    parts = (image,) if alone else (Text(text="What is it?"), image)
    body = TO[form](request(Message(role="user", parts=parts)), NAME)
    content = (body.get("messages") or body["input"])[0]["content"]
    assert content[-1] == wanted
    assert len(content) == len(parts)


@pytest.mark.parametrize("form", ["chat", "messages"])
def test_an_image_that_a_tool_gave_comes_after_its_result(form: str) -> None:
    result = ToolResult(call_id="c", name="look", content="See.")
    body = TO[form](request(user("hello"), Message(role="tool", parts=(PICTURE, result))), NAME)
    if form == "chat":
        assert [message["role"] for message in body["messages"]] == ["user", "tool", "user"]
    else:
        assert [block["type"] for block in body["messages"][0]["content"]] == ["tool_result", "text", "image"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "image",
    [
        Image(),
        Image(data="AA=="),
        Image(media_type="text/html", data="AA=="),
        Image(url="file:///etc/passwd"),
    ],
)
def test_what_is_no_image_is_refused_before_it_is_sent(form: str, image: Image) -> None:
    with pytest.raises(ModelRequestError) as caught:
        TO[form](request(Message(role="user", parts=(image,))), NAME)
    assert caught.value.hint


def test_an_image_survives_json() -> None:
    message = Message(role="user", parts=(PICTURE, LINKED))
    assert MESSAGE.validate_json(MESSAGE.dump_json(message)) == message


LONG = "word " * 1000
MARK = {"type": "ephemeral"}


def marks(body: dict[str, Any]) -> list[str]:
    """Where the cache is marked."""
    found = [f"tool {tool['name']}" for tool in body.get("tools", ()) if "cache_control" in tool]
    blocks = body.get("system", [])
    found += ["system" for block in blocks if isinstance(block, dict) and "cache_control" in block]
    for number, message in enumerate(body["messages"]):
        if isinstance(message["content"], list):
            found += [f"message {number}" for block in message["content"] if "cache_control" in block]
    return found


def test_nothing_short_is_marked_for_the_cache() -> None:
    assert marks(to_anthropic(request(system("Be kind."), user("hello"), tools=(LOOK,)), NAME)) == []


def test_what_comes_with_every_call_is_marked_where_it_is_long() -> None:
    assert marks(to_anthropic(request(system(LONG), user("hello")), NAME)) == ["system"]
    big = ToolSpec(name="big", description=LONG, schema="{}")
    assert marks(to_anthropic(request(user("hello"), tools=(LOOK, big)), NAME)) == ["tool big", "message 0"]


def test_a_conversation_that_goes_on_is_marked_at_its_end() -> None:
    messages = (system("Be kind."), user(LONG), assistant("Hm."), user("And?"))
    assert marks(to_anthropic(request(*messages, tools=(LOOK,)), NAME)) == ["message 2"]
    assert marks(to_anthropic(request(*messages), NAME)) == []


def test_marks_are_not_left_in_what_other_requests_share() -> None:
    big = ToolSpec(name="big", description=LONG, schema="{}")
    to_anthropic(request(user("hello"), tools=(big,)), NAME)
    assert marks(to_anthropic(request(system(LONG), user("hello"), tools=(big,)), NAME)) == [
        "system",
        "message 0",
    ]


def test_who_says_what_is_cached_is_not_overruled() -> None:
    asked = request(system(LONG), user("hello"), extra=json.dumps({"cache_control": MARK}))
    body = to_anthropic(asked, NAME)
    assert (marks(body), body["cache_control"]) == ([], MARK)


def test_what_was_cached_is_counted() -> None:
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 5,
        "output_tokens": 1,
    }
    counted = from_anthropic({"content": [], "usage": usage}, request(), NAME).usage
    assert (counted.input_tokens, counted.cache_read_tokens, counted.cache_write_tokens) == (115, 100, 5)
