"""A bench on disk: `bench.json`, its head, and `trials.jsonl`, with a line for each trial that is finished."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from callsheet.core.canonical import from_json
from callsheet.core.errors import JournalError, UsageError, unknown_name
from callsheet.core.ids import RUN_ID
from callsheet.scenarios.results import VERSION, BenchInfo, Trial

HEAD = "bench.json"
TRIALS = "trials.jsonl"
LOCK = "lock"


def benches_folder(home: Path) -> Path:
    """Where a home keeps its benches, a folder for each."""
    return home / "benches"


class BenchFolder:
    """One bench on disk. Only who holds it (`held`) adds trials.

    The head is written whole before anything is done. A trial is on disk before `add` returns. The torn last
    line of a process that was killed is dropped, so its trial counts as not finished. Of several lines of one
    trial, which is what trying it again makes, the last holds. Raises JournalError where it cannot be written,
    and UsageError where it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None
        self._before = False

    @staticmethod
    def create(path: Path, info: BenchInfo) -> BenchFolder:
        """A new bench."""
        try:
            path.mkdir(parents=True)
            draft = path / f"{HEAD}.new"
            with draft.open("wb") as file:
                file.write(info.model_dump_json(indent=1).encode())
                _to_disk(file)
            draft.rename(path / HEAD)
            for folder in (path, path.parent):
                _flush_folder(folder)
        except OSError as error:
            raise _unwritable(path, error) from error
        return BenchFolder(path)

    @property
    def is_begun(self) -> bool:
        """Whether a process has held it before this one."""
        return self._before

    def info(self) -> BenchInfo:
        """The head of the bench."""
        path = self.path / HEAD
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"{path} cannot be read: {error}", hint="`callsheet benches` lists what there is."
            ) from error
        _check_version(text, str(path))
        try:
            return BenchInfo.model_validate_json(text)
        except ValidationError as error:
            raise _damaged(str(path), error) from error

    def trials(self) -> dict[int, Trial]:
        """The finished trials, by number."""
        found: dict[int, Trial] = {}
        for number, line in enumerate(self._whole_lines(), 1):
            where = f"{self.path / TRIALS}, line {number}"
            _check_version(line, where)
            try:
                trial = Trial.model_validate_json(line)
            except ValidationError as error:
                raise _damaged(where, error) from error
            found[trial.number] = trial
        return dict(sorted(found.items()))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Work on the bench; the kernel lets go of it when the process ends. Raises UsageError if another does."""
        self._before = (self.path / LOCK).exists()
        with self._locked(), (self.path / TRIALS).open("ab") as file:
            # Whatever is torn would be one line with the next.
            file.truncate(sum(len(line.encode()) + 1 for line in self._whole_lines()))
            _flush_folder(self.path)
            self._file = file
            try:
                yield
            finally:
                self._file = None

    def add(self, trial: Trial) -> None:
        """Keep a finished trial."""
        assert self._file is not None, "only who holds the bench adds to it"
        try:
            self._file.write(trial.model_dump_json().encode() + b"\n")
            _to_disk(self._file)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            found = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        try:
            try:
                fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another process works on the bench {self.path.name}",
                    hint="Wait until it has ended, or end it first.",
                ) from None
            yield
        finally:
            os.close(found)

    def _whole_lines(self) -> list[str]:
        path = self.path / TRIALS
        try:
            data = path.read_bytes() if path.exists() else b""
            return data[: data.rfind(b"\n") + 1].decode().split("\n")[:-1]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path} cannot be read: {error}", hint="Start the bench anew.") from error


def find_bench(benches: Path, wanted: str) -> BenchFolder:
    """The bench of that id, or whose id begins so. Raises UnknownNameError and UsageError."""
    known = [path.name for path in list_benches(benches)]
    if RUN_ID.match(wanted) and wanted in known:
        return BenchFolder(benches / wanted)
    found = [name for name in known if wanted and name.startswith(wanted)]
    if len(found) > 1:
        raise UsageError(
            f"more than one bench begins with {wanted!r}", hint=f"Write more of it: {', '.join(found[:5])}."
        )
    if not found:
        raise unknown_name("bench", wanted, known, hint="`callsheet benches` lists them.")
    return BenchFolder(benches / found[0])


def list_benches(benches: Path) -> Sequence[Path]:
    """The folders of the benches there, the newest first; one without a head never began."""
    if not benches.is_dir():
        return []
    heads = [(path / HEAD, path) for path in benches.iterdir()]
    return [
        path for _, path in sorted(((h.stat().st_mtime, p) for h, p in heads if h.is_file()), reverse=True)
    ]


def _to_disk(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    """What is new in a folder is there after a loss of power too."""
    found = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(found)
    finally:
        os.close(found)


def _check_version(text: str, where: str) -> None:
    try:
        data = from_json(text)
        version = data["v"]
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(where, error) from error
    if version != VERSION:
        raise UsageError(
            f"{where} is of version {version!r}, and this callsheet reads version {VERSION}",
            hint="Read it with the callsheet that wrote it.",
        )


def _damaged(where: str, error: Exception) -> UsageError:
    first = str(error).splitlines()[0]
    return UsageError(
        f"{where} is damaged: {first}", hint="Mend or delete that line; a trial without one is done again."
    )


def _unwritable(path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"the bench in {path} cannot be written: {error.strerror or error}",
        hint="Make room or set the permissions right, then resume it.",
    )
