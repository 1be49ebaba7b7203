"""Reading JSON Schema for the offline engine: references resolved, alternatives chosen, bounds kept."""

from __future__ import annotations

from typing import Any

DEEPEST = 8


def resolve(schema: Any, root: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """The schema itself: behind its `$ref`, with `allOf` merged, the first non-null alternative taken.

    `{}` (anything) for what cannot be read.
    """
    if not isinstance(schema, dict) or depth > DEEPEST:
        return {}
    if isinstance(schema.get("$ref"), str):
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return {**resolve(_behind(schema["$ref"], root), root, depth + 1), **rest}
    if isinstance(schema.get("allOf"), list):
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            _merge(merged, resolve(part, root, depth + 1))
        return merged
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list) and schema[key]:
            options = [resolve(option, root, depth + 1) for option in schema[key]]
            option = next((item for item in options if item.get("type") != "null"), options[0])
            rest = {name: value for name, value in schema.items() if name != key}
            return {**rest, **option}
    kind = schema.get("type")
    if isinstance(kind, list):
        schema = {**schema, "type": next((item for item in kind if item != "null"), "null")}
    elif kind is None:
        if "properties" in schema:
            schema = {**schema, "type": "object"}
        elif "items" in schema:
            schema = {**schema, "type": "array"}
    return dict(schema)


def _behind(ref: str, root: dict[str, Any]) -> Any:
    found: Any = root
    for step in ref.removeprefix("#").strip("/").split("/"):
        if step:
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found


def _merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            into[key] = {**into[key], **value}
        elif key == "required" and isinstance(value, list) and isinstance(into.get(key), list):
            into[key] = [*into[key], *(item for item in value if item not in into[key])]
        else:
            into.setdefault(key, value)


def properties(schema: dict[str, Any]) -> dict[str, Any]:
    """The properties of an object's schema."""
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def required(schema: dict[str, Any]) -> list[str]:
    """The names an object's schema demands."""
    found = schema.get("required")
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def bounded(value: float, schema: dict[str, Any], *, whole: bool) -> int | float:
    """The number nearest to `value` that the schema's bounds allow."""
    low, high = _bound(schema, "minimum"), _bound(schema, "maximum")
    step = 1 if whole else 1e-6
    if (above := _bound(schema, "exclusiveMinimum")) is not None:
        low = above + step if low is None else max(low, above + step)
    if (below := _bound(schema, "exclusiveMaximum")) is not None:
        high = below - step if high is None else min(high, below - step)
    if low is not None:
        value = max(value, low)
    if high is not None:
        value = min(value, high)
    multiple = _bound(schema, "multipleOf")
    if multiple:
        value = round(value / multiple) * multiple
        if low is not None and value < low:
            value += multiple
        if high is not None and value > high:
            value -= multiple
    return round(value) if whole else float(value)


def _bound(schema: dict[str, Any], key: str) -> float | None:
    value = schema.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def in_length(text: str, schema: dict[str, Any]) -> str:
    """The text cut or filled up to the schema's `maxLength` and `minLength`."""
    longest, shortest = _bound(schema, "maxLength"), _bound(schema, "minLength")
    if longest is not None and len(text) > longest:
        cut = text[: int(longest)]
        text = cut if longest < 20 else cut[:-1].rpartition(" ")[0] + "…" if " " in cut else cut
    if shortest is not None and 0 < shortest <= 10_000:
        text = text.ljust(int(shortest), ".")
    return text
