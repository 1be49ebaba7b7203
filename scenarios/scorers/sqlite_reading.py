"""Running a stranger's query on an SQLite file: it can read that file, for a while, and do nothing else."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_READING = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_BANNED_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer"})
_LIMITS = {
    # Also of what is made on the way: searching a long text for a long one cannot be interrupted.
    sqlite3.SQLITE_LIMIT_LENGTH: 200_000,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 200,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
    # A pattern with many % over a long text runs on without being interrupted.
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 200,
}
_CHECKED_EVERY = 50
"""Steps of SQLite's machine between two looks at the clock; one on the longest texts can take 0.2 s."""
_MAX_BYTES = 5_000_000
"""Of a result, roughly."""


class QueryError(Exception):
    """The query does not work, or was stopped; the text says why."""


@dataclass(frozen=True)
class Rows:
    """A result: the names of its columns, and its rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def read_rows(database: Path, query: str, *, time_limit_s: float, max_rows: int) -> Rows:
    """The rows that a query gives on an SQLite file.

    The file is opened for reading alone; an authorizer lets nothing through but SELECT (no PRAGMA, no ATTACH, no
    extension); a handler ends it after `time_limit_s`. Raises QueryError for what fails or is too much, and
    OSError for a file that cannot be opened.
    """
    if not database.is_file():
        raise FileNotFoundError(f"{database} is not there")
    deadline = time.monotonic() + time_limit_s
    with contextlib.closing(
        sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)
    ) as connection:
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        connection.set_authorizer(_authorize)
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _CHECKED_EVERY)
        try:
            cursor = connection.execute(query)
            if cursor.description is None:
                raise QueryError("it is no SELECT")
            columns = tuple(str(entry[0]) for entry in cursor.description)
            return Rows(columns, _fetched(cursor, max_rows))
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
            if isinstance(error, sqlite3.OperationalError) and "interrupted" in str(error):
                raise QueryError(f"it took more than {time_limit_s:g} s") from error
            raise QueryError(str(error)) from error


def _fetched(cursor: sqlite3.Cursor, max_rows: int) -> tuple[tuple[Any, ...], ...]:
    rows: list[tuple[Any, ...]] = []
    size = 0
    for row in cursor:
        size += sum(len(value) if isinstance(value, (str, bytes)) else 8 for value in row)
        if len(rows) == max_rows:
            raise QueryError(f"it gives more than {max_rows} rows")
        if size > _MAX_BYTES:
            raise QueryError(f"it gives more than {_MAX_BYTES // 1_000_000} MB")
        rows.append(row)
    return tuple(rows)


def _authorize(action: int, one: str | None, two: str | None, *_: str | None) -> int:
    if action not in _READING:
        return sqlite3.SQLITE_DENY
    # For a function the second argument is its name.
    if action == sqlite3.SQLITE_FUNCTION and (two or "").lower() in _BANNED_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK
