"""What a model says while it says it: sent in batches to who follows the run, kept nowhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from callsheet.runtime.lanes import Lane
from callsheet.runtime.protocol import Spoken

EVERY_S = 0.05
"""How long text is gathered before it is sent: a reader sees no difference, and a message costs 50 µs."""


class Speech:
    """One answer in parts. A part of None says that the answer is begun again.

    An answer that begins again with the same words goes on where it was; one that does not is told whole, as
    one that takes the place of what was said.
    """

    def __init__(
        self, lane: Lane, run_id: str, turn_id: str, name: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._lane, self._clock = lane, clock
        self._run_id, self._turn_id, self._name = run_id, turn_id, name
        self._text = ""
        self._told = ""
        self._timer: asyncio.TimerHandle | None = None

    def say(self, part: str | None) -> None:
        """Send a part, with those that come within a moment."""
        self._text = "" if part is None else self._text + part
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._send)

    def end(self) -> None:
        """The answer is whole: send what is left."""
        if self._timer is not None:
            self._timer.cancel()
        self._send(whole=True)

    def _send(self, whole: bool = False) -> None:
        self._timer = None
        if self._text.startswith(self._told):
            self._post(self._text[len(self._told) :], anew=False)
        elif whole or not self._told.startswith(self._text):
            self._post(self._text, anew=True)

    def _post(self, text: str, *, anew: bool) -> None:
        self._told = self._text
        if text or anew:
            self._lane.post(
                Spoken(
                    run_id=self._run_id, turn_id=self._turn_id, name=self._name, text=text, anew=anew,
                    at=self._clock(),
                )
            )  # fmt: skip
