"""A process with a stuck call goes: what it has begun is finished first, and the coordinator is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from callsheet.core.errors import ServiceError
from callsheet.runtime.handover import Handover


class Member:
    """A participant, as far as a handover sees it; `events` tells what was done with it, in order."""

    def __init__(self, under_way: int = 0) -> None:
        self.under_way = under_way
        self.events: list[str] = []
        self.heard = asyncio.Event()
        self.heard.set()
        self.fault: Exception | None = None

    def hold(self) -> None:
        self.events.append("hold")

    async def leave(self) -> None:
        self.events.append("leave")
        if self.fault is not None:
            raise self.fault
        await self.heard.wait()

    def end(self) -> None:
        self.events.append("end")


def handover(member: Member, **options: Any) -> Handover:
    return Handover(member, end=member.end, look_again=lambda: asyncio.sleep(0), **options)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def test_an_idle_process_holds_says_so_and_ends() -> None:
    member = Member()
    made = handover(member)
    assert not made.begun
    made.call_stuck("pay")
    await until(lambda: "end" in member.events)
    assert made.begun
    assert member.events == ["hold", "leave", "end"]


async def test_steps_under_way_finish_first() -> None:
    member = Member(under_way=2)
    handover(member).call_stuck("pay")
    await until(lambda: member.events)
    for left in (1, 0):
        assert member.events == ["hold"]
        member.under_way = left
        await asyncio.sleep(0)
    await until(lambda: "end" in member.events)
    assert member.events == ["hold", "leave", "end"]


async def test_a_step_that_takes_too_long_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    member = Member(under_way=1)
    handover(member, finish_s=0.01).call_stuck("pay")
    await until(lambda: "end" in member.events)
    assert member.events == ["hold", "leave", "end"]
    assert "1 steps did not finish" in caplog.text


async def test_the_process_ends_only_when_the_coordinator_has_heard() -> None:
    member = Member()
    member.heard.clear()
    handover(member).call_stuck("pay")
    await until(lambda: "leave" in member.events)
    await asyncio.sleep(0)
    assert member.events == ["hold", "leave"]
    member.heard.set()
    await until(lambda: "end" in member.events)


async def test_a_coordinator_that_is_away_keeps_no_process_alive() -> None:
    member = Member()
    member.heard.clear()
    handover(member, leave_s=0.01).call_stuck("pay")
    await until(lambda: "end" in member.events)

    member = Member()
    member.fault = ServiceError("the lane is closed")
    handover(member).call_stuck("pay")
    await until(lambda: "end" in member.events)


async def test_a_second_stuck_call_changes_nothing_and_any_thread_may_tell() -> None:
    member = Member(under_way=1)
    made = handover(member)
    for _ in range(2):
        thread = threading.Thread(target=made.call_stuck, args=("pay",))
        thread.start()
        await asyncio.to_thread(thread.join)
    await until(lambda: made.begun)
    member.under_way = 0
    await until(lambda: "end" in member.events)
    assert member.events == ["hold", "leave", "end"]
