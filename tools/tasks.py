"""The tasks in which asynchronous tools run, and what becomes of one that does not let itself be cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from callsheet.tools.stuck_calls import StuckCalls, stuck_calls

T = TypeVar("T")

GRACE_S = 3.0
"""How long a cancelled tool may clean up before its call counts as stuck."""


async def in_task(
    work: Awaitable[T], what: str, *, grace_s: float = GRACE_S, calls: StuckCalls | None = None
) -> T:
    """What the work returns or raises. When this is cancelled, the work is cancelled and waited for.

    Work that goes on nevertheless is left behind after `grace_s` seconds, and counts as stuck.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()

        def look() -> None:
            if not task.done():
                (calls or stuck_calls()).add(what, lambda: not task.done())

        # A timer, and not the end of the wait below: that may itself be cancelled.
        timer = asyncio.get_running_loop().call_later(grace_s, look)
        task.add_done_callback(lambda _: timer.cancel())
        task.add_done_callback(_forget)
        await asyncio.wait([task], timeout=grace_s)
        raise
    return task.result()


def _forget(task: asyncio.Future[T]) -> None:
    """Nobody asks any more what the task came to; asyncio would complain that nobody did."""
    if not task.cancelled():
        task.exception()
