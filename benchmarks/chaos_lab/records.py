"""What the campaign can see from outside: the journal, read without a word to its writer, and files of lines."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PERSON = "person"


def lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file of lines; a last line that is not whole yet is left out."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.split("\n")[:-1] if line]


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """A message that is not answered: its turn, its run, and whose turn it is."""

    id: str
    run: str
    receiver: str


class Journal:
    """The journal's file as a stranger reads it, with SQLite alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def rows(self, sql: str, *args: Any) -> list[dict[str, Any]]:
        """The rows of a query; none before the journal has its tables."""
        if self._db is None:
            if not self._path.exists():
                return []
            self._db = sqlite3.connect(self._path, timeout=10, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA query_only = 1")
        try:
            return [dict(row) for row in self._db.execute(sql, args)]
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise

    def place(self) -> tuple[int, int]:
        """The last numbers of envelopes and steps: what is kept later has greater ones."""
        found = self.rows(
            "SELECT (SELECT coalesce(max(n), 0) FROM envelopes) AS e, (SELECT coalesce(max(n), 0) FROM steps) AS s"
        )
        return (found[0]["e"], found[0]["s"]) if found else (0, 0)

    def count(self) -> int:
        """How many records it holds."""
        return sum(self.place())

    def runs(self) -> list[dict[str, Any]]:
        """All runs."""
        return self.rows("SELECT * FROM runs ORDER BY started")

    def status(self, run_id: str) -> str:
        """How a run stands; nothing if it is not there."""
        found = self.rows("SELECT status FROM runs WHERE run_id = ?", run_id)
        return found[0]["status"] if found else ""

    def open_turns(self) -> list[OpenTurn]:
        """The messages of running runs that are not answered, questions to people left out."""
        found = self.rows(
            "SELECT e.id, e.run_id, e.receiver FROM envelopes e JOIN runs r ON r.run_id = e.run_id"
            " WHERE r.status = 'running' AND e.kind = 'ask' AND e.receiver != ?"
            " AND NOT EXISTS (SELECT 1 FROM envelopes a WHERE a.run_id = e.run_id AND a.id = e.id || '-reply')",
            PERSON,
        )
        return [OpenTurn(row["id"], row["run_id"], row["receiver"]) for row in found]

    def begun_payments(self) -> list[str]:
        """The runs in which a `once` tool was begun whose result is not known."""
        found = self.rows(
            "SELECT s.run_id FROM steps s JOIN runs r ON r.run_id = s.run_id"
            " WHERE r.status = 'running' AND s.state = 'intent' AND s.kind = 'tool'"
        )
        return [row["run_id"] for row in found]

    def moved_since(self, place: tuple[int, int]) -> list[dict[str, Any]]:
        """What was kept after that place: whose turn (`turn`) recorded what kind of thing, and when (`at`)."""
        envelopes, steps = place
        found = self.rows(
            "SELECT cause AS turn, reply_to, kind, receiver AS name, run_id, at FROM envelopes WHERE n > ?",
            envelopes,
        )
        for row in found:
            # A reply is the doing of the turn that it ends, which is the message that it answers.
            row["turn"] = row.pop("reply_to") or row["turn"]
        return found + self.rows(
            "SELECT turn_id AS turn, kind, name, run_id, max(started, ended) AS at FROM steps WHERE n > ?",
            steps,
        )

    def questions(self, run_id: str) -> list[dict[str, Any]]:
        """The open questions to a person in a run."""
        found = self.rows(
            "SELECT e.* FROM envelopes e WHERE e.run_id = ? AND e.kind = 'ask' AND e.receiver = ?"
            " AND NOT EXISTS (SELECT 1 FROM envelopes a WHERE a.run_id = e.run_id AND a.id = e.id || '-reply')",
            run_id, PERSON,
        )  # fmt: skip
        return [{**row, "body": json.loads(row["body"])} for row in found]
