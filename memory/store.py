"""The store: documents in SQLite, their vectors in FAISS, and the search that joins both with BM25."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from callsheet.core.errors import ModelRequestError, ServiceError, SettingsError, UsageError
from callsheet.memory.database import Database, Stored
from callsheet.memory.documents import Document
from callsheet.memory.embedders import Embedder
from callsheet.memory.passages import cut
from callsheet.memory.ranking import fuse, match_expression
from callsheet.memory.records import Added, Hit, MemoryStats
from callsheet.memory.stored import batches, content_digest, encodable, storable
from callsheet.memory.vectors import VectorIndex
from callsheet.tracing import SpanPlace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

P = ParamSpec("P")
T = TypeVar("T")

MAX_K = 100
# How deep each ranking is read before they are joined.
_DEPTH = 100
_NOWHERE = SpanPlace()


@dataclass(slots=True)
class _Question:
    query: str
    k: int
    collection: str
    answer: asyncio.Future[list[Hit]]
    place: SpanPlace


class MemoryStore:
    """Documents and their passages under `path` (a folder, made if it is missing).

    Every add is on disk before it returns, document by document: a SIGKILL in the middle of one keeps the
    documents already written, and adding again writes the rest. Several processes may open one store; each
    sees what the others wrote. Use one instance from one event loop.

    Raises ServiceError if the store cannot be opened, and SettingsError if it was written with another
    embedder, unless `reembed` is set: then all passages are embedded anew on first use, also where the
    embedder has the same name (its vectors may have got another length).
    """

    def __init__(self, path: Path, embedder: Embedder, *, reembed: bool = False) -> None:
        self._file = path / "memory.sqlite"
        self._embedder = embedder
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ServiceError(
                f"the memory's folder {path} cannot be made: {error.strerror}",
                service="memory", hint="Give another folder, or make this one writable.",
            ) from error  # fmt: skip
        self._db = Database(self._file)
        known = self._db.meta("embedder")
        self._stale = bool(known) and (reembed or known != embedder.name)
        if self._stale and not reembed:
            self._db.close()
            raise SettingsError(
                f"the memory at {path} was written with the embedder {known!r}, not {embedder.name!r}",
                hint=f"Use {known!r}, another folder, or embed everything anew (reembed).",
            )
        self._indexes: dict[int, VectorIndex] = {}
        self._seen = self._db.version()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="callsheet-memory")
        self._closed = False
        self._writing = asyncio.Lock()
        self._questions: list[_Question] = []
        self._answering: asyncio.Task[None] | None = None

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """All work on tables and indexes is done in one thread, one piece after another."""
        if self._closed:
            raise ServiceError("the memory is closed", service="memory", hint="Open it again.")

        def work() -> T:
            try:
                return function(*args, **kwargs)
            except sqlite3.Error as error:
                raise ServiceError(
                    f"the memory at {self._file} cannot be read or written: {error}",
                    service="memory",
                    hint="Check the free space on the disk, and that no other process holds the file.",
                ) from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def add(
        self, documents: Iterable[Document], collection: str = "default", *, exactly: bool = False
    ) -> Added:
        """Add documents; one whose source is known replaces it, and costs nothing if it did not change.

        With `exactly` the collection holds just these documents afterwards.
        """
        if not collection or len(collection) > 200:
            raise UsageError("a collection's name has 1 to 200 characters", hint=f"Got {collection!r:.80}.")
        given = {document.source: document for document in (storable(document) for document in documents)}
        async with self._writing:
            await self._ready()
            known = await self._run(self._db.digests, collection)
            digests = {source: content_digest(document) for source, document in given.items()}
            changed = [given[source] for source in given if known.get(source) != digests[source]]
            written = 0
            for batch in batches(changed):
                stored = await self._prepare(batch, collection)
                written += await self._run(self._write, collection, stored, ())
            gone = [source for source in known if source not in given] if exactly else []
            if gone:
                await self._run(self._write, collection, [], gone)
        return Added(
            documents=len(changed), passages=written, unchanged=len(given) - len(changed), removed=len(gone)
        )

    async def sync(self, collection: str, documents: Iterable[Document]) -> Added:
        """Make the collection hold exactly these documents."""
        return await self.add(documents, collection, exactly=True)

    async def search(
        self, query: str, k: int = 5, collection: str = "default", place: SpanPlace = _NOWHERE
    ) -> list[Hit]:
        """The k passages (1 to 100) that fit the query best, best first; none if nothing is like it.

        `place` is where the span of an embedding model's call belongs. Searches asked while one is under way
        are answered together in the next batch.
        """
        loop = asyncio.get_running_loop()
        question = _Question(encodable(query), max(1, min(k, MAX_K)), collection, loop.create_future(), place)
        self._questions.append(question)
        if self._answering is None or self._answering.done():
            self._answering = loop.create_task(self._answer_all())
        return await question.answer

    async def stats(self) -> MemoryStats:
        """What the memory holds."""
        counts = await self._run(self._db.counts)
        files = (self._file, self._file.with_name(self._file.name + "-wal"))
        return MemoryStats(
            collections=tuple((name, *numbers) for name, numbers in counts.items()),
            embedder=self._embedder.name,
            bytes_on_disk=sum(file.stat().st_size for file in files if file.exists()),
        )

    async def close(self) -> None:
        """Wait for what is under way, and close the files; a second time does nothing."""
        # Before the lock is taken: who searches may want it, to embed everything anew.
        while self._answering is not None and not self._answering.done():
            await self._answering
        async with self._writing:
            if self._closed:
                return
            await self._run(self._db.close)
            self._closed = True
            self._thread.shutdown(wait=True)

    async def _answer_all(self) -> None:
        while self._questions:
            batch, self._questions = self._questions, []
            await self._answer(batch)

    async def _answer(self, batch: list[_Question]) -> None:
        try:
            if self._stale:
                async with self._writing:
                    await self._ready()
            places = [question.place for question in batch]
            vectors = await self._embedder.embed([question.query for question in batch], places)
            answers = await self._run(self._search, batch, vectors)
        except Exception as error:
            if isinstance(error, ModelRequestError) and len(batch) > 1:
                # One query is refused; the others, maybe of other runs, are not to blame: each by itself.
                for question in batch:
                    await self._answer([question])
                return
            for question in batch:
                if not question.answer.done():
                    question.answer.set_exception(error)
            return
        for question, hits in zip(batch, answers, strict=True):
            if not question.answer.done():
                question.answer.set_result(hits)

    def _search(self, batch: list[_Question], vectors: NDArray[np.float32]) -> list[list[Hit]]:
        numbers = self._db.collections()
        answers: list[list[Hit]] = [[] for _ in batch]
        for collection in {question.collection for question in batch} & numbers.keys():
            number = numbers[collection]
            places = [i for i, question in enumerate(batch) if question.collection == collection]
            near = self._index(number, vectors.shape[1]).search(vectors[places], _DEPTH)
            for place, nearest in zip(places, near, strict=True):
                answers[place] = self._join(number, batch[place], nearest)
        return answers

    def _join(self, number: int, question: _Question, nearest: list[tuple[int, float]]) -> list[Hit]:
        expression = match_expression(question.query)
        worded = self._db.word_ranking(number, expression, _DEPTH) if expression else []
        best = fuse(worded, nearest, self._embedder.fusion_weight, _DEPTH)[: question.k]
        found = self._db.passages([row for row, _ in best])
        return [
            Hit(
                id=found[row].id, text=found[row].text, source=found[row].source, title=found[row].title,
                cite=found[row].cite, score=score, metadata=found[row].metadata,
            )
            for row, score in best
            if row in found
        ]  # fmt: skip

    def _index(self, number: int, dimension: int) -> VectorIndex:
        """The collection's index, built from the tables if it is not there or another process wrote."""
        import numpy as np

        version = self._db.version()
        if version != self._seen:
            self._db.check_embedder(self._embedder.name)
            self._indexes.clear()
            self._seen = version
        index = self._indexes.get(number)
        if index is None:
            self._db.check_dimension(self._embedder.name, dimension)
            ids, data = self._db.all_vectors(number)
            index = VectorIndex(dimension)
            if ids:
                index.add(ids, np.frombuffer(data, dtype=np.float32).reshape(len(ids), dimension))
            self._indexes[number] = index
        return index

    async def _prepare(self, documents: list[Document], collection: str) -> list[Stored]:
        """Cut and embed; passages whose text the store already has under that source keep their vector."""
        import numpy as np

        cuts = await asyncio.to_thread(lambda: [cut(document, collection) for document in documents])
        kept = await self._run(
            lambda: [self._db.vectors_of(collection, document.source) for document in documents]
        )
        texts = [
            f"{passage.title}\n{passage.text}"
            for passages, old in zip(cuts, kept, strict=True)
            for passage in passages
            if (passage.title, passage.text) not in old
        ]
        embedded = await self._embedder.embed(texts) if texts else np.zeros((0, 0), dtype=np.float32)
        if texts:
            await self._run(self._db.check_dimension, self._embedder.name, embedded.shape[1])
        fresh = iter(embedded)
        stored: list[Stored] = []
        for document, passages, old in zip(documents, cuts, kept, strict=True):
            rows: list[Any] = []
            for passage in passages:
                known = old.get((passage.title, passage.text))
                rows.append(next(fresh) if known is None else np.frombuffer(known, dtype=np.float32))
            vectors = np.stack(rows) if rows else np.zeros((0, 0), dtype=np.float32)
            stored.append(
                Stored(document, content_digest(document), passages, vectors.astype(np.float32, copy=False))
            )
        return stored

    def _write(self, collection: str, stored: Sequence[Stored], remove: Sequence[str]) -> int:
        import numpy as np

        number, added, removed = self._db.write(collection, stored, remove, embedder=self._embedder.name)
        index = self._indexes.get(number)
        if index is not None:
            index.remove(removed)
            index.add(added, np.concatenate([s.vectors for s in stored if len(s.vectors)])) if added else None
        return len(added)

    async def _ready(self) -> None:
        """Embed all passages anew if they were written with another embedder."""
        if not self._stale:
            return
        import numpy as np

        passages = await self._run(self._db.all_texts)
        texts = [f"{title}\n{text}" for _, title, text in passages]
        vectors = await self._embedder.embed(texts) if texts else ()
        rows = [
            (np.ascontiguousarray(v).tobytes(), row) for v, (row, _, _) in zip(vectors, passages, strict=True)
        ]
        await self._run(self._db.replace_vectors, rows, self._embedder.name)
        self._indexes.clear()
        self._stale = False
