"""Who works on a run: a lock that the kernel, or the database server, releases when its holder dies.

SQLite: `flock` on `<journal file>.owners/<owner>`. PostgreSQL: a session's advisory lock. A journal in
memory has no other process to guard against, so its own owner is the only one alive.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from callsheet.core.canonical import digest
from callsheet.core.errors import JournalError

PATIENCE_S = 10.0
"""How long an owner waits for a dying predecessor of the same name."""

_EVERY_S = 0.05

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")

_held: set[int] = set()  # file descriptors: a forked child lets go of them, or the lock would outlive us


class Owners(Protocol):
    """The locks of one journal's owners."""

    def take(self, owner: str) -> None:
        """Hold the owner's lock from now on. Raises JournalError if another process keeps it."""

    def alive(self, owner: str) -> bool:
        """Whether somebody holds the owner's lock: we ourselves or another process."""

    def others(self) -> bool:
        """Whether there are, or may be, living owners besides us."""

    def close(self) -> None:
        """Let go of the lock."""


class NoOwners:
    """Those of a journal in memory."""

    def __init__(self) -> None:
        self._mine = ""

    def take(self, owner: str) -> None:
        """It is ours: nobody else sees this journal."""
        self._mine = _checked(owner)

    def alive(self, owner: str) -> bool:
        """Whether it is ours."""
        return bool(owner) and owner == self._mine

    def others(self) -> bool:
        """There are none."""
        return False

    def close(self) -> None:
        """Nobody is the owner any more."""
        self._mine = ""


class FileOwners:
    """Those of a SQLite file: `flock` on a file for each, in a folder beside it.

    Who only looks takes a shared lock for a moment, so that two who look do not take each other for the owner.
    """

    def __init__(self, database: Path) -> None:
        self._folder = database.with_name(f"{database.name}.owners")
        self._pid = os.getpid()
        self._held: int | None = None
        self._file: Path | None = None

    def take(self, owner: str) -> None:
        """Hold the lock. Raises JournalError if another process keeps it, or the file cannot be made."""
        self._file = self._folder / _checked(owner)
        try:
            self._folder.mkdir(exist_ok=True)
            self._sweep()
            held = _patiently(self._try)
        except OSError as error:
            raise JournalError(
                f"the lock {self._file} cannot be taken: {error.strerror}",
                hint="The folder of the journal must be one that you may write to.",
            ) from error
        if not held:
            raise _kept(owner)

    def alive(self, owner: str) -> bool:
        """Whether a process holds the lock."""
        if not _NAME.match(owner):
            return False
        try:
            found = os.open(self._folder / owner, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise JournalError(f"the lock of {owner} cannot be looked at: {error.strerror}") from error
        try:
            fcntl.flock(found, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(found)
        return False

    def others(self) -> bool:
        """Whether another of the locks is held."""
        if not self._folder.is_dir():
            return False
        mine = self._file.name if self._file is not None else ""
        return any(self.alive(file.name) for file in self._folder.iterdir() if file.name != mine)

    def close(self) -> None:
        """Let go of the lock, and of its file."""
        if self._held is None or self._file is None or self._pid != os.getpid():
            return  # a forked child's copy of us holds nothing
        with contextlib.suppress(OSError):  # a file that stays is swept away later
            self._file.unlink()
        _held.discard(self._held)
        os.close(self._held)
        self._held = None

    def _try(self) -> bool:
        assert self._file is not None
        found = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its predecessor may have taken the file away between the two: then we hold what nobody sees.
            if os.path.samestat(os.fstat(found), self._file.stat()):
                _held.add(found)
                self._held = found
                return True
        except (BlockingIOError, FileNotFoundError):
            return False
        finally:
            if self._held is None:
                os.close(found)
        return False

    def _sweep(self) -> None:
        """Take away what dead owners have left."""
        for file in self._folder.iterdir():
            with contextlib.suppress(OSError):
                found = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    fcntl.flock(found, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    file.unlink()
                finally:
                    os.close(found)


class ServerOwners:
    """Those of a PostgreSQL database: advisory locks of the sessions that the journals write in.

    The lock is held by the very connection that writes, so whoever has lost the lock cannot write: the
    journal refuses another connection. It needs a connection of its own all the way to the server (a pooler
    that shares sessions, such as pgbouncer in transaction mode, would lend the lock to strangers).
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._db = connection
        self._mine = ""

    def take(self, owner: str) -> None:
        """Hold the lock. Raises JournalError if another session keeps it."""
        key = _key(_checked(owner))
        if not _patiently(lambda: self._ask(f"SELECT pg_try_advisory_lock({key})")):
            raise _kept(owner)
        with self._db.begin():
            # An owner whose machine is gone says no goodbye: the server asks, and lets go within half a minute.
            for name, value in (("idle", 10), ("interval", 5), ("count", 3)):
                self._db.exec_driver_sql(f"SET tcp_keepalives_{name} = {value}")
        self._mine = owner

    def alive(self, owner: str) -> bool:
        """Whether a session holds the lock. Looks within the transaction that is under way, if there is one."""
        if not owner or owner == self._mine:
            return bool(owner)
        # Until the end of the transaction nobody can become that owner: what is claimed from it is sure.
        asked = f"SELECT pg_try_advisory_xact_lock_shared({_key(owner)})"
        return not (
            self._db.exec_driver_sql(asked).scalar() if self._db.in_transaction() else self._ask(asked)
        )

    def others(self) -> bool:
        """There may be, and nothing depends on it."""
        return True

    def close(self) -> None:
        """Let go of the lock now; the connection's end would do it a moment later."""
        if self._mine:
            with contextlib.suppress(sa.exc.SQLAlchemyError, JournalError):  # it went with its connection
                self._ask(f"SELECT pg_advisory_unlock({_key(self._mine)})")
            self._mine = ""

    def _ask(self, question: str) -> bool:
        with self._db.begin():
            return bool(self._db.exec_driver_sql(question).scalar())


def _key(owner: str) -> int:
    """A key of 64 bits with a sign, as PostgreSQL wants it."""
    return int.from_bytes(bytes.fromhex(digest("journal-owner", owner)[:16]), "big", signed=True)


def _checked(owner: str) -> str:
    if not _NAME.match(owner):
        raise JournalError(
            f"{owner!r} cannot own runs", hint="An owner's name has letters, digits, dots and dashes."
        )
    return owner


def _patiently(attempt: Callable[[], bool]) -> bool:
    until = time.monotonic() + PATIENCE_S
    while not attempt():
        if time.monotonic() > until:
            return False
        time.sleep(_EVERY_S)
    return True


def _kept(owner: str) -> JournalError:
    return JournalError(
        f"another process works on the journal as {owner}",
        hint="Wait until it has ended, or end it: `callsheet status` shows what is running.",
    )


def _let_go() -> None:
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)
