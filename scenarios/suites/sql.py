"""Text to SQL: a question over a SQLite database, answered with a query whose result is compared.

Defog, "sql-eval" (2023): questions with all their accepted queries, over databases of its `defog-data`.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from callsheet.core.errors import SuiteError
from callsheet.scenarios.case import Case
from callsheet.scenarios.suite import Suite
from callsheet.scenarios.suites.crews import one_agent_crew
from callsheet.scenarios.suites.public_set import PublicSet, rows_with

PUBLIC = PublicSet(
    suite="sql", folders=("sql",),
    published="Defog publishes its questions and databases on GitHub, as defog-ai/sql-eval and "
    "defog-ai/defog-data. A line of defog_questions.jsonl has id, db, question and answers (each with sql); the "
    "folder databases beside it has a .sqlite file for each db.",
)  # fmt: skip

crew = one_agent_crew(
    "analyst",
    "You write SQL for SQLite. You are given a database's tables and a question. Answer with one "
    "SELECT statement that gives the answer, in a ```sql block, and nothing after it.",
    name="sql", module=__name__, description="Writes a query with one agent.",
)  # fmt: skip


def suite(data: Path | None) -> Suite:
    """The questions of the file `defog_questions.jsonl`, over the SQLite files in `databases`."""
    path = PUBLIC.find(data, ("defog_questions.jsonl",))
    schemas: dict[str, str] = {}
    cases = []
    for row in rows_with(path, "id", "db", "question", "answers"):
        name = row.values["db"]
        database = path.parent / "databases" / f"{name}.sqlite"
        if name not in schemas:
            schemas[name] = _schema(database)
        advice = row.values.get("instructions") or ""
        task = f"{schemas[name]}\n\nQuestion: {row.values['question']}"
        cases.append(
            Case(
                id=row.values["id"],
                input=f"{task}\n{advice}" if advice else task,
                expected={"database": f"databases/{name}.sqlite", "answers": row.values["answers"]},
                metadata={"db": name, "category": row.values.get("category", "")},
            )
        )
    return Suite(
        "sql", cases, ["sql"], folder=path.parent, crew=crew,
        description="Text to SQL; right is a query that gives the rows of an accepted one.",
    )  # fmt: skip


def _schema(database: Path) -> str:
    """The statements that made its tables. Raises SuiteError for what is no database."""
    try:
        connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            found = connection.execute(
                "SELECT sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY rowid"
            ).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise SuiteError(
            f"the database {database} cannot be read: {error}", path=str(database), hint=PUBLIC.published
        ) from None
    return "\n\n".join(f"{sql};" for (sql,) in found)
