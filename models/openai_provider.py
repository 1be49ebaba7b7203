"""Chat Completions: OpenAI, and every server that speaks its API."""

from __future__ import annotations

from callsheet.models.catalogue import parse_model
from callsheet.models.embeddings import EmbedRequest, from_embeddings, to_embeddings
from callsheet.models.messages import ModelReply, ModelRequest
from callsheet.models.openai_wire import from_openai, to_openai
from callsheet.models.sdk_client import SdkClient


class OpenAIProvider:
    """One Chat Completions server."""

    def __init__(self, client: SdkClient) -> None:
        self._client = client

    async def complete(self, request: ModelRequest, deadline: float | None) -> ModelReply:
        """One attempt. Raises ModelError."""
        name = parse_model(request.model)
        body = to_openai(request, name)
        data = await self._client.post("/chat/completions", body, model=name.model, deadline=deadline)
        return from_openai(data, request, name)

    async def embed(self, request: EmbedRequest, deadline: float | None) -> list[list[float]]:
        """One attempt. Raises ModelError."""
        name = parse_model(request.model)
        body = to_embeddings(request, name)
        data = await self._client.post("/embeddings", body, model=name.model, deadline=deadline)
        return from_embeddings(data, request, name)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
