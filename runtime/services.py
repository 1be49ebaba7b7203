"""Services behind a lane: a component that answers requests, and the caller's side of it.

The model gateway and the memory are services. A component is any object with `async handle(request)`;
requests, replies and errors are plain data that survive pickle.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from callsheet.core.errors import CallsheetError, ServiceError
from callsheet.runtime.lane_server import LaneServer, Port
from callsheet.runtime.lanes import Lane, LaneDownError, Transport

OnPart = Callable[[Any], None]
"""Takes a part of an answer; None says that the parts so far do not count, and come again."""


class Component(Protocol):
    """What a service is made of."""

    async def handle(self, request: Any) -> Any:
        """Answer one request; many may be under way at once.

        A component that also has `stream(request, emit)` is asked by that where the caller wants parts: it calls
        `emit(part)` as they come, and returns the whole answer. One that has `warm(again)` is called by that,
        in a thread, when a process of its own begins: to import what the first request would wait for. `again` says
        that it takes a dead one's place, whose callers wait; else the crew's agents are starting beside it.
        """


class Service:
    """The server's side: runs each request as a task of its own.

    Nothing here survives a crash: a caller sends again what was not answered, so a request may be handled
    twice after the death of the service's process, but never twice by one process.
    """

    def __init__(self, component: Component) -> None:
        self.component = component
        self._lanes = LaneServer(self._receive)
        self._running: dict[tuple[str, str, int], asyncio.Task[None]] = {}

    async def exchange(self, data: bytes) -> bytes:
        """One call of a client's lane."""
        return await self._lanes.exchange(data)

    async def close(self) -> None:
        """Stop what is under way, then close the component, if it can be closed."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        close = getattr(self.component, "close", None)
        if close is not None:
            await close()

    def _receive(self, port: Port, first: int, items: Sequence[Any]) -> None:
        loop = asyncio.get_running_loop()
        for id_, request, *wants_parts in items:
            key = (port.client, port.incarnation, id_)
            task = self._running.get(key)
            if request is None:
                if task is not None:
                    task.cancel()
            elif task is None:
                task = loop.create_task(self._run(key, request, bool(wants_parts)))
                self._running[key] = task
        port.ack(first + len(items) - 1)

    async def _run(self, key: tuple[str, str, int], request: Any, wants_parts: bool) -> None:
        try:
            answer: tuple[int, bool | None, Any] = (
                key[2],
                True,
                await self._answer(key, request, wants_parts),
            )
        except CallsheetError as error:
            answer = (key[2], False, _portable(error))
        except Exception as error:  # the caller has to know, whatever it is
            answer = (key[2], False, ServiceError(f"{type(error).__name__}: {error}"))
        finally:
            self._running.pop(key, None)
        self._push(key, answer)

    async def _answer(self, key: tuple[str, str, int], request: Any, wants_parts: bool) -> Any:
        stream = getattr(self.component, "stream", None)
        if not wants_parts or stream is None:
            return await self.component.handle(request)
        return await stream(request, lambda part: self._push(key, (key[2], None, part)))

    def _push(self, key: tuple[str, str, int], item: tuple[int, bool | None, Any]) -> None:
        port = self._lanes.ports.get(key[0])
        if port is not None and port.incarnation == key[1]:
            port.push(item)


def _portable(error: CallsheetError) -> CallsheetError:
    """The error, if it survives pickle; else the same error without its fields."""
    try:
        pickle.dumps(error)
    except Exception:  # whatever its fields hold
        return type(error)(error.message, hint=error.hint)
    return error


class Caller:
    """The client's side of a service. `await caller.request(x)` returns what `handle(x)` returned.

    With `on_part` it is called with each part of the answer as it comes. A service that dies in between is
    asked again, and its parts come again from the first on, after a None.

    Raises what the component raised, or ServiceError when the service cannot be reached any more.
    """

    def __init__(
        self, name: str, transport: Transport, *, client: str, incarnation: str, give_up_s: float = 60.0
    ) -> None:
        self.name = name
        self._ids = itertools.count(1)
        self._waiting: dict[int, tuple[int, Any, asyncio.Future[Any]]] = {}
        self._parts: dict[int, OnPart] = {}
        self._lane = Lane(
            transport, client=client, incarnation=incarnation, on_item=self._take,
            on_new_server=self._again, on_lost=self._lost, busy=lambda: bool(self._waiting), give_up_s=give_up_s,
        )  # fmt: skip

    async def request(self, request: Any, on_part: OnPart | None = None) -> Any:
        """Send a request and wait for its answer. Cancelling this cancels the work at the service."""
        if self._lane.lost is not None:
            raise self._gone(str(self._lane.lost))
        id_ = next(self._ids)
        future = asyncio.get_running_loop().create_future()
        item = (id_, request) if on_part is None else (id_, request, True)
        self._waiting[id_] = (self._lane.post(item), item, future)
        if on_part is not None:
            self._parts[id_] = on_part
        try:
            return await future
        except asyncio.CancelledError:
            if id_ in self._waiting:
                self._lane.post((id_, None))
            raise
        finally:
            self._waiting.pop(id_, None)
            self._parts.pop(id_, None)

    async def close(self) -> None:
        """Stop listening; what is under way ends with ServiceError."""
        await self._lane.close()
        self._fail("the connection is closed")

    def _take(self, item: tuple[int, bool | None, Any]) -> None:
        id_, ok, value = item
        waiting = self._waiting.get(id_)
        if waiting is None or waiting[2].done():
            return
        if ok is None:
            if id_ in self._parts:
                self._parts[id_](value)
        elif ok:
            waiting[2].set_result(value)
        else:
            waiting[2].set_exception(value)

    def _again(self) -> None:
        # The lane itself sends again what the lost service had not taken; what it had, it took with it.
        for id_, (number, item, future) in self._waiting.items():
            if id_ in self._parts:
                self._parts[id_](None)
            if number <= self._lane.acked:
                self._waiting[id_] = (self._lane.post(item), item, future)

    def _lost(self, error: LaneDownError) -> None:
        self._fail(str(error))

    def _fail(self, reason: str) -> None:
        for _, _, future in self._waiting.values():
            if not future.done():
                future.set_exception(self._gone(reason))

    def _gone(self, reason: str) -> ServiceError:
        return ServiceError(f"the {self.name} is gone: {reason}", service=self.name)


Call = Callable[..., Awaitable[Any]]
"""How a service is called: `await call(request)`, or `await call(request, on_part)` for an answer in parts."""
