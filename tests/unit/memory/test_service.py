"""The memory as a service: requests, replies and the span of a search."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from callsheet import tracing
from callsheet.core.errors import UsageError
from callsheet.memory import AddDocuments, Added, Document, Memory, MemoryStats, Search, Stats

NOTE = Document(source="note.txt", title="Note", text="The harbour opens at six.", metadata=(("by", "Ada"),))


@pytest.fixture
async def memory(tmp_path: Path) -> AsyncIterator[Memory]:
    made = Memory(tmp_path)
    yield made
    await made.close()


async def test_each_request_has_its_reply(memory: Memory) -> None:
    added = await memory.handle(AddDocuments(documents=(NOTE,)))
    assert added == Added(documents=1, passages=1, unchanged=0, removed=0)
    hits = await memory.handle(Search(query="when does the harbour open?", k=3))
    assert isinstance(hits, tuple)
    assert [(hit.cite, hit.metadata) for hit in hits] == [("note.txt#L1-L1", (("by", "Ada"),))]
    stats = await memory.handle(Stats())
    assert isinstance(stats, MemoryStats)
    assert (stats.collections, stats.embedder) == ((("default", 1, 1),), "lexical-1-1024")
    assert stats.bytes_on_disk > 0
    removed = await memory.handle(AddDocuments(documents=(), exactly=True))
    assert isinstance(removed, Added)
    assert removed.removed == 1


async def test_an_unknown_request_is_refused_by_name(memory: Memory) -> None:
    with pytest.raises(UsageError, match="'int'"):
        await memory.handle(17)  # type: ignore[arg-type]


async def test_requests_and_replies_survive_pickle(memory: Memory) -> None:
    for request in (AddDocuments(documents=(NOTE,)), Search(query="harbour"), Stats()):
        assert pickle.loads(pickle.dumps(request)) == request
        reply = await memory.handle(request)
        assert pickle.loads(pickle.dumps(reply)) == reply


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    emitted: list[Any] = []
    monkeypatch.setattr(tracing, "is_enabled", lambda: True)
    monkeypatch.setattr(tracing, "emit", emitted.append)
    return emitted


async def test_a_search_of_a_run_leaves_a_span(memory: Memory, spans: list[Any]) -> None:
    await memory.handle(AddDocuments(documents=(NOTE,)))
    await memory.handle(Search(query="harbour"))
    assert spans == [], "a search outside of a run has no trace to be in"
    await memory.handle(Search(query="harbour", run_id="run-1", parent_span_id="ab", session_id="s"))
    (span,) = spans
    assert isinstance(span, tracing.RetrieverSpan)
    assert (span.run_id, span.parent_span_id, span.session_id, span.query) == ("run-1", "ab", "s", "harbour")
    assert span.started <= span.ended
    assert span.documents[0]["id"] == "note.txt#L1-L1"
    assert span.documents[0]["content"] == "The harbour opens at six."
    assert span.documents[0]["metadata"] == {"source": "note.txt", "title": "Note", "by": "Ada"}


async def test_an_embedding_model_is_told_which_search_each_text_is_of(
    tmp_path: Path, spans: list[Any]
) -> None:
    told: dict[str, Any] = {}

    async def embed(texts: list[str], places: tuple[tracing.SpanPlace, ...]) -> list[list[float]]:
        told.update(zip(texts, places or [None] * len(texts), strict=True))
        return [[1.0, 0.5] for _ in texts]

    memory = Memory(tmp_path, "openai/x", embed=embed)
    await memory.handle(AddDocuments(documents=(NOTE,)))
    await asyncio.gather(
        memory.handle(Search(query="one", run_id="run-1", parent_span_id="ab", session_id="s")),
        memory.handle(Search(query="two", run_id="run-2", parent_span_id="cd")),
        memory.handle(Search(query="nobody's")),
    )
    searches = {span.query: span for span in spans}
    for query, run in (("one", "run-1"), ("two", "run-2")):
        assert (told[query].run_id, told[query].parent_span_id) == (run, searches[query].span_id)
        assert searches[query].span_id
    assert told["one"].session_id == "s"
    assert told["nobody's"].run_id == ""
    (document,) = [text for text in told if "harbour opens" in text]
    assert told[document] is None, "documents are added outside of any run"
    await memory.close()


async def test_a_failed_search_leaves_a_span_with_its_error(tmp_path: Path, spans: list[Any]) -> None:
    async def broken(_texts: list[str], _places: object) -> list[list[float]]:
        raise OSError("away")

    memory = Memory(tmp_path, "openai/x", embed=broken)
    with pytest.raises(OSError, match="away"):
        await memory.handle(Search(query="harbour", run_id="run-1"))
    assert spans[0].error == "away"
    await memory.close()
