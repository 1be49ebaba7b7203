"""A tool's return value as the text a model reads."""

from __future__ import annotations

from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from callsheet.core.errors import ToolError

RESULT_CHARS = 50_000
"""How many characters of one result a model is given, unless the tool says otherwise."""


def result_text(value: Any, tool: str, limit: int = RESULT_CHARS) -> str:
    """Text as it is; pydantic models, dataclasses and other JSON-like values as JSON.

    A text over `limit` characters is cut and says so. Raises ToolError for a value with no JSON form.
    """
    if value is None:
        text = "(the tool returned nothing)"
    elif isinstance(value, str):
        text = value
    else:
        try:
            text = to_json(value).decode()
        except (PydanticSerializationError, ValueError) as error:
            raise ToolError(
                f"tool {tool!r} returned a {type(value).__name__}, which has no JSON form",
                tool=tool,
                hint="Return a str, a number, a list, a dict, a dataclass or a pydantic model.",
            ) from error
    if not text.isascii():
        # Lone surrogates cannot be sent or stored; everything else passes unchanged.
        text = text.encode("utf-8", "replace").decode()
    if len(text) > limit:
        notice = f"\n[cut: the result has {len(text):,} characters; these are the first {limit:,}]"
        text = text[:limit] + notice
    return text
