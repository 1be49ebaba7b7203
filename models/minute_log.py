"""The last minute's use on disk, so that a gateway that comes after a crash does not begin with empty windows."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from typing import cast

from callsheet.core.errors import ServiceError
from callsheet.models.ledger_file import LedgerFile, add_minute, read_minute
from callsheet.models.limit_headers import Subject


class MinuteLog:
    """Writes what windows count, some tens of milliseconds behind them, and reads it back.

    A call is noted at its sending with the most it may use, and corrected later; so what a crash leaves is
    never too little, but for calls let in within the last moments. Other gateways' use of the same file is read
    back too, once, at the start. `clock` is the windows' (s), `slice_s` the length of their slices.
    """

    def __init__(self, file: LedgerFile, clock: Callable[[], float], slice_s: float, keep_s: float) -> None:
        self._file = file
        self._clock = clock
        self._slice_s = slice_s
        self._keep_s = keep_s
        self._unwritten: dict[tuple[str, str, int], int] = {}
        self._lock = threading.Lock()  # the file's thread takes what is to be written

    def keep(self, key: str, subject: Subject, slice_: int, amount: int) -> None:
        """Note a use, or a correction of one; all that came up goes with the next write."""
        place = (key, subject, round(slice_ * self._slice_s * 1000))
        with self._lock:
            first = not self._unwritten
            self._unwritten[place] = self._unwritten.get(place, 0) + amount
        if first:
            self._file.later(self._write)

    async def read(self) -> list[tuple[str, Subject, float, int]]:
        """What counts still, the oldest first: key, subject, time (s), amount."""
        since_ms, now, half = self._since_ms(), self._clock(), self._slice_s / 2
        rows: list[tuple[str, str, int, int]] = []
        # Without the file (which has said so in the log) windows begin empty, and calls go on.
        with contextlib.suppress(ServiceError):
            rows = await self._file.do(lambda connection: read_minute(connection, since_ms))
        return [
            (key, cast(Subject, subject), min(at_ms / 1000 + half, now), amount)
            for key, subject, at_ms, amount in rows
        ]

    def _write(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            uses, self._unwritten = self._unwritten, {}
        add_minute(connection, uses, self._since_ms())

    def _since_ms(self) -> int:
        return int((self._clock() - self._keep_s - 2 * self._slice_s) * 1000)
