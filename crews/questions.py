"""What a run asks of a person, and a person's replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from callsheet.core.canonical import from_json, to_json
from callsheet.core.errors import UsageError
from callsheet.core.records import Envelope, is_question
from callsheet.core.state import open_asks

Kind = Literal["question", "approval", "unknown"]
"""`question`: it wants a text. `approval`: whether a tool call may be made. `unknown`: a tool call was begun and
left no result; what is to be made of it?"""


@dataclass(frozen=True, kw_only=True)
class Question:
    """An open question of a run. `id` tells it from others of the same run; its beginning is enough.

    `tool` and `arguments` (JSON text) are those of the tool call that it is about, if it is about one.
    """

    id: str
    run_id: str
    agent: str
    kind: Kind
    text: str
    choices: tuple[str, ...] = ()
    tool: str | None = None
    arguments: str | None = None
    at: float = 0.0
    alone: bool = field(default=True, compare=False)
    """Whether the run asks nothing else at present: then a reply need not say which question it is for."""

    @property
    def how(self) -> str:
        """How it is replied to on the command line: commands that work as they stand here."""
        run = self.run_id if self.alone else f"{self.run_id} --question {self.id[:8]}"
        if self.kind == "approval":
            return f"`callsheet approve {run}` makes the call, `callsheet deny {run} [REASON]` does not."
        if self.kind == "unknown":
            return (
                f"`callsheet approve {run}` makes the call (again), `callsheet deny {run} [REASON]` does not, and "
                f"`callsheet reply {run} RESULT` says that it did take effect, and what it returned."
            )
        return f"`callsheet reply {run} {'CHOICE' if self.choices else 'TEXT'}` answers it."

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form."""
        return {
            "id": self.id, "agent": self.agent, "kind": self.kind, "question": self.text,
            "choices": list(self.choices), "tool": self.tool, "arguments": self.arguments, "asked": self.at,
        }  # fmt: skip


def questions_of(envelopes: Sequence[Envelope]) -> tuple[Question, ...]:
    """The open questions of a run, in the order in which they were asked."""
    found = tuple(_question(ask) for ask in open_asks(envelopes).values() if is_question(ask))
    return found if len(found) < 2 else tuple(replace(question, alone=False) for question in found)


def _question(ask: Envelope) -> Question:
    body = from_json(ask.body)
    return Question(
        id=ask.id, run_id=ask.run_id, agent=ask.sender, kind=body.get("kind", "question"),
        text=body.get("question", ""), choices=tuple(body.get("choices") or ()), tool=body.get("tool"),
        arguments=body.get("arguments"), at=ask.at,
    )  # fmt: skip


def ask_body(question: str, choices: Sequence[str] | None) -> dict[str, Any]:
    """The body of a flow's question. Raises UsageError for one that says nothing."""
    if not isinstance(question, str) or not question.strip():
        raise UsageError(f"the question is {question!r}", hint='Ask something: run.ask_person("…").')
    offered = None if choices is None else [str(choice) for choice in choices]
    return {"question": question, "choices": offered, "kind": "question", "tool": None, "arguments": None}


def find_question(questions: Sequence[Question], run_id: str, wanted: str | None) -> Question:
    """The question that a reply is for: the only one, or the one whose id begins so. Raises UsageError."""
    fitting = [q for q in questions if wanted is None or q.id.startswith(wanted)]
    if len(fitting) == 1:
        return fitting[0]
    if not questions:
        raise UsageError(
            f"run {run_id} has no open question", hint=f"`callsheet show {run_id}` shows how it stands."
        )
    listed = "; ".join(f"{q.id[:8]}: {q.text[:80]}" for q in questions)
    if not fitting:
        raise UsageError(f"run {run_id} has no open question {wanted!r}", hint=f"It asks: {listed}.")
    raise UsageError(
        f"run {run_id} has {len(fitting)} open questions", hint=f"Say which with --question ID: {listed}."
    )


def reply_body(question: Question, reply: str | None, approve: bool | None) -> str:
    """A reply as the JSON text that the asking turn gets. Raises UsageError for one that does not fit."""
    if question.kind == "question":
        if approve is not None or reply is None:
            raise UsageError(
                f"it asks a question: {question.text[:200]}", hint=f"It wants a text: {question.how}"
            )
        if question.choices and reply not in question.choices:
            raise UsageError(
                f"{reply!r} is not one of the choices", hint=f"Choose from: {', '.join(question.choices)}."
            )
        return to_json({"output": reply})
    if approve is None:
        if question.kind == "approval" or reply is None:
            raise UsageError(f"it asks for a decision: {question.text[:200]}", hint=question.how)
        return to_json({"output": {"decision": "result", "text": reply}})
    return to_json({"output": {"decision": "approve" if approve else "deny", "text": reply or ""}})
