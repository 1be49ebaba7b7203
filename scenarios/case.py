"""A case: one input, and what a right answer to it is."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Case(BaseModel):
    """One case of a suite. Frozen; survives JSON.

    `input` is what the crew is given: text, or data for a flow that takes some. `expected` is what the suite's
    scorers compare with; which form it has is theirs to say. `files` are paths, relative to the suite's folder,
    that the crew may search in this case. `metadata` is for people, for grouping, and for scorers that ask for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    input: Any
    expected: Any = None
    files: tuple[str, ...] = ()
    metadata: dict[str, Any] = Field(default_factory=dict)
