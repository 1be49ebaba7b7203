"""Taking old runs out of a journal, with all that only they refer to, and giving their space back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa

from callsheet.core.frozen import frozen
from callsheet.runtime.schema import BLOB_MARK, REFERRING, blobs, envelopes, is_reference, orders, runs, steps

log = logging.getLogger(__name__)

RUNS_AT_ONCE = 100
"""Runs that go in one transaction: whoever writes meanwhile waits for one such part, never for the whole."""

PAGES_AT_ONCE = 2_000
"""Pages of 4 KiB that are given back in one transaction."""


@frozen
class Pruned:
    """What was, or would be, deleted: so many runs, with so many bytes of text.

    A file shrinks by more than that, since rows have an overhead and are indexed.
    """

    runs: int
    bytes: int


class Pruning:
    """One pass over a journal. Each part of it is a transaction, so a crash leaves whole runs or nothing.

    `exclusively` begins a transaction in which nothing that is read can change; `alive` says whether a run's
    owner lives: what somebody has claimed stays.
    """

    def __init__(
        self,
        db: sa.Connection,
        exclusively: Callable[[], AbstractContextManager[None]],
        alive: Callable[[str], bool],
    ) -> None:
        self._db = db
        self._exclusively = exclusively
        self._alive = alive
        self._sqlite = db.dialect.name == "sqlite"

    def measure(self, before: float) -> Pruned:
        """What `delete` would delete."""
        with self._db.begin():
            old = self._old(before)
            ids = list(self._db.scalars(sa.select(runs.c.run_id).where(old)))
            total = sum(self._bytes_of(some) for some in _parts(ids))
            marks = {mark for some in _parts(ids) for mark in self._marks(some)}
            stays = runs.c.run_id.not_in(sa.select(runs.c.run_id).where(old))
            staying = sa.select(runs.c.run_id).where(stays)
            for some in _parts(sorted(marks)):
                unused = self._unused(some, lambda table: table.c.run_id.in_(staying))
                total += (
                    self._db.scalar(sa.select(sa.func.sum(self._length(blobs.c.body))).where(unused)) or 0
                )
        return Pruned(runs=len(ids), bytes=int(total))

    def delete(self, before: float) -> Pruned:
        """Delete the runs that ended before that Unix time and that nobody works on."""
        with self._db.begin():
            ids = list(self._db.scalars(sa.select(runs.c.run_id).where(self._old(before))))
        count = total = 0
        for some in _parts(ids):
            if self._sqlite:
                # So that the deletion is written where the WAL is already: the disk may be full.
                self._pragma("wal_checkpoint(PASSIVE)")
            with self._exclusively():
                # Some may have been resumed since they were looked for.
                still = sa.select(runs.c.run_id).where(runs.c.run_id.in_(some), self._old(before))
                found = list(self._db.scalars(still.with_for_update()))
                count += len(found)
                total += self._bytes_of(found)
                marks = sorted(self._marks(found))
                for table in (orders, envelopes, steps, runs):
                    self._db.execute(table.delete().where(table.c.run_id.in_(found)))
                total += self._delete_blobs(marks)
        return Pruned(runs=count, bytes=int(total))

    def give_back(self, *, alone: bool) -> None:
        """Make a SQLite file smaller by what is free in it; PostgreSQL does that by itself.

        A file that an older callsheet made has to be written anew for that, once, which is done only when
        nobody else works with it (`alone`). What is not given back is used again.
        """
        if not self._sqlite:
            return
        try:
            if self._pragma("auto_vacuum") == 0 and alone:
                self._pragma("auto_vacuum = INCREMENTAL")
                self._connection.execute("VACUUM").close()
            free, before = self._pragma("freelist_count"), -1
            while free not in (0, before) and self._pragma("auto_vacuum"):
                self._pragma(f"incremental_vacuum({PAGES_AT_ONCE})")
                free, before = self._pragma("freelist_count"), free
            self._pragma("wal_checkpoint(TRUNCATE)")
        except self._connection.Error as error:
            # The runs are deleted all the same.
            log.warning("the journal's free space could not be given back now: %s", error)

    # --- helpers -------------------------------------------------------------------------------------

    @property
    def _connection(self) -> Any:
        """The driver's own connection: what gives space back must not be within a transaction."""
        return self._db.connection.driver_connection

    def _pragma(self, what: str) -> Any:
        found = self._connection.execute(f"PRAGMA {what}").fetchall()
        self._db.rollback()
        return found[0][0] if found else None

    def _old(self, before: float) -> sa.ColumnElement[bool]:
        owners = self._db.scalars(sa.select(runs.c.owner).where(runs.c.ended < before).distinct())
        at_work = [owner for owner in owners if owner and self._alive(owner)]
        return sa.and_(runs.c.ended < before, runs.c.owner.not_in(at_work))

    def _length(self, column: Any) -> Any:
        return (
            sa.func.length(sa.cast(column, sa.LargeBinary)) if self._sqlite else sa.func.octet_length(column)
        )

    def _bytes_of(self, ids: Sequence[str]) -> int:
        total = 0
        for table in (runs, envelopes, steps):
            texts = [column for column in table.c if isinstance(column.type, sa.String)]
            length = sum(sa.func.coalesce(self._length(column), 0) for column in texts)
            total += self._db.scalar(sa.select(sa.func.sum(length)).where(table.c.run_id.in_(ids))) or 0
        return int(total)

    def _marks(self, ids: Sequence[str]) -> set[str]:
        """The references to blobs that these runs hold."""
        return {
            mark
            for column in REFERRING
            for mark in self._db.scalars(
                sa.select(column).distinct().where(column.table.c.run_id.in_(ids), is_reference(column))
            )
        }

    def _unused(self, marks: Sequence[str], among: Callable[[Any], Any] | None = None) -> Any:
        """The condition for the blobs of these references that nothing (among those rows) refers to."""
        mark = sa.literal(BLOB_MARK) + blobs.c.digest
        used = (
            sa.exists().where(is_reference(column), column == mark, *([among(column.table)] if among else []))
            for column in REFERRING
        )
        digests = [found.removeprefix(BLOB_MARK) for found in marks]
        return sa.and_(blobs.c.digest.in_(digests), *(~one for one in used))

    def _delete_blobs(self, marks: Sequence[str]) -> int:
        total = 0
        for some in _parts(marks):
            digests = [mark.removeprefix(BLOB_MARK) for mark in some]
            # Wait for those who are just about to refer to one of them; only then is it sure who does.
            held = sa.select(blobs.c.digest).where(blobs.c.digest.in_(digests)).order_by(blobs.c.digest)
            self._db.execute(held.with_for_update())
            unused = self._unused(some)
            total += self._db.scalar(sa.select(sa.func.sum(self._length(blobs.c.body))).where(unused)) or 0
            self._db.execute(blobs.delete().where(unused))
        return int(total)


def _parts(found: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(found), RUNS_AT_ONCE):
        yield found[begin : begin + RUNS_AT_ONCE]
