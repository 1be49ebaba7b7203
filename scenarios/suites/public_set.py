"""Public sets: the folder that the user has downloaded one to, and its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from callsheet.core.errors import SuiteError
from callsheet.scenarios.tables import Row, read_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicSet:
    """A public set that a built-in suite reads. None of it comes with callsheet.

    `folders` are the names that its own folder may have inside the one given as data; `published` says where
    its authors publish it.
    """

    suite: str
    folders: tuple[str, ...]
    published: str

    def find(self, data: Path | None, files: Sequence[str]) -> Path:
        """The first of these files that is there, in the folder given or in the set's own inside it.

        Raises SuiteError, which says what was looked for and where the set is published.
        """
        wanted = " or ".join(files)
        if data is None:
            raise SuiteError(
                f"the suite {self.suite!r} reads a public set that is not part of callsheet",
                hint=f"Name the folder that holds its {wanted}: --data DIR, or CALLSHEET_DATA. {self.published}",
            )
        if not data.is_dir():
            problem = "is a file, and no folder" if data.exists() else "does not exist"
            raise SuiteError(
                f"the suite {self.suite!r} looks for its public set in {data}, which {problem}", path=str(data),
                hint=f"Name the folder that holds its {wanted}: --data DIR, or CALLSHEET_DATA. {self.published}",
            )  # fmt: skip
        for folder in (data, *(data / name for name in self.folders)):
            for name in files:
                if (folder / name).exists():
                    return folder / name
        raise SuiteError(
            f"the suite {self.suite!r} finds no {wanted} in {data}"
            f" nor in its folder {' or '.join(self.folders)}",
            path=str(data), hint=self.published,
        )  # fmt: skip


def rows_with(path: Path, *columns: str) -> list[Row]:
    """The rows of a set's file (JSON Lines, whatever its name), each of which has these columns.

    Raises SuiteError with the line.
    """
    rows = read_rows(path, "file of the public set", ".jsonl")
    for row in rows:
        missing = [name for name in columns if row.values.get(name) is None]
        if missing:
            raise SuiteError(
                f"{path}, line {row.line}: there is no {missing[0]}", path=str(path),
                hint=f"Each line has: {', '.join(columns)}. Is it the file of another set, or another version?",
            )  # fmt: skip
    return rows
