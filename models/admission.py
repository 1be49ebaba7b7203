"""Which calls may be sent now: rates, calls in flight and pauses, decided without waiting or clocks.

A call falls under several pools (its model, its provider, its crew, all). It is let through when every limit
of every pool has room for the most it may use; all is taken at once, so nothing is half reserved. Calls
that have to wait take turns by run (see fair_queue). In the order of their turns, the first call of each
line is let through, or keeps its place: those of other lines leave it the room that it waits for in shared
windows, so that small calls do not starve a large one. It does not hold back places in flight while a rate
or a pause stops it, and so no model waits for another's minute.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping

from callsheet.models.fair_queue import FairQueue
from callsheet.models.limit_headers import Said, Subject
from callsheet.models.limits import Limits, keys_of, shown_key
from callsheet.models.rate_windows import SLICES, RateWindow
from callsheet.models.tickets import LIMIT_OF, Pool, Ticket, Use, wanted

NEXT_TO_NOTHING = 50
"""This part of a limit."""

OnUse = Callable[[str, Subject, int, int], None]
"""Told of each change: key, subject, slice, amount."""


class Admission:
    """The pools and the calls that wait for them. Times are seconds of one clock that does not run backwards.

    `on_use` is told what calls under configured limits take, at their sending and with all that they may
    use, and of corrections: adding it up gives windows that are never too low.
    """

    def __init__(
        self,
        limits: Mapping[str, Limits],
        *,
        window_s: float = 60.0,
        margin_s: float = 2.0,
        on_use: OnUse | None = None,
    ) -> None:
        self.limits = limits
        self.window_s = window_s
        self.slice_s = window_s / SLICES
        self.margin_s = margin_s
        self.queue: FairQueue[tuple[str, ...], Ticket] = FairQueue()
        self._on_use = on_use
        self._pools: dict[str, Pool] = {}
        self._reasons: dict[tuple[str, ...], str] = {}

    def pool(self, key: str) -> Pool:
        """The pool of that key, made with the first call that falls under it."""
        pool = self._pools.get(key)
        if pool is None:
            limits = self.limits.get(key, Limits())
            pool = self._pools[key] = Pool(key, limits)
            for subject, name in LIMIT_OF.items():
                limit = getattr(limits, name)
                if limit is not None:
                    pool.windows[subject] = RateWindow(limit, self.window_s, self.margin_s)
        return pool

    def place(self, ticket: Ticket) -> None:
        """Find the pools that the call falls under: its model's, and those that have limits."""
        keys = keys_of(ticket.model, ticket.crew)
        ticket.pools = tuple([self.pool(key) for key in keys if key == ticket.model or key in self.limits])

    def ask(self, ticket: Ticket, now: float) -> bool:
        """Let the call in at once, or let it wait in line. True if it is in."""
        if not self.queue and self._obstacle(ticket, now, {}) is None:
            self._let_in(ticket, now)
            return True
        self.queue.add(ticket.line, ticket.run_id, ticket)
        return False

    def leave(self, ticket: Ticket) -> None:
        """A waiting call waits no more."""
        self.queue.remove(ticket.line, ticket.run_id, ticket)
        ticket.state = "over"

    def pump(self, now: float) -> tuple[list[Ticket], float | None]:
        """Let in what may go now, in order; and when to ask again even if no call ends until then."""
        admitted: list[Ticket] = []
        aside: dict[int, int] = {}
        wake: float | None = None
        order = [(self.queue.since(line), line) for line in self.queue.lines()]
        heapq.heapify(order)
        while order:
            _, line = heapq.heappop(order)
            ticket = self.queue.next(line)
            if ticket is None:
                continue
            stopped = self._obstacle(ticket, now, aside)
            if stopped is None:
                self.queue.take(line)
                ticket.waits_for("" if ticket.waited_for else self._reasons.get(line, ""))
                self._let_in(ticket, now)
                admitted.append(ticket)
                if self.queue.next(line) is None:
                    self._reasons.pop(line, None)
                else:
                    heapq.heappush(order, (self.queue.since(line), line))
                continue
            reason, at = stopped
            self._reasons[line] = reason
            ticket.waits_for(reason)
            if at is not None and (wake is None or at < wake):
                wake = at
            self._set_aside(ticket, now, aside)
        return admitted, wake

    def why(self, ticket: Ticket) -> str:
        """What the call's line waits for."""
        return ticket.waited_for or self._reasons.get(ticket.line, "its turn")

    def sent(self, ticket: Ticket, now: float) -> None:
        """The call goes out only now: its use counts from here."""
        ticket.sent_at = now
        for use in ticket.uses:
            later = use.window.slice_of(now)
            if later != use.slice:
                self._correct(use, -use.used)
                use.slice, amount = later, use.used
                use.window.use(later, amount)
                self._tell(use, later, amount)

    def settle(self, ticket: Ticket, actual: Mapping[Subject, tuple[int, int]] | None, now: float) -> None:
        """The call is over: count what it used, `(input, output)` by subject; None if nobody knows.

        What nobody knows counts as the most it may have been.
        """
        for use in ticket.uses:
            now_slice = max(use.window.slice_of(now), use.slice)
            before, after = (use.used, use.held) if actual is None else actual.get(use.subject, (use.used, 0))
            self._correct(use, before - use.used)
            use.window.held -= use.held
            self._tell(use, use.slice, -use.held)
            if after:
                use.window.use(now_slice, after)
                self._tell(use, now_slice, after)
        self._over(ticket)

    def release(self, ticket: Ticket) -> None:
        """The call was never sent: it is as if it had not been."""
        for use in ticket.uses:
            self._correct(use, -use.used)
            use.window.held -= use.held
            self._tell(use, use.slice, -use.held)
        self._over(ticket)

    def pause(self, model: str, until: float, reason: str) -> None:
        """Let no call of the model in before then."""
        pool = self.pool(model)
        if until > pool.paused_until:
            pool.paused_until, pool.paused_for = until, reason

    def paused(self, now: float) -> dict[str, float]:
        """The models that are paused, and until when."""
        return {pool.key: pool.paused_until for pool in self._pools.values() if pool.paused_until > now}

    def learn(self, model: str, subject: Subject, said: Said) -> None:
        """Take over the limit that the provider states, where it is lower than ours."""
        if said.limit is None:
            return
        pool = self.pool(model)
        ours: int | None = getattr(pool.limits, LIMIT_OF[subject])
        limit = said.limit if ours is None else min(ours, said.limit)
        if subject in pool.windows:
            pool.windows[subject].limit = limit
        else:
            pool.windows[subject] = RateWindow(limit, self.window_s, self.margin_s)

    def is_full(self, model: str, subject: Subject, now: float) -> bool:
        """Whether our own count of the model's last minute leaves next to nothing of its limit."""
        window = self.pool(model).windows.get(subject)
        return window is not None and window.room(now) <= window.limit // NEXT_TO_NOTHING

    def restore(self, key: str, subject: Subject, at: float, amount: int) -> None:
        """Count what was used before this process began; the oldest first."""
        window = self.pool(key).windows.get(subject) if key in self.limits else None
        if window is not None and amount > 0:
            window.use(window.slice_of(at), amount)

    def _obstacle(
        self, ticket: Ticket, now: float, aside: Mapping[int, int]
    ) -> tuple[str, float | None] | None:
        for pool in ticket.pools:
            if pool.paused_until > now:
                return f"pause of {pool.key} ({pool.paused_for})", pool.paused_until
        stopped = self._window_obstacle(ticket, now, aside)
        if stopped is not None:
            return stopped
        for pool in ticket.pools:
            most = pool.limits.in_flight
            if most is not None and pool.in_flight + aside.get(id(pool), 0) >= most:
                return f"in_flight of {shown_key(pool.key)}", None
        return None

    def _window_obstacle(
        self, ticket: Ticket, now: float, aside: Mapping[int, int]
    ) -> tuple[str, float | None] | None:
        for pool in ticket.pools:
            for subject, window in pool.windows.items():
                most = sum(wanted(ticket, subject, window)) + aside.get(id(window), 0)
                if most > window.room(now):
                    return f"{LIMIT_OF[subject]} of {shown_key(pool.key)}", window.room_at(most, now)
        return None

    def _set_aside(self, ticket: Ticket, now: float, aside: dict[int, int]) -> None:
        if any(pool.paused_until > now for pool in ticket.pools):
            return
        rate_stops_it = self._window_obstacle(ticket, now, aside) is not None
        for pool in ticket.pools:
            for subject, window in pool.windows.items():
                aside[id(window)] = aside.get(id(window), 0) + sum(wanted(ticket, subject, window))
            if not rate_stops_it:
                aside[id(pool)] = aside.get(id(pool), 0) + 1

    def _let_in(self, ticket: Ticket, now: float) -> None:
        ticket.state = "let in"
        ticket.sent_at = now
        for pool in ticket.pools:
            pool.in_flight += 1
            for subject, window in pool.windows.items():
                used, held = wanted(ticket, subject, window)
                use = Use(
                    pool=pool,
                    subject=subject,
                    window=window,
                    slice=window.slice_of(now),
                    used=used,
                    held=held,
                )
                window.use(use.slice, used)
                window.held += held
                ticket.uses.append(use)
                self._tell(use, use.slice, used + held)

    def _over(self, ticket: Ticket) -> None:
        ticket.uses.clear()
        ticket.state = "over"
        for pool in ticket.pools:
            pool.in_flight -= 1

    def _correct(self, use: Use, amount: int) -> None:
        use.window.correct(use.slice, amount)
        self._tell(use, use.slice, amount)

    def _tell(self, use: Use, slice_: int, amount: int) -> None:
        if self._on_use is not None and amount and use.pool.key in self.limits:
            self._on_use(use.pool.key, use.subject, slice_, amount)
