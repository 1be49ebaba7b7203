"""A command line in this process: what it prints, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from callsheet.cli.entry import command_line
from callsheet.crews.portal import close_portal


@dataclass(frozen=True)
class Ended:
    """How a command line ended."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Standard output, which must be one JSON value."""
        return json.loads(self.out)


Callsheet = Callable[..., Ended]


@pytest.fixture
def callsheet(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callsheet]:
    """Runs a command line in an empty folder; no traceback may come of any."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*args: str) -> Ended:
        capsys.readouterr()
        status = command_line(args)
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        assert "fault in callsheet" not in said.err
        return Ended(status, said.out, said.err)

    yield run
    close_portal()


@pytest.fixture
def documents(callsheet: Callsheet) -> Path:
    """A folder `docs` and a README in the working folder."""
    here = Path.cwd()
    (here / "docs").mkdir()
    (here / "docs" / "journal.md").write_text(
        "# The journal\n\nThe journal is an append-only record of runs and steps, in SQLite.\n"
    )
    (here / "README.md").write_text(
        "# Crashes\n\ncallsheet survives a crash because every finished step is kept in the journal.\n"
    )
    return here
