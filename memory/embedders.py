"""Embedders: texts to vectors whose inner product says how alike they are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from callsheet.core.errors import ServiceError, SettingsError, unknown_name
from callsheet.tracing import SpanPlace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Embed = Callable[[list[str], tuple[SpanPlace, ...]], Awaitable[list[list[float]]]]
"""Embeds texts elsewhere: the model gateway does, because it alone has the keys.

It is also told where the span of each text belongs, or nothing where the texts are of no run.
"""

BATCH = 128
"""How many texts a remote embedder is sent at once."""


class Embedder(Protocol):
    """Turns texts into vectors. The same text always gets the same vector."""

    @property
    def name(self) -> str:
        """The embedder's name; vectors of different names are never compared."""

    @property
    def fusion_weight(self) -> float:
        """What its similarities count beside BM25 scaled to 1; see `ranking.fuse`."""

    async def embed(self, texts: Sequence[str], places: Sequence[SpanPlace] = ()) -> NDArray[np.float32]:
        """Vectors of length 1 (0 for a text that says nothing): float32, shape (len(texts), dimension).

        `places`, one for each text or none at all, say where the span of a model's call belongs.
        """


class LexicalEmbedder:
    """The built-in embedder: hashed word stems and character n-grams. Needs no model and no network.

    It knows words, not meanings: it finds inflected, compound and misspelt forms that BM25 misses.
    """

    # Measured on three test collections; see tests/quality/test_retrieval.py.
    fusion_weight = 1.0

    def __init__(self, dimension: int = 1024) -> None:
        self.dimension = dimension
        self.name = f"lexical-1-{dimension}"

    async def embed(self, texts: Sequence[str], places: Sequence[SpanPlace] = ()) -> NDArray[np.float32]:
        """Vectors of shape (len(texts), dimension), float32, of length 1 or 0; no model, so no span."""
        from callsheet.memory.lexical import lexical_vectors

        if len(texts) > 4:
            return await asyncio.to_thread(lexical_vectors, texts, self.dimension)
        return lexical_vectors(texts, self.dimension)


class RemoteEmbedder:
    """An embedding model behind a callable (the gateway's), like `openai/text-embedding-3-small`."""

    # A model's similarities lie closer together than lexical ones; by their usual spread, not measured.
    fusion_weight = 2.0

    def __init__(self, name: str, call: Embed) -> None:
        self.name = name
        self._call = call

    async def embed(self, texts: Sequence[str], places: Sequence[SpanPlace] = ()) -> NDArray[np.float32]:
        """Vectors of shape (len(texts), the model's dimension), float32, of length 1.

        Raises ServiceError if the model returns something else than one vector a text.
        """
        import numpy as np

        rows: list[list[float]] = []
        for start in range(0, len(texts), BATCH):
            # Providers refuse empty texts.
            batch = [text if text.strip() else "-" for text in texts[start : start + BATCH]]
            rows.extend(await self._call(batch, tuple(places[start : start + BATCH])))
        try:
            vectors = np.asarray(rows, dtype=np.float32).reshape(len(texts), -1)
        except ValueError:
            vectors = np.zeros((0, 0), dtype=np.float32)
        if len(rows) != len(texts) or vectors.shape[1] == 0 or not np.isfinite(vectors).all():
            raise ServiceError(
                f"the embedder {self.name!r} did not return one vector for each of {len(texts)} texts",
                service="memory",
                hint="Check that the model named is an embedding model.",
            )
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def make_embedder(name: str, call: Embed | None = None) -> Embedder:
    """The embedder of a name: `lexical`, or `provider/model`, which needs the gateway's `call`.

    Raises UnknownNameError, or SettingsError if there is no `call`.
    """
    if name == "lexical":
        return LexicalEmbedder()
    if "/" not in name:
        raise unknown_name(
            "embedder", name, ["lexical"], hint="Others are named like openai/text-embedding-3-small."
        )
    if call is None:
        raise SettingsError(
            f"the embedder {name!r} needs the model gateway, and there is none here",
            hint="Use the embedder `lexical`, or start the memory with a gateway.",
        )
    return RemoteEmbedder(name, call)
