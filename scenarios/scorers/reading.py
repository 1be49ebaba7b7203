"""Reading what models put into text: fenced blocks, and JSON."""

from __future__ import annotations

import json
import re
from typing import Any

from callsheet.scenarios.scorers.answers import MISSING

_LANGUAGE = re.compile(r"[ \t]*([\w+-]*)")
_TRIES = 8
"""Places in a text at which JSON is looked for, at most."""


def fenced(text: str) -> list[tuple[str, str]]:
    """The fenced blocks of a text in order, each as its language (lower case, or "") and its content.

    The last may be without an end. Line by line, since one expression for all takes quadratic time for some texts.
    """
    found: list[tuple[str, str]] = []
    language: str | None = None
    content: list[str] = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        bare = line.lstrip(" \t")
        fence = bare.startswith("```")
        if language is not None and fence:
            found.append((language, "\n".join(content).strip()))
            language = None
        elif language is not None:
            content.append(line)
        elif fence and "`" not in bare[3:] and number < len(lines):
            named = _LANGUAGE.match(bare, 3)
            language, content = "" if named is None else named.group(1).lower(), []
    if language is not None:
        found.append((language, "\n".join(content).strip()))
    return found


def json_in(text: str) -> Any:
    """The JSON value that a text is or holds: the whole of it, its last fenced block, or its first object or list.

    MISSING if there is none.
    """
    found = parsed(text)
    if found is not MISSING:
        return found
    for _, block in reversed(fenced(text)):
        found = parsed(block)
        if found is not MISSING:
            return found
    decoder = json.JSONDecoder(parse_constant=_refuse)
    for match, _ in zip(re.finditer(r"[\[{]", text), range(_TRIES), strict=False):
        try:
            return decoder.raw_decode(text, match.start())[0]
        except (ValueError, RecursionError):
            continue
    return MISSING


def parsed(text: str) -> Any:
    """The value of a JSON text; MISSING for one that is none. NaN and infinities are not JSON."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return MISSING


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
