"""The server's side of the lanes; see `callsheet.runtime.lanes` for what a lane is."""

from __future__ import annotations

import asyncio
import pickle
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

BATCH = 192
"""Items in one call, at most: enough to make the call's own cost small, few enough that sender, coordinator
and receiver work side by side instead of handing one great batch around."""

UNKNOWN = pickle.dumps(None, 5)
"""The answer to a call of a session that this server does not know, or that is over."""


@dataclass(slots=True)
class Port:
    """The server's end of one lane: what waits to go to that client."""

    client: str
    incarnation: str
    server: str
    session: int
    received: int
    """The number of the last item taken."""
    acked: int = 0
    told: int = 0
    """The last acknowledgement that an answer has carried."""
    wanted: int = 0
    """The last item whose acknowledgement somebody waits for; others ride along with other news."""
    outbox: deque[Any] = field(default_factory=deque)
    sent: deque[Any] = field(default_factory=deque)
    """What answers have carried and the client has not said to have heard: it goes again after a failure."""
    heard: int = 0
    """The number of the last item, of those to the client, that it has taken."""
    opening: bool = True
    returning: bool = False
    """Whether the client may have talked to a predecessor of this server."""
    seen: float = 0.0
    """When its last call came, on the monotonic clock (s)."""
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

    def hear(self, number: int) -> None:
        """The client has taken the items to it up to this number."""
        while self.heard < number and self.sent:
            self.sent.popleft()
            self.heard += 1

    async def answer(self, session: int) -> bytes:
        """Wait until there is news, or a newer call to carry it; then the answer of one call."""
        self.calls += 1
        mine = self.calls
        self.wake()  # an older call may be parked: one is enough
        # The first call of a session is answered at once: from then on the client may have two out.
        while self.calls == mine and self.session == session and not self.opening and not self._has_news():
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        if self.session != session:
            return UNKNOWN
        self.opening = False
        self.told = self.acked
        first = self.heard + len(self.sent) + 1
        items = list(islice(self.outbox, BATCH))
        if len(items) == len(self.outbox):
            self.outbox.clear()
        else:
            for _ in items:
                self.outbox.popleft()
        self.sent.extend(items)
        return pickle.dumps((self.server, self.acked, first, items), 5)

    def _has_news(self) -> bool:
        return bool(self.outbox) or self.told < min(self.acked, self.wanted)

    def renew(self, session: int) -> None:
        """A call or answer was lost: what the client has not heard goes again, in a new session."""
        self.outbox.extendleft(reversed(self.sent))
        self.sent.clear()
        self.opening = True
        self.session = session
        self._release()

    def retire(self) -> None:
        """A newer port takes this one's place: let its calls go home."""
        self.session = -1
        self._release()

    def _release(self) -> None:
        self.wake()
        if self.gap is not None:
            self.gap.set_result(None)
            self.gap = None


class LaneServer:
    """The server's side of all lanes to it.

    `receive(port, first, items)` gets each item once, in order, as long as this server lives; the item at
    index i has the number first + i. A client that comes back with another incarnation (its process died)
    gets a new port.
    """

    def __init__(self, receive: Callable[[Port, int, Sequence[Any]], None]) -> None:
        self._receive = receive
        self._id = uuid.uuid4().hex[:12]
        self._past: set[str] = set()
        self.ports: dict[str, Port] = {}

    async def exchange(self, data: bytes) -> bytes:
        """One call of a client: take its items, and answer when there is news for it."""
        # Both ends are processes of this system: behind Ray's token, or of one user on a socket of this machine.
        head = pickle.loads(data)  # noqa: S301
        client, incarnation, session, opening, server, heard, first, wanted, items = head
        port = self.ports.get(client)
        if port is None or port.incarnation != incarnation:
            if not opening or incarnation in self._past:
                return UNKNOWN
            if port is not None:
                self._past.add(port.incarnation)
                port.retire()
            port = Port(client, incarnation, self._id, session, first - 1, first - 1, first - 1)
            port.returning = session > 0 or bool(server)
            self.ports[client] = port
        elif session < port.session:
            return UNKNOWN
        if server == self._id:
            port.hear(heard)
        if session > port.session:
            port.renew(session)
        while first > port.received + 1:
            # A call overtook the one before it: wait for that one.
            port.gap = port.gap or asyncio.get_running_loop().create_future()
            await asyncio.shield(port.gap)
            if port.session != session:
                return UNKNOWN
        new = items[port.received + 1 - first :]
        if new:
            number = port.received + 1
            port.received += len(new)
            if port.gap is not None:
                port.gap.set_result(None)
                port.gap = None
            self._receive(port, number, new)
        port.wanted = max(port.wanted, wanted)
        port.seen = time.monotonic()
        return await port.answer(session)
