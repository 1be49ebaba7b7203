"""`sql`: the query in an answer gives the result that the right query gives."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from callsheet.scenarios.scorers.answers import AnswerScorer, end_of
from callsheet.scenarios.scorers.base import Score, right, wrong
from callsheet.scenarios.scorers.reading import fenced
from callsheet.scenarios.scorers.result_sets import orders_rows, same_result
from callsheet.scenarios.scorers.sqlite_reading import QueryError, Rows, read_rows

_BEGINS = re.compile(r"^[ \t]*(?:select|with|values)\b", re.IGNORECASE | re.MULTILINE)
_ENDS = re.compile(r";|\n[ \t]*\n")


class Sql(AnswerScorer):
    """The answer's query, run on the SQLite file, gives the rows of one of the right queries.

    Expected: `{database, sql}`, or `{database, answers: [{sql, rows}, …]}`; `rows`, where given, are what that
    query gives, else it is run. The query is the answer's last ```sql block, or the text from its first line that
    begins with SELECT or WITH. Columns' names and order and further columns do not matter; rows' order matters if
    the right query orders them. `database` is a path from `folder` (default: the working folder). Queries can
    read, and nothing else, for at most `time_limit_s` each.
    """

    use = "sql"
    form = "{database: path, sql: query} or {database: path, answers: [{sql: query}, …]}"

    def __init__(
        self, *, folder: str | Path = "", time_limit_s: float = 5.0, max_rows: int = 10_000, **where: str
    ) -> None:
        super().__init__(**where)
        for option, value in (("time_limit_s", time_limit_s), ("max_rows", max_rows)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise self.misuse(f"{option} is {value!r}", "It is a number above 0.")
        self._folder = Path(folder)
        self._time_limit_s, self._max_rows = float(time_limit_s), int(max_rows)
        self._gold: dict[tuple[Path, str], Rows] = {}

    def check_expected(self, expected: Any) -> None:
        """Takes a database that is there, and queries that it answers."""
        if not isinstance(expected, Mapping) or not isinstance(expected.get("database"), str):
            raise self.misfit(expected)
        answers = expected.get("answers", [expected])
        if not isinstance(answers, list) or not answers:
            raise self.misfit(expected)
        for answer in answers:
            fits = isinstance(answer, Mapping) and isinstance(answer.get("sql"), str)
            rows = answer.get("rows", []) if fits else None
            if not isinstance(rows, list) or any(not isinstance(row, (list, tuple)) for row in rows):
                raise self.misfit(expected)
            if len({len(row) for row in rows}) > 1:
                raise self.misuse("the rows differ in length", "Each row has a value for each column.")
        for answer in answers:
            self._wanted(self._path(expected), answer)

    async def judged(self, answer: Any, expected: Any) -> Score:
        """As `judge`, in a thread: queries take their time."""
        return await asyncio.to_thread(self.judge, answer, expected)

    def judge(self, answer: Any, expected: Any) -> Score:
        """Right if the results are the same."""
        query = query_in(end_of(answer))
        if not query:
            return wrong("no query found in the answer")
        path = self._path(expected)
        wanted = [(gold, self._wanted(path, gold)) for gold in expected.get("answers", [expected])]
        # No use in reading on where there are more rows than any right query gives.
        most = max(len(rows.rows) for _, rows in wanted) + 1
        try:
            found = read_rows(path, query, time_limit_s=self._time_limit_s, max_rows=most)
        except QueryError as error:
            return wrong(f"the query: {error}")
        except OSError as error:
            raise self._unreadable(path, error) from error
        for gold, rows in wanted:
            if len(found.columns) < len(rows.columns):
                continue
            if same_result(found.rows, rows.rows, ordered=orders_rows(gold["sql"]), width=len(rows.columns)):
                return right()
        sizes = " or ".join(dict.fromkeys(f"{len(rows.rows)} × {len(rows.columns)}" for _, rows in wanted))
        got = f"{len(found.rows)} × {len(found.columns)}"
        return wrong(f"another result: {got} (rows × columns), wanted {sizes}")

    def _path(self, expected: Mapping[str, Any]) -> Path:
        return self._folder / str(expected["database"])

    def _wanted(self, path: Path, gold: Mapping[str, Any]) -> Rows:
        """What a right query gives, from the case or from the database, once."""
        if "rows" in gold:
            rows = tuple(tuple(row) for row in gold["rows"])
            columns = gold.get("columns") or [""] * (len(rows[0]) if rows else 0)
            if not path.is_file():
                raise self._unreadable(path, FileNotFoundError("it is not there"))
            return Rows(tuple(columns), rows)
        key = (path, gold["sql"])
        if key not in self._gold:
            try:
                self._gold[key] = read_rows(
                    path, gold["sql"], time_limit_s=self._time_limit_s, max_rows=self._max_rows
                )
            except QueryError as error:
                raise self.misuse(
                    f"the right query does not work: {error}: {gold['sql']:.200}", f"It is run on {path}."
                ) from error
            except OSError as error:
                raise self._unreadable(path, error) from error
        return self._gold[key]

    def _unreadable(self, path: Path, error: OSError) -> Exception:
        return self.misuse(
            f"the database {path} cannot be read: {error}", f"Paths begin at {self._folder.absolute()}."
        )


def query_in(text: str) -> str:
    """The query in an answer, or "": its last block fenced as sql, else its last fenced block, else from SELECT on."""
    blocks = fenced(text)
    named = [content for language, content in blocks if language in ("sql", "sqlite")]
    found = (named or [content for _, content in blocks] or [""])[-1]
    if not found:
        begin = _BEGINS.search(text)
        if begin is None:
            return ""
        found = text[begin.start() :]
        end = _ENDS.search(found)
        found = found[: end.start()] if end else found
    return found.strip().rstrip(";").strip()
