"""What a scorer sees of a run: the case, the answer, what the models called, and what it took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from callsheet.core.canonical import to_json
from callsheet.core.limits import RunUsage
from callsheet.scenarios.case import Case


@dataclass(frozen=True, kw_only=True)
class Call:
    """A tool call that a model made: the tool's name and its arguments."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A run of a case that ended with an answer; runs that failed are never scored.

    `output` is the crew's answer as JSON-compatible data. `calls` are the tool calls that were carried out, in
    the order in which they began. `steps` counts recorded steps: model calls, tool calls, messages asked.
    """

    case: Case
    output: Any
    calls: tuple[Call, ...] = ()
    usage: RunUsage = field(default_factory=RunUsage)
    elapsed_s: float = 0.0
    steps: int = 0
    run_id: str = ""

    @property
    def text(self) -> str:
        """The answer as text: as it is, or data as JSON."""
        return self.output if isinstance(self.output, str) else to_json(self.output)
