"""The memory's tables in SQLite: documents, passages with vectors, and a full-text index a collection."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from callsheet.core.errors import ServiceError
from callsheet.memory.documents import Document
from callsheet.memory.passages import Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA_VERSION = 1
"""1: the first."""

# A title says in few words what a text is about.
_TITLE_WEIGHT = 2.0

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE collections (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL REFERENCES collections (id),
    source TEXT NOT NULL,
    title TEXT NOT NULL,
    media_type TEXT NOT NULL,
    digest TEXT NOT NULL,
    UNIQUE (collection, source)
);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    document INTEGER NOT NULL REFERENCES documents (id),
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    locator TEXT NOT NULL,
    metadata TEXT NOT NULL,
    vector BLOB NOT NULL
);
CREATE INDEX passages_document ON passages (document);
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """One document ready to be written; `vectors` is float32 of shape (passages, dimension)."""

    document: Document
    digest: str
    passages: Sequence[Passage]
    vectors: NDArray[np.float32]


class Database:
    """The tables, for one thread at a time; every write is one transaction, and on disk when it returns.

    SQLite in WAL mode with full synchronisation: neither SIGKILL nor a power cut loses a finished write.
    """

    def __init__(self, file: Path) -> None:
        try:
            self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=30)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._create()
        except sqlite3.DatabaseError as error:
            raise ServiceError(
                f"the memory at {file} cannot be opened: {error}",
                service="memory",
                hint="If the file is damaged, move it away and add the documents again.",
            ) from error

    def _create(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == SCHEMA_VERSION:
            return
        if version:
            raise ServiceError(
                f"the memory was written in version {version}; this callsheet reads version {SCHEMA_VERSION}",
                service="memory",
                hint="Use the callsheet that wrote it, or move it away and add the documents again.",
            )
        with self._transaction():
            # Another process may have been first.
            if not self._db.execute("PRAGMA user_version").fetchone()[0]:
                for statement in _TABLES.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def close(self) -> None:
        """Close the file; what was written is on disk already."""
        self._db.close()

    def version(self) -> int:
        """A number that changes when another connection has written."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def meta(self, key: str) -> str:
        """A noted value, or ""."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else ""

    def collections(self) -> dict[str, int]:
        """Collections by name."""
        return dict(self._db.execute("SELECT name, id FROM collections ORDER BY name"))

    def counts(self) -> dict[str, tuple[int, int]]:
        """(documents, passages) of each collection that has any."""
        rows = self._db.execute(
            "SELECT c.name, count(DISTINCT d.id), count(p.id) FROM collections c JOIN documents d"
            " ON d.collection = c.id LEFT JOIN passages p ON p.document = d.id GROUP BY c.id ORDER BY c.name"
        )
        return {name: (documents, passages) for name, documents, passages in rows}

    def digests(self, collection: str) -> dict[str, str]:
        """Source to content digest of a collection's documents."""
        return dict(
            self._db.execute(
                "SELECT d.source, d.digest FROM documents d JOIN collections c ON c.id = d.collection"
                " WHERE c.name = ?",
                (collection,),
            )
        )

    def vectors_of(self, collection: str, source: str) -> dict[tuple[str, str], bytes]:
        """(title, text) to vector of a document's passages."""
        rows = self._db.execute(
            "SELECT p.title, p.text, p.vector FROM passages p JOIN documents d ON d.id = p.document"
            " JOIN collections c ON c.id = d.collection WHERE c.name = ? AND d.source = ?",
            (collection, source),
        )
        return {(title, text): vector for title, text, vector in rows}

    def write(
        self,
        collection: str,
        documents: Iterable[Stored],
        remove: Iterable[str] = (),
        *,
        embedder: str,
    ) -> tuple[int, list[int], list[int]]:
        """Replace documents and remove others, in one transaction; `embedder` made the vectors.

        Returns the collection's id, and the row ids of passages added (in order) and removed. Raises
        ServiceError if another process has written vectors of another embedder or length meanwhile.
        """
        added: list[int] = []
        removed: list[int] = []
        with self._transaction():
            self.check_embedder(embedder)
            number = self._collection(collection)
            for source in remove:
                removed += self._remove(number, source)
            for stored in documents:
                if len(stored.vectors):
                    self.check_dimension(embedder, stored.vectors.shape[1])
                removed += self._remove(number, stored.document.source)
                added += self._insert(number, stored)
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('embedder', ?)", (embedder,))
        return number, added, removed

    def check_embedder(self, name: str) -> None:
        """Raises ServiceError if the vectors are another embedder's."""
        known = self.meta("embedder")
        if known and known != name:
            raise ServiceError(
                f"another process has made the memory's vectors with {known!r}; this one uses {name!r}",
                service="memory", hint="Use one embedder for one memory, and restart this process.",
            )  # fmt: skip

    def check_dimension(self, embedder: str, dimension: int) -> None:
        """Raises ServiceError if the vectors have another length: a model may change behind its name."""
        row = self._db.execute("SELECT length(vector) / 4 FROM passages LIMIT 1").fetchone()
        if row and row[0] != dimension:
            raise ServiceError(
                f"the memory holds vectors of length {row[0]}; {embedder!r} now gives {dimension}",
                service="memory", hint="Use another folder, or embed everything anew (`reembed=True`).",
            )  # fmt: skip

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite has rolled back by itself when the disk is full
                self._db.execute("ROLLBACK")
            raise

    def _collection(self, name: str) -> int:
        row = self._db.execute("SELECT id FROM collections WHERE name = ?", (name,)).fetchone()
        if row:
            return int(row[0])
        number = self._db.execute("INSERT INTO collections (name) VALUES (?)", (name,)).lastrowid
        # An index each, so that the statistics of one collection do not sway another's ranking.
        self._db.execute(
            f"CREATE VIRTUAL TABLE words_{number} USING fts5 (title, text, content = 'passages',"
            " content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2')"
        )
        return int(number or 0)

    def _insert(self, number: int, stored: Stored) -> list[int]:
        document = stored.document
        document_id = self._db.execute(
            "INSERT INTO documents (collection, source, title, media_type, digest) VALUES (?, ?, ?, ?, ?)",
            (number, document.source, document.title, document.media_type, stored.digest),
        ).lastrowid
        rows: list[int] = []
        for passage, vector in zip(stored.passages, stored.vectors, strict=True):
            row = self._db.execute(
                "INSERT INTO passages (key, document, title, text, locator, metadata, vector)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    passage.id, document_id, passage.title, passage.text, passage.locator,
                    json.dumps(passage.metadata, ensure_ascii=False), vector.tobytes(),
                ),
            ).lastrowid  # fmt: skip
            self._db.execute(
                f"INSERT INTO words_{number} (rowid, title, text) VALUES (?, ?, ?)",  # noqa: S608 - an int
                (row, passage.title, passage.text),
            )
            rows.append(int(row or 0))
        return rows

    def _remove(self, number: int, source: str) -> list[int]:
        found = self._db.execute(
            "SELECT id FROM documents WHERE collection = ? AND source = ?", (number, source)
        ).fetchone()
        if not found:
            return []
        rows = self._db.execute("SELECT id, title, text FROM passages WHERE document = ?", found).fetchall()
        for row in rows:
            self._db.execute(
                f"INSERT INTO words_{number} (words_{number}, rowid, title, text)"  # noqa: S608 - an int
                " VALUES ('delete', ?, ?, ?)",
                row,
            )
        self._db.execute("DELETE FROM passages WHERE document = ?", found)
        self._db.execute("DELETE FROM documents WHERE id = ?", found)
        return [int(row[0]) for row in rows]

    def word_ranking(self, number: int, expression: str, limit: int) -> list[tuple[int, float]]:
        """(row id, BM25 score) of the passages an FTS5 expression finds, best first."""
        rows = self._db.execute(
            f"SELECT rowid, -bm25(words_{number}, {_TITLE_WEIGHT}, 1.0) AS score FROM words_{number}"  # noqa: S608
            f" WHERE words_{number} MATCH ? ORDER BY score DESC, rowid LIMIT ?",
            (expression, limit),
        )
        return [(int(row), float(score)) for row, score in rows]

    def all_vectors(self, number: int) -> tuple[list[int], bytes]:
        """Row ids and, joined, the vectors of a collection's passages."""
        ids: list[int] = []
        data = bytearray()
        for row, vector in self._db.execute(
            "SELECT p.id, p.vector FROM passages p JOIN documents d ON d.id = p.document"
            " WHERE d.collection = ? ORDER BY p.id",
            (number,),
        ):
            ids.append(row)
            data += vector
        return ids, bytes(data)

    def all_texts(self) -> list[tuple[int, str, str]]:
        """(row id, title, text) of every passage."""
        return self._db.execute("SELECT id, title, text FROM passages ORDER BY id").fetchall()

    def replace_vectors(self, rows: Sequence[tuple[bytes, int]], embedder: str) -> None:
        """Set the vectors of passages and note their embedder, in one transaction."""
        with self._transaction():
            self._db.executemany("UPDATE passages SET vector = ? WHERE id = ?", rows)
            self._db.execute("INSERT OR REPLACE INTO meta VALUES ('embedder', ?)", (embedder,))

    def passages(self, rows: Sequence[int]) -> dict[int, Passage]:
        """Passages by row id."""
        marks = ",".join("?" * len(rows))
        found = self._db.execute(
            "SELECT p.id, p.key, d.source, p.title, p.text, p.locator, p.metadata FROM passages p"  # noqa: S608
            f" JOIN documents d ON d.id = p.document WHERE p.id IN ({marks})",
            tuple(rows),
        )
        return {
            row: Passage(
                id=key, source=source, title=title, text=text, locator=locator,
                metadata=tuple((str(k), str(v)) for k, v in json.loads(metadata)),
            )
            for row, key, source, title, text, locator, metadata in found
        }  # fmt: skip
