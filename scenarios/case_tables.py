"""From a table's rows to cases: which column is which field, and what cannot be a case."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from callsheet.core.canonical import to_json
from callsheet.core.errors import SuiteError
from callsheet.scenarios.case import Case
from callsheet.scenarios.tables import Row, read_rows

FIELDS = tuple(Case.model_fields)
"""The fields of a case."""


def cases_of_table(path: Path, columns: Mapping[str, str] | None = None) -> list[Case]:
    """The cases of a .csv or .jsonl file. Raises SuiteError with the line and the field.

    `columns` says from which column a field comes (`{"id": "nr"}`); the others come from those of their own
    name. What no field takes is kept in the case's metadata. In CSV an empty cell of `expected` means that there
    is none, and `files` are parted by semicolons.
    """
    wanted = {field: field for field in FIELDS} | dict(columns or {})
    rows = read_rows(path, "table of cases")
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    _check_columns(path, wanted, columns or {}, names)
    is_csv = path.suffix.lower() == ".csv"
    cases = [_case_of_row(path, row, wanted, is_csv=is_csv) for row in rows]
    check_unique(path, cases, [row.line for row in rows])
    return cases


def check_unique(path: Path, cases: Sequence[Case], lines: Sequence[int | None]) -> None:
    """Raises SuiteError, with both lines, where two cases have one id."""
    seen: dict[str, int | None] = {}
    for case, line in zip(cases, lines, strict=True):
        if case.id in seen:
            first, second = ("" if n is None else f" (line {n})" for n in (seen[case.id], line))
            raise SuiteError(
                f"{path}: two cases have the id {case.id!r}{first}{second}".replace(") (", " and "),
                path=str(path), hint="Results are kept by id: give one of them another.",
            )  # fmt: skip
        seen[case.id] = line


def make_case(place: str, path: Path, values: Mapping[str, Any]) -> Case:
    """The case of these fields; `place` says where they stand. Raises SuiteError for what can be none."""
    for name in values:
        if name not in FIELDS:
            raise SuiteError(
                f"{place}: a case has no field {name!r}", path=str(path), hint=nearest(str(name), FIELDS)
            )
    for name in ("id", "input"):
        if values.get(name) in (None, ""):
            raise SuiteError(
                f"{place}: the case has no {name}", path=str(path),
                hint="Results are kept by id: give each case one of its own."
                if name == "id" else "It is what the crew is given: text, or data.",
            )  # fmt: skip
    identity = values["id"]
    if isinstance(identity, int) and not isinstance(identity, bool):
        identity = str(identity)
    if not isinstance(identity, str) or not _is_utf8(identity):
        raise SuiteError(
            f"{place}: id is {identity!r}", path=str(path), hint="It is a text or a whole number."
        )
    place = f"{place}, case {identity!r}"
    files = values.get("files") or ()
    if (
        isinstance(files, str)
        or not isinstance(files, Sequence)
        or not all(isinstance(f, str) for f in files)
    ):
        raise SuiteError(
            f"{place}: files is {files!r}", path=str(path), hint="It is a list of paths, also of one."
        )
    metadata = values.get("metadata") or {}
    if not isinstance(metadata, Mapping) or not all(isinstance(key, str) for key in metadata):
        raise SuiteError(
            f"{place}: metadata is {metadata!r}", path=str(path), hint="It is values by name: {topic: tax}."
        )
    for name in ("input", "expected", "metadata"):
        try:
            to_json(values.get(name))
        except (TypeError, ValueError, RecursionError) as error:
            raise SuiteError(
                f"{place}: {name} has no JSON form: {error}",
                path=str(path),
                hint="Give texts, numbers, lists.",
            ) from None
    return Case(
        id=identity, input=values["input"], expected=values.get("expected"), files=tuple(files),
        metadata=dict(metadata),
    )  # fmt: skip


def _is_utf8(text: str) -> bool:
    # JSON can write half of a character, which no file holds.
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def nearest(name: str, known: Iterable[str]) -> str:
    """Advice for a name that is none of the known ones."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else f"There is: {', '.join(names)}."


def _check_columns(
    path: Path, wanted: Mapping[str, str], given: Mapping[str, str], names: Sequence[str]
) -> None:
    for field, column in wanted.items():
        if column in names:
            continue
        if field in given:
            raise SuiteError(
                f"{path} has no column {column!r}, from which {field} is to come", path=str(path),
                hint=nearest(column, names),
            )  # fmt: skip
        unused = [name for name in names if name not in wanted.values()]
        slip = difflib.get_close_matches(field, unused, n=1, cutoff=0.75)
        if slip or field in ("id", "input"):
            raise SuiteError(
                f"{path} has no column {field!r}, but one called {slip[0]!r}" if slip
                else f"{path} has no column {field!r}; its columns are: {', '.join(names)}",
                path=str(path),
                hint="Rename one, or say in a suite's .yaml which it is: "
                f"cases: {{from: {path.name}, {field}: {slip[0] if slip else 'COLUMN'}}}.",
            )  # fmt: skip


def _case_of_row(path: Path, row: Row, wanted: Mapping[str, str], *, is_csv: bool) -> Case:
    values = {field: row.values[column] for field, column in wanted.items() if column in row.values}
    if is_csv:
        values = {field: value for field, value in values.items() if value != ""}
        if "files" in values:
            values["files"] = [part.strip() for part in values["files"].split(";") if part.strip()]
        if "metadata" in values:
            values["metadata"] = {wanted["metadata"]: values["metadata"]}
    taken = set(wanted.values())
    rest = {name: value for name, value in row.values.items() if name not in taken}
    if rest and isinstance(values.get("metadata") or {}, Mapping):
        values["metadata"] = rest | dict(values.get("metadata") or {})
    return make_case(f"{path}, line {row.line}", path, values)
