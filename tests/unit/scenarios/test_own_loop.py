"""Work for callers that block, in a loop of its own: what it gives, raises, and how Ctrl-C ends it."""

from __future__ import annotations

import asyncio
import signal
import threading

import pytest

from callsheet.scenarios.own_loop import in_own_loop


def test_what_the_work_gives_and_raises_reaches_the_caller() -> None:
    async def gives() -> int:
        return 3

    async def fails() -> int:
        raise ValueError("no")

    assert in_own_loop(gives) == 3
    with pytest.raises(ValueError, match="no"):
        in_own_loop(fails)


async def test_it_works_where_a_loop_runs_already() -> None:
    async def gives() -> int:
        return 3

    assert in_own_loop(gives) == 3


def test_an_interrupt_cancels_the_work_and_waits_until_it_has_stopped() -> None:
    stopped = False
    main = threading.main_thread().ident
    assert main is not None

    async def endless() -> None:
        nonlocal stopped
        signal.pthread_kill(main, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            stopped = True

    with pytest.raises(KeyboardInterrupt):
        in_own_loop(endless)
    assert stopped
