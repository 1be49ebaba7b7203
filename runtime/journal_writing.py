"""How records become rows: all that a journal writes of runs, within the transaction that is under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter, itemgetter
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from callsheet.core.canonical import digest, to_json
from callsheet.core.events import EndRun
from callsheet.core.frozen import names_of
from callsheet.core.records import Envelope, RunRecord, RunResumed, RunWaits, RunWoken, Step
from callsheet.runtime.journal_store import Record, columns
from callsheet.runtime.schema import BLOB_MARK, blobs, envelopes, orders, runs, steps

BLOB_BYTES = 64 * 1024
"""A text longer than this lies in `blobs`, once for each content, and is referred to by its digest."""

Change = EndRun | RunResumed | RunWaits | RunWoken
"""What becomes of a run that is there already."""


class Writer:
    """The statements of one database, compiled once, and what makes their rows."""

    def __init__(self, db: sa.Connection) -> None:
        self._db = db
        on_sqlite = db.dialect.name == "sqlite"
        insert: Any = sqlite.insert if on_sqlite else postgresql.insert
        self._put_envelope = self._compiled(
            insert(envelopes).on_conflict_do_nothing(index_elements=["run_id", "id"]), Envelope
        )
        self._put_run = insert(runs).on_conflict_do_nothing()
        self._put_blob = insert(blobs).on_conflict_do_nothing()
        if not on_sqlite:
            # Locks the blob that is there already, so that nobody prunes it before this transaction is over.
            self._put_blob = insert(blobs).on_conflict_do_update(
                index_elements=["digest"], set_={"digest": insert(blobs).excluded.digest}
            )
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

    def write(self, records: Sequence[Record]) -> None:
        """Keep the records, in the transaction that is under way.

        What a resumed run retires is out of the way before what comes after it is kept.
        """
        begin = 0
        for n, record in enumerate(records):
            if isinstance(record, RunResumed):
                self._write(records[begin:n])
                self._retire(record)
                begin = n
        self._write(records[begin:])

    def _write(self, records: Sequence[Record]) -> None:
        big: dict[str, str] = {}
        kept: list[Any] = []
        done: list[Any] = []
        begun: list[dict[str, Any]] = []
        changes: list[Change] = []
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
                changes.append(record)
        rows = list(_rows_of(changes, big))
        if big:
            self._db.execute(self._put_blob, [{"digest": key, "body": big[key]} for key in sorted(big)])
        if begun:
            self._db.execute(self._put_run, begun)
        if kept:
            self._db.exec_driver_sql(sql_envelope, kept)
        if done:
            self._db.exec_driver_sql(sql_step, done)
        for kind, found in groupby(rows, itemgetter(0)):
            values = [row for _, row in found]
            self._db.execute(_CHANGES[kind], values)
            if kind in (EndRun, RunResumed):
                self._db.execute(_FORGET_ORDERS, [{"b_run_id": row["b_run_id"]} for row in values])

    def _retire(self, record: RunResumed) -> None:
        if record.retired:
            rows = [{"b_run_id": record.run_id, "b_id": id_} for id_ in record.retired]
            self._db.execute(_RETIRE, rows)

    def _compiled(self, statement: Any, record: type) -> tuple[str, Callable[[Any], Any]]:
        """The statement as this database's own text, and what makes its row of a record.

        Compiled once: SQLAlchemy's way from a dictionary to a row, taken for each, costs as much as SQLite.
        """
        names = list(names_of(record))
        compiled = statement.inline().compile(dialect=self._db.dialect, column_keys=names)
        if compiled.positiontup:
            return str(compiled), attrgetter(*compiled.positiontup)
        return str(compiled), lambda row: {name: getattr(row, name) for name in names}


def _given(name: str, type_: Any = None) -> Any:
    return sa.bindparam(f"b_{name}", type_=type_)


def _change(*names: str, **values: Any) -> Any:
    given = {name: _given(name) for name in names}
    return runs.update().where(runs.c.run_id == _given("run_id")).values(**given, **values)


_at = _given("at", sa.Float)
_worked = sa.case(
    # Only who works spends time: not a run that waits and is cancelled, nor one whose beginning is not known.
    (sa.and_(runs.c.status == "running", runs.c.since > 0, _at > runs.c.since), _at - runs.c.since),
    else_=0.0,
)
_again = {"status": "running", "since": _at}

_CHANGES: dict[type, Any] = {
    EndRun: _change("status", "output", "error", "usage", ended=_at, owner="", spent_s=runs.c.spent_s + _worked),
    RunWaits: _change("usage", status="waiting", owner="", spent_s=runs.c.spent_s + _worked),
    RunWoken: _change("owner", "launch", **_again),
    RunResumed: _change(
        "owner", "launch", "limits", "options", **_again, spent_s=0.0, ended=None, error=None, output=None,
        # A source that is not known does not take the place of one that is.
        source=sa.case((_given("source", sa.Text) != "", _given("source", sa.Text)), else_=runs.c.source),
    ),
}  # fmt: skip

_FORGET_ORDERS = orders.delete().where(orders.c.run_id == _given("run_id"))

_earlier = envelopes.alias("earlier")
_RETIRE = (
    envelopes.update()
    .where(envelopes.c.run_id == _given("run_id"), envelopes.c.id == _given("id"))
    .values(
        # All answers to one ask, the present one among them: the first that is retired becomes number 1.
        id=envelopes.c.id
        + "."
        + sa.cast(
            sa.select(sa.func.count())
            .where(_earlier.c.run_id == envelopes.c.run_id, _earlier.c.reply_to == envelopes.c.reply_to)
            .scalar_subquery(),
            sa.String,
        )
    )
)


def _rows_of(changes: Sequence[Change], big: dict[str, str]) -> Iterator[tuple[type, dict[str, Any]]]:
    for change in changes:
        row: dict[str, Any] = {"b_run_id": change.run_id, "b_at": change.at}
        match change:
            case EndRun():
                row["b_status"] = change.status
                row["b_output"] = None if change.output is None else _stored(change.output, big)
                row["b_error"] = None if change.error is None else to_json(change.error)
                row["b_usage"] = to_json(change.usage.to_dict())
            case RunWaits():
                row["b_usage"] = to_json(change.usage.to_dict())
            case RunWoken():
                row |= {"b_owner": change.owner, "b_launch": change.launch}
            case RunResumed():
                row |= {"b_owner": change.owner, "b_launch": change.launch, "b_source": change.source}
                row |= {"b_limits": change.limits, "b_options": change.options}
        yield type(change), row


def _storable(step: Step, big: dict[str, str]) -> Any:
    """The step as it is stored: its usage as JSON, and its large texts elsewhere."""
    if step.usage is None and len(step.input) <= BLOB_BYTES and len(step.result) <= BLOB_BYTES:
        return step
    usage = None if step.usage is None else to_json(step.usage.stored())
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
    return BLOB_MARK + key
