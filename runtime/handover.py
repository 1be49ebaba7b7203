"""How a process that cannot be rid of a stuck call goes, without loss to the other runs that it serves."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Protocol

from callsheet import tracing

log = logging.getLogger(__name__)

FINISH_S = 15.0
"""How long the steps under way may take to finish."""
LEAVE_S = 10.0
"""How long the coordinator may take to hear that the process goes."""
LOOK_S = 0.02
"""How often it is looked whether steps are under way."""


class Leaver(Protocol):
    """What a handover needs of a participant."""

    @property
    def under_way(self) -> int:
        """How many steps have been begun and are not finished; a step that is held back is not begun."""

    def hold(self) -> None:
        """Begin no more steps: those that come to one wait."""

    async def leave(self) -> None:
        """Tell the coordinator that this process goes; returns when all that was recorded is in the journal."""


def end_process() -> None:
    """End this process at once, with its stuck threads. Ray starts the actor again."""
    tracing.flush(1.0)
    os._exit(1)


async def _look_again() -> None:
    await asyncio.sleep(LOOK_S)


class Handover:
    """Ends an actor's process because of a stuck call, and hands its turns to its successor.

    Give `call_stuck` to whatever knows of stuck calls (`tools.on_stuck`). At the first one: new steps are
    held back; the steps under way get `finish_s` seconds to finish; the coordinator is told, so that what
    happens is not counted as a death, and given `leave_s` seconds to hear it; then the process ends.

    What survives: every finished step. The turns are given to the successor with their records. Steps that
    took longer than `finish_s` are made again there: a model call may be paid twice, and of a `once` call
    it is not known whether it took effect. If the coordinator does not answer, the process ends all the
    same, and it counts as a death. Made on the event loop that the participant runs on.
    """

    def __init__(
        self,
        participant: Leaver,
        *,
        end: Callable[[], None] = end_process,
        look_again: Callable[[], Awaitable[None]] = _look_again,
        finish_s: float = FINISH_S,
        leave_s: float = LEAVE_S,
    ) -> None:
        self._participant = participant
        self._end, self._look_again = end, look_again
        self._finish_s, self._leave_s = finish_s, leave_s
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    def call_stuck(self, what: str) -> None:
        """A call of the tool `what` does not end. Callable from any thread; only the first call counts."""
        self._loop.call_soon_threadsafe(self._begin, what)

    @property
    def begun(self) -> bool:
        """Whether the process is about to end."""
        return self._task is not None

    def _begin(self, what: str) -> None:
        if self._task is None:
            self._task = self._loop.create_task(self._hand_over(what))

    async def _hand_over(self, what: str) -> None:
        log.warning("a call of %s does not end, so its process does; Ray starts the actor again", what)
        try:
            self._participant.hold()
            if not await _in_time(self._finished(), self._finish_s):
                log.warning(
                    "%s steps did not finish in time, and will be made again", self._participant.under_way
                )
            if not await _in_time(self._participant.leave(), self._leave_s):
                log.warning("the coordinator did not hear that this process ends")
        except Exception:
            log.exception("the process ends without having handed its turns over")
        finally:
            await asyncio.to_thread(self._end)

    async def _finished(self) -> None:
        while self._participant.under_way:
            await self._look_again()


async def _in_time(work: Awaitable[None], limit_s: float) -> bool:
    try:
        async with asyncio.timeout(limit_s):
            await work
    except TimeoutError:
        return False
    return True
