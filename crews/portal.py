"""One event loop in a thread of its own, for all runs of this process.

So `crew.run()` also works where a loop is running already (a notebook), and a host stays open between
runs: the second run of a script does not start Ray again.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

from callsheet.core.errors import UsageError

T = TypeVar("T")

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 30.0

LOADING: ContextVar[str] = ContextVar("callsheet_loading", default="")
"""The crew file that is just being loaded: nothing is run for it yet."""

_lock = threading.Lock()
_portal: Portal | None = None


class Portal:
    """A running event loop that other threads and loops hand work to."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._live, name="callsheet", daemon=True)
        self._thread.start()
        self._closing: list[Callable[[], Awaitable[None]]] = []

    def _live(self) -> None:
        while True:
            try:
                self._loop.run_forever()
            except BaseException:  # a task of a user's that raised SystemExit or KeyboardInterrupt
                log.exception("a task tried to end the event loop that all runs share; the loop goes on")
            else:
                return  # closed

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Begin work here; the future is for the caller's thread.

        Raises UsageError for a crew file that runs its crew while it is loaded.
        """
        if LOADING.get():
            work.close()
            raise UsageError(
                f"{LOADING.get()} runs a crew while it is loaded",
                hint='Put that below `if __name__ == "__main__":`, so that only starting the file itself does it.',
            )
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work here and wait for it; an interrupt (Ctrl-C) cancels it.

        Raises UsageError from within the portal's own loop, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise UsageError(
                "a flow or an asynchronous tool cannot wait for a run this way",
                hint="Use `await crew.arun(…)` there: run, start and result would stop everything else.",
            )
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def arun(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work here and wait for it in the caller's own loop; cancelling the wait cancels the work."""
        return await asyncio.wrap_future(self.submit(work))

    async def aiter(self, items: AsyncIterator[T]) -> AsyncIterator[T]:
        """Iterate here, over what comes up in the portal's loop."""
        done = object()

        async def step() -> Any:
            return await anext(items, done)

        while (item := await self.arun(step())) is not done:
            yield item

    def at_close(self, work: Callable[[], Awaitable[None]]) -> None:
        """Something to be done before the loop ends."""
        self._closing.append(work)

    def close(self) -> None:
        """Do what is to be done at the end, stop whatever is left, and end the loop.

        Whoever waits for work here in another thread gets a CancelledError.
        """

        async def end() -> None:
            for work in reversed(self._closing):
                try:
                    await work()
                except Exception:  # the others have to be closed all the same
                    log.exception("something could not be closed in order")
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        try:
            self.submit(end()).result(CLOSE_TIMEOUT_S)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_TIMEOUT_S)
            if not self._thread.is_alive():
                self._loop.close()


def portal() -> Portal:
    """This process's portal."""
    global _portal
    with _lock:
        if _portal is None:
            _portal = Portal()
            # Before the thread pools end, which plain atexit would be too late for.
            getattr(threading, "_register_atexit", atexit.register)(close_portal)
        return _portal


def close_portal() -> None:
    """End the portal, and with it every host that is open in this process; safe to call again."""
    global _portal
    with _lock:
        closing, _portal = _portal, None
    if closing is not None:
        closing.close()
