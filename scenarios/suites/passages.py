"""Passages of a public set as documents that a crew can search: a file for each, named by its id."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from callsheet.core.canonical import digest
from callsheet.core.errors import SuiteError
from callsheet.settings import load_settings

_SAFE = re.compile(r"[^A-Za-z0-9._-]")


def passages_folder(name: str, passages: Mapping[str, tuple[str, str]]) -> Path:
    """A folder with a Markdown file for each passage, `{id: (title, text)}`; written once, and found again.

    It lies below the home (`CALLSHEET_HOME`) under a name that follows from its contents, and appears whole or
    not at all. A citation of a passage begins with its file: `…/hp-0009.md#L3-L3`. Raises SuiteError where it
    cannot be written.
    """
    texts = {file_name(key): f"# {title}\n\n{text.strip()}\n" for key, (title, text) in passages.items()}
    parts = [part for key in sorted(texts) for part in (key, texts[key])]
    folder = load_settings().home / "suites" / f"{name}-{digest(*parts)[:12]}"
    if folder.is_dir():
        return folder
    try:
        _write(folder, texts)
    except OSError as error:
        raise SuiteError(
            f"the passages of the suite {name!r} cannot be written to {folder}: {error}", path=str(folder),
            hint="Name a folder that can be written to: CALLSHEET_HOME.",
        ) from error  # fmt: skip
    return folder


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for key, text in texts.items():
            (half / key).write_text(text, encoding="utf-8")
        half.rename(folder)
    except OSError:
        # Another process may have written the very same meanwhile.
        shutil.rmtree(half, ignore_errors=True)
        if not folder.is_dir():
            raise


def file_name(key: str) -> str:
    """The name of the file of a passage."""
    return f"{_SAFE.sub('_', key)}.md"
