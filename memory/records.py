"""What the memory answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A passage found. `cite` is what a citation names; scores compare within one search only."""

    id: str
    text: str
    source: str
    title: str
    cite: str
    score: float
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What an add did: documents written, their passages, documents found unchanged, and removed."""

    documents: int
    passages: int
    unchanged: int
    removed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStats:
    """What the memory holds: (collection, documents, passages) each, the embedder, and bytes on disk."""

    collections: tuple[tuple[str, int, int], ...]
    embedder: str
    bytes_on_disk: int
