"""What a tool may know of the call it serves: a parameter annotated `ToolContext` receives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable


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

    `idempotency_key` is the same on every attempt of one call: hand it to a service that takes one, and
    a call repeated after a crash has its effect once. `folder` is the only folder that tools may read.
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
