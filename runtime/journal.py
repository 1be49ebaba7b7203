"""The journal: an append-only record of runs, envelopes and steps, in SQLite or PostgreSQL.

Coordinators write, anybody reads. A write is one transaction; when it returns, what it
wrote survives the death of every process. SQLite runs in WAL mode; with `synchronous="normal"` (the
default) a loss of power may cost the last moments, with `"full"` it does not.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from callsheet.core.canonical import digest, from_json, to_json
from callsheet.core.errors import JournalError
from callsheet.core.events import EndRun, RunStatus
from callsheet.core.frozen import names_of
from callsheet.core.limits import RunUsage
from callsheet.core.records import Envelope, RunRecord, Step, ask_step
from callsheet.runtime.checkpoints import Checkpoints
from callsheet.runtime.journal_store import Record, broken, columns, connect, escaped, shown
from callsheet.runtime.schema import SCHEMA_VERSION, blobs, envelopes, meta, metadata, runs, steps

BLOB_BYTES = 64 * 1024
"""A text longer than this lies in `blobs`, once for each content, and is referred to by its digest."""

_BLOB_MARK = "@blob:"  # never the beginning of a JSON text

_LOCK = 0x63616C6C  # any number that nobody else takes


class Journal:
    """One connection to a journal. Not for use from several threads at once.

    Raises JournalError from every method when the store cannot be used; a write that raised left nothing.
    """

    def __init__(self, url: str | Path, *, synchronous: Literal["normal", "full"] = "normal") -> None:
        """Open the journal, creating it if `url` is a path or URL of an empty store."""
        self._engine = connect(url, synchronous)
        self.url = shown(self._engine.url)
        """The journal's address, without its password."""
        self._sqlite = self._engine.dialect.name == "sqlite"
        self.quick = self._sqlite and synchronous == "normal"
        """Whether a write waits neither for a network nor for the disk."""
        try:
            self._db = self._engine.connect()
            self._check_schema()
        except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
            self._engine.dispose()
            raise broken(self.url, error) from error
        except BaseException:
            self._engine.dispose()
            raise
        self._checkpoints = Checkpoints(self._engine.url.database if self._sqlite else None)
        insert: Any = sqlite.insert if self._sqlite else postgresql.insert
        self._put_envelope = self._compiled(
            insert(envelopes).on_conflict_do_nothing(index_elements=["run_id", "id"]), Envelope
        )
        self._put_run = insert(runs).on_conflict_do_nothing()
        self._put_blob = insert(blobs).on_conflict_do_nothing()
        step = insert(steps)
        changing = ("state", "result", "usage", "ended")
        self._put_step = self._compiled(
            step.on_conflict_do_update(
                index_elements=["run_id", "turn_id", "key", "nth"],
                set_={name: step.excluded[name] for name in changing},
                where=sa.text("steps.state = 'intent'"),
            ),
            Step,
        )
        self._end_run = (
            runs.update()
            .where(runs.c.run_id == sa.bindparam("b_run_id"))
            .values(
                {name: sa.bindparam(f"b_{name}") for name in ("status", "output", "error", "usage", "ended")}
            )
        )

    def close(self) -> None:
        """Close the connection; what was written stays."""
        self._checkpoints.close()
        self._db.close()
        self._engine.dispose()

    # --- writing -------------------------------------------------------------------------------------

    def write(self, records: Sequence[Record]) -> None:
        """Keep the records in one transaction. Keeping the same record again changes nothing."""
        try:
            with self._db.begin():
                self._write(records)
        except (UnicodeEncodeError, sa.exc.DataError):
            # A text with lone surrogates, or (PostgreSQL) with NUL: what cannot be stored is kept escaped.
            self._write_again([escaped(record) for record in records])
        except sa.exc.SQLAlchemyError as error:
            raise broken(self.url, error) from error
        self._checkpoints.written(len(records))

    def _write_again(self, records: Sequence[Record]) -> None:
        try:
            with self._db.begin():
                self._write(records)
        except (UnicodeEncodeError, sa.exc.SQLAlchemyError) as error:
            raise broken(self.url, error) from error

    def _write(self, records: Sequence[Record]) -> None:
        big: dict[str, str] = {}
        kept: list[Any] = []
        done: list[Any] = []
        begun: list[dict[str, Any]] = []
        ended: list[dict[str, Any]] = []
        sql_envelope, row_of_envelope = self._put_envelope
        sql_step, row_of_step = self._put_step
        for record in records:
            if isinstance(record, Envelope):
                if len(record.body) > BLOB_BYTES:
                    record = replace(record, body=_stored(record.body, big))
                kept.append(row_of_envelope(record))
            elif isinstance(record, Step):
                done.append(row_of_step(_storable(record, big)))
            elif isinstance(record, RunRecord):
                begun.append({**columns(record), "input": _stored(record.input, big)})
            else:
                ended.append(
                    {
                        "b_run_id": record.run_id,
                        "b_status": record.status,
                        "b_output": None if record.output is None else _stored(record.output, big),
                        "b_error": None if record.error is None else to_json(record.error),
                        "b_usage": to_json(record.usage.to_dict()),
                        "b_ended": record.at,
                    }
                )
        if big:
            self._db.execute(self._put_blob, [{"digest": key, "body": body} for key, body in big.items()])
        if begun:
            self._db.execute(self._put_run, begun)
        if kept:
            self._db.exec_driver_sql(sql_envelope, kept)
        if done:
            self._db.exec_driver_sql(sql_step, done)
        if ended:
            self._db.execute(self._end_run, ended)

    def _compiled(self, statement: Any, record: type) -> tuple[str, Callable[[Any], Any]]:
        """The statement as this database's own text, and what makes its row of a record.

        Compiled once: SQLAlchemy's way from a dictionary to a row, taken for each, costs as much as SQLite.
        """
        names = list(names_of(record))
        compiled = statement.inline().compile(dialect=self._engine.dialect, column_keys=names)
        if compiled.positiontup:
            return str(compiled), attrgetter(*compiled.positiontup)
        return str(compiled), lambda row: {name: getattr(row, name) for name in names}

    # --- reading -------------------------------------------------------------------------------------

    def run(self, run_id: str) -> RunRecord | None:
        """One run, or None."""
        found = self._read(sa.select(runs).where(runs.c.run_id == run_id))
        return self._run_of(found[0]) if found else None

    def runs(
        self, *, limit: int = 50, status: str | None = None, crew: str | None = None, prefix: str = ""
    ) -> list[RunRecord]:
        """Runs, the newest first; `prefix` keeps those whose id begins with it."""
        query = sa.select(runs).order_by(runs.c.started.desc()).limit(limit)
        if status:
            query = query.where(runs.c.status == status)
        if crew:
            query = query.where(runs.c.crew == crew)
        if prefix:
            query = query.where(runs.c.run_id.startswith(prefix, autoescape=True))
        return [self._run_of(row) for row in self._read(query)]

    def unended(self, launch: str) -> list[RunRecord]:
        """The runs of a launch that have not ended, the oldest first."""
        query = (
            sa.select(runs).where(runs.c.launch == launch, runs.c.ended.is_(None)).order_by(runs.c.started)
        )
        return [self._run_of(row) for row in self._read(query)]

    def envelopes(self, run_id: str) -> list[Envelope]:
        """The messages of a run, in the order they were kept."""
        query = sa.select(envelopes).where(envelopes.c.run_id == run_id).order_by(envelopes.c.n)
        return [self._envelope_of(row) for row in self._read(query)]

    def steps(self, run_id: str, turn_id: str | None = None) -> list[Step]:
        """The recorded steps of a run, or of one turn of it, asks left out, in the order they were kept."""
        query = sa.select(steps).where(steps.c.run_id == run_id).order_by(steps.c.n)
        if turn_id is not None:
            query = query.where(steps.c.turn_id == turn_id)
        return [self._step_of(row) for row in self._read(query)]

    def turn_steps(self, run_id: str, turn_id: str) -> list[Step]:
        """All that a turn has recorded, answered asks included: what it is delivered with after a crash."""
        kept = self.envelopes(run_id)
        asks = {e.id: e for e in kept if e.kind == "ask" and e.cause == turn_id}
        answered = [ask_step(asks[e.reply_to], e) for e in kept if e.kind != "ask" and e.reply_to in asks]
        return [*self.steps(run_id, turn_id), *answered]

    # --- helpers -------------------------------------------------------------------------------------

    def _check_schema(self) -> None:
        with self._db.begin():
            found = self._schema_version() or self._make_schema()
        if found != str(SCHEMA_VERSION):
            raise JournalError(
                f"the journal {self.url} has schema version {found}; this callsheet reads {SCHEMA_VERSION}",
                hint="Use the callsheet that wrote it, or point CALLSHEET_HOME at another folder.",
            )

    def _schema_version(self) -> str | None:
        if not sa.inspect(self._db).has_table(meta.name):
            return None
        return self._db.scalar(sa.select(meta.c.value).where(meta.c.key == "schema_version"))

    def _make_schema(self) -> str:
        # One of those that come at once makes it, and the others find it.
        self._db.exec_driver_sql(
            "BEGIN IMMEDIATE" if self._sqlite else f"SELECT pg_advisory_xact_lock({_LOCK})"
        )
        found = self._schema_version()
        if found is None:
            metadata.create_all(self._db)
            found = str(SCHEMA_VERSION)
            self._db.execute(meta.insert(), {"key": "schema_version", "value": found})
        return found

    def _read(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        try:
            found = [dict(row) for row in self._db.execute(query).mappings()]
            self._db.rollback()
        except sa.exc.SQLAlchemyError as error:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                self._db.rollback()
            raise broken(self.url, error) from error
        return found

    def _loaded(self, text: str | None) -> Any:
        if text is None or not text.startswith(_BLOB_MARK):
            return text
        key = text.removeprefix(_BLOB_MARK)
        found = self._read(sa.select(blobs.c.body).where(blobs.c.digest == key))
        if not found:
            raise JournalError(f"the journal {self.url} lacks the content {key} that it refers to")
        return found[0]["body"]

    def _run_of(self, row: dict[str, Any]) -> RunRecord:
        return RunRecord(
            **{**row, "input": self._loaded(row["input"]), "output": self._loaded(row["output"])}
        )

    def _envelope_of(self, row: dict[str, Any]) -> Envelope:
        del row["n"]
        return Envelope(**{**row, "body": self._loaded(row["body"])})

    def _step_of(self, row: dict[str, Any]) -> Step:
        del row["n"]
        usage = row["usage"]
        step = Step(**{**row, "usage": RunUsage(**from_json(usage)) if usage else None})
        return replace(step, input=self._loaded(step.input), result=self._loaded(step.result))


def end_of(run: RunRecord) -> EndRun:
    """How a run ended, from its record."""
    usage = from_json(run.usage)
    cost = usage.pop("cost_usd")
    return EndRun(
        run_id=run.run_id, status=cast("RunStatus", run.status), output=run.output,
        error=None if run.error is None else from_json(run.error),
        usage=RunUsage(**usage, cost_usd=cost or 0.0, unpriced_calls=int(cost is None)), at=run.ended or 0.0,
    )  # fmt: skip


def _storable(step: Step, big: dict[str, str]) -> Any:
    """The step as it is stored: its usage as JSON, and its large texts elsewhere."""
    if step.usage is None and len(step.input) <= BLOB_BYTES and len(step.result) <= BLOB_BYTES:
        return step
    usage = None if step.usage is None else to_json(columns(step.usage))
    return SimpleNamespace(
        **{
            **columns(step),
            "usage": usage,
            "input": _stored(step.input, big),
            "result": _stored(step.result, big),
        }
    )


def _stored(text: str, big: dict[str, str]) -> str:
    if len(text) <= BLOB_BYTES:
        return text
    key = digest(text)
    big[key] = text
    return _BLOB_MARK + key


__all__ = ["BLOB_BYTES", "Journal", "Record", "end_of"]
