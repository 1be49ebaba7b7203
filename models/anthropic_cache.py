"""Which parts of a Messages request the provider is asked to keep for the next call (prompt caching).

Marked is what comes again: tools and system with every call of an agent, the conversation so far with the next
call of its turn. A cached token costs a tenth when it is read, and a quarter more when it is written.
https://platform.claude.com/docs/en/build-with-claude/prompt-caching
"""

from __future__ import annotations

from typing import Any

from callsheet.models.messages import Image, ModelRequest, Part, Text, ToolCall, ToolResult

CACHED_CHARS = 4096
"""Below this many characters no model of Anthropic's caches (1,024 tokens and more), so nothing is marked."""


def mark_cached(body: dict[str, Any], request: ModelRequest) -> None:
    """Put the marks into a body made from the request; what both share with other bodies is copied first."""
    # The prompt is tools, system, messages, in this order, and a mark stands for all before it.
    size = sum(len(tool.description) + len(tool.schema) for tool in request.tools)
    system = body.get("system")
    if isinstance(system, str):
        size += len(system)
    elif isinstance(system, list):
        size += sum(len(block.get("text", "")) for block in system)
    mark = {"cache_control": {"type": "ephemeral"}}
    if size >= CACHED_CHARS:
        if isinstance(system, str):
            body["system"] = [{"type": "text", "text": system, **mark}]
        elif isinstance(system, list):
            body["system"] = [*system[:-1], {**system[-1], **mark}]
        elif request.tools and body.get("tools"):
            body["tools"] = [*body["tools"][:-1], {**body["tools"][-1], **mark}]
    if not request.tools:
        return
    # With tools, the conversation so far most likely comes again, with the tools' results.
    for message in request.messages:
        if size >= CACHED_CHARS:
            break
        if message.role != "system":
            size += sum(_length(part) for part in message.parts)
    last = body["messages"][-1]
    if size < CACHED_CHARS or last["role"] != "user":
        return
    content = last["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    last["content"] = [*content[:-1], {**content[-1], **mark}]


def _length(part: Part) -> int:
    match part:
        case Text():
            return len(part.text)
        case ToolResult():
            return len(part.content)
        case ToolCall():
            return len(part.arguments)
        case Image():
            return CACHED_CHARS
    return 0
