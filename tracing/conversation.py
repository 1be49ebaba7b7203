"""A model's conversation and tools as OpenInference attributes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from openinference.semconv.trace import MessageAttributes, ToolCallAttributes

from callsheet.tracing.content import Content, json_text

Value = str | int | float
"""What an attribute can hold."""


def put_message(
    attributes: dict[str, Value], prefix: str, message: Mapping[str, Any], content: Content
) -> None:
    """Add one message of the conversation under `prefix`."""
    get = message.get
    attributes[prefix + MessageAttributes.MESSAGE_ROLE] = str(get("role") or "user")
    if get("content"):
        attributes[prefix + MessageAttributes.MESSAGE_CONTENT] = content.text(str(get("content")))
    if get("name"):
        attributes[prefix + MessageAttributes.MESSAGE_NAME] = str(get("name"))
    if get("tool_call_id"):
        attributes[prefix + MessageAttributes.MESSAGE_TOOL_CALL_ID] = str(get("tool_call_id"))
    for j, call in enumerate(get("tool_calls") or ()):
        place = f"{prefix}{MessageAttributes.MESSAGE_TOOL_CALLS}.{j}."
        attributes[place + ToolCallAttributes.TOOL_CALL_ID] = str(call.get("id") or "")
        attributes[place + ToolCallAttributes.TOOL_CALL_FUNCTION_NAME] = str(call.get("name") or "")
        attributes[place + ToolCallAttributes.TOOL_CALL_FUNCTION_ARGUMENTS_JSON] = content.json(
            _as_json_text(call.get("arguments"))
        )


def gist(message: Mapping[str, Any]) -> str:
    """One message as one text: what it says, and the calls it makes."""
    calls = (f"{call.get('name')}({_as_json_text(call.get('arguments'))})" for call in _calls(message))
    said = str(message.get("content") or "")
    return "\n".join(part for part in (said, *calls) if part)


def _calls(message: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return message.get("tool_calls") or ()


def _as_json_text(arguments: Any) -> str:
    if isinstance(arguments, str):
        return arguments
    return json_text({} if arguments is None else arguments)


def tool_schema(tool: Mapping[str, Any]) -> str:
    """A tool as the model is told of it, in the form that viewers know (a function with its schema)."""
    return _schema_text(
        str(tool.get("name") or ""),
        str(tool.get("description") or ""),
        _as_json_text(tool.get("parameters")),
    )


@lru_cache(maxsize=1024)
def _schema_text(name: str, description: str, parameters: str) -> str:
    # An agent's tools are the same in each of its calls. The schema is text already: it is put in as it is.
    head = json.dumps({"name": name, "description": description}, ensure_ascii=False)[:-1]
    return f'{{"type": "function", "function": {head}, "parameters": {parameters or "{}"}}}}}'
