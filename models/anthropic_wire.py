"""The Messages form of requests and replies (Anthropic). Pure translation, both ways.

Structured output goes by the API's own `output_config` where the model and the schema allow it, else by a
tool for the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from callsheet.models.anthropic_cache import mark_cached
from callsheet.models.catalogue import ModelName
from callsheet.models.messages import (
    Image,
    Message,
    ModelReply,
    ModelRequest,
    Opaque,
    Part,
    Stop,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
)
from callsheet.models.structured import (
    answered,
    anthropic_native,
    asked_by_tool,
    asked_in_words,
    parse_schema,
)
from callsheet.models.wire import (
    arguments_object,
    bad_reply,
    call_id,
    count,
    extra_fields,
    image_url,
    unique_call_id,
)

_NO_NATIVE_OUTPUT = re.compile(r"^claude-(?:[123]|v1|instant|sonnet-4-(?:0|2)|opus-4-(?:0|2))")
_STOPS: dict[str, Stop] = {
    "end_turn": "end",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "stop_sequence": "stop_sequence",
    "refusal": "refusal",
}


def to_anthropic(request: ModelRequest, name: ModelName, default_max_tokens: int = 8192) -> dict[str, Any]:
    """The body to post to `/v1/messages`.

    Raises ModelRequestError for extra fields that are no JSON object, and for images that are none.
    """
    extra = extra_fields(request)
    output = None
    if request.output is not None:
        if request.output_mode == "native" and not _NO_NATIVE_OUTPUT.match(name.model):
            output = anthropic_native(request.output.schema)
        if output is None:
            request = _asked_otherwise(request, extra)
    body: dict[str, Any] = {
        "model": name.model,
        "max_tokens": request.max_tokens or default_max_tokens,
        "messages": _turns(request.messages, name),
    }
    if system := _system(request.messages):
        body["system"] = system
    if request.tools:
        body["tools"] = anthropic_tools(request.tools)
        if request.tool_choice != "auto":
            body["tool_choice"] = _choice(request.tool_choice)
    if output is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": output}}
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if "output_config" in extra and "output_config" in body and isinstance(extra["output_config"], dict):
        extra["output_config"] = {**body["output_config"], **extra["output_config"]}
    body.update(extra)
    if "cache_control" not in extra:  # who sets it decides what is cached
        mark_cached(body, request)
    return body


def _asked_otherwise(request: ModelRequest, extra: dict[str, Any]) -> ModelRequest:
    if request.output_mode == "prompt":
        return asked_in_words(request)
    thinking = extra.get("thinking")
    thinks = isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive")
    return asked_by_tool(request, may_force=not thinks)


@lru_cache(maxsize=256)
def anthropic_tools(tools: tuple[ToolSpec, ...]) -> list[dict[str, Any]]:
    """The tools' declarations; made once per set of tools, and not to be changed."""
    return [
        {
            "name": tool.name,
            "description": tool.description,
            "input_schema": {"type": "object", **parse_schema(tool.schema)},
        }
        for tool in tools
    ]


def _system(messages: tuple[Message, ...]) -> Any:
    parts = [part for message in messages if message.role == "system" for part in message.parts]
    texts = [part.text for part in parts if isinstance(part, Text) and part.text.strip()]
    return texts[0] if len(texts) == 1 else [{"type": "text", "text": text} for text in texts]


def _choice(choice: str) -> dict[str, Any]:
    if choice == "none":
        return {"type": "none"}
    if choice == "required":
        return {"type": "any"}
    return {"type": "tool", "name": choice}


def _turns(messages: tuple[Message, ...], name: ModelName) -> list[dict[str, Any]]:
    # The API wants no two turns of one side in a row, results before text, and no empty turn.
    turns: list[tuple[str, list[dict[str, Any]]]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [block for part in message.parts for block in _blocks(part, name)]
        if not blocks:
            continue
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    if not turns or turns[0][0] == "assistant":
        turns.insert(0, ("user", [{"type": "text", "text": "(no message)"}]))
    return [{"role": role, "content": _content(role, blocks)} for role, blocks in turns]


def _content(role: str, blocks: list[dict[str, Any]]) -> Any:
    if len(blocks) == 1 and blocks[0]["type"] == "text":
        return blocks[0]["text"]
    if role == "user" and len(blocks) > 1:
        blocks.sort(key=lambda block: block["type"] != "tool_result")
    return blocks


def _blocks(part: Part, name: ModelName) -> list[dict[str, Any]]:
    match part:
        case Text():
            return [{"type": "text", "text": part.text}] if part.text.strip() else []
        case Image():
            url = image_url(part, str(name))
            if part.data:
                source = {"type": "base64", "media_type": part.media_type, "data": part.data}
            else:
                source = {"type": "url", "url": url}
            return [{"type": "image", "source": source}]
        case ToolCall():
            arguments = arguments_object(part.arguments)
            return [{"type": "tool_use", "id": call_id(part.id), "name": part.name, "input": arguments}]
        case ToolResult():
            result = {"type": "tool_result", "tool_use_id": call_id(part.call_id), "content": part.content}
            return [{**result, "is_error": True}] if part.is_error else [result]
        case Thinking():
            if part.redacted is not None:
                return [{"type": "redacted_thinking", "data": part.redacted}]
            if part.signature is not None:
                return [{"type": "thinking", "thinking": part.text, "signature": part.signature}]
            return []  # another provider's, which this one would refuse
        case Opaque():
            return [json.loads(part.json)] if part.provider == "anthropic" else []


def from_anthropic(data: Any, request: ModelRequest, name: ModelName) -> ModelReply:
    """The reply in a Messages body, whole: blocks that have no form here are carried as Opaque parts.

    Raises ModelReplyError where the body is not what the protocol promises. `cost_usd`, `elapsed_s` and
    `attempts` are the gateway's to fill.
    """
    if not isinstance(data, Mapping):
        raise bad_reply(name.provider, name.model, "is not a JSON object")
    content = data.get("content")
    if not isinstance(content, list):
        raise bad_reply(name.provider, name.model, "has no content in it")
    parts: list[Part] = []
    for block in content:
        if not isinstance(block, Mapping) or not isinstance(block.get("type"), str):
            raise bad_reply(name.provider, name.model, "has a content block without a type")
        for part in answered(_parts(block, name), request):
            if isinstance(part, ToolCall):
                taken = {call.id for call in parts if isinstance(call, ToolCall)}
                parts.append(replace(part, id=unique_call_id(part.id, taken)))
            else:
                parts.append(part)
    calls = any(isinstance(part, ToolCall) for part in parts)
    reason = data.get("stop_reason")
    stop: Stop = _STOPS.get(reason if isinstance(reason, str) else "", "other")
    if stop == "tool_calls" and not calls:
        stop = "end"
    usage = data.get("usage")
    read = count(usage, "cache_read_input_tokens")
    written = count(usage, "cache_creation_input_tokens")
    model = data.get("model")
    return ModelReply(
        request_id=request.id,
        message=Message(role="assistant", parts=tuple(parts)),
        stop=stop,
        model=f"{name.provider}/{model if isinstance(model, str) and model else name.model}",
        usage=Usage(
            # The API counts cached tokens apart; ours are included.
            input_tokens=count(usage, "input_tokens") + read + written,
            output_tokens=count(usage, "output_tokens"),
            cache_read_tokens=read,
            cache_write_tokens=written,
            reasoning_tokens=count(usage, "output_tokens_details", "thinking_tokens"),
        ),
        response_id=data.get("id") if isinstance(data.get("id"), str) else None,
    )


def _parts(block: Mapping[str, Any], name: ModelName) -> list[Part]:
    kind = block["type"]
    if kind == "text" and isinstance(block.get("text"), str):
        text: list[Part] = [Text(text=block["text"])] if block["text"] else []
        if block.get("citations"):
            # Kept for readers; under a provider name that no translation hands back.
            text.append(Opaque(provider="anthropic:citations", json=json.dumps(block["citations"])))
        return text
    if kind == "tool_use":
        if not isinstance(block.get("name"), str) or not isinstance(block.get("input"), Mapping | str):
            raise bad_reply(name.provider, name.model, "has a tool call without a name or without arguments")
        # A text is what a streamed call holds that is no JSON: the model is told so, by whoever reads it.
        arguments = block["input"]
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        return [ToolCall(id=str(block.get("id") or "call"), name=block["name"], arguments=arguments)]
    if kind == "thinking" and isinstance(block.get("thinking"), str):
        signature = block.get("signature")
        return [Thinking(text=block["thinking"], signature=signature if isinstance(signature, str) else None)]
    if kind == "redacted_thinking" and isinstance(block.get("data"), str):
        return [Thinking(redacted=block["data"])]
    return [Opaque(provider="anthropic", json=json.dumps(block, ensure_ascii=False))]
