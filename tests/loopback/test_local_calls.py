"""Calls between processes of one machine: over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.runtime import local_calls
from callsheet.runtime.local_calls import CallFailedError, CallLostError, LocalConnection, LocalServer

pytestmark = pytest.mark.skipif(
    not local_calls.SUPPORTED,
    reason="sockets with abstract names are Linux's; elsewhere lanes go through Ray",
)


async def echo(data: bytes) -> bytes:
    return b"> " + data


@contextlib.asynccontextmanager
async def connected(handler: local_calls.Callable[[bytes], local_calls.Awaitable[bytes]]) -> AsyncIterator[
    tuple[LocalServer, LocalConnection]
]:  # fmt: skip
    server = LocalServer(handler)
    connection = await LocalConnection.open(await server.address())
    assert connection is not None
    try:
        yield server, connection
    finally:
        connection.close()
        server.close()


async def test_a_call_brings_its_answer() -> None:
    async with connected(echo) as (_, connection):
        assert await connection.call(b"hello") == b"> hello"


@settings(max_examples=20, deadline=None)
@given(bodies=st.lists(st.binary(max_size=300_000), max_size=20))
def test_many_calls_at_once_get_each_its_own_answer(bodies: list[bytes]) -> None:
    async def all_at_once() -> list[bytes]:
        async with connected(echo) as (_, connection):
            return await asyncio.gather(*(connection.call(body) for body in bodies))

    assert asyncio.run(all_at_once()) == [b"> " + body for body in bodies]


async def test_a_late_answer_holds_up_no_other() -> None:
    gate = asyncio.Event()

    async def first_waits(data: bytes) -> bytes:
        if data == b"first":
            await gate.wait()
        return data

    async with connected(first_waits) as (_, connection):
        first = asyncio.create_task(connection.call(b"first"))
        assert await connection.call(b"second") == b"second"
        assert not first.done()
        gate.set()
        assert await first == b"first"


async def test_what_the_other_end_raises_is_told_and_the_connection_goes_on() -> None:
    async def picky(data: bytes) -> bytes:
        if data == b"bad":
            raise ValueError("not that")
        return data

    async with connected(picky) as (_, connection):
        with pytest.raises(CallFailedError, match="ValueError: not that"):
            await connection.call(b"bad")
        assert await connection.call(b"good") == b"good"


async def test_a_caller_that_waits_no_more_is_not_in_the_way() -> None:
    gate = asyncio.Event()

    async def waits(data: bytes) -> bytes:
        if data == b"slow":
            await gate.wait()
        return data

    async with connected(waits) as (_, connection):
        slow = asyncio.create_task(connection.call(b"slow"))
        assert await connection.call(b"quick") == b"quick"  # so the slow one has been sent
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        gate.set()
        assert await connection.call(b"again") == b"again"


async def test_a_server_that_hangs_up_loses_the_calls_that_wait() -> None:
    arrived = asyncio.Event()

    async def never(data: bytes) -> bytes:
        arrived.set()
        return await asyncio.get_running_loop().create_future()

    async with connected(never) as (server, connection):
        waiting = asyncio.create_task(connection.call(b"x"))
        await arrived.wait()
        server.close()
        with pytest.raises(CallLostError):
            await waiting
        with pytest.raises(CallLostError):
            await connection.call(b"y")


_CHILD = """
import asyncio, os
from callsheet.runtime.local_calls import LocalServer

async def die(data):
    os.kill(os.getpid(), 9)

async def main():
    print(await LocalServer(die).address(), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_killed_process_loses_the_calls_to_it_at_once() -> None:
    child = subprocess.Popen([sys.executable, "-c", _CHILD], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        address = (await asyncio.to_thread(child.stdout.readline)).strip()
        connection = await LocalConnection.open(address)
        assert connection is not None
        with pytest.raises(CallLostError):
            await connection.call(b"x")
        connection.close()
        assert await asyncio.to_thread(child.wait) == -9
        assert await LocalConnection.open(address) is None
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


@pytest.mark.parametrize("address", ["", "nobody-listens-here"])
async def test_where_nobody_listens_there_is_no_connection(address: str) -> None:
    assert await LocalConnection.open(address) is None


async def test_the_address_is_made_once_and_another_servers_is_another() -> None:
    first, second = LocalServer(echo), LocalServer(echo)
    try:
        assert await first.address() == await first.address() != await second.address()
    finally:
        first.close()
        second.close()


async def test_a_process_of_another_user_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    carried_out: list[bytes] = []

    async def keep(data: bytes) -> bytes:
        carried_out.append(data)
        return data

    server = LocalServer(keep)
    address = await server.address()
    mine = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    reader, writer = await asyncio.open_unix_connection("\0" + address)
    with contextlib.suppress(ConnectionError):
        writer.write(local_calls._HEAD.pack(1, 1, 0) + b"x")
        await writer.drain()
        assert await reader.read() == b""
    writer.close()
    server.close()
    assert carried_out == []
    assert "another user" in caplog.text


async def test_a_server_of_another_user_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"callsheet-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as impostor:
        impostor.bind("\0" + name)
        impostor.listen()
        mine = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: mine + 1)
        assert await LocalConnection.open(name) is None
