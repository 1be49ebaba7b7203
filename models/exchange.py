"""What makes two model requests the same, and how an exchange is written down.

The same: model, messages, tools, tool choice, output, temperature, max_tokens, stop and extra. Ids, deadlines,
budgets, and who asked in which run do not count; nor does what would be a secret in `extra`.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from callsheet.core.canonical import digest, from_json, to_json
from callsheet.models.messages import MESSAGE, ModelRequest, OutputSpec, ToolSpec

_TOOLS: TypeAdapter[tuple[ToolSpec, ...]] = TypeAdapter(tuple[ToolSpec, ...])
_OUTPUT: TypeAdapter[OutputSpec | None] = TypeAdapter(OutputSpec | None)
_SECRET = re.compile(
    r"api[-_]?key|authorization|auth[-_]?token|access[-_]?token|bearer|secret|password|cookie", re.IGNORECASE
)
HIDDEN = "***"
"""Stands where a secret was."""


def request_data(request: ModelRequest) -> dict[str, Any]:
    """What counts of a request, as JSON-compatible data: without ids, places and secrets."""
    data = {
        "model": request.model,
        "messages": [asdict(message) for message in request.messages],
        "tools": [asdict(tool) for tool in request.tools],
        "tool_choice": request.tool_choice,
        "output": None if request.output is None else asdict(request.output),
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "stop": list(request.stop),
        "extra": _extra(request.extra),
    }
    return _plain(data)


def normal(data: dict[str, Any]) -> dict[str, Any]:
    """Data that `request_data` of this or an earlier version made, as this one makes it. Raises ValueError."""
    found = {
        "model": str(data["model"]),
        "messages": [asdict(MESSAGE.validate_python(message)) for message in data["messages"]],
        "tools": [asdict(tool) for tool in _TOOLS.validate_python(data.get("tools") or ())],
        "tool_choice": data.get("tool_choice", "auto"),
        "output": _output(data.get("output")),
        "temperature": data.get("temperature"),
        "max_tokens": data.get("max_tokens"),
        "stop": list(data.get("stop") or ()),
        "extra": data.get("extra") or {},
    }
    return _plain(found)


def data_digest(data: dict[str, Any]) -> str:
    """The digest of what `request_data` or `normal` gave."""
    return digest("model-request", to_json(data))


def request_digest(request: ModelRequest) -> str:
    """The same for the same request, whoever makes it and when."""
    return data_digest(request_data(request))


def writable(data: Any) -> str:
    """JSON text on one line that every file takes: lone surrogates, which models do send, are question marks."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = from_json(writable(data))  # lists for tuples, so that both sides compare
    return found


def _output(data: Any) -> dict[str, Any] | None:
    found = _OUTPUT.validate_python(data)
    return None if found is None else asdict(found)


def _extra(text: str) -> Any:
    try:
        return _without_secrets(json.loads(text or "{}"))
    except ValueError:
        return text


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: HIDDEN if _SECRET.search(key) else _without_secrets(item) for key, item in value.items()}
    return [_without_secrets(item) for item in value] if isinstance(value, list) else value
