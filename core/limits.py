"""The limits of a run, and what has been used of them."""

from __future__ import annotations

import math
from typing import Any

from callsheet.core.errors import DefinitionError
from callsheet.core.frozen import frozen, names_of

_COUNTS = (
    "model_calls_per_turn", "turns", "messages", "parallel_tool_calls", "budget_tokens", "repeated_tool_calls",
)  # fmt: skip


@frozen
class Limits:
    """What a run may use. None means no limit, where it is allowed.

    Raises DefinitionError for counts that are no whole numbers above 0, and for a deadline or a budget that
    is no number above 0.
    """

    model_calls_per_turn: int = 25
    turns: int = 200
    messages: int = 1000
    deadline_s: float | None = 1800.0
    """Seconds from the run's start until its work is stopped."""
    budget_usd: float | None = None
    parallel_tool_calls: int = 8
    """Tool calls of one turn that may run at once."""
    budget_tokens: int | None = None
    """Tokens, in and out, that the run may use."""
    repeated_tool_calls: int = 4
    """Identical tool calls in a row; the third is told to the model as a mistake, one too many stops the turn."""

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is None and name == "budget_tokens":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise DefinitionError(f"limits: {name} is {value!r}", hint="Give a whole number, 1 or more.")
        for name in ("deadline_s", "budget_usd"):
            value = getattr(self, name)
            if value is None:
                continue
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
                raise DefinitionError(
                    f"limits: {name} is {value!r}", hint="Give a number above 0, or None for no limit."
                )

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form."""
        return {name: getattr(self, name) for name in names_of(Limits)}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Limits:
        """From `to_dict`; limits that a newer version knows and this one does not are left out.

        Checks nothing: what a journal holds of older runs must stay readable.
        """
        limits = Limits()
        for name in names_of(Limits):
            if name in data:
                object.__setattr__(limits, name, data[name])
        return limits


@frozen
class RunUsage:
    """What a run has used so far, from its recorded steps alone: a replay counts nothing twice.

    `cost_usd` is the sum of the known prices; `unpriced_calls` says how many calls have none, so that a
    sum with unknown parts is never shown as if it were whole. `cached_calls` are those of the model calls that
    the response cache answered, which nobody was paid for.
    """

    llm_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    unpriced_calls: int = 0
    tool_calls: int = 0
    cached_calls: int = 0

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.input_tokens + self.output_tokens

    def plus(self, other: RunUsage) -> RunUsage:
        """The sum of both."""
        return RunUsage(
            llm_calls=self.llm_calls + other.llm_calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=self.cost_usd + other.cost_usd,
            unpriced_calls=self.unpriced_calls + other.unpriced_calls,
            tool_calls=self.tool_calls + other.tool_calls,
            cached_calls=self.cached_calls + other.cached_calls,
        )

    def stored(self) -> dict[str, Any]:
        """All fields, as journals keep them: `cached_calls` where there are any, as they were without it before."""
        kept = {name: getattr(self, name) for name in names_of(RunUsage)}
        if not self.cached_calls:
            del kept["cached_calls"]
        return kept

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form; `cost_usd` is null where a part of it is unknown, `cached_calls` is left out for 0."""
        cached = {"cached_calls": self.cached_calls} if self.cached_calls else {}
        return {
            "llm_calls": self.llm_calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": None if self.unpriced_calls else round(self.cost_usd, 8),
            "tool_calls": self.tool_calls,
            **cached,
        }
