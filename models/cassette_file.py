"""The file of a cassette: one exchange a line, added whole or not at all, by several processes at once."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callsheet.core.errors import CallsheetError, ServiceError, UsageError
from callsheet.models.exchange import data_digest, normal, writable
from callsheet.models.messages import ModelReply, reply_from_data, reply_to_data

log = logging.getLogger(__name__)

VERSION = 1
"""Version of a line. 1: `request` with `reply` or `error`, and the agent that asked."""

_TAIL = 65536
_BEGINNING = b'{"v":'


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request, as `exchange.request_data` gives it, and the reply to it, or the error."""

    request: dict[str, Any]
    answer: ModelReply | CallsheetError
    agent: str = ""
    line: int = 0
    """Where it stands in its file, from 1."""
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", data_digest(self.request))


def line_of(exchange: Exchange) -> str:
    """An exchange as one line of text, without its end."""
    data: dict[str, Any] = {"v": VERSION, "agent": exchange.agent, "request": exchange.request}
    if isinstance(exchange.answer, CallsheetError):
        data["error"] = exchange.answer.to_dict()
    else:
        reply = reply_to_data(exchange.answer)
        del reply["request_id"]  # of that run
        data["reply"] = reply
    return writable(data)


def append(path: str, text: str) -> None:
    """Add a line; an earlier one that was torn is taken off first. Raises ServiceError if that cannot be done."""
    try:
        with _locked(path) as file:
            size = _whole(path, file)
            data = text.encode() + b"\n"
            try:
                while data:
                    data = data[os.write(file, data) :]
            except OSError:
                os.ftruncate(file, size)
                raise
    except OSError as error:
        raise ServiceError(
            f"the cassette {path} cannot be written: {error.strerror}", service="gateway",
            hint="Make room for it, or record to another place.",
        ) from error  # fmt: skip


def prepare(path: str) -> None:
    """Make sure that a file can be recorded to, making it (for its owner alone) where there is none.

    Raises UsageError for a path that is not absolute, cannot be written, or holds something else.
    """
    if not Path(path).is_absolute():
        raise UsageError(f"the cassette's path {path!r} is not absolute", hint="Give an absolute path.")
    try:
        with _locked(path) as file:
            first = os.pread(file, _TAIL, 0)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be recorded to: {error.strerror}",
            hint="Name a file in a folder that there is, on the machine where the model gateway runs.",
        ) from error
    if first and not _BEGINNING.startswith(first[: len(_BEGINNING)]):
        raise UsageError(
            f"{path} holds something that is no cassette, and is left as it is",
            hint="Record to another file.",
        )


def read(path: str) -> list[Exchange]:
    """All exchanges, in order. A last line that was torn is told of and left out.

    Raises UsageError for a file that cannot be read, or has a line that is no exchange.
    """
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(
            f"the cassette {path} cannot be read: {error.strerror}",
            hint="`callsheet run … --record FILE` makes one; it is read where the model gateway runs.",
        ) from error
    if lines.pop():
        log.warning("%s: the last line, %d, is torn, and does not count", path, len(lines) + 1)
    return [_exchange(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _exchange(path: str, number: int, line: bytes) -> Exchange:
    try:
        data = json.loads(line)
        version = data.get("v")
        if version != VERSION:
            raise UsageError(
                f"{path}, line {number}: an exchange of version {version!r}; this callsheet reads {VERSION}",
                hint="Record it anew, or use the callsheet that recorded it.",
            )
        error = data.get("error")
        answer = CallsheetError.from_dict(error) if error is not None else _reply(data["reply"])
        return Exchange(
            request=normal(data["request"]), answer=answer, agent=str(data.get("agent", "")), line=number
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path}, line {number}: no recorded exchange: {str(error).splitlines()[0]}",
            hint="Each line is a JSON object with `request` and `reply`; take the line out, or record anew.",
        ) from error


def _reply(data: Mapping[str, Any]) -> ModelReply:
    return reply_from_data({**data, "request_id": ""})


@contextlib.contextmanager
def _locked(path: str) -> Iterator[int]:
    # Opened anew for each line: the file may have been moved away, and begun again, meanwhile.
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def _whole(path: str, file: int) -> int:
    """The file's size, once what a writer that died has left of a line is off."""
    end = size = os.fstat(file).st_size
    if not size or os.pread(file, 1, size - 1) == b"\n":
        return size
    while end > 0:
        start = max(0, end - _TAIL)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    log.warning("%s: the last line was torn, and is taken off", path)
    os.ftruncate(file, end)
    return end
