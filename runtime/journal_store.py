"""What the journal stands on: its database, what goes wrong with one, and what of a record it can hold."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from callsheet.core.errors import JournalError
from callsheet.core.events import EndRun
from callsheet.core.frozen import names_of
from callsheet.core.records import Envelope, RunRecord, RunResumed, RunWaits, RunWoken, Step

Record = Envelope | Step | RunRecord | EndRun | RunResumed | RunWaits | RunWoken
R = TypeVar("R", bound=Record)


def connect(url: str | Path, synchronous: str) -> sa.Engine:
    """The engine of the database at that path or URL. Raises JournalError; connects to nothing yet."""
    text = str(url)
    if text.startswith("postgresql://"):
        text = text.replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        at = sa.make_url(text) if "://" in text else _file_url(Path(text))
        engine = sa.create_engine(at, poolclass=sa.StaticPool, **_driver_options(at))
    except ModuleNotFoundError as error:
        hint = "Install it beside callsheet"
        if error.name == "psycopg":
            hint = "PostgreSQL needs a driver: install callsheet[postgresql], or psycopg[binary] beside it"
        raise JournalError(f"the journal needs the package {error.name}", hint=hint + ".") from error
    except (sa.exc.SQLAlchemyError, ValueError) as error:
        raise JournalError(
            f"the journal's address cannot be read: {error}",
            hint="Give a path, or a URL such as postgresql://user:password@host/name.",
        ) from error
    if engine.dialect.name not in ("sqlite", "postgresql"):
        raise JournalError(
            f"the journal cannot be kept in {engine.dialect.name}", hint="Use SQLite or PostgreSQL."
        )
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", lambda c, _: _set_pragmas(c, synchronous))
    return engine


def shown(url: sa.URL) -> str:
    """The address as it may be shown."""
    return url.render_as_string(hide_password=True)


FAULTS = (sa.exc.SQLAlchemyError, sqlite3.Error, UnicodeError)
"""What a database raises: SQLite's driver cannot even decode some of its own messages about a damaged file."""

_DAMAGED = ("malformed", "not a database", "could not decode", "utf-8' codec")


def broken(url: str, error: Exception) -> JournalError:
    """The error of a journal that cannot be used."""
    cause = str(getattr(error, "orig", None) or error)
    if any(sign in cause.lower() for sign in _DAMAGED):
        return damaged(url, cause)
    hint = "Check that its folder exists, is writable and has free space (`callsheet doctor` looks)."
    if "is locked" in cause:
        hint = "Another process has been writing to it all the while: try again when it is done."
    elif url.startswith("postgresql"):
        hint = "Check that the server runs, lets you in and has free space (`callsheet doctor` looks)."
    return JournalError(f"the journal {url} cannot be used: {_one_line(cause)}", hint=hint)


def damaged(url: str, cause: object) -> JournalError:
    """The error of a journal that holds what no callsheet wrote."""
    return JournalError(
        f"the journal {url} is damaged, or is no journal: {_one_line(str(cause))}",
        hint="Check that it is the file you mean. Put a copy of it back, or move it away, with its -wal and -shm "
        "files: then a new one is begun.",
    )


def _one_line(cause: str) -> str:
    shown_ = "".join(sign if sign.isprintable() else " " for sign in cause)
    return shown_ if len(shown_) <= 300 else f"{shown_[:300]}…"


def columns(record: Any) -> dict[str, Any]:
    """The values of a record by name."""
    return {name: getattr(record, name) for name in names_of(type(record))}


def escaped(record: R) -> R:
    """The record with the characters that databases do not take written as JSON writes them."""
    changed: dict[str, Any] = {
        name: value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\u0000")
        for name, value in columns(record).items()
        if isinstance(value, str)
    }
    return replace(record, **changed)


def _file_url(path: Path) -> sa.URL:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JournalError(
            f"the journal's folder {path.parent} cannot be made: {error.strerror}",
            hint="Point CALLSHEET_HOME at a folder that you may write to.",
        ) from error
    return sa.URL.create("sqlite", database=str(path))


def _driver_options(url: sa.URL) -> dict[str, Any]:
    # The journal lives in one writer thread, but is opened and closed from others.
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"check_same_thread": False, "timeout": 30}}
    return {}


def _set_pragmas(connection: Any, synchronous: str) -> None:
    try:
        for pragma in (
            "auto_vacuum=INCREMENTAL",  # before the first page is written, so that a file can shrink again
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            "wal_autocheckpoint=100000",  # the last resort: see callsheet.runtime.checkpoints
            "cache_size=-16000",
        ):
            connection.execute(f"PRAGMA {pragma}").close()
    except BaseException:
        connection.close()
        raise
