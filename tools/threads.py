"""The threads in which synchronous tools run, and how what runs in one is ended.

Python can raise an exception in another thread, and so ends whatever runs bytecode there. It cannot end
what sits in C (a sleep, a read from a socket) before that returns: after a grace such a call is stuck
(see `stuck_calls`), and its thread, which ends with it, no longer counts.

The threads are daemons of our own: those of concurrent.futures are waited for when the interpreter ends,
for ever if need be.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from callsheet.tools.stuck_calls import StuckCalls, stuck_calls

P = ParamSpec("P")
T = TypeVar("T")

# Tools wait more than they compute.
THREADS = 64
# How long a thread is waited for after each attempt to end it: the first works unless the tool catches
# everything, and each later one may interrupt the tool's cleaning up.
PAUSES_S = (0.1, 0.2, 0.3, 0.4)


class CallStopped(BaseException):
    """Raised in a synchronous tool whose call is stopped. No `Exception`, so that `except Exception` lets it by."""


class _Call:
    """One call: begun by one thread, ended by the function's end, or by `interrupt`.

    `gate` guards `thread`, `over` and `stopping`: nothing is raised in a thread that is not in this call.
    """

    __slots__ = ("context", "function", "future", "gate", "loop", "over", "stopping", "thread")

    def __init__(self, function: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.function: Callable[[], Any] | None = function
        self.context = contextvars.copy_context()
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.gate = threading.Lock()
        self.thread: threading.Thread | None = None
        self.over = self.stopping = False

    def begin(self) -> bool:
        """Whether the call is to be made: it was not stopped while it waited for a thread."""
        with self.gate:
            if not self.stopping:
                self.thread = threading.current_thread()
            return not self.stopping

    def leave(self) -> bool:
        """The thread is out of the tool; nothing is raised in it any more. Returns whether it may go on."""
        while True:
            try:
                with self.gate:
                    self.over = True
                if self.stopping:
                    _raise_in(threading.get_ident(), None)
            except CallStopped:  # raised after the tool's end
                continue
            return not self.stopping

    def stop(self) -> threading.Thread | None:
        """From now on nobody waits for the call. Returns the thread that has to be ended, if there is one."""
        with self.gate:
            self.stopping = not self.over
            return self.thread if self.stopping else None

    def interrupt(self) -> None:
        """Raise CallStopped in the thread, unless it has left the tool."""
        # The gate may stay shut for good: an exception can hit the thread at the very moment of passing it.
        if self.thread is None or not self.gate.acquire(timeout=0.01):
            return
        try:
            if not self.over and self.thread.is_alive():
                _raise_in(self.thread.ident or 0, CallStopped)
        finally:
            self.gate.release()

    def settle(self, value: Any, error: BaseException | None) -> None:
        """Hand the outcome to whoever waits; on the loop."""
        if self.future.done():
            return
        if error is None:
            self.future.set_result(value)
        else:
            self.future.set_exception(error)


class ToolThreads:
    """Threads for calls, at most `limit` at work at once; further calls wait their turn.

    An idle thread is used again. A thread whose call is stopped is not: it ends with the call, and makes
    room for another at once. Thread-safe, and serves any number of event loops.
    """

    def __init__(
        self,
        limit: int = THREADS,
        pauses_s: Sequence[float] = PAUSES_S,
        stuck_calls: StuckCalls | None = None,
    ) -> None:
        self._limit, self._pauses_s = limit, tuple(pauses_s)
        self._stuck = stuck_calls or StuckCalls()
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._free = 0  # idle threads less the calls that wait for one

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result, computed in a thread with the caller's context variables.

        When this is cancelled, what runs in the thread is ended, and waited for; what does not end in
        about a second is left behind as stuck.
        """
        call = _Call(functools.partial(function, *args, **kwargs), asyncio.get_running_loop())
        self._add_thread(wanted=1)
        self._calls.put(call)
        try:
            value: T = await call.future
        except asyncio.CancelledError:
            if call.future.done() and not call.future.cancelled():
                raise  # the tool's own, or cancelled when the outcome was there
            await self._stop(call, getattr(function, "__name__", "a function"))
            raise
        return value

    def _add_thread(self, *, wanted: int = 0, lost: int = 0) -> None:
        with self._lock:
            self._threads -= lost
            self._free -= wanted
            if self._free >= 0 or self._threads >= self._limit:
                return
            self._threads += 1
            self._free += 1
        try:
            threading.Thread(target=self._work, name="callsheet-tool", daemon=True).start()
        except RuntimeError:  # the system gives no more threads
            with self._lock:
                self._threads -= 1
                self._free -= 1
                alone = self._threads == 0
                if alone:
                    self._free += wanted
            if alone:
                raise

    def _work(self) -> None:
        going_on = True
        while going_on:
            call = self._calls.get()
            try:
                going_on = self._make(call)
            except CallStopped:  # raised between the tool's end and the call's
                going_on = call.leave()
            del call  # and what it holds: an idle thread keeps nothing alive

    def _make(self, call: _Call) -> bool:
        if not call.begin():
            self._idle()
            return True
        value: Any = None
        error: BaseException | None = None
        function, call.function = call.function, None
        try:
            value = call.context.run(function)  # type: ignore[arg-type]  # set until now
        except StopIteration as raised:
            # A future cannot hold one (`next()` on an empty iterator): its waiter would wait for ever.
            error = RuntimeError("StopIteration")
            error.__cause__ = raised
        except BaseException as raised:  # the caller has to know, whatever it is
            error = raised
        if not call.leave():
            return False
        self._idle()
        with contextlib.suppress(RuntimeError):  # the loop has ended, and whoever waited with it
            call.loop.call_soon_threadsafe(call.settle, value, error)
        return True

    def _idle(self) -> None:
        with self._lock:
            self._free += 1

    async def _stop(self, call: _Call, what: str) -> None:
        thread = call.stop()
        if thread is None:
            return
        with contextlib.suppress(RuntimeError):  # no thread for others; they wait for the next that is free
            self._add_thread(lost=1)
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not ended.done():
                ended.set_result(None)

        def end() -> None:
            try:
                self._interrupt(call, thread, what)
            finally:
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(tell)

        # In a thread of its own: it goes on when the loop that wanted the call stopped has ended.
        threading.Thread(target=end, name="callsheet-tool-stop", daemon=True).start()
        await ended

    def _interrupt(self, call: _Call, thread: threading.Thread, what: str) -> None:
        for pause_s in self._pauses_s:
            call.interrupt()
            thread.join(pause_s)
            if not thread.is_alive():
                return
        self._stuck.add(what, thread.is_alive)


def _raise_in(thread: int, exception: type[BaseException] | None) -> None:
    """Have the exception raised in the thread of that identity; None takes back what is still to be raised."""
    import ctypes

    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if exception is None else ctypes.py_object(exception)
    )


_threads = ToolThreads(stuck_calls=stuck_calls())


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The function's result, computed in one of this process's threads for tools; see `ToolThreads.run`."""
    return await _threads.run(function, *args, **kwargs)
