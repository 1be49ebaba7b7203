"""What the ledger keeps on disk: budgets by day, and the last minute's use; one small SQLite file.

Several gateways may share the file: each reservation is one transaction that looks and takes at once. All
that came up since the last transaction goes into the next one, on a thread of its own, so that neither the
loop nor a busy disk holds up the other. With WAL and synchronous=NORMAL nothing committed is lost when a
process dies; when the machine loses power, the last moments may be.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from callsheet.core.errors import ServiceError, SettingsError

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]

VERSION = 1
"""Version of the file's tables. 1: day_use, minute_use."""

BUSY_S = 10.0
"""How long another gateway's transaction is waited for."""

LAZY_S = 0.05
"""Writes that nobody waits for are at least this far apart."""

KEEP_DAYS = 40

_TABLES = """
CREATE TABLE IF NOT EXISTS day_use (
    key TEXT NOT NULL, day TEXT NOT NULL,
    spent_usd INTEGER NOT NULL DEFAULT 0, held_usd INTEGER NOT NULL DEFAULT 0,
    spent_tokens INTEGER NOT NULL DEFAULT 0, held_tokens INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (key, day)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS minute_use (
    key TEXT NOT NULL, subject TEXT NOT NULL, at_ms INTEGER NOT NULL, amount INTEGER NOT NULL,
    PRIMARY KEY (key, subject, at_ms)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayUse:
    """What was spent under a key on a day, and what is reserved; USD in billionths."""

    spent_usd: int = 0
    held_usd: int = 0
    spent_tokens: int = 0
    held_tokens: int = 0


class LedgerFile:
    """The file behind a ledger; `path` None keeps everything in memory, for as long as this object lives.

    `do` and `later` take functions of a connection, run in order inside transactions. A file that cannot be
    used fails each `do` with ServiceError: a budget that cannot be checked is not spent from.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._waiting: list[tuple[Work, asyncio.Future[Any] | None]] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._warned = False
        self._closed = False

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` returned, once it is committed with all that came before it. Raises ServiceError."""
        if self._closed:
            raise ServiceError("the ledger of limits is closed", service="model gateway")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, future))
        self._start()
        return await future

    def later(self, work: Work) -> None:
        """Do this with a coming transaction; nobody waits for it. A failure is logged. Nothing once it is closed."""
        if self._closed:
            return
        self._waiting.append((work, None))
        if self._timer is None and self._writing is None:
            # At once while all is quiet; a burst behind it goes together.
            self._start()

    async def close(self) -> None:
        """Write what is left and close the file."""
        while self._waiting or self._writing is not None:
            self._start()
            if self._writing is not None:
                await self._writing
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writer, self._disconnect)
        self._writer.shutdown(wait=False)

    def _start(self) -> None:
        if self._writing is None and self._waiting:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting and (self._timer is None or any(future for _, future in self._waiting)):
                batch, self._waiting = self._waiting, []
                if self._timer is None:
                    self._timer = loop.call_later(LAZY_S, self._quiet)
                await self._commit(batch)
        finally:
            self._writing = None

    def _quiet(self) -> None:
        self._timer = None
        self._start()

    async def _commit(self, batch: list[tuple[Work, asyncio.Future[Any] | None]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._writer, self._transaction, [work for work, _ in batch])
        except Exception as error:  # whoever waits has to know, whatever it is
            self._warn(error)
            for _, future in batch:
                if future is not None and not future.done():
                    future.set_exception(self._unusable(error))
            return
        for (_, future), result in zip(batch, results, strict=True):
            if future is not None and not future.done():
                future.set_result(result)

    def _transaction(self, works: list[Work]) -> list[Any]:
        connection = self._connection or self._connect()
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [work(connection) for work in works]
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # the first error is the one to tell
                connection.execute("ROLLBACK")
            raise
        return results

    def _connect(self) -> sqlite3.Connection:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # What was spent is nobody else's business; SQLite gives its other files the same mode.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        name = ":memory:" if self.path is None else str(self.path)
        connection = sqlite3.connect(name, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _warn(self, error: BaseException) -> None:
        if not self._warned:
            self._warned = True
            log.warning("the ledger of limits at %s cannot be written: %s", self.path, error)

    def _unusable(self, error: BaseException) -> ServiceError:
        if isinstance(error, SettingsError):
            return ServiceError(error.message, service="model gateway", hint=error.hint)
        return ServiceError(
            f"the ledger of limits at {self.path} cannot be used: {error}",
            service="model gateway",
            hint="Budgets by day are kept there, and no call is made that could overshoot one. Make the file "
            "writable; if it is damaged, delete it (what was spent today is then forgotten).",
        )


def take_day(
    connection: sqlite3.Connection,
    wanted: list[tuple[str, int | None, int | None]],
    day: str,
    usd: int,
    tokens: int,
) -> tuple[dict[str, DayUse], tuple[str, str] | None]:
    """Reserve for a call under each key, or under none: what is used now, and what is short, if anything is.

    `wanted` has, for each key, what it allows a day: USD (billionths) and tokens. Short is (key, limit).
    """
    found = {key: read_day(connection, key, day) for key, _, _ in wanted}
    for key, most_usd, most_tokens in wanted:
        use = found[key]
        if most_usd is not None and use.spent_usd + use.held_usd + usd > most_usd:
            return found, (key, "usd_per_day")
        if most_tokens is not None and use.spent_tokens + use.held_tokens + tokens > most_tokens:
            return found, (key, "tokens_per_day")
    for key in found:
        add_day(connection, key, day, held_usd=usd, held_tokens=tokens)
    return found, None


def read_day(connection: sqlite3.Connection, key: str, day: str) -> DayUse:
    """What is used under a key on a day."""
    row = connection.execute(
        "SELECT spent_usd, held_usd, spent_tokens, held_tokens FROM day_use WHERE key = ? AND day = ?",
        (key, day),
    ).fetchone()
    if row is None:
        return DayUse()
    return DayUse(spent_usd=row[0], held_usd=row[1], spent_tokens=row[2], held_tokens=row[3])


def add_day(
    connection: sqlite3.Connection,
    key: str,
    day: str,
    *,
    spent_usd: int = 0,
    held_usd: int = 0,
    spent_tokens: int = 0,
    held_tokens: int = 0,
) -> None:
    """Add to what is used under a key on a day (or take from it)."""
    connection.execute(
        "INSERT INTO day_use VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key, day) DO UPDATE SET "
        "spent_usd = spent_usd + excluded.spent_usd, held_usd = held_usd + excluded.held_usd, "
        "spent_tokens = spent_tokens + excluded.spent_tokens, held_tokens = held_tokens + excluded.held_tokens",
        (key, day, spent_usd, held_usd, spent_tokens, held_tokens),
    )


def add_minute(connection: sqlite3.Connection, uses: dict[tuple[str, str, int], int], since_ms: int) -> None:
    """Add to what was used, by (key, subject, Unix ms), and forget what is older than `since_ms`."""
    connection.executemany(
        "INSERT INTO minute_use VALUES (?, ?, ?, ?) ON CONFLICT (key, subject, at_ms) DO UPDATE SET "
        "amount = amount + excluded.amount",
        [(*place, amount) for place, amount in uses.items()],
    )
    connection.execute("DELETE FROM minute_use WHERE at_ms < ?", (since_ms,))


def read_minute(connection: sqlite3.Connection, since_ms: int) -> list[tuple[str, str, int, int]]:
    """What was used since then, the oldest first: key, subject, Unix ms, amount."""
    return connection.execute(
        "SELECT key, subject, at_ms, amount FROM minute_use WHERE at_ms >= ? ORDER BY at_ms", (since_ms,)
    ).fetchall()


def _prepare(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            # Two that make the file at the same time: SQLite does not wait for this one lock by itself.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("BEGIN IMMEDIATE")
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found not in (0, VERSION):
        raise SettingsError(
            f"the ledger of limits is of version {found}; this callsheet reads version {VERSION}",
            hint="A newer callsheet wrote it: update this one, or set another CALLSHEET_HOME.",
        )
    for statement in _TABLES.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("DELETE FROM day_use WHERE day < date('now', ?)", (f"-{KEEP_DAYS} days",))
    connection.execute("COMMIT")
