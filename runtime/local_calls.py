"""Calls between processes of one machine, over a Unix socket: a twentieth of the CPU of a Ray call.

An actor call of Ray costs about 1.3 ms of CPU over both ends, a call here about 0.06. So a lane asks the actor
once, through Ray, where it listens; on the same machine its calls then go there, and everywhere else through Ray.
Ray still starts the actors, finds them by name, and says who has died: when a socket closes, the lane asks again.

The socket has a name without a file (Linux's abstract addresses, unix(7)), so that a killed process leaves
nothing behind. Anybody on the machine could connect to it: each end asks the kernel whose process the other is
(SO_PEERCRED), and hangs up on those of another user before it reads a byte.

    frame = length of the body (4 bytes) · number of the call (4 bytes) · kind (1 byte) · body
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import sys
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

log = logging.getLogger(__name__)

SUPPORTED = sys.platform == "linux"
_HEAD = struct.Struct("<IIB")
_CALL, _ANSWER, _FAILED = 0, 1, 2
_PEER = struct.Struct("3i")
"""What SO_PEERCRED gives: process, user, group (socket(7))."""


class CallLostError(Exception):
    """The other end is gone; whether the call was carried out is not known."""


class CallFailedError(Exception):
    """The other end raised; the message says what."""


class _Frames(asyncio.Protocol):
    """One connection: cuts what comes into frames, and says when it is gone."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if _user_of(transport.get_extra_info("socket")) != os.getuid():
            log.warning("a process of another user tried to talk to this one, and was hung up on")
            transport.abort()
            return
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.transport is None:
            return  # hung up on
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _HEAD.size:
            length, number, kind = _HEAD.unpack_from(buffer, at)
            end = at + _HEAD.size + length
            if len(buffer) < end:
                break
            body = bytes(memoryview(buffer)[at + _HEAD.size : end])
            at = end
            self.frame(number, kind, body)
        if at:
            del buffer[:at]

    def frame(self, number: int, kind: int, body: bytes) -> None:
        raise NotImplementedError

    def send(self, number: int, kind: int, body: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(_HEAD.pack(len(body), number, kind) + body)


class _Served(_Frames):
    """The server's end: each call in a task of its own, answered when it is done."""

    def __init__(self, server: LocalServer) -> None:
        super().__init__()
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        # Calls that are under way go on: what they carry may have been taken already.
        self.transport = None
        self._server.connections.discard(self)

    def frame(self, number: int, kind: int, body: bytes) -> None:
        self._server.begin(self._carry_out(number, body))

    async def _carry_out(self, number: int, body: bytes) -> None:
        try:
            answer = await self._server.handler(body)
        except Exception as error:  # the caller has to hear of it, whatever it is
            self.send(number, _FAILED, f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace"))
        else:
            self.send(number, _ANSWER, answer)


class LocalServer:
    """Listens for other processes of the same user on this machine, once somebody has asked for its address."""

    def __init__(self, handler: Callable[[bytes], Awaitable[bytes]]) -> None:
        self.handler = handler
        self.connections: set[_Served] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._name = ""

    async def address(self) -> str:
        """Where it listens; begins to, the first time. "" where this system has no such sockets."""
        if not self._name and SUPPORTED:
            # Named before the first await: two who ask at once get the same answer.
            self._name = f"callsheet-{os.getpid()}-{uuid.uuid4().hex}"
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind("\0" + self._name)
            self._server = await asyncio.get_running_loop().create_unix_server(
                lambda: _Served(self), sock=listener, backlog=1024
            )
        return self._name

    def begin(self, work: Any) -> None:
        """Carry out a call; its task is held until it is done."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop listening, and hang up."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            if connection.transport is not None:
                connection.transport.close()


class LocalConnection(_Frames):
    """The caller's end of a connection."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._last = 0
        self.lost = False

    @staticmethod
    async def open(address: str) -> LocalConnection | None:
        """Connect to a server; None where that is not possible, as from within another container."""
        if not address or not SUPPORTED:
            return None
        try:
            _, made = await asyncio.get_running_loop().create_unix_connection(LocalConnection, "\0" + address)
        except OSError:
            return None
        return None if made.transport is None else made

    async def call(self, body: bytes) -> bytes:
        """The answer to one call. Raises CallLostError and CallFailedError."""
        if self.lost:
            raise CallLostError("the connection is closed")
        self._last = number = (self._last + 1) % 2**32
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self.send(number, _CALL, body)
        try:
            answer: bytes = await future
            return answer
        finally:
            del self._waiting[number]

    def close(self) -> None:
        """Hang up; calls that wait get CallLostError."""
        if self.transport is not None:
            self.transport.close()

    def frame(self, number: int, kind: int, body: bytes) -> None:
        """An answer has come, perhaps to a caller that waits no more."""
        future = self._waiting.get(number)
        if future is None or future.done():
            return
        if kind == _ANSWER:
            future.set_result(body)
        else:
            future.set_exception(CallFailedError(body.decode()))

    def connection_lost(self, error: Exception | None) -> None:
        """The other process has ended, or hung up."""
        self.lost = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(CallLostError(str(error or "the other process hung up")))


def _user_of(peer: socket.socket) -> int:
    _, user, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(user)
