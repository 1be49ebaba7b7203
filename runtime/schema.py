"""The journal's tables, and the version of their form."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, MetaData, String, Table, Text

SCHEMA_VERSION = 1
"""1: runs, envelopes, steps, blobs."""

metadata = MetaData()

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
    Index("runs_by_start", "started"),
    Index("runs_by_status", "status"),
)

envelopes = Table(
    "envelopes",
    metadata,
    Column("n", BigInteger, primary_key=True, autoincrement=False),
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
    # One index serves all reads: a run is always read whole, or a turn within its run.
    Index("envelopes_by_run", "run_id", "id", unique=True),
)

steps = Table(
    "steps",
    metadata,
    Column("n", BigInteger, nullable=False),
    Column("run_id", String, primary_key=True),
    Column("turn_id", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("nth", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("state", String, nullable=False),
    Column("input", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("usage", Text),
    Column("started", Float, nullable=False),
    Column("ended", Float, nullable=False),
    Column("v", Integer, nullable=False),
    sqlite_with_rowid=False,
)

blobs = Table(
    "blobs",
    metadata,
    Column("digest", String, primary_key=True),
    Column("body", Text, nullable=False),
)
