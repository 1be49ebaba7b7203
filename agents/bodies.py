"""What an agent is sent and what it answers, as JSON-compatible data, and as the model reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from callsheet.core.canonical import to_json
from callsheet.models.messages import OutputSpec

_TAG = re.compile(r"<(?=\s*/?\s*from\b)", re.IGNORECASE)


def ask_body(
    task: Any,
    *,
    given: Mapping[str, Any] | None = None,
    output: OutputSpec | None = None,
    repair: tuple[tuple[str, str], ...] = (),
    functions: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """The body of an ask. `given` is the work of others by their name; `repair` are the (answer, fault)
    pairs of earlier attempts that did not fit `output`; `functions` are what the model may call beside its
    tools (see `callsheet.agents.functions`)."""
    body: dict[str, Any] = {"input": task}
    if given:
        body["from"] = [{"agent": name, "text": as_text(value)} for name, value in given.items()]
    if output is not None:
        body["output_format"] = {
            "name": output.name, "schema": output.schema, "description": output.description
        }  # fmt: skip
    if repair:
        body["repair"] = [{"answer": answer, "fault": fault} for answer, fault in repair]
    if functions:
        body["functions"] = list(functions)
    return body


def prompt_of(body: Mapping[str, Any]) -> str:
    """The user message of an ask: the task, then the work of others, marked as material."""
    blocks = [
        f'<from agent="{_attribute(part["agent"])}">\n{_harmless(part["text"])}\n</from>'
        for part in body.get("from", ())
    ]
    return "\n\n".join([as_text(body.get("input", "")), *blocks])


def output_spec_of(body: Mapping[str, Any]) -> OutputSpec | None:
    """The output that the asker wants, if it wants one."""
    wanted = body.get("output_format")
    return None if wanted is None else OutputSpec(**wanted)


def repair_prompt(fault: str) -> str:
    """What a model is told whose answer did not fit."""
    return f"Your answer does not fit the wanted format:\n{fault}\nAnswer again, with the whole corrected JSON only."


def as_text(value: Any) -> str:
    """Text as it is, anything else as JSON."""
    return value if isinstance(value, str) else to_json(value)


def _harmless(text: str) -> str:
    """Text of another agent must not end its own block, or begin one in another's name."""
    return _TAG.sub("‹", text)


def _attribute(name: str) -> str:
    return re.sub(r'[<>"\r\n]', "_", name)
