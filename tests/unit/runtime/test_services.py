"""Services: requests at once, cancelled, failed, and sent again when the service was replaced."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.core.errors import ModelRateLimitError, ServiceError
from callsheet.runtime import lanes
from callsheet.runtime.lanes import LaneDownError
from callsheet.runtime.services import Caller, Service

BOUND_S = 20.0


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "PAUSE_S", (0.0, 0.0))


class Desk:
    """A component that notes what it is asked, and answers when it may."""

    def __init__(self) -> None:
        self.asked: Counter[Any] = Counter()
        self.stopped: list[Any] = []
        self.closed = False
        self.go = asyncio.Event()
        self.go.set()

    async def handle(self, request: Any) -> Any:
        self.asked[request] += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.stopped.append(request)
            raise
        if request == "limit":
            raise ModelRateLimitError("slow down", model="m", status=429, retry_after_s=2.0)
        if request == "bug":
            raise KeyError("oops")
        if request == "odd":
            raise ServiceError("odd", service=lambda: None)
        return ("answer", request)

    async def close(self) -> None:
        self.closed = True


class Street:
    """A way to a service that can be replaced, with calls that can be lost."""

    def __init__(self, fates: list[str] | None = None) -> None:
        self.fates = fates or []
        self.calls: set[asyncio.Task[bytes]] = set()
        self.gone = False
        self.desks: list[Desk] = []
        self.replace()

    def replace(self) -> None:
        for call in self.calls:
            call.cancel()
        self.desks.append(Desk())
        self.service = Service(self.desks[-1])

    @property
    def desk(self) -> Desk:
        return self.desks[-1]

    async def transport(self, data: bytes) -> bytes:
        if self.gone:
            raise LaneDownError("no such actor", final=True)
        fate = self.fates.pop(0) if self.fates else "ok"
        if fate == "lost":
            raise LaneDownError("lost")
        call = asyncio.get_running_loop().create_task(self.service.exchange(data))
        self.calls.add(call)
        call.add_done_callback(self.calls.discard)
        if fate == "answer lost":
            for _ in range(5):
                await asyncio.sleep(0)
            raise LaneDownError("answer lost")
        await asyncio.wait([call])
        if call.cancelled():
            raise LaneDownError("died")
        return call.result()

    def caller(self, client: str = "c", **options: Any) -> Caller:
        return Caller("desk", self.transport, client=client, incarnation="1", **options)

    async def end(self, *callers: Caller) -> None:
        for caller in callers:
            await caller.close()
        await self.service.close()
        for call in list(self.calls):
            call.cancel()
        await asyncio.gather(*self.calls, return_exceptions=True)


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not done():
            await asyncio.sleep(0)


async def test_many_requests_of_many_callers_each_get_their_own_answer() -> None:
    street = Street()
    callers = [street.caller(f"c{i}") for i in range(3)]
    asked = [(i, n) for i in range(3) for n in range(100)]
    answers = await asyncio.gather(*(callers[i].request((i, n)) for i, n in asked))
    assert answers == [("answer", request) for request in asked]
    assert set(street.desk.asked.values()) == {1}
    await street.end(*callers)
    assert street.desk.closed


async def test_a_slow_request_holds_up_no_other() -> None:
    street = Street()
    caller = street.caller()
    street.desk.go.clear()
    slow = asyncio.get_running_loop().create_task(caller.request("slow"))
    await until(lambda: street.desk.asked["slow"])
    street.desk.go = asyncio.Event()
    street.desk.go.set()
    assert await caller.request("quick") == ("answer", "quick")
    assert not slow.done()
    slow.cancel()
    await street.end(caller)


async def test_cancelling_a_request_cancels_the_work_at_the_service() -> None:
    street = Street()
    caller = street.caller()
    street.desk.go.clear()
    request = asyncio.get_running_loop().create_task(caller.request("x"))
    await until(lambda: street.desk.asked["x"])
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await until(lambda: street.desk.stopped == ["x"])
    street.desk.go.set()
    assert await caller.request("y") == ("answer", "y")
    await street.end(caller)


async def test_an_error_keeps_its_type_and_fields() -> None:
    street = Street()
    caller = street.caller()
    with pytest.raises(ModelRateLimitError, match="slow down") as error:
        await caller.request("limit")
    assert (error.value.status, error.value.retry_after_s, error.value.retryable) == (429, 2.0, True)
    with pytest.raises(ServiceError, match="KeyError: 'oops'"):
        await caller.request("bug")
    with pytest.raises(ServiceError, match="odd"):
        await caller.request("odd")
    assert await caller.request("fine") == ("answer", "fine")
    await street.end(caller)


async def test_a_lost_answer_comes_again_and_the_work_is_not_done_twice() -> None:
    street = Street(["ok", "answer lost", "ok", "answer lost", "lost", "answer lost"])
    caller = street.caller()
    async with asyncio.timeout(BOUND_S):
        for i in range(10):
            assert await caller.request(i) == ("answer", i)
    assert set(street.desk.asked.values()) == {1}
    await street.end(caller)


async def test_requests_of_a_service_that_died_go_to_its_successor() -> None:
    street = Street()
    caller = street.caller()
    street.desk.go.clear()
    pending = [asyncio.get_running_loop().create_task(caller.request(i)) for i in range(5)]
    await until(lambda: len(street.desk.asked) == 5)
    street.replace()
    async with asyncio.timeout(BOUND_S):
        assert await asyncio.gather(*pending) == [("answer", i) for i in range(5)]
    assert street.desk.asked == Counter(range(5))
    await street.end(caller)


async def test_a_service_that_died_while_nobody_asked_is_no_loss() -> None:
    street = Street()
    caller = street.caller()
    assert await caller.request(1) == ("answer", 1)
    street.replace()
    async with asyncio.timeout(BOUND_S):
        assert await caller.request(2) == ("answer", 2)
    assert street.desk.asked == Counter([2])
    await street.end(caller)


async def test_a_service_that_is_gone_for_good_fails_what_waits_and_what_comes() -> None:
    street = Street()
    caller = street.caller()
    street.desk.go.clear()
    pending = [asyncio.get_running_loop().create_task(caller.request(i)) for i in range(3)]
    await until(lambda: len(street.desk.asked) == 3)
    street.gone = True
    street.replace()
    async with asyncio.timeout(BOUND_S):
        for error in await asyncio.gather(*pending, return_exceptions=True):
            assert isinstance(error, ServiceError)
            assert error.service == "desk"
            assert "no such actor" in error.message
        with pytest.raises(ServiceError, match="the desk is gone"):
            await caller.request("more")
    await street.end(caller)


async def test_closing_the_caller_fails_what_waits() -> None:
    street = Street()
    caller = street.caller()
    street.desk.go.clear()
    pending = asyncio.get_running_loop().create_task(caller.request(1))
    await until(lambda: street.desk.asked[1])
    await caller.close()
    with pytest.raises(ServiceError, match="closed"):
        await pending
    await street.end()
    assert street.desk.stopped == [1]


@given(st.lists(st.sampled_from(["ok", "ok", "lost", "answer lost", "replace"]), max_size=40))
def test_whatever_happens_every_request_is_answered_and_done_once_by_each_service(fates: list[str]) -> None:
    async def live() -> None:
        street = Street([fate for fate in fates if fate != "replace"])
        caller = street.caller()
        pending = []
        async with asyncio.timeout(BOUND_S):
            for i, fate in enumerate([*fates, "ok"]):
                pending.append(asyncio.get_running_loop().create_task(caller.request(i)))
                if fate == "replace":
                    street.replace()
                await asyncio.sleep(0)
            answers = await asyncio.gather(*pending)
        assert answers == [("answer", i) for i in range(len(fates) + 1)]
        assert all(set(desk.asked.values()) <= {1} for desk in street.desks)
        await street.end(caller)

    asyncio.run(live())
