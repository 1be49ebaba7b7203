"""A process with a stuck call goes: what it has begun is finished first, and the coordinator is told."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from callsheet.core.errors import ServiceError
from callsheet.runtime.handover import Handover
from callsheet.runtime.turns import Turn
from tests.unit.runtime.town import Town, output, until


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
    assert member.events[0] == "hold"

    member = Member()
    member.fault = ServiceError("the lane is closed")
    handover(member).call_stuck("pay")
    await until(lambda: "end" in member.events)
    assert member.events[0] == "hold"


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


async def test_the_other_runs_of_the_process_lose_nothing(town: Town) -> None:
    begun, finish, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    done: list[str] = []

    async def work(turn: Turn) -> Any:
        async def slow(_: int) -> tuple[Any, None]:
            begun.set()
            await finish.wait()
            done.append("slow")
            return 1, None

        async def quick(_: int) -> tuple[Any, None]:
            done.append("quick")
            return 2, None

        await turn.step("tool", "slow", "slow", slow)
        return {"output": await turn.step("tool", "quick", "quick", quick)}

    async def flow(turn: Turn) -> Any:
        return await turn.ask("work", {"input": None})

    await town.launch(flow=flow, work=work)
    run = town.start()
    await begun.wait()
    made = Handover(town.members["crew/work#0"], end=ended.set, look_again=lambda: asyncio.sleep(0))
    made.call_stuck("pay")
    await until(lambda: made.begun)
    finish.set()
    await ended.wait()
    assert done == ["slow"], "what was begun was finished, and nothing else was begun"
    await town.kill("work")
    town.join("work", work)
    assert output(await town.end(run)) == 2
    assert done == ["slow", "quick"]
