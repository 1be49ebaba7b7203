"""Moves what SQLite has in its WAL into the database, in a thread: that waits for the disk, and no run has to."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from pathlib import Path

log = logging.getLogger(__name__)

EVERY = 8_000
"""Records between two checkpoints. One dirties about a page of 4 KiB, so the WAL has some 40 MiB by then."""


class Checkpoints:
    """For one SQLite file. SQLite's own checkpoints come in a commit, and hold it up while they wait.

    Whatever happens to this, nothing is lost: the WAL is part of the database.
    """

    def __init__(self, database: Path | None) -> None:
        self._database = database
        self._written = 0
        self._thread: threading.Thread | None = None

    def written(self, records: int) -> None:
        """So many records were committed; begins a checkpoint when it is time."""
        self._written += records
        if self._written < EVERY or not self._database:
            return
        if self._thread is not None and self._thread.is_alive():
            return
        self._written = 0
        self._thread = threading.Thread(target=self._run, name="journal-checkpoint", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Wait for one that is under way."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            with contextlib.closing(sqlite3.connect(str(self._database), timeout=5)) as connection:
                # PASSIVE: takes what it can get and makes nobody wait.
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            log.warning("the journal's WAL could not be moved into its database now: %s", error)
