"""The body of a response: read whole, within measure, or read to its end so that the connection serves again."""

from __future__ import annotations

import asyncio
from typing import Any

from callsheet.models.wire import bad_reply

MAX_REPLY = 64 * 1024 * 1024
"""Bytes; a longer reply is refused, since a broken server must not fill the gateway's memory."""

DRAIN_S = 0.05
"""A server gets this long to end a stream that has said its last word; then the connection is closed."""


async def whole(response: Any, provider: str, model: str) -> bytes:
    """All bytes of an aiohttp response. Raises ModelReplyError for too many."""
    if (response.content_length or 0) <= MAX_REPLY:
        pieces, size = [], 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > MAX_REPLY:
                break
            pieces.append(piece)
        else:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    raise bad_reply(provider, model, "is longer than any reply may be")


async def drain(response: Any) -> None:
    """Read what is left of an aiohttp response, which should be its end."""
    try:
        async with asyncio.timeout(DRAIN_S):
            async for _ in response.content.iter_any():
                pass
    except (TimeoutError, OSError, ValueError):
        response.close()
