"""Memory: documents, passages, and the store that finds them (FAISS joined with BM25)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callsheet.memory.documents import Document, load_documents
    from callsheet.memory.embedders import Embedder, LexicalEmbedder, RemoteEmbedder, make_embedder
    from callsheet.memory.passages import Passage, cut
    from callsheet.memory.records import Added, Hit, MemoryStats
    from callsheet.memory.service import AddDocuments, Memory, MemoryReply, MemoryRequest, Search, Stats
    from callsheet.memory.store import MemoryStore

__all__ = [
    "AddDocuments",
    "Added",
    "Document",
    "Embedder",
    "Hit",
    "LexicalEmbedder",
    "Memory",
    "MemoryReply",
    "MemoryRequest",
    "MemoryStats",
    "MemoryStore",
    "Passage",
    "RemoteEmbedder",
    "Search",
    "Stats",
    "cut",
    "load_documents",
    "make_embedder",
]

_HOME = {
    "documents": ("Document", "load_documents"),
    "embedders": ("Embedder", "LexicalEmbedder", "RemoteEmbedder", "make_embedder"),
    "passages": ("Passage", "cut"),
    "service": ("AddDocuments", "Memory", "MemoryReply", "MemoryRequest", "Search", "Stats"),
    "records": ("Added", "Hit", "MemoryStats"),
    "store": ("MemoryStore",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            return getattr(importlib.import_module(f"callsheet.memory.{module}"), name)
    raise AttributeError(f"module 'callsheet.memory' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
