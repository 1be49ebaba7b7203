"""What a tool may know of the call it serves: a parameter annotated `ToolContext` receives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol, runtime_checkable

from callsheet.core.errors import ToolError


class PassageLike(Protocol):
    """One passage found: `cite` is what a citation `[cite]` in an answer names."""

    @property
    def text(self) -> str:
        """The passage's text."""

    @property
    def title(self) -> str:
        """Where in the document it stands (the path of headings)."""

    @property
    def cite(self) -> str:
        """The name under which it is cited, like `guide.md#L10-L24`."""


@runtime_checkable
class DocumentSearch(Protocol):
    """The shared memory, as a tool sees it; already bound to the run's collection."""

    async def search(self, query: str, *, k: int) -> Sequence[PassageLike]:
        """The k passages that fit the query best, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """The call's place in its run, and what the run gives its tools.

    Any parameter annotated `ToolContext` receives it, whatever its name (`run`, say). `idempotency_key` is
    the same on every attempt of one call: hand it to a service that takes one, and a call repeated after a
    crash has its effect once. `folder` is the only folder that tools may read.
    """

    run_id: str = ""
    turn_id: str = ""
    agent: str = ""
    crew: str = ""
    idempotency_key: str = ""
    folder: Path | None = None
    memory: DocumentSearch | None = None
    collection: str = "default"
    session_id: str = ""
    parent_span_id: str = ""

    def ask_person(self, question: str, choices: Sequence[str] | None = None) -> NoReturn:
        """Always raises ToolError: a tool cannot wait for a person while its own call is under way.

        A run that waits holds no process, so nothing may be half done in it; the error says how to ask.
        """
        raise ToolError(
            f"a tool cannot ask a person while its call is under way (asked: {question[:200]!r})",
            hint="Let the flow ask (run.ask_person), give the agent the tool `ask_person`, or have a person "
            "decide before the call is made: @tool(approval=True).",
        )
