"""A circuit breaker for each model: one that fails again and again is left alone for a while.

Closed: calls go. Open, after so many failures in a row: none goes until a pause is over. Half-open, after it: one
call goes as a probe; its success closes the breaker, its failure opens it for twice as long. (Nygard, "Release
It!", 2007.) What counts as a failure is that the server is not there, overloaded or broken: a refused request
is an answer, and a rate limit is the ledger's concern.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half-open"]
Pass = Literal["call", "probe"]


class Breaker:
    """One model's. `clock` gives seconds and never runs backwards. Its state is lost with its process."""

    def __init__(
        self, *, failures: int, pause_s: float, max_pause_s: float, clock: Callable[[], float]
    ) -> None:
        self._most = failures
        self._first_pause_s = self._pause_s = pause_s
        self._max_pause_s = max_pause_s
        self._clock = clock
        self._failed = 0
        self._until: float | None = None
        self._probing = False
        self._changed = asyncio.Event()

    @property
    def state(self) -> State:
        """Where it is now."""
        if self._until is None:
            return "closed"
        return "open" if self._clock() < self._until or self._probing else "half-open"

    def admit(self) -> Pass | None:
        """Leave for a call to go now, or None. One that goes hands it back to `succeeded`, `failed` or `unsure`."""
        if self._until is None:
            return "call"
        if self.state == "open":
            return None
        self._probing = True
        return "probe"

    @property
    def opens_in_s(self) -> float:
        """Seconds until a call may go, as far as is known: 0 while a probe is under way."""
        return 0.0 if self._until is None else max(0.0, self._until - self._clock())

    async def changed(self, timeout_s: float) -> None:
        """Wait for the end of the pause or of the probe, for so long at most."""
        left = timeout_s if self._probing else min(timeout_s, self.opens_in_s)
        try:
            async with asyncio.timeout(left):
                await self._changed.wait()
        except TimeoutError:
            return  # whoever waits looks again

    def succeeded(self, leave: Pass) -> None:
        """The call has been answered, if only with a refusal."""
        if self._until is not None and leave == "call":
            return  # sent before it opened; only the probe closes it
        self._failed = 0
        if leave == "probe":
            self._pause_s = self._first_pause_s
            self._until, self._probing = None, False
            self._tell()

    def failed(self, leave: Pass) -> None:
        """The call found no server that could answer."""
        if leave == "probe":
            self._pause_s = min(self._pause_s * 2, self._max_pause_s)
        elif self._until is not None:
            return
        else:
            self._failed += 1
            if self._failed < self._most:
                return
        self._until, self._probing = self._clock() + self._pause_s, False
        self._tell()

    def unsure(self, leave: Pass) -> None:
        """The call was given up, or stopped by a limit: it says nothing, and another may probe."""
        if leave == "probe":
            self._probing = False
            self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
