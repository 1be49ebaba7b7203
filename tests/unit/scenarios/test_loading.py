"""Suites from files: what they make, and what is told of a bad one."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies

from callsheet.core.errors import CrewFileError, SuiteError, UnknownNameError
from callsheet.scenarios.loading import load_suite
from callsheet.scenarios.tables import read_rows
from callsheet.scenarios.yaml_text import read_yaml

GOOD = """
name: helpdesk
description: Questions about orders.
crew: desk.py
scorers:
  - contains
  - {use: regex, name: numbered, pattern: '\\d+'}
limits: {budget_usd: 0.05, turns: 9}
documents: [guide.md]
cases:
  - id: 17
    input: Where is order 17?
    expected: Monday
    metadata: {topic: orders}
  - {id: closed, input: {question: Open then, day: 2024-05-01}, expected: no, files: [guide.md]}
"""

DESK = """
from callsheet import Agent, Crew
from callsheet.scenarios import Case, Suite

crew = Crew("desk", agents=[Agent("clerk", role="You answer.")])
"""


def write(folder: Path, name: str, text: str | bytes) -> str:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def error_of(ref: str, **more: Any) -> str:
    with pytest.raises(SuiteError) as caught:
        load_suite(ref, **more)
    assert caught.value.hint
    return str(caught.value)


def test_a_yaml_file_is_a_whole_suite(tmp_path: Path) -> None:
    write(tmp_path, "guide.md", "# Guide")
    write(tmp_path, "desk.py", DESK)
    suite = load_suite(write(tmp_path, "suite.yaml", GOOD))
    assert (suite.name, suite.description) == ("helpdesk", "Questions about orders.")
    assert [s.name for s in suite.scorers] == ["contains", "numbered"]
    assert suite.crew is not None
    assert suite.crew.name == "desk"
    assert suite.limits is not None
    assert (suite.limits.budget_usd, suite.limits.turns) == (0.05, 9)
    assert suite.documents == (tmp_path / "guide.md",)
    first, second = suite.cases
    assert (first.id, first.expected, first.metadata) == ("17", "Monday", {"topic": "orders"})
    # Words are texts as they are written: YAML 1.1 would make False and a date of them.
    assert (second.input, second.expected) == ({"question": "Open then", "day": "2024-05-01"}, "no")


def test_cases_come_from_a_table_whose_columns_are_named(tmp_path: Path) -> None:
    write(tmp_path, "q.csv", 'nr,question,answer,topic\n1,"Where, now?",Monday,orders\n')
    text = "scorers: contains\ncases: {from: q.csv, id: nr, input: question, expected: answer}\n"
    suite = load_suite(write(tmp_path, "Help Desk.yml", text))
    assert suite.name == "help-desk"
    (case,) = suite.cases
    assert (case.id, case.input, case.expected) == ("1", "Where, now?", "Monday")
    assert case.metadata == {"topic": "orders"}


def test_tables_alone_are_suites_judged_by_given_scorers(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "a")
    table = 'id,input,expected,files\n1,"two\nlines",x,a.md;a.md\n\n2,b,,\n'
    suite = load_suite(write(tmp_path, "t.csv", table), scorers=["cost"])
    assert [s.name for s in suite.scorers] == ["cost"]
    assert (suite.cases[0].input, suite.cases[0].files) == ("two\nlines", ("a.md", "a.md"))
    assert (suite.cases[1].expected, suite.cases[1].files) == (None, ())
    lines = '{"id": 1, "input": {"a": "x\u2028y"}, "expected": [1]}\n'
    suite = load_suite(write(tmp_path, "t.jsonl", lines))
    assert (suite.cases[0].id, suite.cases[0].input) == ("1", {"a": "x\u2028y"})
    assert [s.name for s in suite.scorers] == ["exact"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, "t.csv", b"\xef\xbb\xbfid,input,expected\r\n1,a,b\r\n"))
    assert suite.cases[0].id == "1"


def test_a_python_file_holds_a_suite_and_what_its_crew_takes_elsewhere(tmp_path: Path) -> None:
    text = DESK + 'suite = Suite("s", [Case(id="1", input="a", expected="b")], ["exact"], crew=crew)\n'
    ref = write(tmp_path, "my_suite.py", text)
    suite = load_suite(ref)
    assert suite.folder == tmp_path
    assert suite.crew is not None
    assert suite.crew.folder == tmp_path
    assert suite.crew.modules
    assert load_suite(f"{ref}:suite").digest == suite.digest
    assert [s.name for s in load_suite(ref, scorers=["contains"]).scorers] == ["contains"]
    assert "no suite called 'nope'" in error_of(f"{ref}:nope")
    assert "it is of the type Crew" in error_of(f"{ref}:crew")


def test_a_python_file_with_several_suites_wants_a_name(tmp_path: Path) -> None:
    both = 'one = Suite("one", [Case(id="1", input="a", expected="b")])\ntwo = one.only(limit=1)\n'
    ref = write(tmp_path, "both.py", DESK + both)
    assert f"Say which, such as {ref}:one" in error_of(ref)
    assert load_suite(f"{ref}:two").name == "one"
    assert "Define one, such as" in error_of(write(tmp_path, "none.py", DESK))
    assert "line 2" in error_of(write(tmp_path, "broken.py", "x = 1\nx = = 2\n"))
    assert "is a folder" in error_of(f"{tmp_path}:suite")


def test_a_module_may_hold_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        tmp_path, "suite_in_module.py", DESK + 'suite = Suite("s", [Case(id="1", input="a", expected="b")])\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert load_suite("suite_in_module:suite").name == "s"
    sys.modules.pop("suite_in_module")


BAD_YAML = [
    ("", "is empty"),
    ("just words", "a suite is a text"),
    ("name: a\ncases: [\n", "line 3: this is not YAML"),
    ("a: 1\n  b: 2\n", "line 2: this is not YAML"),
    ("name: a\nname: b\n", "line 2: this is not YAML: the key 'name' stands here twice"),
    ("1: a\n", "a suite has no field 1"),
    ("[a]: b\n", "a key is no text"),
    ("cases:\n  - {id: 1, input: a}\nscorer: [exact]\n", "no field 'scorer'\nDid you mean scorers"),
    ("name: a\n", "the suite has no cases"),
    ("cases: 3\n", "cases is '3'"),
    ("cases: [3]\n", "case 1: a case is 3"),
    ("cases:\n  - id: 1\n    inptu: a\n", "line 2: a case has no field 'inptu'\nDid you mean input"),
    ("cases:\n  - {id: 1, input: a, expected: b}\n  - {id: 2}\n", "line 3: the case has no input"),
    ("cases:\n  - {input: a}\n", "line 2: the case has no id"),
    (
        "cases:\n  - {id: 1, input: a}\n  - {id: 1, input: b}\n",
        "two cases have the id '1' (line 2 and line 3)",
    ),
    ("cases:\n  - {id: [1], input: a}\n", "line 2: id is [1]"),
    ("cases:\n  - {id: 1, input: a, files: a.md}\n", "case '1': files is 'a.md'"),
    ("cases:\n  - {id: 1, input: a, metadata: x}\n", "case '1': metadata is 'x'"),
    ("cases:\n  - {id: 1, input: a, files: [gone.md], expected: b}\n", "gone.md"),
    ("scorers: [exat]\ncases: [{id: 1, input: a}]\n", "no scorer is called 'exat'\nDid you mean exact"),
    ("scorers: [{use: regex, patern: x}]\ncases: [{id: 1, input: a}]\n", "Did you mean pattern"),
    ("scorers: 3\ncases: [{id: 1, input: a}]\n", "scorers is '3'"),
    ("cases: [{id: 1, input: a}]\n", "case '1': the scorer 'exact': the case has no expected"),
    ("limits: {budgt_usd: 1}\ncases: [{id: 1, input: a}]\n", "no limit 'budgt_usd'\nDid you mean budget_usd"),
    ("limits: {turns: many}\ncases: [{id: 1, input: a}]\n", "turns is 'many'"),
    ("limits: 3\ncases: [{id: 1, input: a}]\n", "limits is '3'"),
    ("documents: [gone]\ncases: [{id: 1, input: a, expected: b}]\n", "gone"),
    ("documents: [3]\ncases: [{id: 1, input: a, expected: b}]\n", "documents is '3'"),
    ("name: Not A Name\ncases: [{id: 1, input: a, expected: b}]\n", "'Not A Name'"),
    ("name: 3\ncases: [{id: 1, input: a}]\n", "name is '3'"),
    ("cases: gone.csv\n", "gone.csv does not exist"),
    ("cases: notes.txt\n", "must end in .jsonl or .csv"),
    ("cases: {id: nr}\n", "does not say from where"),
    ("cases: {from: a.csv, ids: nr}\n", "no field 'ids'\nDid you mean id"),
    ("cases: {from: a.csv, id: 3}\n", "cases.id is '3'"),
    ("a: &a [*a]\n", "line 1: its aliases stand for a value that holds itself"),
    ("a: !!python/object/apply:os.system [echo]\n", "line 1: this is not YAML"),
]


@pytest.mark.parametrize(("text", "said"), BAD_YAML, ids=[said[:40] for _, said in BAD_YAML])
def test_a_bad_yaml_file_is_told_with_file_line_and_field(tmp_path: Path, text: str, said: str) -> None:
    told = error_of(write(tmp_path, "bad.yaml", text))
    assert said in told
    assert str(tmp_path) in told


def test_aliases_cannot_stand_for_billions(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "aliases stand for more than" in error_of(write(tmp_path, "bomb.yaml", "\n".join(rows)))


def test_aliases_cannot_stand_for_long_texts_again_and_again(tmp_path: Path) -> None:
    cases = "".join(f"- {{id: c{n}, input: *long}}\n" for n in range(6000))
    text = f"description: &long {'x' * 100_000}\ncases:\n{cases}"
    assert "aliases stand for more than" in error_of(write(tmp_path, "bomb.yaml", text))


def test_a_cell_may_hold_a_long_document(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    path = write(tmp_path, "long.csv", f"id,input,expected\n1,{'y' * 200_000},z\n")
    assert load_suite(str(path)).cases[0].input == "y" * 200_000
    assert csv.field_size_limit() == before


BAD_TABLES = [
    ("t.csv", "id,input\n1,a\n2\n", "line 3: 1 cells, where the first line names 2 columns"),
    ("t.csv", "id,input\n1,a,b\n", "line 2: 3 cells"),
    ("t.csv", 'id,input\n1,"a\n2,b\n', "line 2: this is not CSV"),
    ("t.csv", "id,id\n1,a\n", "two columns are called 'id'"),
    ("t.csv", "id,,input\n1,a,b\n", "column 2 has no name"),
    ("t.csv", "id,input\n", "has no rows"),
    ("t.csv", "id,input\n1,\n", "line 2: the case has no input"),
    ("t.csv", "id,question\n1,a\n", "no column 'input'; its columns are: id, question"),
    ("t.csv", "id,input,exspected\n1,a,b\n", "no column 'expected', but one called 'exspected'"),
    ("t.csv", "id,input,expected\n1,a,b\n1,c,d\n", "two cases have the id '1' (line 2 and line 3)"),
    ("t.csv", b"id,input\n1,caf\xe9\n", "line 2, is not UTF-8"),
    ("t.csv", b"PK\x03\x04\x00\x00", "is not text"),
    ("t.jsonl", '{"id": "1", "input": "a"}\n{"id": \n', "line 2: this is not JSON"),
    ("t.jsonl", "\n[1]\n", "line 2: this is list, not an object"),
    ("t.jsonl", '{"id": "1", "input": NaN}\n', "line 1: this is not JSON: NaN is no JSON value"),
    ("t.jsonl", '{"id": "half \\ud83d", "input": "a"}\n', "line 1: id is 'half \\ud83d'"),
    ("t.jsonl", " \n\n", "is empty"),
    ("t.jsonl", '{"id": "1", "input": "a", "files": 3}\n', "files is 3"),
]


@pytest.mark.parametrize(("name", "text", "said"), BAD_TABLES, ids=[said[:40] for *_, said in BAD_TABLES])
def test_a_bad_table_is_told_with_file_and_line(tmp_path: Path, name: str, text: Any, said: str) -> None:
    told = error_of(write(tmp_path, name, text))
    assert said in told
    assert str(tmp_path / name) in told


def test_what_is_not_there_or_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert "does not exist" in error_of(str(tmp_path / "gone.yaml"))
    assert "does not exist" in error_of(str(tmp_path / "gone.py"))
    (tmp_path / "folder.yaml").mkdir()
    assert "is a folder" in error_of(str(tmp_path / "folder.yaml"))
    with pytest.raises(UnknownNameError, match="Did you mean gsm8k"):
        load_suite("gsm8")


def test_a_suite_without_its_ending_is_told_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "mine.yaml", GOOD)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError, match=r"The file is given as mine\.yaml"):
        load_suite("mine")


def test_a_crew_that_is_not_there_is_told(tmp_path: Path) -> None:
    text = "crew: gone.py\ncases: [{id: 1, input: a, expected: b}]\n"
    with pytest.raises(CrewFileError, match="does not exist"):
        load_suite(write(tmp_path, "s.yaml", text))


TEXTS = strategies.text(
    strategies.characters(codec="utf-8", max_codepoint=0xFFFF, exclude_characters="\0"), max_size=30
)


@settings(max_examples=60)
@given(strategies.lists(strategies.dictionaries(TEXTS, TEXTS, min_size=1), min_size=1, max_size=5))
def test_json_lines_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "t.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    assert [row.values for row in read_rows(path)] == rows


VALUES = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers(-(10**9), 10**9) | TEXTS,
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=60)
@given(VALUES)
def test_json_is_yaml_and_means_the_same(value: Any) -> None:
    assert read_yaml(Path("x.yaml"), json.dumps(value))[0] == value


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0", b"name: \xe9t\xe9\n"])
def test_a_yaml_file_that_is_no_text_is_told_what_it_should_be(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "suite.yaml"
    path.write_bytes(data)
    with pytest.raises(SuiteError) as caught:
        load_suite(str(path))
    assert "UTF-8" in caught.value.hint
    assert "spreadsheet" not in caught.value.hint


def test_a_folder_of_public_sets_that_is_none_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="which does not exist"):
        load_suite("gsm8k", tmp_path / "nowhere")
    (tmp_path / "set.txt").write_text("x")
    with pytest.raises(SuiteError, match="which is a file, and no folder"):
        load_suite("gsm8k", tmp_path / "set.txt")
