"""Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from callsheet.models.anthropic_stream import MessageStream
from callsheet.models.anthropic_wire import from_anthropic, to_anthropic
from callsheet.models.catalogue import ModelName, parse_model
from callsheet.models.embeddings import Embeddings, EmbedRequest, no_embeddings
from callsheet.models.messages import ModelReply, ModelRequest
from callsheet.models.sdk_client import SdkClient
from callsheet.models.wire import Spoken

PATH = "/v1/messages"

MAX_PAUSES = 10
"""How often a turn that the server paused (`pause_turn`, with tools of its own) is taken up again in one call."""


class AnthropicProvider:
    """One server of the Messages API."""

    def __init__(self, client: SdkClient, default_max_tokens: int) -> None:
        self._client = client
        self._default_max_tokens = default_max_tokens

    async def prepare(self, request: ModelRequest, deadline: float | None) -> None:
        """Load what the first call would wait for."""
        await self._client.prepare(PATH, deadline)

    async def complete(self, request: ModelRequest, deadline: float | None) -> ModelReply:
        """One attempt. Raises ModelError."""
        name = parse_model(request.model)

        async def once(body: dict[str, Any]) -> Any:
            return await self._client.post(PATH, body, model=name.model, deadline=deadline)

        return await self._answer(request, name, once)

    async def stream(
        self, request: ModelRequest, deadline: float | None, emit: Callable[[str], None]
    ) -> ModelReply:
        """One attempt, whose text is emitted as it comes; the reply is that of `complete`. Raises ModelError."""
        name = parse_model(request.model)
        spoken = Spoken(emit)

        async def once(body: dict[str, Any]) -> Any:
            reading = MessageStream(name, spoken)
            body = {**body, "stream": True}
            await self._client.stream(PATH, body, reading.take, model=name.model, deadline=deadline)
            return reading.body()

        return spoken.finish(await self._answer(request, name, once))

    async def _answer(
        self, request: ModelRequest, name: ModelName, once: Callable[[dict[str, Any]], Awaitable[Any]]
    ) -> ModelReply:
        body = to_anthropic(request, name, self._default_max_tokens)
        data = await once(body)
        for _ in range(MAX_PAUSES):
            if data.get("stop_reason") != "pause_turn" or not data.get("content"):
                break
            turn = {"role": "assistant", "content": data["content"]}
            data = _joined(data, await once({**body, "messages": [*body["messages"], turn]}))
        return from_anthropic(data, request, name)

    async def embed(self, request: EmbedRequest, deadline: float | None) -> Embeddings:
        """Raises ModelRequestError: Anthropic has no embeddings."""
        raise no_embeddings("anthropic", request.model)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _joined(first: dict[str, Any], then: Any) -> Any:
    # Both parts of a turn were made, and are paid.
    if not isinstance(then.get("content"), list):
        return then
    counts = [data["usage"] if isinstance(data.get("usage"), dict) else {} for data in (first, then)]
    usage = {**counts[1]}
    for key, value in counts[0].items():
        if isinstance(value, int) and isinstance(usage.get(key, 0) or 0, int):
            usage[key] = value + (usage.get(key) or 0)
        elif key not in usage:
            usage[key] = value
    return {**then, "content": [*first["content"], *then["content"]], "usage": usage}
