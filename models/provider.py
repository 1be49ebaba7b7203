"""What answers model requests, and how it is asked: for the whole answer, or in parts for who reads along."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from callsheet.models.embeddings import Embeddings, EmbedRequest
from callsheet.models.messages import ModelReply, ModelRequest

Emit = Callable[[str | None], None]
"""Takes a piece of an answer's text; None: what came so far does not count."""


class Provider(Protocol):
    """What answers model requests. One that can answer in parts also has `stream(request, deadline, emit)`.

    One that has something to load before its first call also has `prepare(request, deadline)`: a call is
    counted from when it is sent, and not from when its SDK is imported.
    """

    async def complete(self, request: ModelRequest, deadline: float | None) -> ModelReply:
        """One attempt at one request, to be given up at `deadline` (Unix time, s). Raises ModelError."""
        ...

    async def embed(self, request: EmbedRequest, deadline: float | None) -> Embeddings:
        """One attempt at vectors for texts. Raises ModelError."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Parts:
    """What a listener was told of an answer; begins it again where an attempt failed in the middle."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._said = False

    def say(self, text: str) -> None:
        """A piece of the answer's text."""
        self._said = True
        self._emit(text)

    def restart(self) -> None:
        """What was said so far does not count."""
        if self._said:
            self._said = False
            self._emit(None)


async def prepare(provider: Provider, request: ModelRequest) -> None:
    """Load what the call would wait for."""
    load: Callable[..., Awaitable[None]] | None = getattr(provider, "prepare", None)
    if load is not None:
        await load(request, request.deadline)


async def ask(provider: Provider, request: ModelRequest, parts: Parts | None) -> ModelReply:
    """One attempt; `parts` hears the text as it comes, in one piece where the provider has no stream."""
    stream: Callable[..., Awaitable[ModelReply]] | None = getattr(provider, "stream", None)
    if parts is not None and stream is not None:
        return await stream(request, request.deadline, parts.say)
    reply = await provider.complete(request, request.deadline)
    if parts is not None and reply.message.text:
        parts.say(reply.message.text)
    return reply
