"""Tables of cases: CSV and JSON Lines, read row by row with the line that each stands on."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callsheet.core.errors import SuiteError

SUFFIXES = (".jsonl", ".csv")
"""What a table's name may end in."""

MAX_BYTES = 512_000_000
"""Files above this many bytes are not read: they are held in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: its values by column, and the line of the file (from 1) where it begins."""

    line: int
    values: dict[str, Any]


def read_text(path: Path, what: str = "file") -> str:
    """The file's text, without a byte order mark. Raises SuiteError for a file that has none to read."""
    try:
        if path.stat().st_size > MAX_BYTES and path.is_file():
            raise SuiteError(
                f"the {what} {path} has more than {MAX_BYTES:,} bytes", path=str(path),
                hint="Split it, or bench a part of it.",
            )  # fmt: skip
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            problem = "does not exist"
        elif isinstance(error, IsADirectoryError):
            problem = "is a folder"
        else:
            problem = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise SuiteError(
            f"the {what} {path} {problem}", path=str(path),
            hint=f"Check its spelling and that you may read it; relative paths start at {Path.cwd()}.",
        ) from None  # fmt: skip
    if b"\0" in data:
        raise SuiteError(
            f"the {what} {path} is not text: it holds zero bytes", path=str(path),
            hint="Give a text file in UTF-8: .yaml, .jsonl or .csv.",
        )  # fmt: skip
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SuiteError(
            f"the {what} {path}, line {line}, is not UTF-8 text", path=str(path),
            hint="Save it as UTF-8; a spreadsheet is exported as CSV UTF-8." if path.suffix.lower() == ".csv"
            else "Is it a text file? Save it as UTF-8.",
        ) from None  # fmt: skip
    if not text.strip():
        raise SuiteError(f"the {what} {path} is empty", path=str(path), hint="Give it at least one case.")
    return text


def read_rows(path: Path, what: str = "file", form: str = "") -> list[Row]:
    """The rows of a .jsonl or .csv file, in order; empty lines are passed over. Raises SuiteError with the line.

    `form` is the ending that a file of another name should have.
    """
    suffix = form or path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SuiteError(
            f"the {what} {path} is no table that can be read", path=str(path),
            hint=f"Its name must end in {' or '.join(SUFFIXES)}.",
        )  # fmt: skip
    text = read_text(path, what)
    rows = list(_json_rows(path, text) if suffix == ".jsonl" else _csv_rows(path, text))
    if not rows:
        raise SuiteError(f"the {what} {path} has no rows", path=str(path), hint="Give it at least one case.")
    return rows


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    # Not splitlines(): JSON text may hold the separators U+2028 and U+0085 as they are.
    for line, raw in enumerate(text.split("\n"), 1):
        if not raw.strip():
            continue
        try:
            value = json.loads(raw, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise SuiteError(
                f"{path}, line {line}: this is not JSON: {reason}", path=str(path),
                hint='Each line is one object, such as {"id": "1", "input": "…", "expected": "…"}.',
            ) from None  # fmt: skip
        if not isinstance(value, dict):
            raise SuiteError(
                f"{path}, line {line}: this is {type(value).__name__}, not an object", path=str(path),
                hint='Each line is one object, such as {"id": "1", "input": "…", "expected": "…"}.',
            )  # fmt: skip
        yield Row(line=line, values=value)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    begins = 1
    # Python's own limit for a cell, 128 KiB, is less than documents have; it is one for the whole process.
    limit_before = csv.field_size_limit(MAX_BYTES)
    try:
        for cells in reader:
            line, begins = begins, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = _header(path, line, cells)
                continue
            if len(cells) != len(header):
                raise SuiteError(
                    f"{path}, line {line}: {len(cells)} cells, where the first line names {len(header)} columns",
                    path=str(path), hint='Put "…" around texts that hold commas, quotes or line breaks.',
                )  # fmt: skip
            yield Row(line=line, values=dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise SuiteError(
            f"{path}, line {begins}: this is not CSV: {error}", path=str(path),
            hint='Texts that hold quotes are written in quotes, with each quote doubled: "say ""yes""".',
        ) from None  # fmt: skip
    finally:
        csv.field_size_limit(limit_before)


def _header(path: Path, line: int, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    for nth, name in enumerate(names, 1):
        if not name:
            problem = f"column {nth} has no name"
        elif name in names[: nth - 1]:
            problem = f"two columns are called {name!r}"
        else:
            continue
        raise SuiteError(
            f"{path}, line {line}: {problem}", path=str(path), hint="The first line names each column once."
        )
    return names
