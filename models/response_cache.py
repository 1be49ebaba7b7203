"""The response cache: a model's answer to the same request, asked before, for nothing.

Off unless it is given a file. It serves requests at temperature 0, and others that ask for it (`cache="on"`);
it keeps what is a whole answer: refusals, cut off ones and errors are asked for again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from callsheet.core.canonical import digest, from_json
from callsheet.core.errors import CallsheetError
from callsheet.models.exchange import request_digest, writable
from callsheet.models.messages import ModelReply, ModelRequest, Usage, reply_from_data, reply_to_data

log = logging.getLogger(__name__)

VERSION = 1
"""Version of the file's table. A file of another version is begun anew: it holds nothing that is missed."""

MAX_BYTES = 256 * 1024 * 1024
"""What the file may take; then the longest unused replies go."""

BUSY_S = 5.0
"""How long another process's writing is waited for, on the writer's own thread."""

_KEPT = frozenset({"end", "tool_calls", "stop_sequence"})

_TABLE = """
CREATE TABLE IF NOT EXISTS replies (
    key TEXT PRIMARY KEY, reply TEXT NOT NULL, bytes INTEGER NOT NULL, used_s REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS replies_used ON replies (used_s);
"""


class ResponseCache:
    """Replies by request, in an SQLite file that several processes may share.

    A reader waits for nobody (WAL), and a thread of its own writes. A file that is lost, broken or full costs
    nothing but the calls that it would have saved: that is logged, once. `scope` keeps apart what must not be
    shared, such as servers of different addresses. `max_bytes` bounds the file.
    """

    name = "cache"

    def __init__(self, path: Path, *, scope: str = "", max_bytes: int = MAX_BYTES) -> None:
        self.path, self._scope, self._max_bytes = path, scope, max_bytes
        self._reader: sqlite3.Connection | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="response-cache")
        self._connection: sqlite3.Connection | None = None  # the writer's, of its thread
        self._lock = threading.Lock()
        self._warned = False

    def find(self, request: ModelRequest) -> ModelReply | None:
        """The kept reply, which costs and uses nothing; None where there is none, or none is wanted."""
        if not wanted(request):
            return None
        try:
            if self._reader is None:
                if not self.path.exists():
                    return None
                self._reader = _open(self.path, 0.0)
            key = self._key(request)
            row = self._reader.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            reply = reply_from_data({**from_json(row[0]), "request_id": request.id})
        except sqlite3.OperationalError as error:  # busy, or only being made: asking the model is quicker
            log.debug("the response cache was not read: %s", error)
            return None
        except (sqlite3.Error, OSError, ValueError) as error:
            self._broken(error)
            return None
        self._submit("UPDATE replies SET used_s = ? WHERE key = ?", (time.time(), key))
        return replace(reply, usage=Usage(), cost_usd=0.0, attempts=1, source="cache")

    def keep(self, request: ModelRequest, answer: ModelReply | CallsheetError) -> None:
        """Keep a reply for the next time, soon: its writing is not waited for, and a crash may lose it."""
        if isinstance(answer, CallsheetError) or answer.stop not in _KEPT:
            return
        if answer.source != "model" or not wanted(request):
            return
        data = reply_to_data(answer)
        del data["request_id"]
        text = writable(data)
        size = len(text.encode())
        if size <= self._max_bytes // 10:
            row = (self._key(request), text, size, time.time())
            self._submit("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?)", row)

    async def close(self) -> None:
        """Write what is left and close the file."""
        await asyncio.get_running_loop().run_in_executor(self._writer, self._disconnect)
        self._writer.shutdown(wait=False)
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _key(self, request: ModelRequest) -> str:
        return digest(self._scope, request_digest(request))

    def _submit(self, statement: str, values: tuple[object, ...]) -> None:
        self._writer.submit(self._write, statement, values)

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            if self._connection is None:
                self._connection = _made(self.path)
            with self._connection:
                self._connection.execute(statement, values)
                self._shrink(self._connection)
        except (sqlite3.Error, OSError) as error:
            self._broken(error)

    def _shrink(self, connection: sqlite3.Connection) -> None:
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        total = (pages - free) * size
        if total <= self._max_bytes:
            return
        # A tenth more than is needed, so that this is not done for every reply.
        goal, gone = total - self._max_bytes * 9 // 10, []
        for key, taken in connection.execute("SELECT key, bytes FROM replies ORDER BY used_s"):
            gone.append((key,))
            goal -= taken
            if goal <= 0:
                break
        connection.executemany("DELETE FROM replies WHERE key = ?", gone)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _broken(self, error: Exception) -> None:
        with self._lock:
            warned, self._warned = self._warned, True
        if not warned:
            log.warning("the response cache %s cannot be used: %s", self.path, error)


def wanted(request: ModelRequest) -> bool:
    """Whether an earlier answer will do: where it is asked for, or at temperature 0 and not refused."""
    return request.cache == "on" or (request.cache == "auto" and request.temperature == 0)


def _made(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(
        os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    )  # what models say is its owner's alone
    connection = _open(path, BUSY_S)
    _to_wal(connection)
    connection.execute("PRAGMA synchronous = OFF")  # a lost answer is asked for again
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            connection.execute("DROP TABLE IF EXISTS replies")
            for statement in _TABLE.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
    return connection


def _to_wal(connection: sqlite3.Connection) -> None:
    # While another process does the same, SQLite says at once that the file is locked, whatever the timeout.
    give_up = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


def _open(path: Path, timeout_s: float) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=timeout_s, isolation_level="IMMEDIATE", check_same_thread=False)
