"""The Chat Completions form of requests and replies: OpenAI's, and that of the servers like it.

Pure translation, both ways. What differs for the others: `max_tokens` in place of
`max_completion_tokens`, no `name` of a message (some refuse it), and arguments of earlier calls that
must be readable JSON (vLLM's templates parse them).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from callsheet.models.catalogue import ModelName
from callsheet.models.messages import (
    Image,
    Message,
    ModelReply,
    ModelRequest,
    Opaque,
    OutputSpec,
    Part,
    Stop,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
)
from callsheet.models.structured import answered, asked, openai_strict, parse_schema
from callsheet.models.wire import (
    arguments_object,
    bad_reply,
    call_id,
    count,
    extra_fields,
    image_url,
    unique_call_id,
)

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MODES = frozenset({"auto", "none", "required"})
_STOPS: dict[str, Stop] = {
    "stop": "end",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_MESSAGE_KEYS = frozenset(
    {"role", "content", "refusal", "tool_calls", "function_call", "reasoning_content", "reasoning", "name"}
)


def to_openai(request: ModelRequest, name: ModelName) -> dict[str, Any]:
    """The body to post to `/chat/completions`.

    Raises ModelRequestError for extra fields that are no JSON object, and for images that are none.
    """
    own = name.provider in ("openai", "azure")
    request = asked(request)
    body: dict[str, Any] = {
        "model": name.model,
        "messages": [item for message in request.messages for item in _message(message, own)],
    }
    if request.tools:
        body["tools"] = openai_tools(request.tools)
        if request.tool_choice not in _MODES:
            body["tool_choice"] = {"type": "function", "function": {"name": request.tool_choice}}
        elif request.tool_choice != "auto":
            body["tool_choice"] = request.tool_choice
    if request.output is not None:
        body["response_format"] = openai_format(request.output)
    if request.max_tokens is not None:
        body["max_completion_tokens" if own else "max_tokens"] = request.max_tokens
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.stop:
        body["stop"] = list(request.stop)
    body.update(extra_fields(request))
    body.pop("api", None)  # says which API is spoken: see openai_provider.py
    return body


@lru_cache(maxsize=256)
def openai_tools(tools: tuple[ToolSpec, ...]) -> list[dict[str, Any]]:
    """The tools' declarations; made once per set of tools, and not to be changed."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": parse_schema(tool.schema) or {"type": "object", "properties": {}},
            },
        }
        for tool in tools
    ]


@lru_cache(maxsize=256)
def openai_format(output: OutputSpec) -> dict[str, Any]:
    """The `response_format` of an output; strict exactly where strict mode takes the schema."""
    strict = openai_strict(output.schema)
    form: dict[str, Any] = {
        "name": re.sub(r"[^a-zA-Z0-9_-]", "_", output.name)[:64] or "output",
        "schema": parse_schema(output.schema) if strict is None else strict,
        "strict": strict is not None,
    }
    if output.description:
        form["description"] = output.description
    return {"type": "json_schema", "json_schema": form}


def _message(message: Message, own: bool) -> list[dict[str, Any]]:
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    items: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": call_id(part.call_id, 40), "content": result_text(part)}
        for part in results
    ]
    content = [part for part in message.parts if isinstance(part, Text | Image)]
    calls = message.tool_calls
    if results and not content and not calls:
        return items
    role = "user" if message.role == "tool" else message.role
    item: dict[str, Any] = {"role": role, "content": _content(content, role, message.text)}
    if calls:
        item["tool_calls"] = [
            {
                "id": call_id(call.id, 40),
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": call.arguments if own else json.dumps(arguments_object(call.arguments)),
                },
            }
            for call in calls
        ]
        if not content:
            item["content"] = None
    if own and message.name and _NAME.fullmatch(message.name):
        item["name"] = message.name
    return [*items, item]


def _content(parts: list[Text | Image], role: str, text: str) -> Any:
    if role == "assistant" or not parts or (len(parts) == 1 and isinstance(parts[0], Text)):
        return text
    return [
        {"type": "text", "text": part.text}
        if isinstance(part, Text)
        else {"type": "image_url", "image_url": {"url": image_url(part, "")}}
        for part in parts
    ]


def result_text(part: ToolResult) -> str:
    """A result's text; OpenAI's APIs have no mark for a failed call, so the text says it."""
    return (
        f"Error: {part.content}" if part.is_error and not part.content.startswith("Error") else part.content
    )


def from_openai(data: Any, request: ModelRequest, name: ModelName) -> ModelReply:
    """The reply in a Chat Completions body, whole: what has no form here is carried as Opaque parts.

    Raises ModelReplyError where the body is not what the protocol promises. `cost_usd`, `elapsed_s` and
    `attempts` are the gateway's to fill.
    """
    if not isinstance(data, Mapping):
        raise bad_reply(name.provider, name.model, "is not a JSON object")
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise bad_reply(name.provider, name.model, "has no choices in it")
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise bad_reply(name.provider, name.model, "has a choice without a message")
    response_id = data.get("id") if isinstance(data.get("id"), str) else None
    calls = _calls(message, response_id, name)
    refusal = message.get("refusal")
    parts: list[Part] = [
        *(Thinking(text=text) for text in _reasoning(message)),
        *_texts(message.get("content"), name.provider),
        *((Text(text=refusal),) if isinstance(refusal, str) and refusal else ()),
        *calls,
    ]
    # What cannot be handed back as it is goes under a provider name that no translation takes up.
    rest = {key: value for key, value in message.items() if key not in _MESSAGE_KEYS and value}
    if rest:
        parts.append(Opaque(provider=f"{name.provider}:message", json=json.dumps(rest)))
    parts.extend(Opaque(provider=f"{name.provider}:choice", json=json.dumps(other)) for other in choices[1:])

    found = tuple(answered(parts, request))
    calls = [part for part in found if isinstance(part, ToolCall)]
    reason = choice.get("finish_reason")
    stop: Stop = _STOPS.get(reason if isinstance(reason, str) else "", "other")
    if calls and stop in ("end", "other"):  # a forced call ends with "stop"
        stop = "tool_calls"
    elif stop == "tool_calls" and not calls:
        stop = "end"
    model = data.get("model")
    usage = data.get("usage")
    return ModelReply(
        request_id=request.id,
        message=Message(role="assistant", parts=found),
        stop="refusal" if isinstance(refusal, str) and refusal and stop == "end" else stop,
        model=f"{name.provider}/{model if isinstance(model, str) and model else name.model}",
        usage=Usage(
            input_tokens=count(usage, "prompt_tokens"),
            output_tokens=count(usage, "completion_tokens"),
            cache_read_tokens=count(usage, "prompt_tokens_details", "cached_tokens")
            or count(usage, "prompt_cache_hit_tokens"),
            reasoning_tokens=count(usage, "completion_tokens_details", "reasoning_tokens"),
        ),
        response_id=response_id,
    )


def _reasoning(message: Mapping[str, Any]) -> list[str]:
    for key in ("reasoning_content", "reasoning"):
        text = message.get(key)
        if isinstance(text, str) and text:
            return [text]
    return []


def _texts(content: Any, provider: str) -> list[Part]:
    if isinstance(content, str):
        return [Text(text=content)] if content else []
    parts: list[Part] = []
    for block in content if isinstance(content, list) else [content] if content else ():
        if isinstance(block, Mapping) and block.get("type") == "text" and isinstance(block.get("text"), str):
            parts.append(Text(text=block["text"]))
        else:
            parts.append(Opaque(provider=f"{provider}:content", json=json.dumps(block)))
    return parts


def _calls(message: Mapping[str, Any], response_id: str | None, name: ModelName) -> list[ToolCall]:
    listed = message.get("tool_calls") or []
    if not isinstance(listed, list):
        raise bad_reply(name.provider, name.model, "has tool calls that are no list")
    if not listed and isinstance(message.get("function_call"), Mapping):  # the form before `tool_calls`
        listed = [{"function": message["function_call"]}]
    calls: list[ToolCall] = []
    for index, item in enumerate(listed):
        function = item.get("function") if isinstance(item, Mapping) else None
        if (
            not isinstance(function, Mapping)
            or not isinstance(function.get("name"), str)
            or not function["name"]
        ):
            raise bad_reply(name.provider, name.model, "has a tool call that names no function")
        arguments = function.get("arguments")
        if not isinstance(arguments, str):  # some servers send the object itself
            arguments = json.dumps(arguments if arguments is not None else {})
        wanted = str(item.get("id") or f"call_{index}_{call_id(response_id or 'reply', 24)}")
        calls.append(
            ToolCall(
                id=unique_call_id(wanted, {call.id for call in calls}),
                name=function["name"],
                arguments=(arguments.strip() and arguments) or "{}",
            )
        )
    return calls
