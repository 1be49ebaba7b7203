"""A bench as a JSON file: what was measured, and the figures that follow from it; the baseline of later benches."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from callsheet.core.errors import UsageError
from callsheet.scenarios.results import BenchResult
from callsheet.scenarios.summary import Summary, summarise

FORMAT = "callsheet-bench"

VERSION = 1
"""Version of the file. 1: `format`, `v`, `result` (what is read back) and `summary` (for people and scripts)."""


def write_json(result: BenchResult, path: str | Path) -> None:
    """Write a bench with its figures; a crash leaves the old file or the new one. Raises UsageError if it cannot."""
    data = {"format": FORMAT, "v": VERSION, "summary": to_data(summarise(result)), "result": to_data(result)}
    write_text(path, json.dumps(data, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def read_json(path: str | Path) -> BenchResult:
    """The bench of a file that `write_json` wrote. Raises UsageError for what is none, or of another version."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint=_NAMED_SO) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON: {error}", hint=_WRITTEN_BY) from error
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("result"), dict):
        raise UsageError(f"{path} is not a bench's JSON file", hint=_WRITTEN_BY)
    _check_version(path, data.get("v"))
    result = data["result"]
    info, trials = result.get("info"), result.get("trials")
    for part in (info, *(trials if isinstance(trials, list) else ())):
        if isinstance(part, dict):
            _check_version(path, part.get("v"))
    try:
        return BenchResult.model_validate(result)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{path} is damaged: {place}: {first['msg']} ({error.error_count()} mistakes in all)",
            hint=_WRITTEN_BY,
        ) from error


def to_data(value: BenchResult | Summary) -> dict[str, Any]:
    """JSON-compatible form; numbers that JSON lacks (infinity, not a number) become null."""
    if isinstance(value, BenchResult):
        found: dict[str, Any] = json.loads(value.model_dump_json())
        return found
    data: dict[str, Any] = _plain(value)
    return data


def write_text(path: str | Path, text: str) -> None:
    """Write a whole file or none, in a folder that is made if need be. Raises UsageError."""
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Models send lone surrogates; UTF-8 has none.
            partial.write_text(text.encode("utf-8", "backslashreplace").decode(), encoding="utf-8")
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}",
            hint="Give a file in a folder that you may write to.",
        ) from error


_WRITTEN_BY = "Give a file that `callsheet bench --out` wrote."
_NAMED_SO = (
    "Give a file that `callsheet bench --out` wrote, or the id of a bench (`callsheet benches` lists them)."
)


def _check_version(path: str | Path, version: object) -> None:
    if version != VERSION:
        raise UsageError(
            f"{path} is a bench of version {version!r}; this callsheet reads version {VERSION}",
            hint="Read it with the callsheet that wrote it, or bench again.",
        )


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return json.loads(value.model_dump_json())
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
