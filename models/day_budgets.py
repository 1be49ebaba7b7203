"""Budgets by UTC day: reserved by the most a call may cost, settled by what it did cost.

They are kept in the ledger's file, so they hold after a restart and between gateways that share it. What a
gateway that died had reserved stays reserved for that day: nobody knows whether it was billed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from callsheet.core.errors import LimitError
from callsheet.models.ledger_file import DayUse, LedgerFile, add_day, take_day
from callsheet.models.limits import Limits, keys_of, shown_key
from callsheet.models.tickets import Ticket

NANO = 1_000_000_000

POLL_S = 0.5
"""How often it is looked whether another gateway's calls have ended and left room."""

PATIENCE_S = 30.0
"""How long room is waited for that only other gateways could make: one that died makes none."""

Wanted = list[tuple[str, int | None, int | None]]
Taken = tuple[dict[str, DayUse], tuple[str, str] | None]


class DayBudgets:
    """The budgets of all keys. `clock` is Unix time (s), for the day alone."""

    def __init__(
        self, limits: Mapping[str, Limits], file: LedgerFile, clock: Callable[[], float] = time.time
    ) -> None:
        self._limits = {
            key: limit
            for key, limit in limits.items()
            if limit.usd_per_day is not None or limit.tokens_per_day is not None
        }
        self._file = file
        self._clock = clock
        self._known: dict[tuple[str, str], DayUse] = {}
        self._held: dict[str, int] = {}
        self._ended = asyncio.Event()
        self._given_up: set[asyncio.Future[Taken]] = set()

    def wanted(self, model: str, crew: str) -> Wanted:
        """The budgets that a call falls under: key, USD (billionths) and tokens a day."""
        if not self._limits:
            return []
        budgets = [(key, self._limits[key]) for key in keys_of(model, crew) if key in self._limits]
        return [
            (
                key,
                None if limits.usd_per_day is None else round(limits.usd_per_day * NANO),
                limits.tokens_per_day,
            )
            for key, limits in budgets
        ]

    def check(self, ticket: Ticket, wanted: Wanted) -> None:
        """Refuse at once what has no room even if every call under way cost nothing. Raises LimitError."""
        if not wanted:
            return
        day = self._today()
        for key, most_usd, most_tokens in wanted:
            use = self._known.get((key, day), DayUse())
            if most_usd is not None and use.spent_usd + ticket.usd_nano > most_usd:
                raise _none_left(ticket, key, "usd_per_day", use, most_usd)
            tokens = ticket.input_tokens + ticket.output_tokens
            if most_tokens is not None and use.spent_tokens + tokens > most_tokens:
                raise _none_left(ticket, key, "tokens_per_day", use, most_tokens)

    async def take(self, ticket: Ticket, wanted: Wanted) -> LimitError | None:
        """Reserve the most that the call may cost. What is short, if calls under way may yet leave room for it.

        Raises LimitError where nothing is left, ServiceError where the file cannot be used. Cancelling leaves
        nothing reserved.
        """
        day, most_tokens = self._today(), ticket.input_tokens + ticket.output_tokens

        def work(connection: sqlite3.Connection) -> Taken:
            return take_day(connection, wanted, day, ticket.usd_nano, most_tokens)

        taking = asyncio.ensure_future(self._file.do(work))
        try:
            found, short = await asyncio.shield(taking)
        except asyncio.CancelledError:
            self._given_up.add(taking)
            taking.add_done_callback(lambda done: self._undo(done, ticket, wanted, day))
            raise
        for key, use in found.items():
            self._known[key, day] = use
        if short is None:
            ticket.day = day
            for key in found:
                self._held[key] = self._held.get(key, 0) + 1
            return None
        self.check(ticket, wanted)
        key, name = short
        ticket.waits_for(f"{name} of {shown_key(key)}")
        most = next(usd if name == "usd_per_day" else tokens for k, usd, tokens in wanted if k == key)
        return _none_left(ticket, key, name, found[key], most or 0)

    async def wait(self, wanted: Wanted, short: LimitError, since: float) -> None:
        """Wait until room may have come. Raises `short` when nobody is left who could make any.

        `since` (monotonic, s) is when the call found no room for the first time.
        """
        ours = any(self._held.get(key) for key, _, _ in wanted)
        if not ours and time.monotonic() - since > PATIENCE_S:
            raise short
        ended = self._ended
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await ended.wait()

    def settle(self, ticket: Ticket, wanted: Wanted, usd_nano: int, tokens: int) -> None:
        """Put what the call did use in place of what it had reserved; both 0 for a call that was not sent."""
        if not ticket.day:
            return
        day, ticket.day = ticket.day, ""
        keys = [key for key, _, _ in wanted]
        held_usd, held_tokens = ticket.usd_nano, ticket.input_tokens + ticket.output_tokens

        def work(connection: sqlite3.Connection) -> None:
            for key in keys:
                add_day(
                    connection, key, day, spent_usd=usd_nano, held_usd=-held_usd, spent_tokens=tokens,
                    held_tokens=-held_tokens,
                )  # fmt: skip

        self._file.later(work)
        for key in keys:
            self._held[key] -= 1
        self._ended.set()
        self._ended = asyncio.Event()

    async def close(self) -> None:
        """Wait until what was reserved for callers that have gone is given back to the file."""
        while self._given_up:
            await asyncio.wait(set(self._given_up))

    def _undo(
        self,
        done: asyncio.Future[Taken],
        ticket: Ticket,
        wanted: Wanted,
        day: str,
    ) -> None:
        self._given_up.discard(done)
        if done.cancelled() or done.exception() is not None or done.result()[1] is not None:
            return
        ticket.day = day
        for key, _, _ in wanted:
            self._held[key] = self._held.get(key, 0) + 1
        self.settle(ticket, wanted, 0, 0)

    def _today(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%d")


def nano_usd(usd: float | None) -> int:
    """Billionths of a USD, rounded up; 0 for a price that nobody knows: it has no part in budgets in USD."""
    return 0 if usd is None else math.ceil(round(usd * NANO, 3))


def _none_left(ticket: Ticket, key: str, limit: str, use: DayUse, most: int) -> LimitError:
    usd = limit == "usd_per_day"
    unit = NANO if usd else 1
    wanted = ticket.usd_nano if usd else ticket.input_tokens + ticket.output_tokens
    used = use.spent_usd if usd else use.spent_tokens
    held = use.held_usd if usd else use.held_tokens

    def shown(amount: int) -> str:
        return f"{amount / NANO:.4f} USD" if usd else f"{amount} tokens"

    under_way = f", {shown(held)} is reserved for calls under way" if held else ""
    return LimitError(
        f"the day's budget of {shown_key(key)} has no room for this call of {ticket.model}: {shown(used)} of "
        f"{shown(most)} is spent{under_way}, and the call may take {shown(wanted)}",
        limit=limit,
        allowed=most / unit,
        used=(used + held + wanted) / unit,
        run_id=ticket.run_id,
        hint=f"Raise {limit} of {key!r}, name a cheaper model, lower max_tokens, or resume after midnight UTC.",
    )
