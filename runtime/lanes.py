"""Lanes: many messages in one call, both ways, with nothing lost in between.

A call costs the same whatever it carries (through Ray about a millisecond of CPU), so each edge between two
processes has one lane. The client calls `exchange` with everything it has to send; the server answers as soon as it has
something to say, with everything it has to say. While a call is out, what comes up meanwhile waits for
the next one: batches grow with load and there is no timer.

At most two calls are out: one parked at the server, waiting for news, and one that brings new items (its
arrival releases the parked one). Items are numbered both ways, kept until the other side is known to have
them, and sent again in a new session after a failure: while both sides live, each gets every item once and
in order. When the server was replaced by another, that has forgotten what its predecessor knew, the client
is told, so that it can say again what still matters.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import pickle
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from callsheet.core.errors import ServiceError
from callsheet.runtime.lane_server import BATCH

log = logging.getLogger(__name__)

PAUSE_S = (0.05, 0.25)
"""How long a lane waits after a failure before it tries again: from, to."""

Transport = Callable[[bytes], Awaitable[bytes]]
"""Takes one call to the server and brings its answer. Raises LaneDownError when it cannot be reached.

One that holds a connection has a `close()`, which the lane calls when it is closed."""


class LaneDownError(Exception):
    """The server cannot be reached now; `final` says that it never will be again."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final

    def __reduce__(self) -> tuple[Any, ...]:
        return _lane_down, (str(self), self.final)


def _lane_down(message: str, final: bool) -> LaneDownError:
    return LaneDownError(message, final=final)


class Lane:
    """The client's side of a lane.

    `on_item` gets each item from the server, in order. `on_new_server` is called when another server has
    taken the place of the one that this lane talked to, before anything from it is handed on. The lane
    keeps a call parked at the server while `busy()` says that an answer is expected.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        client: str,
        incarnation: str,
        on_item: Callable[[Any], None],
        on_new_server: Callable[[], None] | None = None,
        on_lost: Callable[[LaneDownError], None] | None = None,
        busy: Callable[[], bool] = lambda: True,
        give_up_s: float = 60.0,
    ) -> None:
        self._transport = transport
        self._client, self._incarnation = client, incarnation
        self._on_item, self._on_new_server, self._on_lost = on_item, on_new_server, on_lost
        self._busy = busy
        self._give_up_s = give_up_s
        self._outbox: deque[tuple[int, Any]] = deque()
        self._unacked: deque[tuple[int, Any]] = deque()
        self._numbers = itertools.count(1)
        self._next = 1
        self._wanted = 0
        self._told_wanted = 0
        self._session = 0
        self._synced = False
        self._server = ""
        self._heard = 0
        self._early: dict[int, list[Any]] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._stale: set[asyncio.Task[None]] = set()
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tie = itertools.count()
        self._scheduled = False
        self._failing_since: float | None = None
        self._closed = False
        self.acked = 0
        """The number of the last item that the server has dealt with."""
        self.lost: LaneDownError | None = None
        """Why the lane has given its server up, once it has."""

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
        if number <= self.acked:
            return
        if self.lost is not None or self._closed:
            raise ServiceError(str(self.lost or "the lane is closed"))
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (number, next(self._tie), future))
        self._wanted = max(self._wanted, number)
        self._schedule()
        await future

    async def close(self) -> None:
        """Stop; what is not acknowledged is not sent again, and whoever waits for it gets ServiceError."""
        self._closed = True
        calls = [*self._calls, *self._stale]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        if (hang_up := getattr(self._transport, "close", None)) is not None:
            hang_up()
        self._fail_waiters("the lane is closed")

    # --- the pump ------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        # By way of the loop, so that all that is posted in one go travels together.
        if not self._scheduled and not self._closed:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        if self._closed or self.lost is not None:
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
            head = (
                self._client, self._incarnation, self._session, not self._synced, self._server, self._heard,
                first, self._wanted, [item for _, item in batch],
            )  # fmt: skip
            call = asyncio.get_running_loop().create_task(self._call(self._session, pickle.dumps(head, 5)))
            self._calls.add(call)

    async def _call(self, session: int, data: bytes) -> None:
        me: Any = asyncio.current_task()
        try:
            answer = pickle.loads(await self._transport(data))  # noqa: S301  # from a process of this system
            if answer is not None and session == self._session:
                self._calls.discard(me)
                self._take(*answer)
            elif session == self._session:
                await self._begin_session(me, LaneDownError("the server does not know this session"))
        except LaneDownError as error:
            if session == self._session and not self._closed:
                await self._begin_session(me, error)
        except Exception as error:  # the server failed on what it got: sending it again will not help
            log.exception("a call on the lane of %s failed", self._client)
            self.give_up(LaneDownError(f"{type(error).__name__}: {error}", final=True))
        finally:
            self._calls.discard(me)
            self._stale.discard(me)

    def _take(self, server: str, acked: int, first: int, items: list[Any]) -> None:
        self._failing_since = None
        self._synced = True
        if server != self._server:
            known, self._server = self._server, server
            self._heard = 0
            if known and self._on_new_server is not None:
                self._on_new_server()
        if items:
            self._early[first] = items
        while (arrived := self._early.pop(self._heard + 1, None)) is not None:
            for item in arrived:
                self._heard += 1
                try:
                    self._on_item(item)
                except Exception:  # one item's fault must not take the others with it
                    log.exception("%s could not take an item", self._client)
        if acked > self.acked:
            self.acked = acked
            while self._unacked and self._unacked[0][0] <= acked:
                self._unacked.popleft()
            while self._waiters and self._waiters[0][0] <= acked:
                _, _, future = heapq.heappop(self._waiters)
                if not future.done():
                    future.set_result(None)
        self._schedule()

    async def _begin_session(self, me: asyncio.Task[None], error: LaneDownError) -> None:
        """After a failure: everything that is not acknowledged goes again, in a new session."""
        self._session += 1
        self._synced = False
        self._told_wanted = 0
        self._early.clear()
        self._outbox.extendleft(reversed(self._unacked))
        self._unacked.clear()
        if self._outbox:
            self._next = self._outbox[0][0]
        now = asyncio.get_running_loop().time()
        self._failing_since = self._failing_since or now
        if error.final or now - self._failing_since > self._give_up_s:
            self.give_up(error)
            return
        # The other call of the old session may be parked still: nothing waits for its answer any more.
        self._stale |= self._calls - {me}
        self._calls = {me}
        await asyncio.sleep(random.uniform(*PAUSE_S))  # noqa: S311
        self._schedule()

    def give_up(self, error: LaneDownError) -> None:
        """The server will never be there again: nothing more is sent, and whoever waits is told."""
        if self.lost is not None:
            return
        self.lost = error
        self._fail_waiters(str(error))
        if self._on_lost is not None:
            self._on_lost(error)

    def _fail_waiters(self, reason: str) -> None:
        for _, _, future in self._waiters:
            if not future.done():
                future.set_exception(ServiceError(reason))
        self._waiters.clear()
