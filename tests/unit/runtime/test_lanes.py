"""Lanes under generated failures: what goes in comes out once and in order, whatever happens to the calls."""

from __future__ import annotations

import asyncio
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callsheet.core.errors import ServiceError
from callsheet.runtime import lanes
from callsheet.runtime.lane_server import BATCH, LaneServer, Port
from callsheet.runtime.lanes import Lane, LaneDownError

FATES = ("ok", "ok", "fails before", "fails after", "arrives late", "slow there", "slow back", "restart")
BOUND_S = 20.0


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "PAUSE_S", (0.0, 0.0))


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class World:
    """A server that can die, and a network that loses, delays and reorders calls as it is told."""

    def __init__(self, fates: Sequence[tuple[str, int]] = (), ack_after: int = 0) -> None:
        self.fates = list(fates)
        self.ack_after = ack_after
        self.dealt: list[list[Any]] = []
        self.dealt_with = 0
        self.echoes: list[Any] = []
        self.new_servers = 0
        self.out: Counter[int] = Counter()
        self.most_out = 0
        self.biggest = 0
        self.tasks: dict[asyncio.Task[Any], int] = {}
        self.others: set[asyncio.Task[Any]] = set()
        self.start_server()

    # --- the server ----------------------------------------------------------------------------------

    def start_server(self) -> None:
        for task, server in self.tasks.items():
            if server == len(self.dealt) - 1:
                task.cancel()
        mine: list[Any] = []
        self.dealt.append(mine)

        def receive(port: Port, first: int, items: Sequence[Any]) -> None:
            mine.extend(items)
            for item in items:
                port.push(("echo", item))
            if self.ack_after:
                self.spawn(self.acknowledge(port, first + len(items) - 1))
            else:
                self.dealt_with = max(self.dealt_with, first + len(items) - 1)
                port.ack(first + len(items) - 1)

        self.server = LaneServer(receive)

    async def acknowledge(self, port: Port, number: int) -> None:
        await turns(self.ack_after)
        self.dealt_with = max(self.dealt_with, number)
        port.ack(number)

    # --- the network ---------------------------------------------------------------------------------

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self.others.add(task)
        return task

    def deliver(self, data: bytes) -> asyncio.Task[bytes]:
        task = asyncio.get_running_loop().create_task(self.server.exchange(data))
        self.tasks[task] = len(self.dealt) - 1
        return task

    async def transport(self, data: bytes) -> bytes:
        session = pickle.loads(data)[2]
        self.biggest = max(self.biggest, len(pickle.loads(data)[-1]))
        self.out[session] += 1
        self.most_out = max(self.most_out, self.out[session])
        try:
            return await self.carry(data)
        finally:
            self.out[session] -= 1

    async def carry(self, data: bytes) -> bytes:
        fate, delay = self.fates.pop(0) if self.fates else ("ok", 0)
        if fate == "restart":
            self.start_server()
        if fate == "fails before":
            raise LaneDownError("not reached")
        if fate == "arrives late":
            self.spawn(self.later(data, delay))
            raise LaneDownError("given up")
        if fate == "slow there":
            await turns(delay)
        task = self.deliver(data)
        if fate == "fails after":
            await turns(delay)
            raise LaneDownError("the answer is lost")
        await asyncio.wait([task])
        if task.cancelled():
            raise LaneDownError("the server died")
        if fate == "slow back":
            await turns(delay)
        answer = task.result()
        news = pickle.loads(answer)
        if news is not None:
            self.biggest = max(self.biggest, len(news[3]))
        return answer

    async def later(self, data: bytes, delay: int) -> None:
        await turns(delay)
        self.deliver(data)

    # --- the client ----------------------------------------------------------------------------------

    def lane(self, **options: Any) -> Lane:
        def again() -> None:
            self.new_servers += 1

        return Lane(
            self.transport, client="c", incarnation="i", on_item=self.echoes.append, on_new_server=again,
            **options,
        )  # fmt: skip

    async def end(self, lane: Lane) -> None:
        """Close the lane: nothing of it is left."""
        await lane.close()
        mine = asyncio.all_tasks() - set(self.tasks) - self.others - {asyncio.current_task()}
        assert not mine
        for task in (*self.tasks, *self.others):
            task.cancel()
        await asyncio.gather(*self.tasks, *self.others, return_exceptions=True)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not done():
            await asyncio.sleep(0)


fates = st.lists(st.tuples(st.sampled_from(FATES), st.integers(1, 9)), max_size=25)
bursts = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 6)), min_size=1, max_size=10)


@given(fates, bursts, st.integers(0, 5))
@example([("ok", 1), ("ok", 1), ("restart", 1)], [(1, 6), (1, 6), (1, 6)], 0)
@example([("ok", 1), ("fails after", 3), ("slow there", 9), ("ok", 1)], [(1, 6), (2, 1), (2, 1)], 0)
@example([("fails before", 1), ("arrives late", 9), ("ok", 1)], [(1, 6), (1, 6), (1, 6)], 2)
def test_every_item_arrives_once_and_in_order_and_what_is_settled_was_dealt_with(
    plan: list[tuple[str, int]], posts: list[tuple[int, int]], ack_after: int
) -> None:
    async def live() -> None:
        world = World(plan, ack_after)
        lane = world.lane()
        lane.open()
        posted: list[int] = []
        settled: list[asyncio.Task[None]] = []

        async def settle(number: int) -> None:
            async with asyncio.timeout(BOUND_S):
                await lane.settled(number)
            assert number <= world.dealt_with

        for count, pause in posts:
            for _ in range(count):
                number = lane.post(len(posted))
                posted.append(len(posted))
            settled.append(asyncio.get_running_loop().create_task(settle(number)))
            await turns(pause)
        await asyncio.gather(*settled)

        for dealt in world.dealt:  # whatever dies: to one server nothing comes twice, or out of order
            assert dealt == sorted(set(dealt))
        assert {item for dealt in world.dealt for item in dealt} == set(posted)
        assert world.most_out <= 2
        if len(world.dealt) == 1:
            assert world.dealt == [posted]
            await until(lambda: len(world.echoes) >= len(posted))
            assert world.echoes == [("echo", item) for item in posted]
            assert world.new_servers == 0
        for task in [t for t, server in world.tasks.items() if server < len(world.dealt) - 1]:
            task.cancel()
        await turns(3)
        assert sum(not task.done() for task in world.tasks) <= 2
        await world.end(lane)

    asyncio.run(live())


async def test_a_lane_hears_of_the_new_server_also_when_the_old_one_died_while_it_was_idle() -> None:
    world = World()
    lane = world.lane(busy=lambda: False)
    await lane.settled(lane.post("one"))
    world.start_server()
    async with asyncio.timeout(BOUND_S):
        await lane.settled(lane.post("two"))
    assert world.dealt == [["one"], ["two"]]
    assert world.new_servers == 1
    assert world.echoes[-1] == ("echo", "two")
    await world.end(lane)


async def test_batches_are_bounded_both_ways() -> None:
    world = World()
    lane = world.lane()
    numbers = [lane.post(i) for i in range(5 * BATCH + 1)]
    await lane.settled(numbers[-1])
    await until(lambda: len(world.echoes) == len(numbers))
    assert world.dealt == [list(range(len(numbers)))]
    assert world.biggest == BATCH
    await world.end(lane)


async def test_what_comes_up_in_one_go_travels_in_one_call() -> None:
    world = World()
    lane = world.lane()
    for i in range(BATCH):
        lane.post(i)
    await until(lambda: len(world.echoes) == BATCH)
    assert world.biggest == BATCH
    await world.end(lane)


async def test_a_parked_call_brings_news_at_once_and_a_new_one_releases_it() -> None:
    world = World()
    lane = world.lane()
    lane.open()
    await until(lambda: "c" in world.server.ports and world.out[0] == 1 and not lane._outbox)
    await turns(5)
    world.server.ports["c"].push("news")
    await until(lambda: world.echoes == ["news"])
    await turns(5)
    assert world.out[0] == 1  # parked again
    await lane.settled(lane.post("x"))
    await turns(5)
    assert world.out[0] == 1
    await world.end(lane)


async def test_without_anything_to_wait_for_no_call_is_parked() -> None:
    world = World()
    waiting = True
    lane = world.lane(busy=lambda: waiting)
    await lane.settled(lane.post("x"))
    await until(lambda: len(world.echoes) == 1 and world.out[0] == 1)
    waiting = False
    world.server.ports["c"].push("the last")
    await until(lambda: len(world.echoes) == 2)
    await turns(5)
    assert world.out[0] == 0
    await world.end(lane)


async def test_when_the_server_is_gone_for_good_whoever_waits_is_told() -> None:
    lost: list[LaneDownError] = []

    async def gone(data: bytes) -> bytes:
        raise LaneDownError("no such actor", final=True)

    lane = Lane(gone, client="c", incarnation="i", on_item=print, on_lost=lost.append)
    with pytest.raises(ServiceError, match="no such actor"):
        await lane.settled(lane.post("x"))
    with pytest.raises(ServiceError, match="no such actor"):
        await lane.settled(lane.post("y"))
    assert len(lost) == 1
    await lane.close()


async def test_a_server_that_stays_away_is_given_up_after_a_while() -> None:
    async def away(data: bytes) -> bytes:
        raise LaneDownError("away")

    lane = Lane(away, client="c", incarnation="i", on_item=print, give_up_s=0.0)
    with pytest.raises(ServiceError, match="away"):
        await lane.settled(lane.post("x"))
    await lane.close()


async def test_a_call_that_the_server_cannot_take_is_not_sent_again() -> None:
    calls = 0

    async def broken(data: bytes) -> bytes:
        nonlocal calls
        calls += 1
        raise TypeError("what is this?")

    lane = Lane(broken, client="c", incarnation="i", on_item=print)
    with pytest.raises(ServiceError, match="TypeError: what is this"):
        await lane.settled(lane.post("x"))
    assert calls == 1
    await lane.close()


async def test_closing_tells_whoever_waits() -> None:
    world = World(ack_after=10**9)
    lane = world.lane()
    waiting = asyncio.get_running_loop().create_task(lane.settled(lane.post("x")))
    await until(lambda: world.dealt == [["x"]])
    await lane.close()
    with pytest.raises(ServiceError, match="closed"):
        await waiting
    with pytest.raises(ServiceError, match="closed"):
        await lane.settled(lane.post("y"))
    await world.end(lane)


async def test_one_item_that_cannot_be_taken_does_not_cost_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    taken: list[Any] = []

    def take(item: Any) -> None:
        if item == ("echo", 1):
            raise ValueError("not this one")
        taken.append(item)

    lane = Lane(world.transport, client="c", incarnation="i", on_item=take)
    for i in range(3):
        lane.post(i)
    await until(lambda: ("echo", 2) in taken)
    lane.post(3)
    await until(lambda: ("echo", 3) in taken)
    assert taken == [("echo", 0), ("echo", 2), ("echo", 3)]
    assert "not this one" in caplog.text
    await world.end(lane)


async def test_a_dead_process_cannot_push_its_successor_out() -> None:
    world = World()
    calls: list[bytes] = []

    async def listened(data: bytes) -> bytes:
        calls.append(data)
        return await world.transport(data)

    old = Lane(listened, client="c", incarnation="old", on_item=print)
    await old.settled(old.post("x"))
    opening = calls[0]
    new = Lane(world.transport, client="c", incarnation="new", on_item=world.echoes.append)
    await new.settled(new.post("y"))
    port = world.server.ports["c"]
    assert pickle.loads(await world.server.exchange(opening)) is None
    assert world.server.ports["c"] is port
    assert world.dealt == [["x", "y"]]
    await old.close()
    await world.end(new)


def test_a_lane_down_error_survives_pickle() -> None:
    again = pickle.loads(pickle.dumps(LaneDownError("away", final=True)))
    assert (str(again), again.final) == ("away", True)
