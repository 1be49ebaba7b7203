"""How a model is asked for an answer that fits a schema, and which schemas a provider can enforce.

Both providers guarantee the answer's form only for a subset of JSON Schema, and refuse the request for
anything outside it. A schema within the subset is closed (`additionalProperties: false`, which both
demand) and sent to be enforced; any other is sent as advice, and the answer is validated by the agent.

Models without structured output of their own are given a tool to call with the answer, or are told the
schema in words (`ModelRequest.output_mode`). The reply reads the same either way: a text of JSON.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from typing import Any

from callsheet.models.messages import Message, ModelRequest, OutputSpec, Part, Text, ToolCall, ToolSpec

ANSWER_TOOL = "give_structured_answer"
"""The tool that stands for structured output where there is none of the API's own."""

_COMMON = frozenset(
    {
        "type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf",
        "$ref", "$defs", "title", "description",
    }
)  # fmt: skip
# https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
_OPENAI = _COMMON | {
    "pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems",
    "maxItems",
}  # fmt: skip
# https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
_ANTHROPIC = _COMMON | {"default"}


def asked_by_tool(request: ModelRequest, *, may_force: bool = True) -> ModelRequest:
    """The request with a tool for the answer in place of `output`.

    The model is made to call it, or one of the other tools where it may choose among them. `may_force=False`
    leaves the choice to the model and tells it in words, for what does not go together with force (thinking).
    """
    if request.output is None:
        return request
    answer = ToolSpec(
        name=ANSWER_TOOL,
        description=f"Give the final answer. {request.output.description}".strip(),
        schema=request.output.schema,
    )
    choice = request.tool_choice
    if choice in ("auto", "none") or not request.tools:
        choice = "required" if request.tools and choice == "auto" else ANSWER_TOOL
    messages = request.messages
    if not may_force:
        choice = "auto"
        messages = _told(messages, f"Give your final answer by calling {ANSWER_TOOL}.")
    return replace(
        request, output=None, tools=(*request.tools, answer), tool_choice=choice, messages=messages
    )


def asked_in_words(request: ModelRequest) -> ModelRequest:
    """The request with the schema told to the model in place of `output`."""
    if request.output is None:
        return request
    return replace(request, output=None, messages=_told(request.messages, _in_words(request.output)))


def asked(request: ModelRequest) -> ModelRequest:
    """The request as its `output_mode` says; the same one where the provider's own output is to be used."""
    if request.output is None or request.output_mode == "native":
        return request
    return asked_by_tool(request) if request.output_mode == "tool" else asked_in_words(request)


def answered(parts: list[Part], request: ModelRequest) -> list[Part]:
    """The parts of a reply, with the answer as text where it was given by the tool for it."""
    if request.output is None:
        return parts
    return [
        Text(text=part.arguments) if isinstance(part, ToolCall) and part.name == ANSWER_TOOL else part
        for part in parts
    ]


def _told(messages: tuple[Message, ...], text: str) -> tuple[Message, ...]:
    part = Text(text=text)
    if messages and messages[0].role == "system":
        return (replace(messages[0], parts=(*messages[0].parts, part)), *messages[1:])
    return (Message(role="system", parts=(part,)), *messages)


def _in_words(output: OutputSpec) -> str:
    about = f" ({output.description})" if output.description else ""
    return (
        f"Give your final answer as one JSON value{about} and nothing else: no other text, no code fence. "
        f"It must fit this JSON schema:\n{output.schema}"
    )


@lru_cache(maxsize=512)
def parse_schema(text: str) -> dict[str, Any]:
    """The schema of a JSON text, shared by all callers: not to be changed. `{}` for what is no object.

    NaN and infinities, which are not JSON and which Python writes for such defaults, become null.
    """
    try:
        schema = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return {}
    return schema if isinstance(schema, dict) else {}


@lru_cache(maxsize=512)
def openai_strict(text: str) -> dict[str, Any] | None:
    """The schema closed for OpenAI's strict mode, or None where that mode would refuse it."""
    schema = parse_schema(text)
    if schema.get("type") != "object":
        return None
    return _closed(schema, _OPENAI, all_required=True)


@lru_cache(maxsize=512)
def anthropic_native(text: str) -> dict[str, Any] | None:
    """The schema closed for Anthropic's `output_config`, or None where that would refuse it."""
    schema = parse_schema(text)
    if schema.get("type") != "object" or _recursive(schema):
        return None
    return _closed(schema, _ANTHROPIC, all_required=False)


def _closed(schema: Any, allowed: frozenset[str], *, all_required: bool) -> dict[str, Any] | None:
    if not isinstance(schema, dict) or not schema.keys() <= allowed:
        return None
    if "$ref" in schema:
        # Neither takes a reference to another document; OpenAI takes nothing beside a reference.
        local = isinstance(schema["$ref"], str) and schema["$ref"].startswith("#")
        return schema if local and (not all_required or len(schema) == 1) else None
    if not schema.keys() & {"type", "enum", "const", "anyOf"}:
        return None  # "anything" cannot be enforced
    out = dict(schema)
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties", False) is not False or not isinstance(
            schema.get("properties"), dict
        ):
            return None
        if all_required and set(schema.get("required", ())) != set(schema["properties"]):
            return None
        out["additionalProperties"] = False
    elif schema.get("type") == "array" and "items" not in schema:
        return None
    for key in ("properties", "$defs"):
        if key in schema:
            if not isinstance(schema[key], dict):
                return None
            parts = {
                name: _closed(part, allowed, all_required=all_required) for name, part in schema[key].items()
            }
            if None in parts.values():
                return None
            out[key] = parts
    if "items" in schema:
        out["items"] = _closed(schema["items"], allowed, all_required=all_required)
        if out["items"] is None:
            return None
    if "anyOf" in schema:
        if not isinstance(schema["anyOf"], list):
            return None
        choices = [_closed(part, allowed, all_required=all_required) for part in schema["anyOf"]]
        if None in choices:
            return None
        out["anyOf"] = choices
    return out


def _recursive(schema: dict[str, Any]) -> bool:
    defs = schema.get("$defs")
    uses = (
        {f"#/$defs/{name}": _references(part) for name, part in defs.items()}
        if isinstance(defs, dict)
        else {}
    )
    if "#" in _references(schema):
        return True
    for start in uses:
        seen, pending = set(), list(uses[start])
        while pending:
            ref = pending.pop()
            if ref == start:
                return True
            if ref not in seen:
                seen.add(ref)
                pending.extend(uses.get(ref, ()))
    return False


def _references(value: Any) -> set[str]:
    found: set[str] = set()
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if isinstance(item.get("$ref"), str):
                found.add(item["$ref"])
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return found
