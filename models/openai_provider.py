"""OpenAI's two APIs, and the servers that speak them: Chat Completions, and Responses.

Which one: Responses for the models of OpenAI that have no other, or that think best with it (their reasoning
is handed back from call to call); Chat Completions for all others. An agent's `extra={"api": "responses"}` or
`{"api": "chat"}` decides otherwise, for any server.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from callsheet.core.errors import ModelRequestError
from callsheet.models.catalogue import ModelName, parse_model
from callsheet.models.embeddings import Embeddings, EmbedRequest, from_embeddings, to_embeddings
from callsheet.models.messages import ModelReply, ModelRequest
from callsheet.models.openai_stream import ChatStream
from callsheet.models.openai_wire import from_openai, to_openai
from callsheet.models.responses_stream import ResponseStream
from callsheet.models.responses_wire import from_responses, to_responses
from callsheet.models.sdk_client import SdkClient
from callsheet.models.wire import Spoken, extra_fields

CHAT = "/chat/completions"
RESPONSES = "/responses"

# https://platform.openai.com/docs/models: those whose page lists no Chat Completions endpoint.
_RESPONSES_ONLY = re.compile(r"^(?:o\d|gpt-[5-9][\d.]*)-pro\b|codex|deep-research|^computer-use")


def speaks_responses(request: ModelRequest, name: ModelName) -> bool:
    """Whether the request goes to the Responses API. Raises ModelRequestError for an `api` there is none of."""
    wanted = extra_fields(request).get("api")
    if wanted is None:
        return name.provider == "openai" and _RESPONSES_ONLY.search(name.model) is not None
    if wanted not in ("chat", "responses"):
        raise ModelRequestError(
            f"the extra field `api` of a model request is {wanted!r}",
            model=request.model,
            hint='Write {"api": "responses"} or {"api": "chat"}.',
        )
    return bool(wanted == "responses")


class OpenAIProvider:
    """One server of OpenAI's APIs."""

    def __init__(self, client: SdkClient) -> None:
        self._client = client
        self._usage_in_streams = True

    async def prepare(self, request: ModelRequest, deadline: float | None) -> None:
        """Load what the first call would wait for."""
        path = RESPONSES if speaks_responses(request, parse_model(request.model)) else CHAT
        await self._client.prepare(path, deadline)

    async def complete(self, request: ModelRequest, deadline: float | None) -> ModelReply:
        """One attempt. Raises ModelError."""
        name = parse_model(request.model)
        if speaks_responses(request, name):
            body = to_responses(request, name)
            data = await self._client.post(RESPONSES, body, model=name.model, deadline=deadline)
            return from_responses(data, request, name)
        body = to_openai(request, name)
        data = await self._client.post(CHAT, body, model=name.model, deadline=deadline)
        return from_openai(data, request, name)

    async def stream(
        self, request: ModelRequest, deadline: float | None, emit: Callable[[str], None]
    ) -> ModelReply:
        """One attempt, whose text is emitted as it comes; the reply is that of `complete`. Raises ModelError."""
        name = parse_model(request.model)
        spoken = Spoken(emit)
        if speaks_responses(request, name):
            events = ResponseStream(name, spoken)
            body = {**to_responses(request, name), "stream": True}
            await self._client.stream(RESPONSES, body, events.take, model=name.model, deadline=deadline)
            data = self._client.checked(events.body(), name.model)
            return spoken.finish(from_responses(data, request, name))
        body = {**to_openai(request, name), "stream": True}
        chunks = await self._stream_chat(body, name, deadline, spoken)
        return spoken.finish(from_openai(chunks.body(), request, name))

    async def _stream_chat(
        self, body: dict[str, Any], name: ModelName, deadline: float | None, emit: Callable[[str], None]
    ) -> ChatStream:
        if self._usage_in_streams:
            chunks = ChatStream(name, emit)
            asking = {**body, "stream_options": {"include_usage": True}}
            try:
                await self._client.stream(CHAT, asking, chunks.take, model=name.model, deadline=deadline)
            except ModelRequestError as error:
                if "stream_options" not in error.message:
                    raise
                self._usage_in_streams = False  # a server that does not know it, and says so
            else:
                return chunks
        chunks = ChatStream(name, emit)
        await self._client.stream(CHAT, body, chunks.take, model=name.model, deadline=deadline)
        return chunks

    async def embed(self, request: EmbedRequest, deadline: float | None) -> Embeddings:
        """One attempt. Raises ModelError."""
        name = parse_model(request.model)
        body = to_embeddings(request, name)
        data = await self._client.post("/embeddings", body, model=name.model, deadline=deadline)
        return from_embeddings(data, request, name)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()
