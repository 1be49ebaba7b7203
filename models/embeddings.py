"""Embeddings as the gateway serves them, to the memory: the key of their provider stays with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from callsheet.core.errors import ModelRequestError
from callsheet.models.catalogue import ModelName
from callsheet.models.messages import Usage
from callsheet.models.wire import bad_reply, count
from callsheet.tracing import EmbeddingSpan, SpanPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """Vectors for texts, by `provider/model`; answered with one list of floats for each text, in order."""

    model: str
    texts: tuple[str, ...]
    places: tuple[SpanPlace, ...] = ()
    """Where the span of each text belongs, in order; none at all for texts that are of no run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """An answer: len(texts) vectors of one length, in the order of the texts, and what they took."""

    vectors: list[list[float]]
    usage: Usage
    model: str
    """As the provider names the one that answered; empty where it does not."""


def to_embeddings(request: EmbedRequest, name: ModelName) -> dict[str, Any]:
    """The body to post to `/embeddings`."""
    return {"model": name.model, "input": list(request.texts), "encoding_format": "float"}


def from_embeddings(data: Any, request: EmbedRequest, name: ModelName) -> Embeddings:
    """The answer to a request.

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
    usage = Usage(input_tokens=count(data.get("usage"), "prompt_tokens"))
    model = data.get("model")
    return Embeddings(vectors=vectors, usage=usage, model=model if isinstance(model, str) else "")


def embedding_spans(
    request: EmbedRequest,
    usage: Usage,
    cost_usd: float | None,
    error: Exception | None,
    started: float,
    ended: float,
) -> list[EmbeddingSpan]:
    """A span for each text that is of a run; times in Unix seconds. The call's tokens are shared out by length."""
    lengths = [len(text.encode("utf-8", "replace")) for text in request.texts]
    whole, before, spans = sum(lengths) or 1, 0, []
    for text, place, length in zip(request.texts, request.places, lengths, strict=False):
        # As differences of what came before, so that the shares sum up to the call's.
        first, before = usage.input_tokens * before // whole, before + length
        if place.run_id:
            spans.append(
                EmbeddingSpan(
                    run_id=place.run_id, parent_span_id=place.parent_span_id, session_id=place.session_id,
                    model=request.model, text=text, texts=len(request.texts), started=started, ended=ended,
                    input_tokens=usage.input_tokens * before // whole - first,
                    cost_usd=None if cost_usd is None else cost_usd * length / whole,
                    error=None if error is None else f"{type(error).__name__}: {error}",
                )
            )  # fmt: skip
    return spans


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
