"""Recorded exchanges: a recorded body as a ModelRequest, and bodies brought to one form for comparison."""

from __future__ import annotations

import copy
import json
from typing import Any

from callsheet.models.messages import (
    Image,
    Message,
    ModelRequest,
    Opaque,
    OutputSpec,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSpec,
)

_OURS = {
    "model", "messages", "tools", "tool_choice", "temperature", "max_tokens", "max_completion_tokens",
    "stop", "stop_sequences", "system", "stream", "stream_options", "response_format", "output_config",
}  # fmt: skip


class InexpressibleError(Exception):
    """The recorded request uses what a ModelRequest has no word for."""


def as_request(body: dict[str, Any], api: str, provider: str) -> ModelRequest:
    """The recorded body as the request that an agent would have made."""
    if api == "responses":
        return _as_responses_request(body, provider)
    openai = api == "chat.completions"
    messages = [
        m for item in body["messages"] for m in (_from_openai(item) if openai else _from_anthropic(item))
    ]
    system = body.get("system")
    if system:
        texts = [system] if isinstance(system, str) else [block["text"] for block in system]
        messages.insert(0, Message(role="system", parts=tuple(Text(text=text) for text in texts)))
    extra = {key: value for key, value in body.items() if key not in _OURS}
    output, form = None, body.get("response_format")
    if form and form["type"] == "json_schema":
        spec = form["json_schema"]
        output = OutputSpec(
            name=spec["name"], schema=json.dumps(spec["schema"]), description=spec.get("description", "")
        )
    elif form:
        extra["response_format"] = form
    config = body.get("output_config") or {}
    if config.get("format", {}).get("type") == "json_schema":
        output = OutputSpec(name="output", schema=json.dumps(config["format"]["schema"]))
        config = {key: value for key, value in config.items() if key != "format"}
    if config:
        extra["output_config"] = config
    choice, tools = _choice(body.get("tool_choice"), extra), []
    for tool in body.get("tools", ()):
        inner = tool.get("function") if openai else tool
        if "input_schema" not in inner and "parameters" not in inner:
            extra["tools"] = body["tools"]  # a tool of the provider's own
            tools = []
            break
        tools.append(
            ToolSpec(
                name=inner["name"],
                description=inner.get("description", ""),
                schema=json.dumps(inner["parameters" if openai else "input_schema"]),
            )
        )
    if extra.get("tools") and body.get("tool_choice"):
        extra["tool_choice"] = body["tool_choice"]
    stop = body.get("stop") or body.get("stop_sequences") or ()
    return ModelRequest(
        id="recorded",
        model=f"{provider}/{body['model']}",
        messages=tuple(messages),
        tools=tuple(tools),
        tool_choice=choice,
        output=output,
        temperature=body.get("temperature"),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        extra=json.dumps(extra),
    )


def _choice(choice: Any, extra: dict[str, Any]) -> str:
    if choice is None or isinstance(choice, str):
        return choice or "auto"
    if choice.get("disable_parallel_tool_use"):
        extra["tool_choice"] = choice
        return "auto"
    if choice["type"] == "function":
        return str(choice["function"]["name"])
    return {"any": "required"}.get(choice["type"]) or str(choice.get("name", choice["type"]))


def _texts(content: Any) -> list[Part]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(text=content)]
    return [_text_or_image(block) for block in content]


def _text_or_image(block: dict[str, Any]) -> Part:
    if "text" in block:
        return Text(text=block["text"])
    if block["type"] == "image_url":
        return _image(block["image_url"]["url"])
    if block["type"] == "input_image":
        return _image(block["image_url"])
    if block["type"] == "image":
        source = block["source"]
        return Image(
            media_type=source.get("media_type", ""), data=source.get("data", ""), url=source.get("url", "")
        )
    raise InexpressibleError(f"a {block['type']} in a message")


def _image(url: str) -> Image:
    if not url.startswith("data:"):
        return Image(url=url)
    kind, _, data = url.removeprefix("data:").partition(";base64,")
    return Image(media_type=kind, data=data)


def _as_responses_request(body: dict[str, Any], provider: str) -> ModelRequest:
    messages: list[Message] = []
    if body.get("instructions"):
        messages.append(Message(role="system", parts=(Text(text=body["instructions"]),)))
    items = body["input"]
    for item in [{"role": "user", "content": items}] if isinstance(items, str) else items:
        match item.get("type", "message"):
            case "message":
                messages.append(Message(role=item["role"], parts=tuple(_texts(item["content"]))))
            case "function_call":
                call = ToolCall(id=item["call_id"], name=item["name"], arguments=item["arguments"])
                messages.append(Message(role="assistant", parts=(call,)))
            case "function_call_output":
                result = ToolResult(call_id=item["call_id"], name="", content=item["output"])
                messages.append(Message(role="tool", parts=(result,)))
            case other:
                raise InexpressibleError(f"an item of type {other}")
    extra = {
        key: body[key] for key in body if key not in {*_OURS, "input", "instructions", "store", "include"}
    }
    return ModelRequest(
        id="recorded",
        model=f"{provider}/{body['model']}",
        messages=tuple(messages),
        tools=tuple(
            ToolSpec(
                name=tool["name"],
                description=tool.get("description", ""),
                schema=json.dumps(tool["parameters"]),
            )
            for tool in body.get("tools", ())
        ),
        temperature=body.get("temperature"),
        extra=json.dumps({**extra, "api": "responses"}),
    )


def _from_openai(item: dict[str, Any]) -> list[Message]:
    if item["role"] == "tool":
        text = "".join(part.text for part in _texts(item["content"]) if isinstance(part, Text))
        result = ToolResult(call_id=item["tool_call_id"], name=item.get("name", ""), content=text)
        return [Message(role="tool", parts=(result,))]
    calls = [
        ToolCall(id=call["id"], name=call["function"]["name"], arguments=call["function"]["arguments"])
        for call in item.get("tool_calls") or ()
    ]
    parts = (*_texts(item.get("content")), *calls)
    return [Message(role=item["role"], parts=parts, name=item.get("name"))]


def _from_anthropic(item: dict[str, Any]) -> list[Message]:
    if not isinstance(item, dict):
        raise InexpressibleError("a message that is a text (sent to provoke the error)")
    if isinstance(item["content"], str):
        return [Message(role=item["role"], parts=(Text(text=item["content"]),))]
    parts: list[Part] = []
    results: list[Part] = []
    for block in item["content"]:
        match block["type"]:
            case "text":
                parts.append(Text(text=block["text"]))
            case "tool_use":
                call = ToolCall(id=block["id"], name=block["name"], arguments=json.dumps(block["input"]))
                parts.append(call)
            case "tool_result":
                content = block["content"]
                text = content if isinstance(content, str) else "".join(part["text"] for part in content)
                failed = block.get("is_error", False)
                result = ToolResult(call_id=block["tool_use_id"], name="", content=text, is_error=failed)
                results.append(result)
            case "thinking":
                parts.append(Thinking(text=block["thinking"], signature=block["signature"]))
            case "redacted_thinking":
                parts.append(Thinking(redacted=block["data"]))
            case _:
                parts.append(Opaque(provider="anthropic", json=json.dumps(block)))
    found = [Message(role="tool", parts=tuple(results))] if results else []
    return [*found, Message(role=item["role"], parts=tuple(parts))] if parts else found


def meaning(body: dict[str, Any]) -> dict[str, Any]:
    """The body without what changes nothing: defaults written out, one text as a list, null for nothing."""
    body = copy.deepcopy(body)
    if "input" in body:
        return _meaning_of_responses(body)
    body.pop("stream_options", None)  # whether tokens are counted in a stream changes no answer
    for key, default in (
        ("stream", False),
        ("n", 1),
        ("tool_choice", "auto"),
        ("tool_choice", {"type": "auto"}),
    ):
        if body.get(key) == default and type(body.get(key)) is type(default):
            del body[key]
    if "max_completion_tokens" in body:
        body["max_tokens"] = body.pop("max_completion_tokens")
    for key in ("stop", "stop_sequences"):
        if isinstance(body.get(key), str):
            body[key] = [body[key]]
    if "system" in body:
        body["system"] = _one_text(body["system"])
    for tool in body.get("tools", ()):
        inner = tool.get("function", tool)
        inner.pop("strict", None)  # how strictly a call is checked, not what it means
        inner.setdefault("description", "")
    form = body.get("response_format", {}).get("json_schema")
    if form:
        form.pop("strict", None)
    for message in body["messages"]:
        message["content"] = _one_text(message.get("content"))
        if not message["content"]:
            message["content"] = None
        if message["role"] == "tool":
            message.pop("name", None)  # the call's id says it
        for call in message.get("tool_calls") or ():
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return body


def _meaning_of_responses(body: dict[str, Any]) -> dict[str, Any]:
    for key in ("stream", "store", "include"):  # who keeps the conversation changes no answer
        body.pop(key, None)
    if isinstance(body["input"], str):
        body["input"] = [{"role": "user", "content": body["input"]}]
    for item in body["input"]:
        for key in ("id", "status"):
            item.pop(key, None)
        for block in item["content"] if isinstance(item.get("content"), list) else ():
            block.setdefault("detail", "auto")
    for tool in body.get("tools", ()):
        tool.pop("strict", None)
        tool.setdefault("description", "")
    return body


def _one_text(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    for block in content:
        if block["type"] == "tool_result":
            block["content"] = _one_text(block["content"])
            if block.get("is_error") is False:
                del block["is_error"]
    if len(content) == 1 and content[0]["type"] == "text":
        return content[0]["text"]
    return content
