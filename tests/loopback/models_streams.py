"""A server that sends a stream in pieces, and breaks it off, or holds it up, where it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from callsheet.models.anthropic_provider import AnthropicProvider
from callsheet.models.catalogue import PROVIDERS
from callsheet.models.config import GatewayConfig
from callsheet.models.openai_provider import OpenAIProvider
from callsheet.models.sdk_client import SdkClient

End = Literal["chunked", "cut", "close", "hang"]
"""How the body ends: properly; in the middle of a chunked body; by closing, as HTTP/1.0 does; never."""


@dataclass
class StreamServer:
    """What it sends next, and the bodies that it was sent."""

    pieces: Sequence[bytes] = ()
    end: End = "chunked"
    url: str = ""
    asked: list[bytes] = field(default_factory=list)
    sent: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                length = next(
                    int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length")
                )
                self.asked.append(await reader.readexactly(length))
                framing = (
                    b"connection: close\r\n" if self.end == "close" else b"transfer-encoding: chunked\r\n"
                )
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n" + framing + b"\r\n")
                for piece in self.pieces:
                    if not piece:
                        continue
                    writer.write(piece if self.end == "close" else b"%x\r\n" % len(piece) + piece + b"\r\n")
                    await writer.drain()
                self.sent.set()
                if self.end == "hang":
                    await reader.read()
                if self.end != "chunked":
                    return
                writer.write(b"0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def streaming(pieces: Sequence[bytes], end: End = "chunked") -> AsyncIterator[StreamServer]:
    """A stream server that runs for the length of the block."""
    state = StreamServer(pieces, end)
    server = await asyncio.start_server(state.serve, "127.0.0.1", 0)
    state.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield state
    finally:
        server.close()


@asynccontextmanager
async def provider_at(
    url: str, provider: str, **settings: Any
) -> AsyncIterator[OpenAIProvider | AnthropicProvider]:
    """The provider of that name, at another address."""
    info = PROVIDERS[provider]
    config = GatewayConfig(base_urls={provider: url}, **settings)
    client = SdkClient(info, url, "key-of-test", config)
    made = AnthropicProvider(client, 8192) if info.api == "anthropic" else OpenAIProvider(client)
    try:
        yield made
    finally:
        await made.close()
