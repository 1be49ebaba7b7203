"""Anthropic's Messages API."""

from __future__ import annotations

from callsheet.models.anthropic_wire import from_anthropic, to_anthropic
from callsheet.models.catalogue import parse_model
from callsheet.models.embeddings import EmbedRequest, no_embeddings
from callsheet.models.messages import ModelReply, ModelRequest
from callsheet.models.sdk_client import SdkClient


class AnthropicProvider:
    """One server of the Messages API."""

    def __init__(self, client: SdkClient, default_max_tokens: int) -> None:
        self._client = client
        self._default_max_tokens = default_max_tokens

    async def complete(self, request: ModelRequest, deadline: float | None) -> ModelReply:
        """One attempt. Raises ModelError."""
        name = parse_model(request.model)
        body = to_anthropic(request, name, self._default_max_tokens)
        data = await self._client.post("/v1/messages", body, model=name.model, deadline=deadline)
        return from_anthropic(data, request, name)

    async def embed(self, request: EmbedRequest, deadline: float | None) -> list[list[float]]:
        """Raises ModelRequestError: Anthropic has no embeddings."""
        raise no_embeddings("anthropic", request.model)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
