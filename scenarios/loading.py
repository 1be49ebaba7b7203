"""Finding a suite by what a person writes: a file, a module, or the name of a built-in one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from callsheet.core.errors import CrewFileError, SuiteError, unknown_name
from callsheet.scenarios.suite import Suite
from callsheet.scenarios.suite_file import suite_of_table, suite_of_yaml
from callsheet.scenarios.suites import built_in_names, built_in_suite
from callsheet.scenarios.tables import SUFFIXES as TABLES

YAML = (".yaml", ".yml")

_AN_EXAMPLE = 'suite = Suite("helpdesk", [Case(id="1", input="…", expected="…")], ["contains"])'


def load_suite(ref: str, data: Path | None = None, scorers: Sequence[Any] = ()) -> Suite:
    """The suite that `ref` names.

    `ref` is a `.yaml` file; a `.jsonl` or `.csv` file of cases; `file.py[:name]` or `package.module:name`, with a
    Suite in it; or a built-in one's name, such as `gsm8k` or `bfcl:parallel`, whose public set is read from the
    folder `data` (see docs/scenarios.md). `scorers`, as in `Suite`, stand in the place of the suite's own.

    Raises SuiteError for what cannot be read or is put together wrongly, with file, line and field,
    UnknownNameError for a name that no suite has, and CrewFileError for a crew that the suite names.
    """
    path = Path(ref)
    suffix = path.suffix.lower()
    if suffix in YAML:
        return suite_of_yaml(path, scorers)
    if suffix in TABLES:
        return suite_of_table(path, scorers)
    if ref.partition(":")[0] in built_in_names():
        return _judged_by(built_in_suite(ref, data), scorers)
    if suffix == ".py" or ":" in ref or os.sep in ref:
        return _judged_by(_of_python(ref), scorers)
    there = [name for name in (ref + end for end in (*YAML, *TABLES, ".py")) if Path(name).exists()]
    raise unknown_name(
        "suite", ref, built_in_names(),
        hint=f"The file is given as {there[0]}." if there
        else "Your own is given as suite.yaml, cases.csv, cases.jsonl or file.py[:name].",
    )  # fmt: skip


def _judged_by(suite: Suite, scorers: Sequence[Any]) -> Suite:
    return suite.with_scorers(scorers) if scorers else suite


def _of_python(ref: str) -> Suite:
    from callsheet.crews.loading import load_file, load_module

    source, colon, name = ref.rpartition(":")
    if not colon or not name.isidentifier():
        source, name = ref.removesuffix(":"), ""
    is_file = source.endswith(".py") or os.sep in source or Path(source).exists()
    if is_file and not Path(source).is_file():
        raise SuiteError(
            f"the suite {source} does not exist" if not Path(source).exists() else f"{source} is a folder",
            path=source, hint=f"Check its spelling; relative paths start at {Path.cwd()}.",
        )  # fmt: skip
    try:
        loaded = load_file(Path(source)) if is_file else load_module(source)
    except CrewFileError as error:
        raise SuiteError(error.message, path=source, hint=error.hint) from error
    suite = _pick(loaded.module, name, source)
    if suite.crew is not None:
        loaded.ready(suite.crew)
    return suite


def _pick(module: ModuleType, name: str, shown: str) -> Suite:
    suites = {key: value for key, value in vars(module).items() if isinstance(value, Suite)}
    told = f"There is: {', '.join(suites)}." if suites else f"Define one, such as: {_AN_EXAMPLE}"
    if name:
        if name in suites:
            return suites[name]
        there = getattr(module, name, None)
        raise SuiteError(
            f"{shown} has no suite called {name!r}"
            + (f" (it is of the type {type(there).__name__})" if there is not None else ""),
            path=shown, hint=told,
        )  # fmt: skip
    different = list({id(suite): suite for suite in suites.values()}.values())
    if not different:
        raise SuiteError(f"there is no suite in {shown}", path=shown, hint=told)
    if len(different) > 1:
        raise SuiteError(
            f"there are {len(different)} suites in {shown}: {', '.join(suites)}", path=shown,
            hint=f"Say which, such as {shown}:{next(iter(suites))}.",
        )  # fmt: skip
    return different[0]
