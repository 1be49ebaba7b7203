"""The store keeps what it was given, finds it again, and forgives what is searched for."""

from __future__ import annotations

import asyncio
import json
import pickle
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from callsheet.core.errors import ModelRequestError, ServiceError, SettingsError, UsageError
from callsheet.memory import Document, LexicalEmbedder, MemoryStore
from callsheet.tracing import SpanPlace
from tests.data_sets import data_file


def doc(source: str, text: str, title: str = "") -> Document:
    return Document(source=source, title=title, text=text, media_type="text/markdown")


SHIPS = doc(
    "ships.md", "# Anchors\n\nAn anchor holds a ship.\n\n# Sails\n\nA sail drives a ship before the wind."
)
BREAD = doc("bread.md", "# Dough\n\nFlour, water, salt and yeast make dough.")


class Counting(LexicalEmbedder):
    """The built-in embedder, which notes what it was asked to embed."""

    def __init__(self, name: str = "", dimension: int = 256) -> None:
        super().__init__(dimension)
        self.name = name or self.name
        self.seen: list[str] = []
        self.calls = self.largest = 0

    async def embed(self, texts: Sequence[str], places: Sequence[SpanPlace] = ()) -> NDArray[np.float32]:
        self.seen += texts
        self.calls += 1
        self.largest = max(self.largest, sum(map(len, texts)))
        return await super().embed(texts)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MemoryStore]:
    made = MemoryStore(tmp_path / "memory", Counting())
    yield made
    await made.close()


async def _sources(store: MemoryStore, query: str, **options: object) -> list[str]:
    return [hit.source for hit in await store.search(query, **options)]  # type: ignore[arg-type]


async def test_what_was_added_is_found_with_its_citation(store: MemoryStore) -> None:
    added = await store.add([SHIPS, BREAD])
    assert (added.documents, added.passages, added.unchanged) == (2, 3, 0)
    best, *_ = await store.search("what drives a ship?")
    assert (best.source, best.cite, best.title) == ("ships.md", "ships.md#L5-L7", "Sails")
    assert best.text == "# Sails\n\nA sail drives a ship before the wind."
    assert pickle.loads(pickle.dumps(best)) == best


async def test_scores_fall_and_k_limits(store: MemoryStore) -> None:
    await store.add([SHIPS, BREAD])
    hits = await store.search("ship anchor sail dough", k=3)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert len(hits) == 3
    assert len(await store.search("ship anchor sail dough", k=2)) == 2
    assert len(await store.search("ship anchor sail dough", k=0)) == 1


async def test_misspelt_words_are_found_through_the_vectors(store: MemoryStore) -> None:
    await store.add([SHIPS, BREAD])
    assert (await _sources(store, "ancor"))[0] == "ships.md"


async def test_nothing_alike_finds_nothing(store: MemoryStore) -> None:
    assert await store.search("anything") == []
    await store.add([BREAD])
    assert await store.search("") == []
    assert await store.search("x", collection="none") == []


async def test_adding_again_changes_nothing_and_embeds_nothing(store: MemoryStore) -> None:
    await store.add([SHIPS, BREAD])
    before = await store.search("ship")
    embedder = store._embedder
    assert isinstance(embedder, Counting)
    embedder.seen.clear()
    again = await store.add([SHIPS, BREAD, BREAD])
    assert (again.documents, again.passages, again.unchanged) == (0, 0, 2)
    assert embedder.seen == []
    assert await store.search("ship") == before


async def test_a_changed_document_replaces_its_passages_and_keeps_unchanged_vectors(
    store: MemoryStore,
) -> None:
    await store.add([SHIPS, BREAD])
    embedder = store._embedder
    assert isinstance(embedder, Counting)
    embedder.seen.clear()
    changed = doc("ships.md", SHIPS.text.replace("An anchor holds a ship.", "A keel steadies a boat."))
    assert (await store.add([changed])).documents == 1
    assert len(embedder.seen) == 1
    assert "keel" in (await store.search("keel steadies"))[0].text
    assert not [hit for hit in await store.search("anchor holds", k=20) if "An anchor" in hit.text]
    assert (await store.stats()).collections == (("default", 2, 3),)


async def test_sync_makes_the_collection_hold_exactly_these(store: MemoryStore) -> None:
    await store.add([SHIPS, BREAD])
    await store.search("ship")
    done = await store.sync("default", [BREAD, doc("new.md", "Cheese ripens.")])
    assert (done.documents, done.unchanged, done.removed) == (1, 1, 1)
    assert set(await _sources(store, "ship dough cheese anchor", k=50)) == {"bread.md", "new.md"}
    assert (await store.sync("default", [])).removed == 2
    assert await store.search("dough") == []


@pytest.mark.parametrize("query", [SHIPS.text, "ancors saild shipp"], ids=["by words", "by vectors alone"])
async def test_what_was_removed_takes_no_place_among_the_hits(store: MemoryStore, query: str) -> None:
    await store.add([SHIPS, doc("boat.md", "A sailing boat at anchorage, with shipping.")])
    assert await _sources(store, query, k=1) == ["ships.md"]
    await store.sync("default", [doc("boat.md", "A sailing boat at anchorage, with shipping.")])
    assert await _sources(store, query, k=1) == ["boat.md"]


async def test_of_two_documents_with_one_source_the_later_is_kept_also_in_one_call(
    store: MemoryStore,
) -> None:
    older, newer = doc("a.md", "A barge carries coal."), doc("a.md", "A barge carries grain.")
    added = await store.add([older, newer], "one")
    assert (added.documents, added.unchanged) == (1, 0)
    await store.add([older], "two")
    for collection, text in (("one", newer.text), ("two", older.text)):
        assert [hit.text for hit in await store.search("barge", collection=collection)] == [text]


async def test_collections_are_separate(store: MemoryStore) -> None:
    await store.add([SHIPS], "one")
    await store.add([BREAD], "two")
    assert set(await _sources(store, "ship dough", collection="one")) == {"ships.md"}
    assert set(await _sources(store, "ship dough", collection="two")) == {"bread.md"}
    await store.sync("two", [])
    assert set(await _sources(store, "ship", collection="one")) == {"ships.md"}


async def test_all_is_there_after_opening_again(tmp_path: Path) -> None:
    first = MemoryStore(tmp_path, LexicalEmbedder())
    await first.add([SHIPS, BREAD])
    before = await first.search("ship dough", k=10)
    await first.close()
    second = MemoryStore(tmp_path, LexicalEmbedder())
    assert await second.search("ship dough", k=10) == before
    await second.close()


async def test_what_another_instance_writes_is_seen(tmp_path: Path) -> None:
    one, two = MemoryStore(tmp_path, LexicalEmbedder()), MemoryStore(tmp_path, LexicalEmbedder())
    await one.add([SHIPS])
    await one.search("ship")
    await two.add([BREAD])
    await two.sync("default", [BREAD])
    assert set(await _sources(one, "ship dough", k=10)) == {"bread.md"}
    assert await _sources(one, "doughnut") == ["bread.md"], "found through the vectors alone"
    await one.close()
    await two.close()


async def test_searches_asked_at_once_are_answered_in_batches_each_with_its_own(store: MemoryStore) -> None:
    documents = [doc(f"d{i}.md", f"Topic number{i} stands alone here.") for i in range(40)]
    await store.add(documents)
    embedder = store._embedder
    assert isinstance(embedder, Counting)
    embedder.calls = 0
    found = await asyncio.gather(*(store.search(f"number{i}", k=1) for i in range(40)))
    assert [hits[0].source for hits in found] == [f"d{i}.md" for i in range(40)]
    assert embedder.calls < 10


async def test_a_search_given_up_does_not_disturb_the_others(store: MemoryStore) -> None:
    await store.add([SHIPS, BREAD])
    given_up = asyncio.create_task(store.search("ship"))
    other = asyncio.create_task(store.search("dough"))
    await asyncio.sleep(0)
    given_up.cancel()
    assert (await other)[0].source == "bread.md"


async def test_a_failing_embedder_fails_the_search_and_not_the_store(tmp_path: Path) -> None:
    class Failing(LexicalEmbedder):
        broken = False

        async def embed(self, texts: Sequence[str], places: Sequence[SpanPlace] = ()) -> NDArray[np.float32]:
            if self.broken:
                raise ServiceError("the gateway is away")
            return await super().embed(texts)

    embedder = Failing()
    store = MemoryStore(tmp_path, embedder)
    await store.add([SHIPS])
    embedder.broken = True
    with pytest.raises(ServiceError, match="away"):
        await store.search("ship")
    with pytest.raises(ServiceError, match="away"):
        await store.add([BREAD])
    embedder.broken = False
    assert set(await _sources(store, "ship dough")) == {"ships.md"}
    await store.close()


async def test_another_embedder_is_refused_unless_everything_is_embedded_anew(tmp_path: Path) -> None:
    first = MemoryStore(tmp_path, Counting("one"))
    await first.add([SHIPS, BREAD])
    await first.close()
    with pytest.raises(SettingsError, match="written with the embedder 'one', not 'two'"):
        MemoryStore(tmp_path, Counting("two"))
    second = MemoryStore(tmp_path, Counting("two", 128), reembed=True)
    assert (await second.search("anchor"))[0].source == "ships.md"
    assert (await second.add([SHIPS, BREAD])).unchanged == 2
    await second.close()
    third = MemoryStore(tmp_path, Counting("two", 128))
    assert (await third.stats()).embedder == "two"
    await third.close()


async def test_two_embedders_never_mix_in_one_memory(tmp_path: Path) -> None:
    one, two = MemoryStore(tmp_path, Counting("one")), MemoryStore(tmp_path, Counting("two"))
    await one.add([SHIPS])
    for work in (two.add([BREAD]), two.search("ship")):
        with pytest.raises(ServiceError, match="vectors with 'one'; this one uses 'two'"):
            await work
    assert (await one.stats()).collections == (("default", 1, 2),)
    await one.close()
    await two.close()


async def test_a_failed_write_keeps_what_was_there_and_says_what_to_check(tmp_path: Path) -> None:
    store = MemoryStore(tmp_path, LexicalEmbedder())
    await store.add([SHIPS])
    store._db._db.execute("PRAGMA query_only = ON")
    with pytest.raises(ServiceError, match="cannot be read or written"):
        await store.sync("default", [BREAD])
    store._db._db.execute("PRAGMA query_only = OFF")
    assert set(await _sources(store, "ship dough", k=10)) == {"ships.md"}
    assert (await store.sync("default", [BREAD])).documents == 1
    await store.close()


async def test_a_closed_memory_says_so_and_closes_once(tmp_path: Path) -> None:
    store = MemoryStore(tmp_path, LexicalEmbedder())
    await store.add([SHIPS])
    await store.close()
    await store.close()
    for work in (store.search("ship"), store.add([BREAD]), store.stats()):
        with pytest.raises(ServiceError, match="closed"):
            await work


async def test_a_file_that_is_no_memory_and_an_unknown_version_are_refused(tmp_path: Path) -> None:
    (tmp_path / "memory.sqlite").write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(ServiceError, match="cannot be opened"):
        MemoryStore(tmp_path, LexicalEmbedder())
    (tmp_path / "memory.sqlite").unlink()
    with sqlite3.connect(tmp_path / "memory.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ServiceError, match="version 99"):
        MemoryStore(tmp_path, LexicalEmbedder())


async def test_nobody_else_on_the_machine_may_read_the_memory(tmp_path: Path) -> None:
    store = MemoryStore(tmp_path / "memory", LexicalEmbedder())
    await store.close()
    assert (tmp_path / "memory").stat().st_mode & 0o077 == 0


async def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    with pytest.raises(ServiceError, match="cannot be made"):
        MemoryStore(tmp_path / "file" / "memory", LexicalEmbedder())


async def test_a_document_without_a_source_and_a_collection_without_a_name_are_refused(
    store: MemoryStore,
) -> None:
    with pytest.raises(UsageError, match="source"):
        await store.add([doc("", "text")])
    with pytest.raises(UsageError, match="collection"):
        await store.add([BREAD], "")


@pytest.mark.parametrize(
    "query",
    [
        '"', '""', "a AND", "NOT", "ship OR", "NEAR(ship, 2)", "title:ship", "ship*", "^ship", "{a b}:c", "-ship",
        "'; DROP", "ship\0anchor", "\ud800", "(", "words_1 MATCH", "+ship", "a:b:c", "\\", "%", "x" * 100_000,
        "ship " * 5000,
    ],
)  # fmt: skip
async def test_a_query_is_words_and_never_syntax(store: MemoryStore, query: str) -> None:
    await store.add([SHIPS, BREAD])
    hits = await store.search(query)
    assert all(hit.source in ("ships.md", "bread.md") for hit in hits)


async def test_naughty_strings_are_kept_unchanged_and_searched_for(store: MemoryStore) -> None:
    lines = data_file("naughty_strings/strings.jsonl").read_text("utf-8").split("\n")
    texts = [json.loads(line)["text"] for line in lines if line]
    documents = [
        Document(source=f"{i} {text}", title=text, text=f"{text} kept") for i, text in enumerate(texts)
    ]
    await store.add(documents)
    await asyncio.gather(*(store.search(text) for text in texts))
    held = {passage.source: passage for passage in store._db.passages(range(1, len(texts) + 50)).values()}
    assert set(held) == {document.source for document in documents}
    assert (await store.add(documents)).unchanged == len(documents)


async def test_the_words_of_one_collection_do_not_sway_another(store: MemoryStore) -> None:
    await store.add([SHIPS, BREAD], "one")
    before = await store.search("ship dough", collection="one")
    await store.add([doc(f"{i}.md", "ship ship ship") for i in range(50)], "two")
    assert await store.search("ship dough", collection="one") == before


async def test_closing_waits_for_a_search_that_waits_for_embedding_anew(tmp_path: Path) -> None:
    first = MemoryStore(tmp_path, Counting("one"))
    await first.add([SHIPS])
    await first.close()
    second = MemoryStore(tmp_path, Counting("two"), reembed=True)
    search = asyncio.create_task(second.search("ship"))
    await asyncio.sleep(0)  # the search is asked, and not yet answered
    async with asyncio.timeout(20):
        await second.close()
    assert (await search)[0].source == "ships.md"


async def test_vectors_of_another_length_are_refused_before_they_are_stored(tmp_path: Path) -> None:
    store = MemoryStore(tmp_path, Counting("one", 64))
    await store.add([SHIPS])
    await store.close()
    changed = MemoryStore(tmp_path, Counting("one", 128))
    for work in (changed.add([BREAD]), changed.add([SHIPS, doc("ships.md", SHIPS.text + "\n\nMore.")])):
        with pytest.raises(ServiceError, match="vectors of length 64; 'one' now gives 128"):
            await work
    with pytest.raises(ServiceError, match="vectors of length 64; 'one' now gives 128"):
        await changed.search("ship")
    await changed.close()
    again = MemoryStore(tmp_path, Counting("one", 64))
    assert (await again.search("anchor"))[0].source == "ships.md"
    await again.close()
    anew = MemoryStore(tmp_path, Counting("one", 128), reembed=True)
    assert (await anew.search("anchor"))[0].source == "ships.md"
    assert (await anew.add([BREAD])).documents == 1
    await anew.close()


async def test_large_documents_are_written_a_few_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callsheet.memory.stored.MOST_CHARS", 10_000)
    embedder = Counting("one")
    store = MemoryStore(tmp_path, embedder)
    documents = [doc(f"{i}.txt", f"paragraph {i}\n\n" + "words of it " * 400) for i in range(10)]
    whole = sum(len(document.text) for document in documents)
    assert (await store.add(documents)).documents == 10
    assert embedder.largest < whole / 2
    await store.close()


async def test_a_query_that_its_embedder_refuses_fails_alone(tmp_path: Path) -> None:
    class Picky(LexicalEmbedder):
        async def embed(self, texts: Sequence[str], places: Sequence[SpanPlace] = ()) -> NDArray[np.float32]:
            if "bad" in texts:
                raise ModelRequestError("too long")
            return await super().embed(texts)

    store = MemoryStore(tmp_path, Picky())
    await store.add([SHIPS])
    good, bad, other = await asyncio.gather(
        store.search("ship"), store.search("bad"), store.search("anchor"), return_exceptions=True
    )
    assert isinstance(bad, ModelRequestError)
    assert not isinstance(good, BaseException)
    assert not isinstance(other, BaseException)
    assert (good[0].source, other[0].source) == ("ships.md", "ships.md")
    await store.close()
