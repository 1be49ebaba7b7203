"""`sql`: gold queries are right, changed ones wrong, and hostile ones do nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from callsheet.core.errors import DefinitionError
from callsheet.scenarios import Case
from callsheet.scenarios.scorers import make_scorer
from callsheet.scenarios.scorers.result_sets import orders_rows
from callsheet.scenarios.scorers.sql import Sql, query_in
from callsheet.scenarios.scorers.sqlite_reading import QueryError, read_rows
from tests.data_sets import data_file


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "CREATE TABLE item (id INTEGER, name TEXT, price REAL, stock INTEGER);"
            "INSERT INTO item VALUES (1, 'ant', 1.5, 3), (2, 'bee', 2.0, 3), (3, 'cat', 2.0, 0), (4, NULL, 9, 1);"
        )
    connection.close()
    return path


def right(shop: Path, query: str, gold: str, **options: Any) -> bool:
    scorer = Sql(**options)
    expected = {"database": str(shop), "sql": gold}
    scorer.check_expected(expected)
    return scorer.judge(query, expected).value == 1


def defog() -> list[dict[str, Any]]:
    lines = data_file("sql/defog_questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def expected_of(row: dict[str, Any]) -> dict[str, Any]:
    database = data_file(f"sql/databases/{row['db']}.sqlite")
    return {"database": str(database), "answers": row["answers"]}


def test_every_accepted_query_of_every_question_is_right() -> None:
    scorer, judged = Sql(), 0
    for row in defog():
        expected = expected_of(row)
        scorer.check_expected(expected)
        for answer in row["answers"]:
            assert scorer.judge(f"```sql\n{answer['sql']};\n```", expected).value == 1, row["id"]
            alone = {"database": expected["database"], "sql": answer["sql"]}
            assert scorer.judge(answer["sql"], alone).value == 1, row["id"]
            judged += 1
    assert len(defog()) == 83
    assert judged > 120


def test_changed_queries_whose_result_differs_are_wrong() -> None:
    scorer, judged = Sql(), 0
    for row in defog():
        for answer in row["answers"]:
            expected = {**expected_of(row), "answers": [answer]}
            for changed in (
                f"SELECT * FROM ({answer['sql']}) LIMIT {max(0, len(answer['rows']) - 1)}",
                f"SELECT * FROM ({answer['sql']}) UNION ALL SELECT * FROM ({answer['sql']})",
                f"SELECT 'x' || {quoted(answer['columns'][0])} FROM ({answer['sql']})",
                "SELECT 'something', 'else', 'entirely', -98765",
            ):
                score = scorer.judge(changed, expected)
                assert score.value == 0, (row["id"], changed)
                judged += "another result" in score.explanation or "more than" in score.explanation
    assert judged > 400


def test_rows_out_of_order_are_wrong_only_where_the_right_query_orders() -> None:
    ordered = unordered = 0
    for row in defog():
        gold = row["answers"][0]
        if len(gold["rows"]) < 2 or gold["rows"] == gold["rows"][::-1]:
            continue
        expected = {**expected_of(row), "answers": [gold]}
        reversed_rows = (
            f"SELECT * FROM (SELECT *, row_number() OVER () AS nth FROM ({gold['sql']})) ORDER BY nth DESC"
        )
        found = Sql().judge(reversed_rows, expected).value
        assert found == (0 if orders_rows(gold["sql"]) else 1), row["id"]
        ordered += found == 0
        unordered += found == 1
    assert ordered > 5
    assert unordered > 5


@pytest.mark.parametrize(
    ("query", "gold", "expected"),
    [
        ("SELECT name, id FROM item", "SELECT id, name FROM item", True),
        ("SELECT id, name AS n, price FROM item", "SELECT name FROM item", True),
        ("SELECT name FROM item", "SELECT name, id FROM item", False),
        ("SELECT id FROM item ORDER BY id DESC", "SELECT id FROM item", True),
        ("SELECT id FROM item ORDER BY id DESC", "SELECT id FROM item ORDER BY id", False),
        ("SELECT CAST(stock AS REAL) FROM item", "SELECT stock FROM item", True),
        ("SELECT CAST(stock AS TEXT) FROM item", "SELECT stock FROM item", True),
        ("SELECT 0.1 + 0.2", "SELECT 0.3", True),
        ("SELECT '01'", "SELECT 1", False),
        ("SELECT NULL", "SELECT 0", False),
        ("SELECT NULL", "SELECT ''", False),
        ("SELECT name FROM item WHERE id > 90", "SELECT name FROM item WHERE 0", True),
        ("SELECT id FROM item WHERE 0", "SELECT id, name FROM item WHERE 0", False),
        ("SELECT DISTINCT price FROM item", "SELECT price FROM item", False),
        # The same values in each column, but paired otherwise.
        ("SELECT id, 5 - id FROM item", "SELECT id, id FROM item", False),
        ("SELECT stock FROM item", "SELECT stock, stock FROM item", False),
        ("SELECT stock, stock FROM item", "SELECT stock, stock FROM item", True),
        ("SELECT 'Ant'", "SELECT 'ant'", False),
        ("VALUES (1), (2)", "SELECT id FROM item WHERE id < 3", True),
    ],
)
def test_results_are_equal_by_what_is_in_them(shop: Path, query: str, gold: str, expected: bool) -> None:
    assert right(shop, query, gold) is expected


@pytest.mark.parametrize(
    ("query", "orders"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("SELECT a FROM t order\n by a LIMIT 3", True),
        ("SELECT a FROM (SELECT a FROM t ORDER BY a)", False),
        ("SELECT row_number() OVER (ORDER BY a) FROM t", False),
        ("SELECT 'ORDER BY a' FROM t -- ORDER BY", False),
        ('SELECT "order by" FROM t /* ORDER BY */', False),
        ("SELECT max(a) FROM t UNION SELECT (1) ORDER BY 1", True),
    ],
)
def test_whether_a_query_orders_is_read_from_itself_alone(query: str, orders: bool) -> None:
    assert orders_rows(query) is orders


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("SELECT 1;", "SELECT 1"),
        ("Here:\n```sql\nSELECT 1\n```\nbetter:\n```SQL\nSELECT 2;\n```\nas asked", "SELECT 2"),
        ("```sql\nSELECT 1\n```\n```\na | b\n```", "SELECT 1"),
        ("```\nWITH x AS (SELECT 1) SELECT * FROM x\n```", "WITH x AS (SELECT 1) SELECT * FROM x"),
        ("The query is\nSELECT a\nFROM t;\nIt works.", "SELECT a\nFROM t"),
        ("select a from t\n\nThat is all.", "select a from t"),
        ("```sql\nSELECT 1", "SELECT 1"),
        ("I cannot say.", ""),
    ],
)
def test_the_query_of_an_answer_is_found(text: str, query: str) -> None:
    assert query_in(text) == query


HOSTILE = [
    "DELETE FROM item",
    "INSERT INTO item VALUES (9, 'x', 1, 1)",
    "UPDATE item SET price = 0",
    "DROP TABLE item",
    "CREATE TABLE t (a)",
    "CREATE TEMP TABLE t AS SELECT 1",
    "WITH x AS (SELECT 1) DELETE FROM item",
    "DELETE FROM item RETURNING id",
    "VACUUM INTO 'copy.sqlite'",
    "ATTACH 'other.sqlite' AS o",
    "PRAGMA writable_schema = 1",
    "PRAGMA table_info(item)",
    "SELECT * FROM pragma_table_info('item')",
    "BEGIN IMMEDIATE",
    "SAVEPOINT s",
    "REINDEX",
    "ANALYZE",
    "SELECT load_extension('evil')",
    "SELECT writefile('x', 'y')",
    "SELECT 1; DELETE FROM item",
    "SELECT zeroblob(900000000)",
    "SELECT hex(randomblob(900000000))",
    "SELECT name FROM sqlite_dbpage",
    "EXPLAIN SELECT 1",
    "SELECT \x00",
    "SELECT \udc00",
    "(" * 50_000,
    "SELECT " + "+".join(["1"] * 30_000),
]


@pytest.mark.parametrize(
    "query",
    [
        "PRAGMA table_info(item)",
        "SELECT * FROM pragma_table_info('item')",
        "SELECT load_extension('evil')",
        "CREATE TEMP TABLE t AS SELECT 1",
    ],
)
def test_nothing_but_reading_tables_is_authorized(shop: Path, query: str) -> None:
    with pytest.raises(QueryError, match=r"not authorized|prohibited"):
        read_rows(shop, query, time_limit_s=5, max_rows=100)


@pytest.mark.parametrize("query", HOSTILE)
def test_what_does_more_than_read_is_stopped_and_wrong(shop: Path, query: str, tmp_path: Path) -> None:
    before, files = digest(shop), sorted(tmp_path.iterdir())
    score = Sql().judge(f"```sql\n{query}\n```", {"database": str(shop), "sql": "SELECT 1"})
    assert score.value == 0
    assert score.explanation.startswith("the query: ")
    assert digest(shop) == before
    assert sorted(tmp_path.iterdir()) == files


SLOW = "instr(printf('%.*c', 199999, 'a'), printf('%.*c', 99999, 'a') || 'b')"


@pytest.mark.parametrize(
    "query",
    [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n WHERE i > 1",
        f"SELECT count(*) FROM {', '.join(f'item i{number}' for number in range(16))}",
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 + {SLOW} FROM n) SELECT max(i) FROM n",
    ],
)
def test_what_never_ends_is_stopped(shop: Path, query: str) -> None:
    # The last one is made of steps that take long each, in which SQLite does not look at the clock.
    score = Sql(time_limit_s=0.2).judge(query, {"database": str(shop), "sql": "SELECT 1"})
    assert (score.value, score.explanation) == (0, "the query: it took more than 0.2 s")


def test_no_more_rows_are_read_than_could_be_right(shop: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    score = Sql().judge(endless, {"database": str(shop), "sql": "SELECT 1"})
    assert (score.value, score.explanation) == (0, "the query: it gives more than 2 rows")
    wide = "SELECT " + ", ".join(["printf('%.*c', 199999, 'x')"] * 50)
    assert "more than 5 MB" in Sql().judge(wide, {"database": str(shop), "sql": "SELECT 1"}).explanation


def test_a_database_that_is_read_only_can_be_read(shop: Path) -> None:
    shop.chmod(0o444)
    assert right(shop, "SELECT sum(stock) FROM item", "SELECT 7")


def test_names_with_signs_of_addresses_are_files(shop: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a?mode=rwc&x#y %41.sqlite"
    shutil.copy(shop, odd)
    assert right(odd, "SELECT count(*) FROM item", "SELECT 4")


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        (None, "has no expected"),
        ("SELECT 1", "It compares with"),
        ({"sql": "SELECT 1"}, "It compares with"),
        ({"database": "shop.sqlite"}, "It compares with"),
        ({"database": "shop.sqlite", "answers": []}, "It compares with"),
        ({"database": "none.sqlite", "sql": "SELECT 1"}, "cannot be read"),
        ({"database": "none.sqlite", "answers": [{"sql": "SELECT 1", "rows": [[1]]}]}, "cannot be read"),
        ({"database": "shop.sqlite", "sql": "SELECT colour FROM item"}, "no such column"),
        ({"database": "shop.sqlite", "sql": "DELETE FROM item"}, "the right query does not work"),
        ({"database": "shop.sqlite", "answers": [{"sql": "…", "rows": [[1], [1, 2]]}]}, "differ in length"),
    ],
)
def test_a_case_that_cannot_be_judged_is_refused(shop: Path, expected: Any, said: str) -> None:
    scorer = make_scorer("sql", folder=shop.parent)
    with pytest.raises(DefinitionError) as caught:
        scorer.check(Case(id="c", input="?", expected=expected))
    assert said in str(caught.value)
    assert caught.value.hint


def test_paths_begin_at_the_suites_folder(shop: Path, judged: Any) -> None:
    scorer = make_scorer({"use": "sql"}, folder=shop.parent)
    scorer.check(Case(id="c", input="?", expected={"database": "shop.sqlite", "sql": "SELECT 1"}))
    assert judged.right(
        "sql", "SELECT 4", {"database": "shop.sqlite", "sql": "SELECT max(id) FROM item"}, folder=shop.parent
    )


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
