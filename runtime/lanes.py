"""Lanes: many messages in one call, both ways, with nothing lost in between.

A remote call costs about a millisecond of CPU whatever it carries, so each edge between two processes has
one lane. The client calls `exchange` with everything it has to send; the server answers as soon as it has
something to say, with everything it has to say. While a call is out, what comes up meanwhile waits for
the next one: batches grow with load and there is no timer.

At most two calls are out: one parked at the server, waiting for news, and one that brings new items (its
arrival releases the parked one). Items are numbered, kept until acknowledged, and sent again after a
failure; the server drops those it has seen. A new session means that something may have been lost on the
way to the client, and both sides are told, so that they can say it again.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import pickle
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from callsheet.core.errors import ServiceError

BATCH = 192
"""Items in one call, at most: enough to make the call's own cost small, few enough that sender, coordinator
and receiver work side by side instead of handing one great batch around."""

Transport = Callable[[bytes], Awaitable[bytes]]
"""Takes one call to the server and brings its answer. Raises LaneDownError when it cannot be reached."""


class LaneDownError(Exception):
    """The server cannot be reached now; `final` says that it never will be again."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final

    def __reduce__(self) -> tuple[Any, ...]:
        return _lane_down, (str(self), self.final)


def _lane_down(message: str, final: bool) -> LaneDownError:
    return LaneDownError(message, final=final)


@dataclass(slots=True)
class Port:
    """The server's end of one lane: what waits to go to that client."""

    client: str
    incarnation: str
    session: int
    received: int
    """The number of the last item taken."""
    acked: int = 0
    told: int = 0
    """The last acknowledgement that an answer has carried."""
    wanted: int = 0
    """The last item whose acknowledgement somebody waits for; others ride along with other news."""
    outbox: list[Any] = field(default_factory=list)
    answered: int = 0
    calls: int = 0
    waiter: asyncio.Future[None] | None = None
    gap: asyncio.Future[None] | None = None

    def push(self, item: Any) -> None:
        """Send an item to the client, with the next answer."""
        self.outbox.append(item)
        self.wake()

    def ack(self, number: int) -> None:
        """Tell the client that its items up to this number are dealt with."""
        if number > self.acked:
            self.acked = number
            if self.wanted > self.told:
                self.wake()

    def wake(self) -> None:
        """Let the parked call look again whether it may go home."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def answer(self) -> bytes:
        """Wait until there is news, or a newer call to carry it; then the answer of one call."""
        self.calls += 1
        mine = self.calls
        self.wake()  # an older call may be parked: one is enough
        # The first call of a session is answered at once: from then on the client may have two out.
        while self.calls == mine and self.answered and not self._has_news():
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        down = (self.answered, self.acked, self.outbox[:BATCH])
        self.answered += 1
        self.told = self.acked
        self.outbox = self.outbox[BATCH:]
        return pickle.dumps(down, 5)

    def _has_news(self) -> bool:
        return bool(self.outbox) or self.told < min(self.acked, self.wanted)

    def retire(self) -> None:
        """A newer port takes this one's place: let its calls go home."""
        self.calls += 1
        self.wake()
        if self.gap is not None and not self.gap.done():
            self.gap.set_result(None)


class LaneServer:
    """The server's side of all lanes to it.

    `receive(port, first, items)` gets new items once each, in order; the item at index i has the number
    first + i. `opened(port)` is called when a client comes for the first time, comes back with a new
    incarnation (its process died), or with a new session (answers to it may be lost).
    """

    def __init__(
        self,
        receive: Callable[[Port, int, Sequence[Any]], None],
        opened: Callable[[Port], None] | None = None,
    ) -> None:
        self._receive = receive
        self._opened = opened
        self.ports: dict[str, Port] = {}

    async def exchange(self, data: bytes) -> bytes:
        """One call of a client: take its items, and answer when there is news for it."""
        # Both ends are processes of this system, behind Ray's token; no stranger can write here.
        client, incarnation, session, first, wanted, items = pickle.loads(data)  # noqa: S301
        port = self.ports.get(client)
        if port is None or (incarnation, session) != (port.incarnation, port.session):
            if port is not None:
                port.retire()
            port = Port(client, incarnation, session, first - 1, first - 1, first - 1)
            self.ports[client] = port
            if self._opened is not None:
                self._opened(port)
        while first > port.received + 1 and self.ports.get(client) is port:
            # A call overtook the one before it: wait for that one.
            port.gap = port.gap or asyncio.get_running_loop().create_future()
            await asyncio.shield(port.gap)
        new = items[max(0, port.received + 1 - first) :]
        if new:
            number = port.received + 1
            port.received += len(new)
            if port.gap is not None:
                port.gap.set_result(None)
                port.gap = None
            self._receive(port, number, new)
        port.wanted = max(port.wanted, wanted)
        return await port.answer()


class Lane:
    """The client's side of a lane.

    `on_item` gets each item from the server, in order. `on_session` is called when a new session begins
    after a failure, before anything is sent in it. With `listen` the lane always keeps a call parked at
    the server; without, only while `busy()` says that an answer is expected.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        client: str,
        incarnation: str,
        on_item: Callable[[Any], None],
        on_session: Callable[[], None] | None = None,
        on_lost: Callable[[LaneDownError], None] | None = None,
        busy: Callable[[], bool] = lambda: True,
        give_up_s: float = 60.0,
    ) -> None:
        self._transport = transport
        self._client, self._incarnation = client, incarnation
        self._on_item, self._on_session, self._on_lost = on_item, on_session, on_lost
        self._busy = busy
        self._give_up_s = give_up_s
        self._outbox: deque[tuple[int, Any]] = deque()
        self._unacked: deque[tuple[int, Any]] = deque()
        self._numbers = itertools.count(1)
        self._next = 1
        self._acked = 0
        self._wanted = 0
        self._told_wanted = 0
        self._session = 0
        self._synced = False
        self._expected = 0
        self._early: dict[int, tuple[int, list[Any]]] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tie = itertools.count()
        self._scheduled = False
        self._failing_since: float | None = None
        self._lost: LaneDownError | None = None
        self._closed = False

    def open(self) -> None:
        """Begin to listen, where that is wanted."""
        self._schedule()

    def post(self, item: Any) -> int:
        """Send an item; returns its number, for `settled`. Never blocks."""
        number = next(self._numbers)
        self._outbox.append((number, item))
        self._schedule()
        return number

    async def settled(self, number: int) -> None:
        """Wait until the server has dealt with the item of that number. Raises ServiceError if it is gone."""
        if number <= self._acked:
            return
        if self._lost is not None:
            raise ServiceError(str(self._lost))
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (number, next(self._tie), future))
        self._wanted = max(self._wanted, number)
        self._schedule()
        await future

    async def close(self) -> None:
        """Stop; what is not acknowledged is not sent again."""
        self._closed = True
        for call in list(self._calls):
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    # --- the pump ------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        # By way of the loop, so that all that is posted in one go travels together.
        if not self._scheduled and not self._closed:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        if self._closed or self._lost is not None:
            return
        allowed = 2 if self._synced else 1
        while len(self._calls) < allowed and (
            self._outbox or self._wanted > self._told_wanted or (not self._calls and self._busy())
        ):
            batch = [self._outbox.popleft() for _ in range(min(len(self._outbox), BATCH))]
            self._unacked.extend(batch)
            first = batch[0][0] if batch else self._next
            self._next = batch[-1][0] + 1 if batch else self._next
            self._told_wanted = self._wanted
            items = [item for _, item in batch]
            head = (self._client, self._incarnation, self._session, first, self._wanted, items)
            call = asyncio.get_running_loop().create_task(self._call(self._session, pickle.dumps(head, 5)))
            self._calls.add(call)

    async def _call(self, session: int, data: bytes) -> None:
        me = asyncio.current_task()
        try:
            answer = await self._transport(data)
        except LaneDownError as error:
            if session == self._session and not self._closed:
                await self._begin_session(error)
            return
        except Exception as error:  # the server failed on what it got: sending it again will not help
            self._give_up(LaneDownError(f"{type(error).__name__}: {error}", final=True))
            return
        finally:
            self._calls.discard(me)
        if session != self._session:
            return
        self._failing_since = None
        self._synced = True
        number, acked, items = pickle.loads(answer)  # noqa: S301  # from a process of this system
        self._early[number] = (acked, items)
        while self._expected in self._early:
            acked, items = self._early.pop(self._expected)
            self._expected += 1
            self._take(acked, items)
        self._schedule()

    def _take(self, acked: int, items: list[Any]) -> None:
        self._acked = max(self._acked, acked)
        while self._unacked and self._unacked[0][0] <= acked:
            self._unacked.popleft()
        for item in items:
            self._on_item(item)
        while self._waiters and self._waiters[0][0] <= acked:
            _, _, future = heapq.heappop(self._waiters)
            if not future.done():
                future.set_result(None)

    async def _begin_session(self, error: LaneDownError) -> None:
        """After a failure: everything that is not acknowledged goes again, in a new session."""
        self._session += 1
        self._synced = False
        self._expected = 0
        self._told_wanted = 0
        self._early.clear()
        self._outbox.extendleft(reversed(self._unacked))
        self._unacked.clear()
        if self._outbox:
            self._next = self._outbox[0][0]
        now = asyncio.get_running_loop().time()
        self._failing_since = self._failing_since or now
        if error.final or now - self._failing_since > self._give_up_s:
            self._give_up(error)
            return
        hold = asyncio.get_running_loop().create_task(asyncio.sleep(0.05 + random.random() * 0.2))  # noqa: S311
        self._calls.add(hold)
        try:
            await hold
        finally:
            self._calls.discard(hold)
        if self._on_session is not None:
            self._on_session()
        self._schedule()

    def _give_up(self, error: LaneDownError) -> None:
        self._lost = error
        for _, _, future in self._waiters:
            if not future.done():
                future.set_exception(ServiceError(str(error)))
        self._waiters.clear()
        if self._on_lost is not None:
            self._on_lost(error)
