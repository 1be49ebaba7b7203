"""Acting: the tool calls of one model reply, run side by side, each a recorded step."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callsheet import tracing
from callsheet.agents.data import storable
from callsheet.agents.people import ask_approval, ask_question, ask_unknown
from callsheet.core.canonical import digest, from_json, to_json
from callsheet.core.errors import LimitError, ToolError
from callsheet.core.ids import idempotency_key, turn_span_id
from callsheet.core.limits import RunUsage
from callsheet.memory.service import Search
from callsheet.models.messages import ToolCall, ToolResult
from callsheet.runtime.turns import Outcome, Turn
from callsheet.tools import PassageLike, Tool, ToolContext, ToolFailure, ToolInputError, find_tool

log = logging.getLogger(__name__)

WARN_AT = 3
"""How often in a row the same call is made before the model is told that it goes in circles."""


@dataclass(slots=True)
class RunMemory:
    """The memory as one tool call sees it: bound to the run's collection and the call's span."""

    turn: Turn
    collection: str
    span_id: str

    async def search(self, query: str, *, k: int) -> Sequence[PassageLike]:
        """The k passages that fit the query best, best first."""
        found: Sequence[PassageLike] = await self.turn.services["memory"](
            Search(
                query=query, k=k, collection=self.collection, run_id=self.turn.info.run_id,
                parent_span_id=self.span_id, session_id=self.turn.info.session_id,
            )
        )  # fmt: skip
        return found


class Acting:
    """Runs the tool calls of one turn, at most `parallel` at once, and notices when they go in circles."""

    def __init__(self, agent: str, tools: Mapping[str, Tool], turn: Turn) -> None:
        options = from_json(turn.info.options)
        self._agent, self._tools, self._turn = agent, tools, turn
        self._slots = asyncio.Semaphore(turn.info.limits.parallel_tool_calls)
        self._collection = options.get("collection") or "default"
        self._folder = Path(options["folder"]) if options.get("folder") else None
        # A call that the run was forked away from is still that call, and asked about by the key it was made with.
        self._kept_keys = (options.get("forked_from") or {}).get("keys", {}).get(turn.id, {})
        self._last = ""
        self._repeats = 0

    async def run(self, calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
        """The results, in the order of the calls. What a model can mend comes back as an error result.

        Raises LimitError when the same call was made too often in a row, and ToolError when it is not known
        whether a call took effect and its tool wants the turn to fail then.
        """
        fates = [self._count(call) for call in calls]
        tasks = [
            asyncio.ensure_future(self._one(call, repeats))
            for call, repeats in zip(calls, fates, strict=True)
        ]
        try:
            return tuple(await asyncio.gather(*tasks))
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    def _count(self, call: ToolCall) -> int:
        same = digest(call.name, _canonical(call.arguments))
        self._repeats = self._repeats + 1 if same == self._last else 1
        self._last = same
        allowed = self._turn.info.limits.repeated_tool_calls
        if self._repeats > allowed:
            raise LimitError(
                f"{self._agent} called {call.name} with the same arguments {self._repeats} times in a row",
                run_id=self._turn.info.run_id, limit="repeated_tool_calls", allowed=allowed,
                used=self._repeats, hint="Change the agent's instructions, or the tool's answer to that call; "
                "or raise Limits.repeated_tool_calls.",
            )  # fmt: skip
        return self._repeats

    async def _one(self, call: ToolCall, repeats: int) -> ToolResult:
        tool = self._tools.get(call.name)
        if tool is None:
            known = ", ".join(sorted(self._tools)) or "none"
            return _told(call, f"There is no tool called {call.name!r}. You have: {known}.")
        if repeats >= WARN_AT:
            return _told(
                call,
                f"You have called {call.name} with these arguments {repeats} times in a row; its answer does "
                "not change. Use what it told you, call it with other arguments, or answer without it.",
            )
        try:
            checked_first = tool.approval or tool.effect == "once" or _asks(tool)
            given = tool.read(call.arguments) if checked_first else {}
        except ToolInputError as failure:  # nobody is asked about a call that cannot be made
            return _told(call, storable(failure.message_for_model))
        if _asks(tool):
            answer = await ask_question(self._turn, given["question"], given.get("choices"))
            return ToolResult(call_id=call.id, name=call.name, content=answer)
        if tool.approval:
            decided = await ask_approval(self._turn, self._agent, tool, call)
            if decided.decision == "deny":
                return _told(
                    call, f"A person did not allow this call, so it was not made.{_why(decided.text)}"
                )
        # Only what is under way takes a slot, never a question: an answer may be days away.
        async with self._slots:
            data = await self._step(tool, call, digest(call.name, _canonical(call.arguments)))
        return ToolResult(call_id=call.id, name=call.name, content=data["content"], is_error=data["is_error"])

    async def _step(self, tool: Tool, call: ToolCall, key: str, key_of: str = "", attempt: int = 1) -> Any:
        """The recorded call. `key_of` is what the idempotency key is made of, where an earlier attempt had it."""

        def place(nth: int) -> str:
            return key_of or f"{key}/{nth}"

        async def unknown(nth: int) -> Outcome | None:
            return await self._unknown(tool, call, place(nth), attempt)

        shown: dict[str, Any] = {"tool": call.name, "arguments": call.arguments}
        if tool.effect == "once":
            shown["once"] = True  # who looks back can tell that there was an intent
        if attempt > 1:
            shown["attempt"] = attempt
        return await self._turn.step(
            "tool", call.name, key, lambda nth: self._call(tool, call, self._idempotency_key(place(nth))),
            shown_input=shown,
            once=tool.effect == "once", on_unknown=unknown if tool.effect == "once" else None,
        )  # fmt: skip

    async def _unknown(self, tool: Tool, call: ToolCall, place: str, attempt: int) -> Outcome | None:
        """What the call came to, which was begun and has no result; None to make it again."""
        key = self._idempotency_key(place)
        if tool.on_unknown == "retry":
            return None
        if tool.on_unknown == "fail":
            raise ToolError(
                f"it is not known whether a call of {tool.name!r} took effect: the process ended after it was "
                f"begun and before there was a result (idempotency key {key})",
                tool=tool.name, run_id=self._turn.info.run_id,
                hint='Find out; with on_unknown="ask" in the tool\'s definition, resuming the run lets you '
                "decide what is made of the call.",
            )  # fmt: skip
        self._slots.release()
        decided = await ask_unknown(self._turn, self._agent, tool, call, key, attempt)
        await self._slots.acquire()
        if decided.decision == "approve":
            # A step of its own: should this attempt leave no result either, it is not taken for the first one,
            # whose approval does not hold for it.
            again = await self._step(tool, call, digest("again", place, str(attempt)), place, attempt + 1)
            return {**again, "decided": "approve"}, None
        # No call was made here, so none is counted; `decided` says to who looks back what this is in the place of.
        if decided.decision == "deny":
            told = "Whether this call took effect is not known; a person decided not to repeat it."
            return {"content": told + _why(decided.text), "is_error": True, "decided": "deny"}, None
        return {"content": decided.text, "is_error": False, "decided": "result"}, None

    def _idempotency_key(self, place: str) -> str:
        return self._kept_keys.get(place) or idempotency_key(self._turn.id, place)

    async def _call(self, tool: Tool, call: ToolCall, key: str) -> Outcome:
        turn = self._turn
        span_id = tracing.new_span_id()
        context = ToolContext(
            run_id=turn.info.run_id, turn_id=turn.id, agent=self._agent, crew=turn.info.crew,
            idempotency_key=key, folder=self._folder,
            memory=RunMemory(turn, self._collection, span_id) if "memory" in turn.services else None,
            collection=self._collection, session_id=turn.info.session_id,
            parent_span_id=span_id,
        )  # fmt: skip
        started = time.time()
        error: str | None = None
        content = ""
        try:
            content = await tool.call(call.arguments, context)
        except (ToolInputError, ToolFailure) as failure:
            error = failure.message_for_model
        except ToolError as failure:
            # The tool's own fault. The model may find another way, and people see it in the trace.
            log.warning("%s in run %s", failure.message, turn.info.run_id, exc_info=failure)
            error = failure.message
        except asyncio.CancelledError:
            error = "the call was stopped"
            raise
        finally:
            self._trace(tool, call, content, error, started, span_id)
        result = {"content": content if error is None else storable(error), "is_error": error is not None}
        return result, RunUsage(tool_calls=1)

    def _trace(
        self, tool: Tool, call: ToolCall, content: str, error: str | None, started: float, span_id: str
    ) -> None:
        if not tracing.is_enabled():
            return
        turn = self._turn
        tracing.emit(
            tracing.ToolSpan(
                run_id=turn.info.run_id, span_id=span_id, parent_span_id=turn_span_id(turn.id), agent=self._agent,
                session_id=turn.info.session_id, name=tool.name, description=tool.description,
                arguments=call.arguments, output=content, error=error, call_id=call.id, started=started,
                ended=time.time(),
            )
        )  # fmt: skip


def _told(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call_id=call.id, name=call.name, content=text, is_error=True)


def _asks(tool: Tool) -> bool:
    """Whether it is the built-in tool that asks a person: a message of the turn, and no step of it."""
    return tool.name == "ask_person" and tool is find_tool("ask_person")


def _why(text: str) -> str:
    return f" They said: {text}" if text else ""


def _canonical(arguments: str) -> str:
    """The same arguments in another order or spacing are the same call."""
    try:
        return to_json(from_json(arguments))
    except (ValueError, TypeError, RecursionError):  # the tool's own check will say what is wrong with them
        return arguments
