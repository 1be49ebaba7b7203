"""Synchronous tools run in threads of ours, and a call that is stopped ends."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator

import pytest

from callsheet.tools import ToolContext, ToolFailure, on_stuck, stuck, tool
from callsheet.tools.stuck_calls import StuckCalls
from callsheet.tools.tasks import in_task
from callsheet.tools.threads import CallStopped, ToolThreads

PAUSES_S = (0.05, 0.05, 0.05)


@pytest.fixture
def calls() -> StuckCalls:
    return StuckCalls()


@pytest.fixture
def threads(calls: StuckCalls) -> ToolThreads:
    return ToolThreads(4, PAUSES_S, calls)


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """What a stuck call waits for; set at the end, so that no thread is left."""
    event = threading.Event()
    yield event
    event.set()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def stopped(work: Awaitable[object], begun: Callable[[], object]) -> None:
    """Have the work begin, cancel it, and wait until the cancellation has come through."""
    task = asyncio.ensure_future(work)
    await until(begun)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stopped_call_that_runs_python_ends(threads: ToolThreads, calls: StuckCalls) -> None:
    seen: list[object] = []

    def spin() -> None:
        seen.append(threading.current_thread())
        try:
            while True:
                pass
        except CallStopped:
            seen.append("stopped")
            raise

    await stopped(threads.run(spin), lambda: seen)
    thread, told = seen
    assert told == "stopped"
    assert isinstance(thread, threading.Thread)
    assert not thread.is_alive(), "the cancellation comes through when the call has ended"
    assert calls.count() == 0


async def test_a_tool_that_catches_every_exception_is_stopped_all_the_same(
    threads: ToolThreads, calls: StuckCalls
) -> None:
    turns: list[int] = []

    def retry() -> None:
        while True:
            try:
                turns.append(1)
                int("no number")
            except Exception:  # what careless tools do
                continue

    await stopped(threads.run(retry), lambda: turns)
    assert calls.count() == 0


async def test_a_tool_that_swallows_the_first_stop_is_stopped_again(
    threads: ToolThreads, calls: StuckCalls
) -> None:
    swallowed: list[object] = []
    begun = threading.Event()

    def stubborn() -> None:
        begun.set()
        while True:
            try:
                while True:
                    pass
            except BaseException as error:
                swallowed.append(error)
                if len(swallowed) == 2:
                    raise

    await stopped(threads.run(stubborn), begun.is_set)
    assert len(swallowed) == 2
    assert calls.count() == 0


async def test_a_stopped_call_may_clean_up(threads: ToolThreads) -> None:
    events: list[str] = []

    def work() -> None:
        try:
            events.append("begun")
            while True:
                pass
        finally:
            events.append("cleaned up")

    await stopped(threads.run(work), lambda: events)
    assert events == ["begun", "cleaned up"]


async def test_what_does_not_end_is_stuck_and_told_until_it_ends(
    threads: ToolThreads, calls: StuckCalls, release: threading.Event
) -> None:
    told: list[str] = []
    calls.listen(told.append)
    begun = threading.Event()

    def blocked() -> None:
        begun.set()
        release.wait()

    await stopped(threads.run(blocked), begun.is_set)
    assert told == ["blocked"]
    assert calls.count() == 1
    release.set()
    await until(lambda: calls.count() == 0)


async def test_who_no_longer_listens_is_told_nothing(
    threads: ToolThreads, calls: StuckCalls, release: threading.Event
) -> None:
    told: list[str] = []
    calls.listen(told.append)()
    begun = threading.Event()

    def blocked() -> None:
        begun.set()
        release.wait()

    await stopped(threads.run(blocked), begun.is_set)
    assert calls.count() == 1
    assert told == []


async def test_a_listener_that_fails_holds_nobody_up(
    threads: ToolThreads, calls: StuckCalls, release: threading.Event
) -> None:
    told: list[str] = []

    def fail(what: str) -> None:
        raise ValueError(what)

    calls.listen(fail)
    calls.listen(told.append)
    begun = threading.Event()

    def blocked() -> None:
        begun.set()
        release.wait()

    await stopped(threads.run(blocked), begun.is_set)
    assert told == ["blocked"]


async def test_a_stop_hits_the_stopped_call_alone(threads: ToolThreads) -> None:
    """Calls that end at the very moment of their stop, again and again, beside one that must not notice."""
    end, hit = threading.Event(), []

    def bystander() -> str:
        try:
            while not end.is_set():
                pass
        except BaseException as error:
            hit.append(error)
            raise
        return "undisturbed"

    def short(begun: threading.Event) -> int:
        begun.set()
        return sum(range(2000))

    beside = asyncio.ensure_future(threads.run(bystander))
    for _ in range(100):
        begun = threading.Event()
        task = asyncio.ensure_future(threads.run(short, begun))
        await until(begun.is_set)
        task.cancel()
        await asyncio.wait([task])
        # The next call may get the thread of the last; no late stop may reach it.
        assert await threads.run(sum, range(2000)) == sum(range(2000))
    end.set()
    assert await beside == "undisturbed"
    assert not hit


async def test_a_call_that_is_over_has_nothing_left_to_stop(threads: ToolThreads, calls: StuckCalls) -> None:
    """Cancelled when the function has returned, and its outcome is on the way to the loop."""
    task = asyncio.ensure_future(threads.run(str, 1))
    await asyncio.sleep(0)
    while threads._free < 1:
        pass  # the loop hears of nothing meanwhile
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert calls.count() == 0
    assert threads._threads == 1, "the thread is still there for others"


async def test_no_more_threads_than_the_limit_work_and_the_other_calls_wait(
    threads: ToolThreads, release: threading.Event
) -> None:
    running: set[int] = set()
    full = threading.Event()

    def work(number: int) -> int:
        running.add(threading.get_ident())
        if len(running) == 4:
            full.set()
        release.wait()
        return number

    tasks = [asyncio.ensure_future(threads.run(work, n)) for n in range(9)]
    await until(full.is_set)
    release.set()
    assert await asyncio.gather(*tasks) == list(range(9))
    assert len(running) == 4


async def test_a_stuck_call_leaves_its_place_to_another(calls: StuckCalls, release: threading.Event) -> None:
    threads = ToolThreads(1, PAUSES_S, calls)
    begun = threading.Event()

    def blocked() -> None:
        begun.set()
        release.wait()

    await stopped(threads.run(blocked), begun.is_set)
    assert await threads.run(str, 1) == "1"


async def test_a_call_that_waits_for_a_thread_can_be_stopped_and_is_never_made(
    calls: StuckCalls, release: threading.Event
) -> None:
    threads = ToolThreads(1, PAUSES_S, calls)
    begun, made = threading.Event(), []

    def blocked() -> str:
        begun.set()
        release.wait()
        return "done"

    first = asyncio.ensure_future(threads.run(blocked))
    await until(begun.is_set)
    second = asyncio.ensure_future(threads.run(made.append, 1))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    release.set()
    assert await first == "done"
    assert await threads.run(str, 2) == "2"
    assert second.cancelled()
    assert made == []


async def test_an_idle_thread_is_used_again(threads: ToolThreads) -> None:
    # The thread tells of its being free before it tells the outcome.
    assert len({await threads.run(threading.get_ident) for _ in range(20)}) == 1


async def test_an_idle_thread_keeps_nothing_alive(threads: ToolThreads) -> None:
    class Big:
        pass

    given = Big()
    kept = [weakref.ref(given)]
    kept.append(weakref.ref(await threads.run(lambda thing: Big(), given)))
    del given
    await until(lambda: gc.collect() >= 0 and not any(ref() for ref in kept))
    assert [ref() for ref in kept] == [None, None]


async def test_what_a_function_raises_reaches_the_caller_also_stop_iteration(threads: ToolThreads) -> None:
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        await threads.run(next, iter(()))
    assert isinstance(caught.value.__cause__, StopIteration)


def test_a_loop_that_ends_before_its_call_disturbs_nobody(
    calls: StuckCalls, release: threading.Event
) -> None:
    threads = ToolThreads(4, PAUSES_S, calls)
    begun = threading.Event()

    def blocked() -> None:
        begun.set()
        release.wait()

    async def leave_behind() -> None:
        task = asyncio.ensure_future(threads.run(blocked))
        await until(begun.is_set)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # impatient: the wait for the call's end is cancelled too

    asyncio.run(leave_behind())
    release.set()
    assert asyncio.run(threads.run(str, 1)) == "1"


async def test_a_tool_whose_time_is_up_is_ended_before_the_model_is_told() -> None:
    threads: list[threading.Thread] = []

    @tool(timeout_s=0.05)
    def spin() -> str:
        """Spin."""
        threads.append(threading.current_thread())
        while True:
            pass

    with pytest.raises(ToolFailure, match=r"longer than 0\.05 s"):
        await spin.call("", ToolContext())
    assert [thread.is_alive() for thread in threads] == [False]


async def test_a_tool_that_cannot_be_ended_is_stuck(release: threading.Event) -> None:
    told: list[str] = []
    end = on_stuck(told.append)

    @tool(timeout_s=0.01)
    def blocked() -> str:
        """Block."""
        release.wait()
        return ""

    try:
        with pytest.raises(ToolFailure, match="longer than"):
            await blocked.call("", ToolContext())
        assert told == ["blocked"]
        assert stuck() == 1
        release.set()
        await until(lambda: stuck() == 0)
    finally:
        end()


# --- asynchronous tools -----------------------------------------------------------------------------------


async def test_cancelled_work_is_waited_for_while_it_cleans_up(calls: StuckCalls) -> None:
    begun, cleaned = asyncio.Event(), []

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(1)

    await stopped(in_task(work(), "work", calls=calls), begun.is_set)
    assert cleaned == [1]
    assert calls.count() == 0


async def test_work_that_swallows_its_cancellation_is_stuck(calls: StuckCalls) -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        while not end.is_set():
            try:
                begun.set()
                await end.wait()
            except asyncio.CancelledError:
                continue

    await stopped(in_task(work(), "work", grace_s=0.01, calls=calls), begun.is_set)
    await until(lambda: calls.count() == 1)
    assert calls.count() == 1
    end.set()
    await until(lambda: calls.count() == 0)
    assert end.is_set()


async def test_work_that_fails_while_it_is_cancelled_is_cancelled(calls: StuckCalls) -> None:
    begun = asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            raise ValueError("while cleaning up")

    await stopped(in_task(work(), "work", calls=calls), begun.is_set)
    assert calls.count() == 0


async def test_what_work_returns_or_raises_comes_through(calls: StuckCalls) -> None:
    async def give() -> int:
        return 7

    async def fail() -> int:
        raise ValueError("no")

    assert await in_task(give(), "give", calls=calls) == 7
    with pytest.raises(ValueError, match="no"):
        await in_task(fail(), "fail", calls=calls)
