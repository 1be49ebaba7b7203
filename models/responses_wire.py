"""The form of OpenAI's Responses API: requests and replies. Pure translation, both ways.

Nothing is stored at the provider (`store: false`): a conversation is sent whole each time, as with the other
APIs. Reasoning comes back encrypted for that, and is handed on with the call it led to, as are other items
that have no form here. https://platform.openai.com/docs/guides/conversation-state and /reasoning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from callsheet.core.errors import ModelRequestError
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
from callsheet.models.openai_wire import openai_format, result_text
from callsheet.models.structured import answered, asked, parse_schema
from callsheet.models.wire import bad_reply, call_id, count, extra_fields, image_url, unique_call_id

_MODES = frozenset({"auto", "none", "required"})
# Others answer a request for encrypted reasoning with an error.
_REASONS = re.compile(r"^(?:o\d|gpt-[5-9](?!.*-chat)|codex|computer-use)")
# Given by the server, and unknown to it in a later call, since nothing is stored.
_NOT_SENT_BACK = frozenset({"id", "status", "created_by"})


def items_of(name: ModelName) -> str:
    """The provider name of Opaque parts that are items of this API, to be sent back as they came."""
    return f"{name.provider}:responses"


def to_responses(request: ModelRequest, name: ModelName) -> dict[str, Any]:
    """The body to post to `/responses`.

    Raises ModelRequestError for extra fields that are no JSON object, for images that are none, and for stop
    sequences, which this API does not have.
    """
    if request.stop:
        raise ModelRequestError(
            f"{name} is called by the Responses API, which has no stop sequences",
            model=request.model,
            hint='Leave `stop` out, or choose the other API with extra={"api": "chat"}.',
        )
    request = asked(request)
    first = 0
    while first < len(request.messages) and request.messages[first].role == "system":
        first += 1
    body: dict[str, Any] = {
        "model": name.model,
        "input": [item for message in request.messages[first:] for item in _items(message, name)],
        "store": False,
    }
    if instructions := "\n\n".join(message.text for message in request.messages[:first]):
        body["instructions"] = instructions
    if _REASONS.match(name.model):
        body["include"] = ["reasoning.encrypted_content"]
    if request.tools:
        body["tools"] = responses_tools(request.tools)
        if request.tool_choice not in _MODES:
            body["tool_choice"] = {"type": "function", "name": request.tool_choice}
        elif request.tool_choice != "auto":
            body["tool_choice"] = request.tool_choice
    if request.output is not None:
        body["text"] = {"format": _format(request.output)}
    if request.max_tokens is not None:
        body["max_output_tokens"] = request.max_tokens
    if request.temperature is not None:
        body["temperature"] = request.temperature
    extra = extra_fields(request)
    extra.pop("api", None)
    if isinstance(extra.get("text"), dict) and "text" in body:
        extra["text"] = {**body["text"], **extra["text"]}
    body.update(extra)
    return body


@lru_cache(maxsize=256)
def responses_tools(tools: tuple[ToolSpec, ...]) -> list[dict[str, Any]]:
    """The tools' declarations; made once per set of tools, and not to be changed."""
    return [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": parse_schema(tool.schema) or {"type": "object", "properties": {}},
            "strict": False,  # unsaid, this API takes it for true, and refuses most schemas
        }
        for tool in tools
    ]


def _format(output: OutputSpec) -> dict[str, Any]:
    return {"type": "json_schema", **openai_format(output)["json_schema"]}


def _items(message: Message, name: ModelName) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    said: list[Text | Image] = []
    role = "user" if message.role == "tool" else message.role

    def say(**more: Any) -> None:
        if said:
            items.append({"role": role, "content": _content(said, role, name), **more})
            said.clear()

    for part in message.parts:
        match part:
            case Text() | Image():
                said.append(part)
            case ToolCall():
                say()
                items.append(
                    {
                        "type": "function_call",
                        "call_id": call_id(part.id),
                        "name": part.name,
                        "arguments": part.arguments,
                    }
                )
            case ToolResult():
                say()
                items.append(
                    {
                        "type": "function_call_output",
                        "call_id": call_id(part.call_id),
                        "output": result_text(part),
                    }
                )
            case Opaque(provider=provider) if provider == items_of(name):
                item = json.loads(part.json)
                if set(item) == {"phase"}:  # of the text before it
                    say(**item)
                else:
                    say()
                    items.append(item)
    say()
    return items


def _content(parts: list[Text | Image], role: str, name: ModelName) -> Any:
    if role == "assistant" or (len(parts) == 1 and isinstance(parts[0], Text)):
        return "".join(part.text for part in parts if isinstance(part, Text))
    return [
        {"type": "input_text", "text": part.text}
        if isinstance(part, Text)
        else {"type": "input_image", "image_url": image_url(part, str(name))}
        for part in parts
    ]


def from_responses(data: Any, request: ModelRequest, name: ModelName) -> ModelReply:
    """The reply in a Responses body, whole: items that have no form here are carried as Opaque parts.

    Raises ModelReplyError where the body is not what the protocol promises. `cost_usd`, `elapsed_s` and
    `attempts` are the gateway's to fill.
    """
    if not isinstance(data, Mapping):
        raise bad_reply(name.provider, name.model, "is not a JSON object")
    output = data.get("output")
    if not isinstance(output, list):
        raise bad_reply(name.provider, name.model, "has no output in it")
    parts: list[Part] = []
    refused = False
    for item in output:
        if not isinstance(item, Mapping) or not isinstance(item.get("type"), str):
            raise bad_reply(name.provider, name.model, "has an output item without a type")
        match item["type"]:
            case "message":
                refused |= _add_message(parts, item, name)
            case "function_call":
                parts.append(_call(item, {p.id for p in parts if isinstance(p, ToolCall)}, name))
            case "reasoning":
                if thought := _thought(item):
                    parts.append(Thinking(text=thought))
                if item.get("encrypted_content"):  # without it the server could not read it back
                    parts.append(_opaque(item, name))
            case _:
                parts.append(_opaque(item, name))
    found = tuple(answered(parts, request))
    answered_by, usage = data.get("model"), data.get("usage")
    return ModelReply(
        request_id=request.id,
        message=Message(role="assistant", parts=found),
        stop=_stop(data, found, refused=refused),
        model=f"{name.provider}/{answered_by if isinstance(answered_by, str) and answered_by else name.model}",
        usage=Usage(
            input_tokens=count(usage, "input_tokens"),
            output_tokens=count(usage, "output_tokens"),
            cache_read_tokens=count(usage, "input_tokens_details", "cached_tokens"),
            reasoning_tokens=count(usage, "output_tokens_details", "reasoning_tokens"),
        ),
        response_id=data.get("id") if isinstance(data.get("id"), str) else None,
    )


def _stop(data: Mapping[str, Any], parts: tuple[Part, ...], *, refused: bool) -> Stop:
    if data.get("status") == "incomplete":
        details = data.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, Mapping) else None
        if reason == "max_output_tokens":
            return "length"
        return "content_filter" if reason == "content_filter" else "other"
    if any(isinstance(part, ToolCall) for part in parts):
        return "tool_calls"
    if refused:
        return "refusal"
    return "end" if data.get("status", "completed") == "completed" else "other"


def _add_message(parts: list[Part], item: Mapping[str, Any], name: ModelName) -> bool:
    refused = False
    content = item.get("content")
    for block in content if isinstance(content, list) else ():
        kind = block.get("type") if isinstance(block, Mapping) else None
        if kind == "output_text" and isinstance(block.get("text"), str):
            if block["text"]:
                parts.append(Text(text=block["text"]))
            if block.get("annotations"):
                # Kept for readers; under a provider name that no translation hands back.
                kept = json.dumps(block["annotations"])
                parts.append(Opaque(provider=f"{name.provider}:annotations", json=kept))
        elif kind == "refusal" and isinstance(block.get("refusal"), str):
            refused = True
            parts.append(Text(text=block["refusal"]))
        else:
            parts.append(Opaque(provider=f"{name.provider}:content", json=json.dumps(block)))
    if isinstance(item.get("phase"), str):
        # Models that tell a commentary from the answer do worse when they do not see it again.
        parts.append(Opaque(provider=items_of(name), json=json.dumps({"phase": item["phase"]})))
    return refused


def _call(item: Mapping[str, Any], taken: set[str], name: ModelName) -> ToolCall:
    if not isinstance(item.get("name"), str) or not item["name"]:
        raise bad_reply(name.provider, name.model, "has a tool call that names no function")
    arguments = item.get("arguments")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments if arguments is not None else {})
    wanted = str(item.get("call_id") or item.get("id") or "call")
    return ToolCall(
        id=unique_call_id(wanted, taken),
        name=item["name"],
        arguments=(arguments.strip() and arguments) or "{}",
    )


def _thought(item: Mapping[str, Any]) -> str:
    lists = [item.get(key) for key in ("summary", "content")]
    blocks = [block for found in lists if isinstance(found, list) for block in found]
    texts = [block.get("text") for block in blocks if isinstance(block, Mapping)]
    return "\n\n".join(text for text in texts if isinstance(text, str) and text)


def _opaque(item: Mapping[str, Any], name: ModelName) -> Opaque:
    sent_back = {key: value for key, value in item.items() if key not in _NOT_SENT_BACK}
    return Opaque(provider=items_of(name), json=json.dumps(sent_back, ensure_ascii=False))
