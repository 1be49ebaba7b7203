"""When a failed call is made again, and how long it waits first.

Retried is what its error calls `retryable`, up to a number of attempts. The wait is what the provider
asked for (`retry_after_s`), else exponential with full jitter (Brooker, "Exponential Backoff And Jitter",
AWS Architecture Blog, 2015), and a wait that would end after the deadline is not begun.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from callsheet.core.errors import ModelError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently; times in seconds."""

    max_attempts: int = 4
    first_backoff_s: float = 0.5
    max_backoff_s: float = 20.0
    max_wait_s: float = 60.0


def wait_before_retry(
    policy: RetryPolicy, attempt: int, error: ModelError, time_left_s: float | None, draw: float
) -> float | None:
    """Seconds to wait after the failed `attempt` (from 1), or None where it is not worth another.

    `draw` is a random number in [0, 1).
    """
    if not error.retryable or attempt >= policy.max_attempts:
        return None
    backoff = draw * min(policy.first_backoff_s * 2 ** min(attempt - 1, 30), policy.max_backoff_s)
    asked = error.retry_after_s
    if asked is not None and asked > policy.max_wait_s:
        return None
    # What was asked for is the least; the jitter on top keeps waiting callers from coming back as one.
    wait: float = backoff if asked is None else asked + backoff * 0.1
    if time_left_s is not None and wait >= time_left_s:
        return None
    return wait


async def with_retries(
    call: Callable[[int], Awaitable[T]],
    policy: RetryPolicy,
    deadline: float | None,
    *,
    on_failure: Callable[[ModelError, float | None], None] | None = None,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    draw: Callable[[], float] = random.random,
) -> T:
    """Await `call(attempt)` until it succeeds or is not worth another attempt.

    `deadline` is Unix time in seconds. `on_failure` is told of each failure, and of the wait (s) that follows it or
    None. Raises the last ModelError; its message says how often was tried.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            return await call(attempt)
        except ModelError as error:
            left = None if deadline is None else deadline - clock()
            wait = wait_before_retry(policy, attempt, error, left, draw())
            if on_failure is not None:
                on_failure(error, wait)
            if wait is None:
                if attempt > 1:
                    error.message = f"{error.message} (after {attempt} attempts)"
                raise
        await sleep(wait)
