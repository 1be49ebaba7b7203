"""Suites in YAML: what may stand in such a file, and the suite that it makes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callsheet.core.errors import SuiteError, UsageError
from callsheet.core.frozen import names_of
from callsheet.core.limits import Limits
from callsheet.scenarios.case import Case
from callsheet.scenarios.case_tables import FIELDS, cases_of_table, check_unique, make_case, nearest
from callsheet.scenarios.suite import DEFAULT_SCORERS, Suite
from callsheet.scenarios.tables import read_text
from callsheet.scenarios.yaml_text import read_yaml

if TYPE_CHECKING:
    from callsheet.crews import Crew

KEYS = ("name", "description", "crew", "scorers", "limits", "documents", "cases")
"""What stands in a suite's file; only `cases` has to."""


def suite_of_yaml(path: Path, scorers: Sequence[Any] = ()) -> Suite:
    """The suite of a .yaml file; `scorers` stand in the place of its own.

    Raises SuiteError with the line and the field for what is wrong in it, and CrewFileError for its crew.
    """
    value, lines = read_yaml(path, read_text(path, "suite"))
    if not isinstance(value, Mapping):
        raise SuiteError(
            f"{path}: a suite is {_named(value)}", path=str(path),
            hint=f"It has these fields, each on a line of its own: {', '.join(KEYS)}.",
        )  # fmt: skip
    for key in value:
        if key not in KEYS:
            raise SuiteError(
                f"{path}: a suite has no field {key!r}", path=str(path), hint=nearest(str(key), KEYS)
            )
    for key in ("name", "description", "crew"):
        if not isinstance(value.get(key, ""), str):
            raise _wrong(path, key, value[key], "It is a text; in quotes, if it looks like a number.")
    crew = value.get("crew")
    return built(
        path, value.get("name") or name_of(path), _cases(path, value.get("cases"), lines),
        scorers or _listed(path, "scorers", value.get("scorers"), list(DEFAULT_SCORERS)),
        limits=_limits(path, value.get("limits")),
        documents=_texts(path, "documents", value.get("documents")),
        description=value.get("description", ""),
        crew=None if crew is None else _crew(path, crew),
    )  # fmt: skip


def suite_of_table(path: Path, scorers: Sequence[Any] = ()) -> Suite:
    """The suite of a .jsonl or .csv file alone; without `scorers`, its answers are compared exactly."""
    return built(path, name_of(path), cases_of_table(path), scorers or DEFAULT_SCORERS)


def built(path: Path, name: str, cases: Sequence[Case], scorers: Sequence[Any], **more: Any) -> Suite:
    """The suite of a file. What Suite itself finds wrong is told with the file's name."""
    try:
        return Suite(name, cases, scorers, folder=path.parent, **more)
    except SuiteError:
        raise
    except UsageError as error:
        raise SuiteError(f"{path}: {error.message}", path=str(path), hint=error.hint) from error


def name_of(path: Path) -> str:
    """A suite's name, from its file's: `Help Desk.yaml` is `help-desk`."""
    return re.sub(r"[^a-z0-9_]+", "-", path.stem.lower()).strip("-_")[:48] or "suite"


def _cases(path: Path, given: Any, lines: Mapping[int, int]) -> list[Case]:
    if isinstance(given, str):
        given = {"from": given}
    if isinstance(given, Mapping):
        return _cases_from(path, given)
    if not given:
        raise SuiteError(
            f"{path}: the suite has no cases", path=str(path),
            hint="cases: is a list of {id, input, expected}, or the path of a .csv or .jsonl file.",
        )  # fmt: skip
    if not isinstance(given, list):
        raise _wrong(path, "cases", given, "It is a list, or the path of a .csv or .jsonl file.")
    found = []
    for nth, item in enumerate(given, 1):
        line = lines.get(id(item))
        place = f"{path}, case {nth}" if line is None else f"{path}, line {line}"
        if not isinstance(item, Mapping):
            raise SuiteError(
                f"{place}: a case is {_named(item)}", path=str(path),
                hint=f"It has these fields: {', '.join(FIELDS)}.",
            )  # fmt: skip
        found.append(make_case(place, path, item))
    check_unique(path, found, [lines.get(id(item)) for item in given])
    return found


def _cases_from(path: Path, given: Mapping[str, Any]) -> list[Case]:
    known = ("from", *FIELDS)
    for key, column in given.items():
        if key not in known:
            raise SuiteError(
                f"{path}: cases: there is no field {key!r}", path=str(path), hint=nearest(str(key), known)
            )
        if not isinstance(column, str):
            raise _wrong(path, f"cases.{key}", column, "It is a text: the name of a column.")
    if "from" not in given:
        raise SuiteError(
            f"{path}: cases: does not say from where", path=str(path), hint="cases: {from: cases.csv, id: nr}"
        )
    columns = {key: column for key, column in given.items() if key != "from"}
    return cases_of_table(path.parent / given["from"], columns)


def _limits(path: Path, given: Any) -> Limits | None:
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise _wrong(path, "limits", given, "It is limits by name: limits: {budget_usd: 0.05}.")
    for name in given:
        if name not in names_of(Limits):
            raise SuiteError(
                f"{path}: there is no limit {name!r}",
                path=str(path),
                hint=nearest(str(name), names_of(Limits)),
            )
    try:
        return Limits(**given)
    except UsageError as error:
        raise SuiteError(f"{path}: {error.message}", path=str(path), hint=error.hint) from error


def _crew(path: Path, ref: str) -> Crew:
    from callsheet.crews.loading import load_crew

    # As a path it begins, like all in the file, at the file's folder; as a module or a name it does not.
    source = ref.rpartition(":")[0] or ref
    is_file = source.endswith(".py") or ref.endswith(".py")
    return load_crew(str(path.parent / ref) if is_file else ref)


def _texts(path: Path, key: str, given: Any) -> list[str]:
    found = _listed(path, key, given, [])
    for item in found:
        if not isinstance(item, str):
            raise _wrong(path, key, item, "It is a list of paths.")
    return found


def _listed(path: Path, key: str, given: Any, default: list[Any]) -> list[Any]:
    if given is None:
        return default
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list):
        raise _wrong(path, key, given, f"It is a list: {key}: […].")
    return given


def _wrong(path: Path, key: str, value: Any, hint: str) -> SuiteError:
    return SuiteError(f"{path}: {key} is {str(value)[:200]!r}", path=str(path), hint=hint)


def _named(value: Any) -> str:
    names = {"str": "a text", "list": "a list", "NoneType": "empty"}
    return names.get(type(value).__name__, f"{value!r}"[:80])
