"""Embeddings as the gateway serves them, to the memory: the key of their provider stays with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from callsheet.core.errors import ModelRequestError
from callsheet.models.catalogue import ModelName
from callsheet.models.wire import bad_reply


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """Vectors for texts, by `provider/model`; answered with one list of floats for each text, in order."""

    model: str
    texts: tuple[str, ...]


def to_embeddings(request: EmbedRequest, name: ModelName) -> dict[str, Any]:
    """The body to post to `/embeddings`."""
    return {"model": name.model, "input": list(request.texts), "encoding_format": "float"}


def from_embeddings(data: Any, request: EmbedRequest, name: ModelName) -> list[list[float]]:
    """The vectors of an answer, in the order of the texts: len(texts) rows of one length.

    Raises ModelReplyError where a text has no vector, or one that is not made of finite numbers.
    """
    rows = data.get("data") if isinstance(data, Mapping) else None
    if not isinstance(rows, list) or len(rows) != len(request.texts):
        raise bad_reply(
            name.provider, name.model, f"has not one vector for each of {len(request.texts)} texts"
        )
    vectors: list[list[float]] = [[] for _ in rows]
    for position, row in enumerate(rows):
        values = row.get("embedding") if isinstance(row, Mapping) else None
        index = row.get("index", position) if isinstance(row, Mapping) else position
        if not isinstance(index, int) or not 0 <= index < len(rows) or not _finite(values):
            raise bad_reply(name.provider, name.model, "has a vector that is not one of finite numbers")
        vectors[index] = [float(value) for value in values]
    if len({len(vector) for vector in vectors}) > 1 or (vectors and not vectors[0]):
        raise bad_reply(name.provider, name.model, "has vectors of different lengths, or misses one")
    return vectors


def _finite(values: Any) -> TypeGuard[list[float]]:
    return isinstance(values, list) and all(
        isinstance(value, int | float) and math.isfinite(value) for value in values
    )


def no_embeddings(provider: str, model: str) -> ModelRequestError:
    """The error for a provider that has no embeddings."""
    return ModelRequestError(
        f"{provider} has no embedding models",
        model=model,
        provider=provider,
        hint="Use the built-in embedder `lexical`, or one like openai/text-embedding-3-small or "
        "ollama/nomic-embed-text.",
    )
