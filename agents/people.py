"""What an agent's turn asks a person: a question of the model's, leave for a call, what became of one."""

from __future__ import annotations

from typing import Any, Literal

from callsheet.agents.bodies import as_text
from callsheet.core.errors import RunError
from callsheet.core.frozen import frozen
from callsheet.core.records import PERSON
from callsheet.models.messages import ToolCall
from callsheet.runtime.turns import Turn
from callsheet.tools import Tool

DECISIONS = ("approve", "deny", "result")


@frozen
class Decision:
    """What a person decided on a tool call, and what they had to say about it."""

    decision: Literal["approve", "deny", "result"]
    text: str


async def ask_question(turn: Turn, question: str, choices: list[str] | None) -> str:
    """A person's answer."""
    body = {
        "question": question,
        "choices": choices or None,
        "kind": "question",
        "tool": None,
        "arguments": None,
    }
    answer = await turn.ask(PERSON, body)
    return as_text(answer["output"])


async def ask_approval(turn: Turn, agent: str, tool: Tool, call: ToolCall) -> Decision:
    """Whether a call may be made."""
    return await _decision(turn, "approval", tool, call, f"{agent} wants to call {tool.name}. May it?")


async def ask_unknown(turn: Turn, agent: str, tool: Tool, call: ToolCall, key: str, attempt: int) -> Decision:
    """What is to be made of a call that was begun, the attempt-th time, and left no result."""
    again = "" if attempt == 1 else f" (attempt {attempt})"
    return await _decision(
        turn, "unknown", tool, call,
        f"{agent} called {tool.name}{again}, and the process ended before there was a result: whether the call "
        f"took effect is not known. Its idempotency key is {key}. Find out, then approve (make the call again), "
        "deny (do not), or tell the result it had.",
    )  # fmt: skip


async def _decision(
    turn: Turn, kind: Literal["approval", "unknown"], tool: Tool, call: ToolCall, question: str
) -> Decision:
    body = {
        "question": question, "choices": None, "kind": kind, "tool": tool.name, "arguments": call.arguments
    }  # fmt: skip
    answer: dict[str, Any] = await turn.ask(PERSON, body)
    given = answer["output"]
    allowed = DECISIONS if kind == "unknown" else DECISIONS[:2]
    if not isinstance(given, dict) or given.get("decision") not in allowed:
        raise RunError(
            f"the answer to the question about {tool.name} is no decision: {as_text(given)[:200]}",
            run_id=turn.info.run_id,
            hint=f"It is one of: {', '.join(allowed)}.",
        )
    return Decision(decision=given["decision"], text=as_text(given.get("text") or ""))
