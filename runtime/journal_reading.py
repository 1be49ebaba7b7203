"""What can be read of a journal: runs, their messages and steps, and what is wanted of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

import sqlalchemy as sa

from callsheet.core.canonical import from_json
from callsheet.core.errors import JournalError
from callsheet.core.events import EndRun, RunStatus
from callsheet.core.frozen import frozen
from callsheet.core.limits import RunUsage
from callsheet.core.records import Envelope, RunRecord, Step, answers, ask_step
from callsheet.runtime.journal_store import FAULTS, broken, damaged
from callsheet.runtime.schema import BLOB_MARK, blobs, envelopes, orders, runs, steps

R = TypeVar("R")


@frozen
class Order:
    """Somebody at another terminal wants the run stopped. `at` is Unix time."""

    run_id: str
    reason: str
    at: float


class Reader:
    """The reading half of a journal. Every method raises JournalError when the store cannot be read."""

    url: str
    _db: sa.Connection

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
        """The runs of a launch that have not ended, waiting ones among them, the oldest first."""
        query = (
            sa.select(runs).where(runs.c.launch == launch, runs.c.ended.is_(None)).order_by(runs.c.started)
        )
        return [self._run_of(row) for row in self._read(query)]

    def envelopes(self, run_id: str) -> list[Envelope]:
        """The messages of a run, in the order they were kept; retired answers among them."""
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
        answered = [ask_step(asks[e.reply_to], e) for e in kept if e.reply_to in asks and answers(e)]
        return [*self.steps(run_id, turn_id), *answered]

    def orders(self) -> list[Order]:
        """What is wanted of runs that have not ended, the oldest order first."""
        return [Order(**row) for row in self._read(sa.select(orders).order_by(orders.c.at))]

    # --- helpers -------------------------------------------------------------------------------------

    def _read(self, query: sa.Executable) -> list[dict[str, Any]]:
        within = self._db.in_transaction()
        try:
            found = [dict(row) for row in self._db.execute(query).mappings()]
            if not within:
                self._db.rollback()
        except FAULTS as error:
            with contextlib.suppress(sa.exc.SQLAlchemyError):
                self._db.rollback()
            raise broken(self.url, error) from error
        return found

    def _loaded(self, text: str | None) -> Any:
        if text is None or not text.startswith(BLOB_MARK):
            return text
        key = text.removeprefix(BLOB_MARK)
        found = self._read(sa.select(blobs.c.body).where(blobs.c.digest == key))
        if not found:
            raise JournalError(f"the journal {self.url} lacks the content {key} that it refers to")
        return found[0]["body"]

    def _run_of(self, row: dict[str, Any]) -> RunRecord:
        loaded = {name: self._loaded(row[name]) for name in ("input", "output")}
        return self._made(lambda: RunRecord(**{**row, **loaded}))

    def _envelope_of(self, row: dict[str, Any]) -> Envelope:
        del row["n"]
        row["body"] = self._loaded(row["body"])
        return self._made(lambda: Envelope(**row))

    def _step_of(self, row: dict[str, Any]) -> Step:
        del row["n"]
        usage = row["usage"]
        loaded = {name: self._loaded(row[name]) for name in ("input", "result")}
        return self._made(
            lambda: Step(**{**row, **loaded, "usage": RunUsage(**from_json(usage)) if usage else None})
        )

    def _made(self, make: Callable[[], R]) -> R:
        try:
            return make()
        except (TypeError, ValueError) as error:
            raise damaged(self.url, error) from error


def end_of(run: RunRecord) -> EndRun:
    """How a run ended, from its record."""
    usage = from_json(run.usage)
    cost = usage.pop("cost_usd")
    return EndRun(
        run_id=run.run_id, status=cast("RunStatus", run.status), output=run.output,
        error=None if run.error is None else from_json(run.error),
        usage=RunUsage(**usage, cost_usd=cost or 0.0, unpriced_calls=int(cost is None)), at=run.ended or 0.0,
    )  # fmt: skip
