"""The form of a journal: made where there is none, brought up to date where it is old, refused where it is newer.

One of several processes that come at once does it, and the others find it done. It is one transaction:
whatever dies in between leaves the old form whole.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import sqlalchemy as sa

from callsheet.core.errors import JournalError
from callsheet.runtime.schema import SCHEMA_VERSION, meta, metadata

_LOCK = 0x63616C6C  # any number that nobody else takes


def bring_up_to_date(db: sa.Connection, url: str) -> None:
    """Make the tables, or migrate those of an older version. Raises JournalError for a version unknown here."""
    with db.begin():
        found = _version(db)
    if found == str(SCHEMA_VERSION):
        return
    if found is None or found in _MIGRATIONS:
        with db.begin():
            found = _make_or_migrate(db)
    if found != str(SCHEMA_VERSION):
        raise JournalError(
            f"the journal {url} has schema version {found}; this callsheet reads versions 1 to {SCHEMA_VERSION}",
            hint="A newer callsheet wrote it: upgrade this one, or point CALLSHEET_HOME at another folder.",
        )


def _version(db: sa.Connection) -> str | None:
    if not sa.inspect(db).has_table(meta.name):
        return None
    return db.scalar(sa.select(meta.c.value).where(meta.c.key == "schema_version"))


def _make_or_migrate(db: sa.Connection) -> str:
    sqlite = db.dialect.name == "sqlite"
    db.exec_driver_sql("BEGIN IMMEDIATE" if sqlite else f"SELECT pg_advisory_xact_lock({_LOCK})")
    found = _version(db)
    if found is None:
        metadata.create_all(db)
        db.execute(meta.insert(), {"key": "schema_version", "value": str(SCHEMA_VERSION)})
        return str(SCHEMA_VERSION)
    if found in _MIGRATIONS and sqlite:
        _keep_copy(db, found)
    while found in _MIGRATIONS:
        found, statements = _MIGRATIONS[found]
        for statement in statements:
            db.exec_driver_sql(statement)
        db.execute(meta.update().where(meta.c.key == "schema_version").values(value=found))
    return found


# Migrations are spelled out, and stay as they are when the schema goes on.

_1_TO_2 = (
    "ALTER TABLE runs ADD COLUMN owner VARCHAR DEFAULT '' NOT NULL",
    "ALTER TABLE runs ADD COLUMN since FLOAT DEFAULT 0 NOT NULL",
    "ALTER TABLE runs ADD COLUMN spent_s FLOAT DEFAULT 0 NOT NULL",
    "ALTER TABLE runs ADD COLUMN source TEXT DEFAULT '' NOT NULL",
    "UPDATE runs SET since = started",
    "DROP INDEX IF EXISTS runs_by_status",  # journals from before the first release had another of that name
    "CREATE INDEX runs_by_status ON runs (status, owner)",
    "CREATE TABLE orders (run_id VARCHAR NOT NULL PRIMARY KEY, reason TEXT NOT NULL, at FLOAT NOT NULL)",
    "CREATE INDEX envelopes_body_blobs ON envelopes (body) WHERE substr(body, 1, 6) = '@blob:'",
    "CREATE INDEX steps_input_blobs ON steps (input) WHERE substr(input, 1, 6) = '@blob:'",
    "CREATE INDEX steps_result_blobs ON steps (result) WHERE substr(result, 1, 6) = '@blob:'",
    "CREATE INDEX runs_input_blobs ON runs (input) WHERE substr(input, 1, 6) = '@blob:'",
    "CREATE INDEX runs_output_blobs ON runs (output) WHERE substr(output, 1, 6) = '@blob:'",
)

_MIGRATIONS: dict[str, tuple[str, tuple[str, ...]]] = {"1": ("2", _1_TO_2)}
"""By the version that each begins with: the version that it leads to, and what is to be done."""


def _keep_copy(db: sa.Connection, version: str) -> None:
    """Keep the file as it is beside it. The write lock is ours: nobody can change it meanwhile."""
    database = db.engine.url.database
    if not database or database == ":memory:":
        return
    kept = Path(f"{database}.v{version}-backup")
    made = Path(f"{kept}.{os.getpid()}")
    try:
        with (
            contextlib.closing(sqlite3.connect(database, timeout=30)) as source,
            contextlib.closing(sqlite3.connect(made)) as target,
        ):
            source.backup(target)
        made.replace(kept)
    except (OSError, sqlite3.Error) as error:
        with contextlib.suppress(OSError):
            made.unlink(missing_ok=True)
        raise JournalError(
            f"the journal {database} is of version {version} and cannot be copied to {kept.name} "
            f"before it is brought up to date: {error}",
            hint="The folder must be writable and have room for another copy of the journal.",
        ) from error
