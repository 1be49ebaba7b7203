"""Embeddings as the gateway serves them, to the memory: the key of their provider stays with it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """Vectors for texts, by `provider/model`; answered with one list of floats for each text, in order."""

    model: str
    texts: tuple[str, ...]
