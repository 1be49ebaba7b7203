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
from callsheet.core.canonical import digest, from_json, to_json
from callsheet.core.errors import LimitError, ToolError
from callsheet.core.ids import turn_span_id
from callsheet.core.limits import RunUsage
from callsheet.memory.service import Search
from callsheet.models.messages import ToolCall, ToolResult
from callsheet.runtime.turns import Turn
from callsheet.tools import PassageLike, Tool, ToolContext, ToolFailure, ToolInputError

log = logging.getLogger(__name__)

WARN_AT = 3
STOP_AT = 5


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
        self._last = ""
        self._repeats = 0

    async def run(self, calls: Sequence[ToolCall]) -> tuple[ToolResult, ...]:
        """The results, in the order of the calls. What a model can mend comes back as an error result.

        Raises LimitError when the same call was made five times in a row.
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
        if self._repeats >= STOP_AT:
            raise LimitError(
                f"{self._agent} called {call.name} with the same arguments {self._repeats} times in a row",
                run_id=self._turn.info.run_id, limit="repeated_tool_calls", allowed=STOP_AT - 1,
                used=self._repeats, hint="Change the agent's instructions, or the tool's answer to that call.",
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
        key = digest(call.name, _canonical(call.arguments))
        shown = {"tool": call.name, "arguments": call.arguments}
        async with self._slots:
            data = await self._turn.step(
                "tool", call.name, key, lambda nth: self._call(tool, call, f"{key}/{nth}"), shown_input=shown
            )
        return ToolResult(call_id=call.id, name=call.name, content=data["content"], is_error=data["is_error"])

    async def _call(self, tool: Tool, call: ToolCall, key: str) -> tuple[dict[str, Any], RunUsage]:
        turn = self._turn
        span_id = tracing.new_span_id()
        context = ToolContext(
            run_id=turn.info.run_id, turn_id=turn.id, agent=self._agent, crew=turn.info.crew,
            idempotency_key=digest("idempotency", turn.id, key), folder=self._folder,
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


def _canonical(arguments: str) -> str:
    """The same arguments in another order or spacing are the same call."""
    try:
        return to_json(from_json(arguments))
    except (ValueError, TypeError, RecursionError):  # the tool's own check will say what is wrong with them
        return arguments
