"""Where today's code departs from what a run recorded, in words that lead to the cause."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence
from typing import Any

from callsheet.agents.bodies import as_text, prompt_of
from callsheet.core.canonical import from_json
from callsheet.core.frozen import frozen, names_of
from callsheet.core.records import PERSON, Envelope, Step
from callsheet.models.messages import ModelRequest

_PLACE = re.compile(r" \([^()\n]+:\d+\)\Z")


@frozen
class Shown:
    """One side: a step, or a turn's reply, as people read it.

    `kind` is `llm`, `tool`, `now`, `ask`, `reply` or `error`; `name` the model, the tool, who is asked, or the
    error's type. Of a model call that is recorded only the digest of its conversation is known.
    """

    kind: str
    name: str
    text: str
    conversation: str = ""
    tools: tuple[str, ...] | None = None

    def likeness(self, other: Shown) -> int:
        """How likely it is that the one came of the other."""
        return (self.kind == other.kind) * 2 + (self.name == other.name)

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form."""
        return {name: getattr(self, name) for name in ("kind", "name", "text")}


@frozen
class Difference:
    """The first thing of a turn that is another one today.

    `number` is the one that `show` prints beside what is expected, `turn` that of the message that began the
    turn. `expected` is what is recorded; `got` is None where today's code comes to nothing.
    """

    agent: str
    number: int
    turn: int
    why: str
    expected: Shown
    got: Shown | None = None

    def diff(self) -> list[str]:
        """The lines in which the texts differ, as `diff` writes them; none where they are no two versions of one."""
        got, expected = self.got, self.expected
        if got is None or got.kind == "llm" or (got.kind, got.name) != (expected.kind, expected.name):
            return []
        lines = difflib.unified_diff(expected.text.splitlines(), got.text.splitlines(), lineterm="", n=1)
        return [line for line in lines if not line.startswith(("---", "+++", "@@"))]

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form."""
        data: dict[str, Any] = {name: getattr(self, name) for name in names_of(Difference)}
        return {
            **data,
            "expected": self.expected.to_dict(),
            "got": None if self.got is None else self.got.to_dict(),
        }


def difference(
    agent: str,
    number: int,
    turn: int,
    expected: Shown,
    got: Shown | None,
    done: Sequence[Step],
    called: Collection[str],
) -> Difference:
    """A difference, explained as far as can be.

    `done` are the steps of the turn that both agree on, `called` the names of the tools that it called then.
    """
    why = _why(agent, expected, got, done, called)
    return Difference(agent=agent, number=number, turn=turn, why=why, expected=expected, got=got)


# --- what is shown of each side --------------------------------------------------------------------------


def shown_step(step: Step) -> Shown:
    """A recorded step."""
    given = from_json(step.input)
    if step.kind == "ask":
        return shown_ask(step.name, step.input)
    return shown_call(step.kind, step.name, given)


def shown_call(kind: str, name: str, given: Any, request: ModelRequest | None = None) -> Shown:
    """A model call, a tool call, or a reading of the clock; of today's model call all that it says is known."""
    if kind == "tool" and isinstance(given, dict):
        return Shown(kind=kind, name=name, text=_pretty(str(given.get("arguments", ""))))
    if kind != "llm" or not isinstance(given, dict):
        return Shown(kind=kind, name=name, text="" if given is None else as_text(given))
    conversation = str(given.get("conversation", ""))
    if request is None:
        text = f"{given.get('messages')} messages"
        return Shown(kind=kind, name=name, text=text, conversation=conversation)
    return Shown(
        kind=kind, name=name, text=_request_text(request), conversation=conversation,
        tools=tuple(tool.name for tool in request.tools),
    )  # fmt: skip


def shown_ask(receiver: str, body: str) -> Shown:
    """A message to an agent, or a question to a person."""
    data = from_json(body)
    if receiver == PERSON:
        text = "\n".join(
            [str(data.get("question", "")), *(f"- {choice}" for choice in data.get("choices") or ())]
        )
    else:
        text = prompt_of(data)
        if "output_format" in data:
            text += (
                f"\n\nanswer as {data['output_format'].get('name')}: {data['output_format'].get('schema')}"
            )
        for repair in data.get("repair", ()):
            text += f"\n\nanswered: {repair['answer']}\nwhich does not fit: {repair['fault']}"
    return Shown(kind="ask", name=receiver, text=text)


def shown_message(envelope: Envelope) -> Shown:
    """A recorded message."""
    if envelope.kind == "ask":
        return shown_ask(envelope.receiver, envelope.body)
    return shown_outcome(envelope.kind, from_json(envelope.body))


def shown_outcome(kind: str, body: Any) -> Shown:
    """What a turn comes to: its reply's body, or its error's `to_dict`."""
    if kind == "error":
        return Shown(kind=kind, name=str(body.get("type", "")), text=str(body.get("message", "")))
    output = body.get("output") if isinstance(body, dict) else body
    return Shown(kind="reply", name="", text=output if isinstance(output, str) else _pretty_data(output))


def same_outcome(kind: str, one: Any, other: Any) -> bool:
    """Whether two outcomes of that kind are the same; the line of code that an error names does not count."""
    if kind != "error":
        return bool(one == other)
    texts = [_PLACE.sub("", str(error.get("message", ""))) for error in (one, other)]
    return bool(one.get("type") == other.get("type") and texts[0] == texts[1])


def _request_text(request: ModelRequest) -> str:
    parts = []
    if request.tools:
        parts.append(f"tools: {', '.join(tool.name for tool in request.tools)}")
    if request.output is not None:
        parts.append(f"answer as: {request.output.name}")
    for message in request.messages:
        said = message.text or ", ".join(f"{call.name}({call.arguments})" for call in message.tool_calls)
        results = [part.content for part in message.parts if part.type == "tool_result"]
        parts.append(f"{message.role}: {said or ' / '.join(results)}")
    return "\n".join(parts)


def _pretty(arguments: str) -> str:
    try:
        return _pretty_data(from_json(arguments))
    except (ValueError, RecursionError):
        return arguments


def _pretty_data(data: Any) -> str:
    import json

    return json.dumps(data, ensure_ascii=False, indent=1)


# --- why ---------------------------------------------------------------------------------------------------


def _why(
    agent: str, expected: Shown, got: Shown | None, done: Sequence[Step], called: Collection[str]
) -> str:
    if got is None:
        return "today's code waits here for something that never comes"
    kinds = expected.kind, got.kind
    match kinds:
        case "llm", "llm":
            return _why_llm(agent, expected, got, done, called)
        case "error", "reply":
            return "today's code comes to an answer where the run failed"
        case "reply" | "error", "error":
            return "today's code fails" + (
                " where the run had an answer" if expected.kind == "reply" else " otherwise"
            )
        case "reply", "reply":
            return "the answer is another one"
        case _, "reply" | "error":
            return "today's code ends the turn without this step"
        case "reply" | "error", _:
            return "today's code does more: it takes a step that is not recorded"
        case _ if expected.kind == got.kind and expected.name == got.name:
            what = {"ask": "the message to it reads otherwise", "tool": "the call has other arguments"}
            return what.get(expected.kind, "its input is another one")
    return "today's code takes another step"


def _why_llm(agent: str, expected: Shown, got: Shown, done: Sequence[Step], called: Collection[str]) -> str:
    if expected.conversation == got.conversation:
        return f"the model is another one: {expected.name} then, {got.name} today"
    also = "" if expected.name == got.name else f"; the model too: {expected.name} then, {got.name} today"
    before = [step for step in done if step.kind == "llm"]
    if before:
        return (
            f"what {agent} was told after its model call number {len(before)} of this turn reads otherwise"
            + also
        )
    lost = [name for name in dict.fromkeys(called) if got.tools is not None and name not in got.tools]
    if lost:
        return f"{agent} has the tool {', '.join(lost)} no more, which it used then" + also
    return (
        f"{agent} was made otherwise: its role, its tools (their names, descriptions or parameters), its output "
        "type, temperature, max_tokens or extra" + also
    )


__all__ = [
    "Difference", "Shown", "difference", "same_outcome", "shown_ask", "shown_call", "shown_message",
    "shown_outcome", "shown_step",
]  # fmt: skip
