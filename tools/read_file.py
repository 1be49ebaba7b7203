"""The tool that reads a text file in the folder a run was given."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field

from callsheet.tools.context import ToolContext
from callsheet.tools.failures import ToolFailure
from callsheet.tools.sources import passages_text
from callsheet.tools.threads import in_thread
from callsheet.tools.tool import tool

MAX_FILE_BYTES = 5_000_000
MAX_TEXT_CHARS = 40_000


@tool(timeout_s=30)
async def read_file(
    path: Annotated[str, Field(min_length=1, max_length=1000)],
    context: ToolContext,
    start_line: Annotated[int, Field(ge=1)] = 1,
    lines: Annotated[int, Field(ge=1, le=2000)] = 200,
) -> str:
    """Read lines of a text file in the folder given to this crew.

    Args:
        path: The file, relative to the folder, like docs/guide.md.
        start_line: The first line to read; the first line of a file is 1.
        lines: How many lines to read.
    """
    if context.folder is None:
        raise ToolFailure("This run was given no folder to read from.")
    return await in_thread(_read, context.folder, path, start_line, lines)


def _read(folder: Path, path: str, start_line: int, lines: int) -> str:
    parts = _inside(path)
    shown = "/".join(parts)
    all_lines = _lines(_text(_open_below(folder, parts, shown), shown))
    if start_line > max(len(all_lines), 1):
        raise ToolFailure(
            f"{shown} has only {len(all_lines)} lines; start_line {start_line} is past its end."
        )
    chosen: list[str] = []
    size = 0
    for line in all_lines[start_line - 1 : start_line - 1 + lines]:
        size += len(line) + 1
        if chosen and size > MAX_TEXT_CHARS:
            break
        if len(line) > MAX_TEXT_CHARS:
            line = f"{line[:MAX_TEXT_CHARS]}\n(cut: this line has {len(line):,} characters)"
        chosen.append(line)
    last = start_line + max(len(chosen), 1) - 1
    text = passages_text(
        [(f"{shown}#L{start_line}-L{last}", shown, "\n".join(chosen) or "(the file is empty)")]
    )
    rest = len(all_lines) - last
    return text + (f"\n\n({rest} more lines; go on with start_line={last + 1}.)" if rest > 0 else "")


def _lines(text: str) -> list[str]:
    # Numbered as editors and the memory's citations do: a form feed, say, ends no line.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def _inside(path: str) -> tuple[str, ...]:
    """The path's parts, of which none can lead out of the folder."""
    pure = PurePosixPath(path.replace("\\", "/"))
    if "\0" in path or any(ord(char) < 32 for char in path):
        raise ToolFailure("The path holds a control character; give a plain relative path.")
    windows_drive = len(path) > 1 and path[1] == ":"
    if pure.is_absolute() or windows_drive or ".." in pure.parts or not pure.parts or path.startswith("~"):
        raise ToolFailure(
            f"{path!r} is outside the folder given to this run. Give a path relative to it, without '..'."
        )
    if any(part.startswith(".") for part in pure.parts):
        raise ToolFailure("Hidden files are not read: they may hold keys.")
    return pure.parts


def _open_below(folder: Path, parts: tuple[str, ...], shown: str) -> int:
    """A descriptor of the file, reached folder by folder without following a link.

    Opening each part below the descriptor of the one before leaves no moment in which a checked path
    could be replaced by a link to somewhere else.
    """
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
        # O_NONBLOCK: opening a named pipe would otherwise wait for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(parts[-1], flags, dir_fd=here)
    except FileNotFoundError:
        raise ToolFailure(f"There is no file {shown!r} in the folder. {_nearby(here)}".strip()) from None
    except (OSError, UnicodeEncodeError) as error:
        reason = (
            os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "not a valid name"
        )
        raise ToolFailure(
            f"{shown!r} cannot be read: {reason}. Links are not followed; give the path of a plain file."
        ) from None
    finally:
        os.close(here)


def _nearby(folder: int) -> str:
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))[:30]
    return f"There is: {', '.join(names)}." if names else ""


def _text(descriptor: int, shown: str) -> str:
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise ToolFailure(f"{shown!r} is a folder. {_nearby(descriptor)}".strip())
        if not stat.S_ISREG(status.st_mode):
            raise ToolFailure(f"{shown!r} is not a plain file.")
        if status.st_size > MAX_FILE_BYTES:
            raise ToolFailure(f"{shown!r} has {status.st_size:,} bytes; the limit is {MAX_FILE_BYTES:,}.")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if b"\0" in data or len(data) > MAX_FILE_BYTES:
        raise ToolFailure(f"{shown!r} is not a text file.")
    return data.decode("utf-8", "replace").removeprefix("\ufeff")
