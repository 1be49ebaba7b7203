"""A sliding window: how much was used in the last minute, wherever that minute is taken to begin.

Uses are counted in slices of the window, a few hundred of them, so that a window costs the same at ten and
at ten thousand calls a minute, and a use can be corrected when its true size is known. A slice counts until
its newest use has left the window; that holds back at most one slice's length of use.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

SLICES = 200


class RateWindow:
    """At most `limit` in any `window_s`, as a server sees it.

    The server sees a use later than we do, and not always by the same delay: a delay that shrinks between two
    uses brings them closer together there. So a use counts `margin_s` longer than the window is; while
    delays differ by less than that, no window of the server's sees more than `limit`.

    `held` is what is reserved for calls under way that will be used at a moment not known yet: it counts
    until it is settled. Times are seconds of any one clock that does not run backwards.
    """

    __slots__ = ("_keep_s", "_slices", "held", "limit", "slice_s", "used")

    def __init__(self, limit: int, window_s: float, margin_s: float) -> None:
        self.limit = limit
        self.slice_s = window_s / SLICES
        self._keep_s = window_s + margin_s
        self._slices: dict[int, int] = {}
        self.held = 0
        self.used = 0

    def slice_of(self, at: float) -> int:
        """The number of the slice that a use at that time counts in."""
        return math.floor(at / self.slice_s)

    def use(self, slice_: int, amount: int) -> None:
        """Count a use in that slice, which is none before the newest one."""
        self._slices[slice_] = self._slices.get(slice_, 0) + amount
        self.used += amount

    def correct(self, slice_: int, amount: int) -> None:
        """Add to a use that was counted (or take from it); nothing if that use has left the window."""
        if slice_ in self._slices:
            self._slices[slice_] += amount
            self.used += amount

    def forget(self, now: float) -> None:
        """Let go of what has left the window."""
        while self._slices:
            oldest = next(iter(self._slices))
            if self._leaves(oldest) > now:
                return
            self.used -= self._slices.pop(oldest)

    def room(self, now: float) -> int:
        """What may be used now, beside what is held. Below 0 when more was used than was reserved."""
        self.forget(now)
        return self.limit - self.used - self.held

    def room_at(self, amount: int, now: float) -> float | None:
        """When there is room for `amount`, if nothing else comes; None where it hangs on what is held."""
        missing = amount - self.room(now)
        if missing <= 0:
            return now
        for slice_, used in self._slices.items():
            missing -= used
            if missing <= 0:
                return self._leaves(slice_)
        return None

    def _leaves(self, slice_: int) -> float:
        return (slice_ + 1) * self.slice_s + self._keep_s


def steady_time() -> Callable[[], float]:
    """A clock that starts with the Unix time (s) and never runs backwards, however that is set."""
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()
