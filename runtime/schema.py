"""The journal's tables, and the version of their form."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TextClause,
    text,
)

SCHEMA_VERSION = 2
"""1: runs, envelopes, steps, blobs.
2: who works on a run, for how long, and where its crew's definition lies; orders to runs; what refers to
a blob is found without reading everything. See callsheet.runtime.journal_migrations."""

BLOB_MARK = "@blob:"
"""What a text begins with that lies in `blobs`, before its digest; never the beginning of a JSON text."""

metadata = MetaData()

ROW_NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""Given by the database, so that several writers can share a journal; it orders what was kept."""

meta = Table(
    "callsheet_meta",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("crew", String, nullable=False),
    Column("status", String, nullable=False),
    Column("input", Text, nullable=False),
    Column("output", Text),
    Column("error", Text),
    Column("session_id", String, nullable=False),
    Column("limits", Text, nullable=False),
    Column("usage", Text, nullable=False),
    Column("launch", String, nullable=False),
    Column("options", Text, nullable=False),
    Column("started", Float, nullable=False),
    Column("ended", Float),
    Column("v", Integer, nullable=False),
    # With defaults, so that a callsheet which opened the journal before its migration can go on writing.
    Column("owner", String, nullable=False, server_default=text("''")),
    Column("since", Float, nullable=False, server_default=text("0")),
    Column("spent_s", Float, nullable=False, server_default=text("0")),
    Column("source", Text, nullable=False, server_default=text("''")),
    Index("runs_by_start", "started"),
    Index("runs_by_launch", "launch", "ended"),
    Index("runs_by_status", "status", "owner"),
)

envelopes = Table(
    "envelopes",
    metadata,
    Column("n", ROW_NUMBER, primary_key=True),
    Column("id", String, nullable=False),
    Column("run_id", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("sender", String, nullable=False),
    Column("receiver", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("cause", String, nullable=False),
    Column("reply_to", String, nullable=False),
    Column("step_key", String, nullable=False),
    Column("step_nth", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("v", Integer, nullable=False),
    # One index serves all reads, and makes keeping an envelope twice harmless.
    Index("envelopes_by_run", "run_id", "id", unique=True),
)

steps = Table(
    "steps",
    metadata,
    Column("n", ROW_NUMBER, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("turn_id", String, nullable=False),
    Column("key", String, nullable=False),
    Column("nth", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("state", String, nullable=False),
    Column("input", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("usage", Text),
    Column("started", Float, nullable=False),
    Column("ended", Float, nullable=False),
    Column("v", Integer, nullable=False),
    Index("steps_by_place", "run_id", "turn_id", "key", "nth", unique=True),
)

blobs = Table(
    "blobs",
    metadata,
    Column("digest", String, primary_key=True),
    Column("body", Text, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("at", Float, nullable=False),
)
"""What somebody at another terminal wants of a run that is being worked on: that it stops."""

REFERRING = (envelopes.c.body, steps.c.input, steps.c.result, runs.c.input, runs.c.output)
"""The columns whose texts may lie in `blobs`."""


def is_reference(column: Column[str]) -> TextClause:
    """The condition that a text lies in `blobs`, as the indexes of such texts have it."""
    return text(f"substr({column.name}, 1, {len(BLOB_MARK)}) = '{BLOB_MARK}'")


REFERENCES = tuple(
    Index(
        f"{column.table.name}_{column.name}_blobs",
        column,
        sqlite_where=is_reference(column),
        postgresql_where=is_reference(column),
    )
    for column in REFERRING
)
