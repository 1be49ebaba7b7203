"""Reads a docstring's summary and parameter descriptions: Google, NumPy and `:param` style."""

from __future__ import annotations

import inspect
import re

_FIELD = re.compile(r"^:(?:param|parameter|arg|argument)\s+(?:[^:]*\s)?\*{0,2}(\w+)\s*:\s*(.*)$")
_OTHER_FIELD = re.compile(r"^:\w+[^:]*:")
_GOOGLE_HEAD = re.compile(r"^(?:Args|Arguments|Parameters|Params):\s*$")
_GOOGLE_ITEM = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_NUMPY_ITEM = re.compile(r"^\*{0,2}(\w+(?:\s*,\s*\w+)*)\s*(?::.*)?$")
_SECTION = re.compile(r"^(?:Args|Arguments|Parameters|Params|Returns?|Yields?|Raises|Examples?|Notes?):\s*$")


def read_docstring(doc: str | None) -> tuple[str, dict[str, str]]:
    """The first paragraph on one line, and the description of each parameter that has one."""
    if not doc:
        return "", {}
    lines = inspect.cleandoc(doc).splitlines()
    return _summary(lines), {**_google(lines), **_numpy(lines), **_fields(lines)}


def _summary(lines: list[str]) -> str:
    found: list[str] = []
    for i, line in enumerate(lines):
        if not line.strip() or _OTHER_FIELD.match(line) or _SECTION.match(line) or _is_underlined(lines, i):
            break
        found.append(line.strip())
    return " ".join(found)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _is_underlined(lines: list[str], i: int) -> bool:
    return i + 1 < len(lines) and re.fullmatch(r"-{3,}\s*", lines[i + 1]) is not None


def _fields(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        if match := _FIELD.match(line):
            name = match[1]
            found[name] = match[2].strip()
        elif name and line.strip() and _indent(line) > 0:
            found[name] = f"{found[name]} {line.strip()}".strip()
        else:
            name = ""
    return found


def _google(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for start, line in enumerate(lines):
        if not _GOOGLE_HEAD.match(line):
            continue
        body = _indented_below(lines, start + 1)
        level = _indent(body[0]) if body else 0
        name = ""
        for item in body:
            match = _GOOGLE_ITEM.match(item.strip()) if _indent(item) == level else None
            if match:
                name = match[1]
                found[name] = match[2].strip()
            elif name:
                found[name] = f"{found[name]} {item.strip()}".strip()
    return found


def _indented_below(lines: list[str], start: int) -> list[str]:
    body: list[str] = []
    for line in lines[start:]:
        if line.strip() and _indent(line) == 0:
            break
        if line.strip():
            body.append(line)
    return body


def _numpy(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for start, line in enumerate(lines):
        if line.strip() not in {"Parameters", "Other Parameters"} or not _is_underlined(lines, start):
            continue
        names: list[str] = []
        for i in range(start + 2, len(lines)):
            item = lines[i]
            if _is_underlined(lines, i):
                break
            if item.strip() and _indent(item) == 0:
                match = _NUMPY_ITEM.match(item)
                names = [part.strip() for part in match[1].split(",")] if match else []
            elif item.strip():
                for name in names:
                    found[name] = f"{found.get(name, '')} {item.strip()}".strip()
    return found
