"""Whether a provider's own structured output takes a JSON schema, and in which form.

Both providers guarantee the answer's form only for a subset of JSON Schema, and refuse the request for
anything outside it. A schema within the subset is closed (`additionalProperties: false`, which both
demand) and sent to be enforced; any other is sent as advice, and the answer is validated by the agent.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

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
