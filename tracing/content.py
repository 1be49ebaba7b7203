"""Texts on their way into a trace: the switch for content, and JSON that any server can read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 20
"""Levels of nesting that metadata keeps; what lies deeper becomes text."""

_ERROR_TYPE = re.compile(r"[A-Za-z_][\w.]*(?=:)")


class Content:
    """The one switch for content: shows texts as they are, or only how long they were."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown

    def text(self, value: str) -> str:
        """A text of the conversation."""
        return value if self._shown else f"({len(value)} characters)"

    def json(self, value: str) -> str:
        """A JSON text of the conversation; hidden, it is still JSON."""
        return value if self._shown else json.dumps({"characters": len(value)})

    def error(self, value: str | None) -> str | None:
        """An error's text, which may quote content: hidden, its type stays."""
        if value is None or self._shown:
            return value
        kind = _ERROR_TYPE.match(value)
        return f"{kind.group() if kind else 'error'}: {self.text(value)}"


def json_text(value: Any) -> str:
    """JSON text of any value; what JSON, or a server that parses it, lacks is written as a string."""
    return json.dumps(_storable(value, 0), ensure_ascii=False)


def clean(text: str) -> str:
    """The text without what a viewer or UTF-8 cannot take.

    NULs are dropped, and lone surrogates become U+FFFD.
    """
    if "\0" in text:
        text = text.replace("\0", "")
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _storable(value: Any, depth: int) -> Any:
    # Phoenix parses metadata, stores it, and reads it with a parser that fails on lone surrogates, NaN and
    # integers of more than 64 bits: one such value would make the whole page unreadable.
    match value:
        case None | bool():
            return value
        case str():
            return clean(value)
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
    if depth < MAX_DEPTH:
        if isinstance(value, Mapping):
            return {clean(str(key)): _storable(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [_storable(item, depth + 1) for item in value]
    return clean(str(value))
