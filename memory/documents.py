"""Documents: reading files and folders into text."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from callsheet.core.errors import DocumentError
from callsheet.memory.formats import PAGE_BREAK, Unreadable, media_type_of, read_text

__all__ = ["MAX_BYTES", "PAGE_BREAK", "Document", "load_documents"]

MAX_BYTES = 20_000_000
"""Files above this many bytes are not read."""

MAX_TOTAL_CHARS = 200_000_000
"""All documents of one call together, in characters: they, their passages and vectors are held in memory."""

# Folders that hold what was generated or installed, not what was written.
_SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "site-packages"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document's text. `source` names it in citations; pages of a PDF are parted by form feeds."""

    source: str
    title: str
    text: str
    media_type: str = "text/plain"
    metadata: tuple[tuple[str, str], ...] = ()


def load_documents(
    paths: Iterable[Path | str], *, root: Path | None = None, notices: list[str] | None = None
) -> list[Document]:
    """The documents at the paths: files, or folders with all below them, in a stable order.

    Text, Markdown, HTML and PDF are read, and whatever else is text. A source is the path relative to
    `root` (the working folder, if not given) where it lies below it, and absolute elsewhere. In folders,
    hidden files are left out, and binary, empty, unreadable or too large ones too, each with a line
    appended to `notices`; links to folders or out of the folder are not followed. A file that was named itself must be
    readable: raises DocumentError with its path otherwise, for a folder that holds no document, and for more
    text than MAX_TOTAL_CHARS.
    """
    base = (root or Path.cwd()).resolve()
    found: dict[str, Document] = {}
    chars = 0
    for given in paths:
        path = Path(given)
        for document in _loaded(path, base, notices if notices is not None else []):
            chars += len(document.text) if document.source not in found else 0
            if chars > MAX_TOTAL_CHARS:
                raise _error(
                    path,
                    f"and those before it hold more than {MAX_TOTAL_CHARS:,} characters",
                    "Name only the folders and files that matter.",
                )
            found[document.source] = document
    return list(found.values())


def _loaded(path: Path, base: Path, notices: list[str]) -> Iterator[Document]:
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        raise _error(path, f"is not a path that can be read ({error})", "Check its spelling.") from None
    if not exists:
        raise _error(path, "does not exist", f"Check its spelling; relative paths start at {Path.cwd()}.")
    if not is_folder:
        yield _load(path, base)
        return
    loaded = 0
    for file in _files_below(path, notices):
        try:
            document = _load(file, base)
        except DocumentError as error:
            notices.append(f"skipped: {error.message}")
            continue
        loaded += 1
        yield document
    if not loaded:
        raise _error(path, "holds no document that can be read", "Name the files themselves to see why.")


def _files_below(folder: Path, notices: list[str]) -> Iterator[Path]:
    inside = folder.resolve()
    for here, folders, files in os.walk(folder, onerror=lambda error: notices.append(f"skipped: {error}")):
        folders[:] = sorted(n for n in folders if not n.startswith(".") and n not in _SKIPPED_FOLDERS)
        for name in sorted(files):
            if name.startswith("."):
                continue
            file = Path(here, name)
            # A folder from a stranger may hold links to what its reader never meant to hand out.
            if file.is_symlink() and not file.resolve().is_relative_to(inside):
                notices.append(f"skipped: {str(file)!r} is a link that leads out of {str(folder)!r}")
                continue
            yield file


def _load(path: Path, base: Path) -> Document:
    try:
        data = _read(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise _error(path, f"cannot be read: {reason}", "Check that you may read it.") from None
    media_type = media_type_of(path.name, data)
    try:
        title, text = read_text(data, media_type)
    except Unreadable as error:
        raise _error(path, error.reason, error.hint) from None
    if not text.strip():
        hint = (
            "It may be a scan: run it through text recognition (OCR) first."
            if media_type == "application/pdf"
            else "Leave it out, or give a file that has text."
        )
        raise _error(path, "holds no text", hint)
    return Document(
        source=_source(path, base), title=title or path.name, text=text, media_type=media_type,
        metadata=(("bytes", str(len(data))),),
    )  # fmt: skip


def _read(path: Path) -> bytes:
    if not path.is_file():  # before it is opened: opening a device may already do something
        raise _error(path, "is not a plain file", "Give the path of a file or a folder.")
    # Looked at again through the descriptor that is read, and never more than the limit: what the path names may
    # change in between, and a file that claims no size (as in /proc) may have no end. O_NONBLOCK: opening a
    # named pipe would otherwise wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _error(path, "is not a plain file", "Give the path of a file or a folder.")
        data = file.read(MAX_BYTES + 1) if status.st_size <= MAX_BYTES else b""
    if status.st_size > MAX_BYTES or len(data) > MAX_BYTES:
        size = max(status.st_size, len(data))
        raise _error(path, f"has {size:,} bytes; the limit is {MAX_BYTES:,}", "Split it into smaller files.")
    return data


def _source(path: Path, base: Path) -> str:
    # The folder may be reached through a link: what counts is how the user would write the path.
    whole = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
    for candidate in (whole, path.resolve()):
        if candidate.is_relative_to(base):
            return candidate.relative_to(base).as_posix()
    return whole.as_posix()


def _error(path: Path, what: str, hint: str) -> DocumentError:
    return DocumentError(f"the document {str(path)!r} {what}", path=str(path), hint=hint)
