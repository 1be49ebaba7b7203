"""Chat Completions: OpenAI, and every server that speaks its API."""

from __future__ import annotations

from callsheet.models.catalogue import ModelName, parse_model
from callsheet.models.messages import ModelReply, ModelRequest
from callsheet.models.openai_wire import from_openai, to_openai
from callsheet.models.sdk_client import SdkClient


class OpenAIProvider:
    """One Chat Completions server."""

    def __init__(self, client: SdkClient) -> None:
        self._client = client

    async def complete(self, request: ModelRequest, deadline: float | None) -> ModelReply:
        """One attempt. Raises ModelError."""
        name: ModelName = parse_model(request.model)
        body = to_openai(request, name)
        data = await self._client.post("/chat/completions", body, model=name.model, deadline=deadline)
        return from_openai(data, request, name)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
