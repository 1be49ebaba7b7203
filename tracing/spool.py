"""Request bodies that wait on disk until Phoenix takes them.

A file holds one OTLP request body. Its name says what it is and whose turn it is:

    v1-<when>-<process>.otlp                    ready: anyone may claim it (`when` is Unix time in ns)
    v1-<when>-<process>.otlp.claim-<until>.<host>.<pid>
                                                claimed: being sent, and ready again after `until` (Unix s), or
                                                once that process is gone
    v1-<when>-<process>.otlp.refused            the server will not take it; kept for a person to look at
    *.tmp                                       being written

Every change is one rename, so a crash at any point leaves either the old state or the new one, and two
processes never hold the same file. What a crash can cause is that a file is sent twice, which Phoenix
ignores. Files survive the death of the process, not necessarily the machine's (there is no fsync).
"""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from callsheet.core.canonical import digest

VERSION = "v1"
READY = ".otlp"
CLAIM = ".claim-"
REFUSED = ".refused"
MERGE_BYTES = 256 * 1024
"""Small bodies are put together up to this size, so that a long outage does not make a file every 0.5 s."""
CLAIM_S = 15.0
"""How long a claim holds: well above what one request may take."""
STALE_TMP_S = 3600.0

_log = logging.getLogger(__name__)


class Spool:
    """The spool folder as one process sees it. Not for use by two threads at once.

    `now` is the clock, in Unix seconds. Methods raise OSError where the disk fails.
    """

    def __init__(self, folder: Path, max_bytes: int, now: Callable[[], float] = time.time) -> None:
        self.folder = folder
        self.dropped = 0
        """Files dropped because the folder was full."""
        self._max_bytes = max_bytes
        self._now = now
        self._owner = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._host = digest(platform.node())[:8]
        self._last: tuple[Path, bytes] | None = None
        self._room = 0

    def put(self, body: bytes) -> None:
        """Keep a request body. Drops the oldest files where the folder would become too large."""
        self._make_folder()
        self._make_room(len(body))
        # Protobuf messages put end to end are one message with both's spans, so a small file is replaced
        # by a longer one; if another process claims the old one meanwhile, it is only sent twice.
        merged, replaced = body, None
        if self._last is not None and len(self._last[1]) + len(body) <= MERGE_BYTES:
            replaced, before = self._last
            merged = before + body if replaced.exists() else body
        target = self.folder / f"{VERSION}-{int(self._now() * 1e9):020d}-{self._owner}{READY}"
        temporary = target.with_suffix(".tmp")
        temporary.write_bytes(merged)
        temporary.rename(target)
        if replaced is not None and replaced != target:
            replaced.unlink(missing_ok=True)
        self._last = (target, merged)

    def is_empty(self) -> bool:
        """Whether nothing waits that this process could send now."""
        return next(self._waiting(), None) is None

    def claim(self) -> tuple[Path, bytes] | None:
        """Take the oldest waiting file for oneself, with its content; None if there is none.

        End a claim with `done`, `release` or `refuse`; a claim whose owner died lapses.
        """
        for path in self._waiting():
            base = path.name.split(CLAIM)[0]
            until = f"{self._now() + CLAIM_S:.0f}"
            mine = self.folder / f"{base}{CLAIM}{until}.{self._host}.{os.getpid()}"
            try:
                path.rename(mine)
                return mine, mine.read_bytes()
            except FileNotFoundError:
                continue  # another process was faster
        return None

    def done(self, claimed: Path) -> None:
        """The claimed file was sent."""
        claimed.unlink(missing_ok=True)

    def release(self, claimed: Path) -> None:
        """The claimed file could not be sent now; it is ready again."""
        self._rename(claimed, "")

    def refuse(self, claimed: Path) -> Path:
        """The server will never take the claimed file; kept aside, and returned."""
        return self._rename(claimed, REFUSED)

    def put_refused(self, body: bytes) -> Path:
        """Keep a body aside that the server will never take."""
        self._make_folder()
        self._make_room(len(body))
        target = self.folder / f"{VERSION}-{int(self._now() * 1e9):020d}-{self._owner}{READY}{REFUSED}"
        temporary = target.with_suffix(".tmp")
        temporary.write_bytes(body)
        return temporary.rename(target)

    def _make_folder(self) -> None:
        # What lies here are conversations: nobody else on the machine may read them.
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _rename(self, claimed: Path, ending: str) -> Path:
        target = self.folder / (claimed.name.split(CLAIM)[0] + ending)
        try:
            return claimed.rename(target)
        except FileNotFoundError:
            return target  # the claim had lapsed, and another process has dealt with it

    def _waiting(self) -> Iterator[Path]:
        now = self._now()
        for name in sorted(_names(self.folder)):
            if not name.startswith(VERSION + "-"):
                continue
            base, claimed, holder = name.partition(CLAIM)
            if base.endswith(READY) and (not claimed or self._lapsed(holder, now)):
                yield self.folder / name

    def _lapsed(self, holder: str, now: float) -> bool:
        try:
            until, host, pid = holder.split(".")
            if float(until) < now:
                return True
            if host == self._host:
                os.kill(int(pid), 0)  # sends nothing: asks whether there is such a process
        except ProcessLookupError:
            return True
        except (ValueError, OverflowError, OSError):
            return False  # not a name of ours, or a process of somebody else's: `until` decides
        return False

    def _make_room(self, size: int) -> None:
        # Looking through the folder costs a stat per file, so it is done once for many bodies.
        self._room -= size
        if self._room > 0:
            return
        sizes: list[tuple[str, int]] = []
        for name in sorted(_names(self.folder)):
            path = self.folder / name
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            if name.endswith(".tmp") and stat.st_mtime < time.time() - STALE_TMP_S:
                path.unlink(missing_ok=True)
            else:
                sizes.append((name, stat.st_size))
        total = sum(length for _, length in sizes) + size
        before = self.dropped
        # Once full, a tenth is cleared at once, or every further body would look through the folder.
        enough = self._max_bytes if total <= self._max_bytes else self._max_bytes * 9 // 10
        for name, length in sizes:
            if total <= enough:
                break
            (self.folder / name).unlink(missing_ok=True)
            total -= length
            self.dropped += 1
        if self.dropped > before:
            _log.warning(
                "the span spool %s is full: %d of its oldest files are dropped; start Phoenix, or delete the"
                " folder if its traces are not needed",
                self.folder,
                self.dropped - before,
            )
        self._room = max(0, (self._max_bytes - total) // 8)


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
