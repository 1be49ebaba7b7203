"""How a request differs from the nearest of the recorded ones, in words and lines."""

from __future__ import annotations

import contextlib
import difflib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callsheet.models.cassette_file import Exchange

LINES = 12
"""Lines of a difference that are shown, at most."""

WIDTH = 200
"""Characters of each, at most."""

_LOOKED_AT = 20_000
"""Characters of a text that similarity is measured on; what is shown is looked for in all of it."""


def difference(data: dict[str, Any], exchanges: Sequence[Exchange]) -> str:
    """What is different, as text for an error: which part or message, and its first lines that differ."""
    if not exchanges:
        return "nothing is recorded in it"
    nearest = _nearest(data, exchanges)
    parts = list(_differences(nearest.request, data))
    asked = f", which {nearest.agent} asked" if nearest.agent else ""
    return f"the nearest is line {nearest.line}{asked}. " + "\n".join(parts)


def _nearest(data: dict[str, Any], exchanges: Sequence[Exchange]) -> Exchange:
    # Cheap counts for all, the text itself for those that are level at the top; the later of equals.
    ranked = sorted(exchanges, key=lambda exchange: _closeness(data, exchange.request), reverse=True)
    best = _closeness(data, ranked[0].request)
    level = [exchange for exchange in ranked[:50] if _closeness(data, exchange.request) == best]
    if len(level) == 1:
        return level[0]
    return max(level, key=lambda exchange: _similarity(data, exchange.request))


def _closeness(data: dict[str, Any], kept: dict[str, Any]) -> tuple[int, int, int]:
    same = _same_messages(data, kept)
    fields = sum(data[name] == kept.get(name) for name in data if name != "messages")
    return same, -abs(len(data["messages"]) - len(kept["messages"])), fields


def _similarity(data: dict[str, Any], kept: dict[str, Any]) -> float:
    at = _same_messages(data, kept)
    ours, theirs = _message(data, at)[:_LOOKED_AT], _message(kept, at)[:_LOOKED_AT]
    return difflib.SequenceMatcher(None, ours, theirs, autojunk=True).quick_ratio()


def _same_messages(data: dict[str, Any], kept: dict[str, Any]) -> int:
    count = 0
    for one, other in zip(data["messages"], kept["messages"], strict=False):
        if one != other:
            break
        count += 1
    return count


def _differences(kept: dict[str, Any], data: dict[str, Any]) -> Iterator[str]:
    for name in data:
        if name not in ("messages", "tools") and data[name] != kept.get(name):
            yield f"{name}: recorded {_short(kept.get(name))}, now {_short(data[name])}"
    if data["tools"] != kept["tools"]:
        yield from _tools(kept["tools"], data["tools"])
    if data["messages"] == kept["messages"]:
        return
    at, was, now = _same_messages(data, kept), len(kept["messages"]), len(data["messages"])
    if at == was:
        yield f"Recorded are {was} messages, and now there is another, {_role(data, at)}:"
    elif at == now:
        yield f"Recorded are {was} messages, and now there are {now}; this one is missing, {_role(kept, at)}:"
    else:
        yield f"Message {at + 1} of {now} differs, {_role(data, at)}:"
    yield _diff(_message(kept, at), _message(data, at))


def _tools(kept: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Iterator[str]:
    was, now = {tool["name"]: tool for tool in kept}, {tool["name"]: tool for tool in tools}
    if list(was) != list(now):
        yield f"tools: recorded {', '.join(was) or 'none'}, now {', '.join(now) or 'none'}"
    for name in was.keys() & now.keys():
        if was[name] != now[name]:
            yield f"tool {name}:\n" + _diff(_pretty(was[name]), _pretty(now[name]))


def _role(data: dict[str, Any], at: int) -> str:
    message = data["messages"][at]
    return f"{message['role']}" + (f" ({message['name']})" if message.get("name") else "")


def _message(data: dict[str, Any], at: int) -> str:
    """The message as lines to compare; empty where there is none."""
    if at >= len(data["messages"]):
        return ""
    message = data["messages"][at]
    lines = [f"[{message['role']}] {message.get('name') or ''}".rstrip()]
    for part in message["parts"]:
        if part["type"] == "text":
            lines.append(part["text"])
        elif part["type"] == "tool_result":
            lines += [
                f"{part['name']}{' failed' if part['is_error'] else ''} ({part['call_id']}):",
                part["content"],
            ]
        else:
            lines.append(json.dumps(part, ensure_ascii=False))
    return "\n".join(lines)


def _pretty(tool: dict[str, Any]) -> str:
    with contextlib.suppress(ValueError):  # what is no JSON is shown as the text that it is
        tool = {**tool, "schema": json.loads(tool["schema"])}
    return json.dumps(tool, ensure_ascii=False, indent=1)


def _diff(was: str, now: str) -> str:
    lines = difflib.unified_diff(was.splitlines(), now.splitlines(), "recorded", "now", n=0, lineterm="")
    shown = [_cut(line) for line in lines if not line.startswith(("---", "+++", "@@"))]
    if len(shown) > LINES:
        shown = [*shown[:LINES], f"… and {len(shown) - LINES} lines more"]
    return "\n".join(f"  {line}" for line in shown)


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def _short(value: Any) -> str:
    return _cut(value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False))
