"""Canonical JSON and digests: the same value always has the same text and the same digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

_encode: Callable[[Any], str] = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
).encode


def to_json(value: Any) -> str:
    """Canonical JSON text: sorted keys, no spaces. Raises TypeError or ValueError for what JSON lacks.

    The text is always valid UTF-8: lone surrogates, which models do send, stay escaped.
    """
    text = _encode(value)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def from_json(text: str) -> Any:
    """The value of a JSON text."""
    return json.loads(text)


def digest(*parts: str) -> str:
    """A 128-bit hex digest of the parts (BLAKE2b, RFC 7693); ("ab", "c") and ("a", "bc") differ."""
    text = "".join([f"{len(part)}:{part}" for part in parts])
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
