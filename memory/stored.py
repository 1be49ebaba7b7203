"""A document in the form in which it is stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from callsheet.core.canonical import digest
from callsheet.core.errors import UsageError
from callsheet.memory.documents import Document

MOST_DOCUMENTS = 64
MOST_CHARS = 2_000_000
"""What is written at once: its passages and vectors (four times as large) are in memory together."""


def batches(documents: Sequence[Document]) -> Iterator[list[Document]]:
    """The documents in lists small enough to be written at once; one that is larger comes alone."""
    batch: list[Document] = []
    chars = 0
    for document in documents:
        if batch and (len(batch) == MOST_DOCUMENTS or chars + len(document.text) > MOST_CHARS):
            yield batch
            batch, chars = [], 0
        batch.append(document)
        chars += len(document.text)
    if batch:
        yield batch


def storable(document: Document) -> Document:
    """The document with text that SQLite can hold. Raises UsageError if it has no source."""
    if not document.source:
        raise UsageError("a document needs a source", hint="Give the name it is to be cited by.")
    return replace(
        document,
        source=encodable(document.source),
        title=encodable(document.title),
        text=encodable(document.text),
        metadata=tuple((encodable(key), encodable(value)) for key, value in document.metadata),
    )


def encodable(text: str) -> str:
    """The text without lone surrogates, which UTF-8 cannot hold; each becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def content_digest(document: Document) -> str:
    """What tells whether a document changed: a digest of all it holds."""
    metadata = [part for pair in document.metadata for part in pair]
    return digest("document", document.source, document.title, document.media_type, document.text, *metadata)
