"""Group commit: all that came up since the last commit goes into the next one, and its effects come after it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from callsheet.core.errors import JournalError
from callsheet.runtime.journal import Journal, Record

log = logging.getLogger(__name__)

Effect = Callable[[], Any]
"""What may happen only when all that was kept before it is in the journal. May return an awaitable."""


class GroupCommit:
    """The one way to a journal: keeps records, then performs effects, in the order in which they came.

    When a write fails, nothing that waited for it happens, `broken` is set, and `on_broken` is told once.
    """

    def __init__(self, journal: Journal, on_broken: Callable[[JournalError], None]) -> None:
        self._journal = journal
        self._on_broken = on_broken
        self._records: list[Record] = []
        self._effects: list[Effect] = []
        self._flushing: asyncio.Task[None] | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self.broken: JournalError | None = None

    def keep(self, record: Record) -> None:
        """Write the record with the next commit."""
        self._records.append(record)
        self._kick()

    def after(self, effect: Effect) -> None:
        """Perform the effect after the commit of all that was kept before it."""
        self._effects.append(effect)
        self._kick()

    async def read(self, work: Callable[[], Any]) -> Any:
        """Do something with the journal, and let the loop go on meanwhile where that may take long.

        SQLite that does not wait for the disk is done in less time than a thread takes to get its turn at
        Python's lock between two rows: measured, 20 % more messages a second.
        """
        if self._journal.quick:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._writer, work)

    def read_now(self, work: Callable[[], Any]) -> Any:
        """Read something at once: rare, since only what a predecessor left is asked for in this way.

        None if the journal cannot be read any more, which everybody is told.
        """
        try:
            return work() if self._journal.quick else self._writer.submit(work).result()
        except JournalError as error:
            self._break(error)
            return None

    async def close(self) -> None:
        """Write what is left, and close the journal."""
        while self._flushing is not None and not self._flushing.done():
            await asyncio.wait([self._flushing])
        self._writer.submit(self._journal.close).result()
        self._writer.shutdown()

    def _kick(self) -> None:
        # By way of a task, so that all that comes up in one go is committed together.
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        while self._records or self._effects:
            records, self._records = self._records, []
            effects, self._effects = self._effects, []
            if records:
                try:
                    await self.read(partial(self._journal.write, records))
                except Exception as error:
                    if not isinstance(error, JournalError):
                        log.exception("the journal failed")
                        error = JournalError(f"the journal failed: {type(error).__name__}: {error}")
                    self._break(error)
                    return
            for effect in effects:
                try:
                    waiting = effect()
                    if waiting is not None:
                        await waiting
                except Exception:  # one effect's fault must not take the others' messages with it
                    log.exception("a committed effect could not be performed")

    def _break(self, error: JournalError) -> None:
        """What is decided is ahead of what is kept now: nothing of it may leave."""
        self.broken = error
        self._records.clear()
        self._effects.clear()
        self._on_broken(error)
