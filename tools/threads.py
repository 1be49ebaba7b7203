"""The threads in which synchronous tools run."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Tools wait more than they compute; asyncio's default pool has six threads on two cores.
_THREADS = 64


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The function's result, computed in a thread with the caller's context variables."""
    context = contextvars.copy_context()

    def work() -> T:
        try:
            return context.run(function, *args, **kwargs)
        except StopIteration as error:
            # A future cannot hold one (`next()` on an empty iterator): its waiter would wait for ever.
            raise RuntimeError("StopIteration") from error

    return await asyncio.get_running_loop().run_in_executor(_pool(), work)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="callsheet-tool")
