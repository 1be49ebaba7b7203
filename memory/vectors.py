"""A collection's vectors in FAISS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class VectorIndex:
    """Exact inner-product search over vectors with ids. In memory only: SQLite holds the vectors.

    It is built from the tables when a collection is first searched (100,000 vectors take a second or
    two), so there is no index file that a crash could leave behind the tables.
    """

    def __init__(self, dimension: int) -> None:
        import faiss

        # Measured with 25,000 passages on two cores: a search by itself costs 4.9 ms of CPU with one thread and
        # 13 with two, which mostly wait for each other; in batches 5.1 either way. Many requests use many cores.
        faiss.omp_set_num_threads(1)
        self.dimension = dimension
        self._index: Any = faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, ids: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Add vectors, float32 of shape (len(ids), dimension)."""
        import numpy as np

        if len(ids):
            self._index.add_with_ids(np.ascontiguousarray(vectors), np.asarray(ids, dtype=np.int64))

    def remove(self, ids: Sequence[int]) -> None:
        """Remove vectors; ids that are not there are passed over."""
        import numpy as np

        if len(ids):
            self._index.remove_ids(np.asarray(ids, dtype=np.int64))

    def search(self, queries: NDArray[np.float32], k: int) -> list[list[tuple[int, float]]]:
        """For each query the k nearest as (id, inner product), best first; only those above 0."""
        if not len(self):
            return [[] for _ in range(len(queries))]
        scores, ids = self._index.search(queries, min(k, len(self)))
        return [
            [
                (int(id_), float(score))
                for id_, score in zip(row, values, strict=True)
                if id_ >= 0 and score > 0
            ]
            for row, values in zip(ids, scores, strict=True)
        ]
