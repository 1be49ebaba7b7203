"""A call's place in the ledger: the pools it falls under, what it takes of their windows, what it waited for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from callsheet.core.errors import ModelRateLimitError
from callsheet.models.limit_headers import Subject
from callsheet.models.limits import Limits
from callsheet.models.messages import Usage
from callsheet.models.rate_windows import RateWindow

LIMIT_OF: dict[Subject, str] = {
    "requests": "requests_per_minute",
    "tokens": "tokens_per_minute",
    "input_tokens": "input_tokens_per_minute",
    "output_tokens": "output_tokens_per_minute",
}
"""The name of the limit on each subject."""


class Pool:
    """The calls under one key: their windows, how many are in flight, and until when they are paused."""

    __slots__ = ("in_flight", "key", "limits", "paused_for", "paused_until", "windows")

    def __init__(self, key: str, limits: Limits) -> None:
        self.key = key
        self.limits = limits
        self.in_flight = 0
        self.windows: dict[Subject, RateWindow] = {}
        self.paused_until = 0.0
        self.paused_for = ""


@dataclass(slots=True, eq=False, kw_only=True)
class Ticket:
    """One call's place in the ledger: what it reserved, and how long it waited for what."""

    model: str
    run_id: str = ""
    crew: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    usd_nano: int = 0
    """In billionths of a USD, so that sums are exact."""
    pools: tuple[Pool, ...] = ()
    deadline: float = math.inf
    """When its caller gives up, by the ledger's clock."""
    asked_at: float = 0.0
    sent_at: float = 0.0
    waited_s: float = 0.0
    waited_for: str = ""
    """The limits it waited for, such as `requests_per_minute of openai/gpt-5.4-mini`; empty for no wait."""
    state: Literal["waiting", "let in", "over"] = "waiting"
    day: str = ""
    uses: list[Use] = field(default_factory=list)

    @property
    def line(self) -> tuple[str, ...]:
        """Calls with the same are in one line."""
        return tuple([pool.key for pool in self.pools])

    @property
    def is_in(self) -> bool:
        """It has its room, and has not given it back."""
        return self.state == "let in"

    def waits_for(self, reason: str) -> None:
        """Note a limit that it waits for."""
        if reason and reason not in self.waited_for:
            self.waited_for = f"{self.waited_for}, {reason}" if self.waited_for else reason


@dataclass(slots=True, kw_only=True)
class Use:
    """What a call let in has taken of one window."""

    pool: Pool
    subject: Subject
    window: RateWindow
    slice: int
    used: int
    held: int


def wanted(ticket: Ticket, subject: Subject, window: RateWindow) -> tuple[int, int]:
    """What the call takes of the window at its sending, and what it holds until it is settled.

    A call larger than the whole limit takes the whole: it goes alone, and its provider judges it.
    """
    if subject == "requests":
        return 1, 0
    input_ = 0 if subject == "output_tokens" else min(ticket.input_tokens, window.limit)
    output = 0 if subject == "input_tokens" else min(ticket.output_tokens, window.limit - input_)
    return input_, output


def actual_use(usage: Usage) -> dict[Subject, tuple[int, int]]:
    """What a call used of each subject: at its sending, and by its end."""
    fresh = max(0, usage.input_tokens - usage.cache_read_tokens)
    return {
        "requests": (1, 0),
        "tokens": (usage.input_tokens, usage.output_tokens),
        "input_tokens": (fresh, 0),
        "output_tokens": (0, usage.output_tokens),
    }


def gave_up(ticket: Ticket, why: str, pause_s: float | None) -> ModelRateLimitError:
    """The error for a call that waits no more: for a pause that is too long, or (None) because its time is up."""
    if pause_s is None:
        what = f"the deadline came while a call of {ticket.model} waited for {why}"
        hint = "Give the run more time (--deadline), run less side by side, or raise the limit."
    else:
        what = f"{ticket.model} is paused for another {pause_s:.3g} s"
        hint = "Its provider asked for the pause. Use another model, or resume the run later."
    return ModelRateLimitError(
        what,
        model=ticket.model,
        provider=ticket.model.partition("/")[0],
        run_id=ticket.run_id,
        retry_after_s=pause_s,
        hint=hint,
    )
