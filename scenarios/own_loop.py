"""Work in an event loop and a thread of its own, for callers that block, whether or not a loop runs around them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from callsheet.crews.portal import portal

T = TypeVar("T")

STOP_PATIENCE_S = 10.0
"""How long interrupted work is given to stop in order."""


def in_own_loop(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Do the work and wait for it. An interrupt (Ctrl-C) cancels it, waits until it has stopped, and is raised again.

    Raises UsageError from within the loop that runs crews, and while a crew file is loaded.
    """
    portal().run(_nothing())
    begun: concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]]
    begun = concurrent.futures.Future()
    done: concurrent.futures.Future[T] = concurrent.futures.Future()

    async def main() -> T:
        task = asyncio.current_task()
        assert task is not None
        begun.set_result((asyncio.get_running_loop(), task))
        return await work()

    def live() -> None:
        try:
            done.set_result(asyncio.run(main()))
        except BaseException as error:  # whoever waits gets it
            done.set_exception(error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(live,), name="callsheet-bench", daemon=True)
    try:
        thread.start()  # an interrupt may come before it returns
        return done.result()
    except BaseException:
        if not done.done():
            concurrent.futures.wait([begun], STOP_PATIENCE_S)
            if begun.done():
                loop, task = begun.result()
                loop.call_soon_threadsafe(task.cancel)
                concurrent.futures.wait([done], STOP_PATIENCE_S)
        raise


async def _nothing() -> None:
    return None
