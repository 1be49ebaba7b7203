"""The one ledger of a cluster's model calls: what they may use is reserved before, and settled after.

It lives in the gateway. Budgets by day, and the last minute's use under configured limits, are also in a
file: a gateway that comes after a crash goes on from there. Waiting calls die with their callers' requests
and are asked for again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from callsheet.core.errors import CallsheetError
from callsheet.models.admission import Admission
from callsheet.models.day_budgets import DayBudgets, nano_usd
from callsheet.models.ledger_file import LedgerFile
from callsheet.models.limit_headers import read_limits
from callsheet.models.limits import Limits
from callsheet.models.messages import Usage
from callsheet.models.minute_log import MinuteLog
from callsheet.models.rate_windows import SLICES, steady_time
from callsheet.models.tickets import LIMIT_OF, Ticket, actual_use, gave_up

MINUTE_S = 60.0

MARGIN = 1 / 30
"""Part of a window that calls may be delayed on their way, one more than another (2 s of a minute)."""


class Ledger:
    """Limits and budgets of all model calls of a cluster, fair between runs.

    Of each call: `ticket = await reserve(...)`, then either `settle(ticket, ...)` once it was sent, however it
    ended, or `release(ticket)` if it was not. A retry is another call.

    `path` is the file (None: memory only). `window_s` is the length of a "minute" (60 s), and `margin_s` how much the
    delay on the way to the server may change from one call to the next without its seeing more than the limit.
    `clock` (s, never backwards) is for windows and `wall` (Unix s) for days and deadlines. An event loop must
    run when it is used; it belongs to that loop.
    """

    def __init__(
        self,
        limits: Mapping[str, Limits] | None = None,
        *,
        path: Path | None = None,
        window_s: float | None = None,
        margin_s: float | None = None,
        max_pause_s: float = 60.0,
        clock: Callable[[], float] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._limits = dict(limits or {})
        self._clock = steady_time() if clock is None else clock
        self._wall = wall
        window_s = MINUTE_S if window_s is None else window_s
        self._window_s = window_s
        self._max_pause_s = max_pause_s
        self._file = LedgerFile(path)
        keep_s = window_s * (1 + MARGIN) if margin_s is None else window_s + margin_s
        self._minutes: MinuteLog | None = None
        if path is not None and any(_has_minutes(limit) for limit in self._limits.values()):
            self._minutes = MinuteLog(self._file, self._clock, window_s / SLICES, keep_s)
        self._admission = Admission(
            self._limits,
            window_s=window_s,
            margin_s=keep_s - window_s,
            on_use=None if self._minutes is None else self._minutes.keep,
        )
        self._budgets = DayBudgets(self._limits, self._file, wall)
        self._waiting: dict[Ticket, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._opening: asyncio.Task[None] | None = None

    async def reserve(
        self,
        model: str,
        *,
        run_id: str = "",
        crew: str = "",
        input_tokens: int = 0,
        output_tokens: int = 0,
        usd: float | None = None,
        deadline: float | None = None,
    ) -> Ticket:
        """Wait until there is room for a call that uses at most this; the room is taken.

        Runs take turns. `usd` None: nobody knows the price, and the call has no part in budgets in USD.
        `deadline` is Unix time (s). Raises LimitError for a day's budget that has no room left,
        ModelRateLimitError when the deadline comes first or the provider asked for a longer pause than is
        waited for (`retry_after_s`) when a budget cannot be checked. Cancelling leaves no trace.
        """
        ticket = Ticket(
            model=model,
            run_id=run_id,
            crew=crew,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            usd_nano=nano_usd(usd),
        )
        if self._minutes is not None and (self._opening is None or not self._opening.done()):
            await self._open()
        self._admission.place(ticket)
        ticket.asked_at = self._clock()
        wanted = self._budgets.wanted(model, crew)
        short_since = 0.0
        while True:
            self._budgets.check(ticket, wanted)
            await self._let_in(ticket, deadline)
            if not wanted:
                break
            try:
                short = await self._budgets.take(ticket, wanted)
            except BaseException:
                self.release(ticket)
                raise
            if short is None:
                break
            # Others under way may cost less than they have reserved; what this one took goes back meanwhile.
            self._admission.release(ticket)
            self._pump()
            self._check_deadline(ticket, deadline)
            short_since = short_since or time.monotonic()
            await self._budgets.wait(wanted, short, short_since)
        ticket.waited_s = max(0.0, self._clock() - ticket.asked_at) if ticket.waited_for else 0.0
        return ticket

    def sent(self, ticket: Ticket) -> None:
        """Say that the call goes out now, where that may be a while after `reserve` (an SDK was imported)."""
        if ticket.is_in:
            self._admission.sent(ticket, self._clock())

    def settle(
        self,
        ticket: Ticket,
        usage: Usage | None,
        usd: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """The call was sent and is over: put what it used in place of what it had reserved.

        `usage` None: nobody knows, so the most it may have used counts; `Usage()` for one that the server
        refused. `usd` None: with a usage, no price is known, and the reservation counts. `headers` of the
        answer teach limits. Settling twice does nothing.
        """
        if not ticket.is_in:
            return
        if headers:
            self._learn(ticket.model, headers, ticket.sent_at)
        refused = usage is not None and not usage.input_tokens and not usage.output_tokens
        usd_nano = ticket.usd_nano if usd is None and not refused else nano_usd(usd)
        if usage is None:
            actual = None
            tokens = ticket.input_tokens + ticket.output_tokens
        else:
            actual = actual_use(usage)
            tokens = usage.input_tokens + usage.output_tokens
        self._budgets.settle(ticket, self._budgets.wanted(ticket.model, ticket.crew), usd_nano, tokens)
        self._admission.settle(ticket, actual, self._clock())
        self._pump()

    def release(self, ticket: Ticket) -> None:
        """The call was not sent after all: it is as if it had not been. Nothing for one that is settled."""
        if not ticket.is_in:
            return
        self._budgets.settle(ticket, self._budgets.wanted(ticket.model, ticket.crew), 0, 0)
        self._admission.release(ticket)
        self._pump()

    def learn(self, model: str, headers: Mapping[str, str]) -> None:
        """Take over what an answer's headers say of the model's limits."""
        self._learn(model, headers, self._clock())
        self._pump()

    def pause(self, model: str, seconds: float, reason: str = "the provider asked for it") -> None:
        """Let nobody call the model for so long: after a failure with `retry_after_s`.

        Calls that would wait for longer than is waited for, or past their deadline, fail now.
        """
        self._admission.pause(model, self._clock() + seconds, reason)
        self._pump()

    def paused_s(self, model: str) -> float:
        """For how long nobody may call the model, in seconds; 0 for one that is not paused."""
        return max(0.0, self._admission.pool(model).paused_until - self._clock())

    def bounds_cost(self, model: str, crew: str = "") -> bool:
        """Whether a budget by day covers such a call, so that its output must not be without bound."""
        return bool(self._budgets.wanted(model, crew))

    async def close(self) -> None:
        """Write what is left. Calls that wait are given up by their callers, not here."""
        if self._timer is not None:
            self._timer.cancel()
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
        await self._budgets.close()
        await self._file.close()

    async def _let_in(self, ticket: Ticket, deadline: float | None) -> None:
        ticket.state = "waiting"
        now = self._clock()
        if self._admission.ask(ticket, now):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = future
        timer = None
        if deadline is not None:
            left = deadline - self._wall()
            timer = asyncio.get_running_loop().call_later(max(0.0, left), self._too_late, ticket)
            ticket.deadline = now + left
        try:
            self._pump()
            await future
        except BaseException:
            # Cancelled, perhaps in the very moment in which it was let in.
            if self._waiting.pop(ticket, None) is not None:
                self._admission.leave(ticket)
            elif ticket.is_in:
                self._admission.release(ticket)
            self._pump()
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _pump(self) -> None:
        """Let in what has room, fail what would wait too long, and set the clock for the rest."""
        if not self._waiting:
            return
        now = self._clock()
        admitted, wake = self._admission.pump(now)
        for ticket in admitted:
            self._answer(ticket, None)
        self._give_up_on_pauses(now)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wake is not None and self._waiting:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, wake - now), self._pump)

    def _give_up_on_pauses(self, now: float) -> None:
        paused = self._admission.paused(now)
        if not paused:
            return
        for ticket in list(self._waiting):
            for pool in ticket.pools:
                until = paused.get(pool.key)
                if until is not None and (until - now > self._max_pause_s or until > ticket.deadline):
                    self._fail(ticket, until - now)
                    break

    def _too_late(self, ticket: Ticket) -> None:
        self._fail(ticket, None)
        self._pump()

    def _fail(self, ticket: Ticket, pause_s: float | None) -> None:
        if ticket in self._waiting:
            self._admission.leave(ticket)
            self._answer(ticket, gave_up(ticket, self._admission.why(ticket), pause_s))

    def _answer(self, ticket: Ticket, error: CallsheetError | None) -> None:
        future = self._waiting.pop(ticket)
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def _check_deadline(self, ticket: Ticket, deadline: float | None) -> None:
        if deadline is not None and self._wall() >= deadline:
            raise gave_up(ticket, self._admission.why(ticket), None)

    def _learn(self, model: str, headers: Mapping[str, str], at: float) -> None:
        said = read_limits(headers, self._wall(), self._window_s)
        for subject, about in said.items():
            self._admission.learn(model, subject, about)
            # Nothing left where we have used it up ourselves is what our own window knows better.
            full = self._admission.is_full(model, subject, self._clock())
            if about.remaining == 0 and about.reset_s and not full:
                self._admission.pause(model, at + about.reset_s, f"no {subject} remain, say its headers")

    async def _open(self) -> None:
        if self._minutes is not None and self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._restore(self._minutes))
        if self._opening is not None:
            await asyncio.shield(self._opening)

    async def _restore(self, minutes: MinuteLog) -> None:
        for key, subject, at, amount in await minutes.read():
            self._admission.restore(key, subject, at, amount)


def _has_minutes(limits: Limits) -> bool:
    return any(getattr(limits, name) is not None for name in LIMIT_OF.values())
