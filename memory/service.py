"""The memory as a service: one request in, one reply out."""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from pathlib import Path

from callsheet import tracing
from callsheet.core.errors import UsageError
from callsheet.memory.documents import Document
from callsheet.memory.embedders import Embed, make_embedder
from callsheet.memory.records import Added, Hit, MemoryStats
from callsheet.memory.store import MemoryStore
from callsheet.tracing import SpanPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class AddDocuments:
    """Add documents to a collection; with `exactly` it holds just these afterwards. Reply: `Added`."""

    documents: tuple[Document, ...]
    collection: str = "default"
    exactly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Find the k passages that fit the query best. Reply: a tuple of `Hit`, best first.

    `run_id`, `parent_span_id` and `session_id` place the search's span; without a run there is none.
    """

    query: str
    k: int = 5
    collection: str = "default"
    run_id: str = ""
    parent_span_id: str = ""
    session_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What the memory holds. Reply: `MemoryStats`."""


MemoryRequest = AddDocuments | Search | Stats
MemoryReply = Added | tuple[Hit, ...] | MemoryStats


class Memory:
    """Documents shared by all agents, kept in a folder and found by hybrid search.

    What an add replied to is on disk: it survives SIGKILL. An add without a reply may have been done in
    part; sending it again is safe and does the rest. Searches change nothing. The work is done in threads,
    so any number of requests may be in flight.
    """

    def __init__(
        self,
        path: Path | str,
        embedder: str = "lexical",
        *,
        embed: Embed | None = None,
        reembed: bool = False,
    ) -> None:
        self._store = MemoryStore(Path(path), make_embedder(embedder, embed), reembed=reembed)

    def warm(self, again: bool) -> None:
        """Import what the first request would wait for, if one may wait already: many runs have none."""
        if not again:
            return
        for name in ("numpy", "faiss"):
            try:
                importlib.import_module(name)
            except ImportError:  # the first request says what is missing
                return

    async def handle(self, request: MemoryRequest) -> MemoryReply:
        """Do what a request asks. Raises ServiceError, SettingsError or UsageError."""
        match request:
            case AddDocuments(documents=documents, collection=collection, exactly=exactly):
                return await self._store.add(documents, collection, exactly=exactly)
            case Search():
                return await self._search(request)
            case Stats():
                return await self._store.stats()
            case _:
                raise UsageError(f"the memory knows no request {type(request).__name__!r}")

    async def close(self) -> None:
        """Finish what is under way and close the files."""
        await self._store.close()

    async def _search(self, request: Search) -> tuple[Hit, ...]:
        started, span_id = time.time(), tracing.new_span_id()
        place = SpanPlace(run_id=request.run_id, parent_span_id=span_id, session_id=request.session_id)
        hits: tuple[Hit, ...] = ()
        error: str | None = None
        try:
            hits = tuple(await self._store.search(request.query, request.k, request.collection, place))
        except BaseException as failure:  # a search that was cancelled shows as such
            error = str(failure) or type(failure).__name__
            raise
        finally:
            if request.run_id:
                self._trace(request, hits, error, started, span_id)
        return hits

    def _trace(
        self, request: Search, hits: tuple[Hit, ...], error: str | None, started: float, span_id: str
    ) -> None:
        if not tracing.is_enabled():
            return
        tracing.emit(
            tracing.RetrieverSpan(
                run_id=request.run_id, parent_span_id=request.parent_span_id, session_id=request.session_id,
                span_id=span_id, query=request.query, error=error, started=started, ended=time.time(),
                documents=tuple(
                    {
                        "id": hit.cite, "score": hit.score, "content": hit.text,
                        "metadata": {"source": hit.source, "title": hit.title, **dict(hit.metadata)},
                    }
                    for hit in hits
                ),
            )
        )  # fmt: skip
