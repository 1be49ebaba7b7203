"""The journal: an append-only record of runs, envelopes and steps, in SQLite or PostgreSQL.

Coordinators write, anybody reads. A write is one transaction; when it returns, what it
wrote survives the death of every process. SQLite runs in WAL mode; with `synchronous="normal"` (the
default) a loss of power may cost the last moments, with `"full"` it does not. The URL `sqlite://` is a
journal in memory, which lives and dies with its `Journal`: for tests and benchmarks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from callsheet.core.errors import JournalError, RunTakenError, UnknownNameError, UsageError
from callsheet.core.records import RunRecord
from callsheet.runtime.checkpoints import Checkpoints
from callsheet.runtime.journal_migrations import bring_up_to_date
from callsheet.runtime.journal_owners import FileOwners, NoOwners, Owners, ServerOwners
from callsheet.runtime.journal_pruning import Pruned, Pruning
from callsheet.runtime.journal_reading import Order, Reader, end_of
from callsheet.runtime.journal_store import FAULTS, Record, broken, connect, escaped, shown
from callsheet.runtime.journal_writing import BLOB_BYTES, Writer
from callsheet.runtime.schema import orders, runs


class Journal(Reader):
    """One connection to a journal. Not for use from several threads at once.

    Raises JournalError from every method when the store cannot be used; a write that raised left nothing.
    """

    def __init__(
        self, url: str | Path, *, synchronous: Literal["normal", "full"] = "normal", owner: str = ""
    ) -> None:
        """Open the journal, creating it if `url` is a path or URL of an empty store, migrating an older one.

        With an `owner` it holds that owner's lock until it is closed or its process dies, and waits up to
        10 s for a dying predecessor of the same name. Raises JournalError if it cannot have it.
        """
        self._engine = connect(url, synchronous)
        self.url = shown(self._engine.url)
        """The journal's address, without its password."""
        self.owner = owner
        self._sqlite = self._engine.dialect.name == "sqlite"
        self.quick = self._sqlite and synchronous == "normal"
        """Whether a write waits neither for a network nor for the disk."""
        path = self._engine.url.database if self._sqlite else None
        self._path = None if path in (None, "", ":memory:") else Path(str(path)).resolve()
        try:
            self._db = self._engine.connect()
            bring_up_to_date(self._db, self.url)
            self._file = self._path.stat() if self._path else None
            self._owners = self._owners_of_this()
            if owner:
                self._owners.take(owner)
                if not self._sqlite:
                    sa.event.listen(self._engine, "connect", self._refuse_another)
        except (*FAULTS, OSError) as error:
            self._engine.dispose()
            raise broken(self.url, error) from error
        except BaseException:
            self._engine.dispose()
            raise
        self._checkpoints = Checkpoints(self._path)
        self._writer = Writer(self._db)
        self._seen = -1

    def close(self) -> None:
        """Close the connection, and let go of the owner's lock; what was written stays."""
        self._checkpoints.close()
        self._owners.close()
        self._db.close()
        self._engine.dispose()

    # --- writing -------------------------------------------------------------------------------------

    def write(self, records: Sequence[Record]) -> None:
        """Keep the records in one transaction, in their order. Keeping the same again changes nothing."""
        try:
            try:
                self._write(records)
            except (UnicodeEncodeError, sa.exc.DataError):
                # A text with lone surrogates, or (PostgreSQL) with NUL: what cannot be stored is kept escaped.
                self._write([escaped(record) for record in records])
        except FAULTS as error:
            raise broken(self.url, error) from error
        self._checkpoints.written(len(records))

    def _write(self, records: Sequence[Record]) -> None:
        with self._db.begin():
            self._writer.write(records)
        self._check_place()

    def order_cancel(self, run_id: str, reason: str, at: float) -> bool:
        """Leave word for whoever works on the run to stop it; False if it has ended or there is none.

        `at` is Unix time. Word that is left again takes the place of the old.
        """
        with self._exclusively():
            open_ = sa.select(runs.c.run_id).where(runs.c.run_id == run_id, runs.c.ended.is_(None))
            if self._db.execute(open_).first() is None:
                return False
            self._db.execute(orders.delete().where(orders.c.run_id == run_id))
            self._db.execute(orders.insert(), {"run_id": run_id, "reason": reason, "at": at})
        self._seen = -1  # SQLite tells a connection of others' changes only
        return True

    # --- who works on what ---------------------------------------------------------------------------

    def claim(self, run_id: str, owner: str) -> RunRecord:
        """Make the owner the one who works on the run; returns its record as it was before.

        Of several that try at once, one gets it. Raises UnknownNameError if there is no such run,
        RunTakenError if a living process works on it, and UsageError if it is done.
        """
        with self._exclusively():
            locked = sa.select(runs.c.owner).where(runs.c.run_id == run_id)
            if self._db.execute(locked.with_for_update()).first() is None:
                raise UnknownNameError(
                    f"no run is called {run_id!r}",
                    kind="run",
                    name=run_id,
                    hint="`callsheet runs` lists them.",
                )
            record = self.run(run_id)
            assert record is not None
            if record.status == "done":
                raise UsageError(
                    f"run {run_id} is done", hint=f"`callsheet show {run_id}` prints what it answered."
                )
            if record.owner not in ("", owner) and self._owners.alive(record.owner):
                raise RunTakenError(
                    f"run {run_id} is being worked on by another process",
                    run_id=run_id,
                    hint=f"`callsheet watch {run_id}` shows what it does.",
                )
            self._db.execute(runs.update().where(runs.c.run_id == run_id).values(owner=owner))
        return record

    def owner_alive(self, owner: str) -> bool:
        """Whether a process holds that owner's lock; nobody ("") does not live."""
        if not owner:
            return False
        try:
            return self._owners.alive(owner)
        except FAULTS as error:
            raise broken(self.url, error) from error

    def orphans(self) -> list[RunRecord]:
        """The runs that go on by their status, though nobody alive works on them, the oldest first."""
        going_on = sa.select(runs).where(runs.c.status == "running")
        owners = {
            row["owner"] for row in self._read(sa.select(runs.c.owner).where(runs.c.status == "running"))
        }
        dead = [owner for owner in owners if not self.owner_alive(owner)]
        found = self._read(going_on.where(runs.c.owner.in_(dead)).order_by(runs.c.started)) if dead else []
        return [self._run_of(row) for row in found]

    def changed(self) -> bool:
        """Whether there may be new orders since this was last asked; cheap enough to be asked often."""
        if not self._sqlite:
            return True
        seen: int = self._read(sa.text("PRAGMA data_version"))[0]["data_version"]
        before, self._seen = self._seen, seen
        return seen != before

    def prune(self, before: float, *, dry_run: bool = False) -> Pruned:
        """Delete the runs that ended before that Unix time, with all that only they refer to.

        Running and waiting runs stay, however old. Others may go on writing meanwhile. With `dry_run` it only
        says what would go. A crash leaves whole runs or nothing of them; pruning again does the rest.
        """
        pruning = Pruning(self._db, self._exclusively, self.owner_alive)
        try:
            if dry_run:
                return pruning.measure(before)
            pruned = pruning.delete(before)
            if pruned.runs:
                pruning.give_back(alone=not self._owners.others())
        except FAULTS as error:
            raise broken(self.url, error) from error
        return pruned

    # --- helpers -------------------------------------------------------------------------------------

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """A transaction in which nothing that is read can change before it is over (with FOR UPDATE)."""
        try:
            with self._db.begin():
                if self._sqlite:
                    self._db.exec_driver_sql("BEGIN IMMEDIATE")
                yield
        except FAULTS as error:
            raise broken(self.url, error) from error
        self._check_place()

    def _owners_of_this(self) -> Owners:
        if not self._sqlite:
            return ServerOwners(self._db)
        return FileOwners(self._path) if self._path else NoOwners()

    def _refuse_another(self, *_: Any) -> None:
        raise JournalError(
            f"the connection to the journal {self.url} was lost, and with it the lock of {self.owner}",
            hint="Its runs may be somebody else's by now. `callsheet resume RUN` takes up those that nobody has.",
        )

    def _check_place(self) -> None:
        """SQLite goes on writing a file that somebody took away, and nobody would ever read that."""
        if self._file is None or self._path is None:
            return
        try:
            there = self._path.stat()
        except OSError:
            there = None
        if there is None or not os.path.samestat(there, self._file):
            raise JournalError(
                f"the journal {self.url} was removed or replaced while it was open",
                hint="What was written last is lost with it. Put the file back if you can, and start again.",
            )


__all__ = ["BLOB_BYTES", "Journal", "Order", "Pruned", "Record", "end_of"]
