"""Built-in suites: what they make of public sets, and that their own right answers are right."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from callsheet.agents.functions import functions_data
from callsheet.core.errors import CallsheetError, SuiteError, UnknownNameError
from callsheet.crews import Crew
from callsheet.crews.loading import load_module
from callsheet.crews.sources import load_source
from callsheet.memory.documents import load_documents
from callsheet.memory.passages import cut
from callsheet.scenarios import Attempt, Case, Suite
from callsheet.scenarios.loading import load_suite
from callsheet.scenarios.suites import built_in_names
from callsheet.scenarios.suites.bfcl import json_schema
from callsheet.scenarios.suites.multihop import first_line
from callsheet.scenarios.suites.passages import passages_folder
from callsheet.testing import call, scripted
from tests.data_sets import data_file

pytestmark = pytest.mark.usefixtures("home")


async def no_crew(crew: Crew, task: Any) -> Any:
    raise AssertionError("these scorers run no crew")


async def scores(suite: Suite, case: Case, output: Any) -> dict[str, float]:
    """What the suite's scorers of answers say of this one."""
    attempt = Attempt(case=case, output=output)
    return {s.name: (await s.score(attempt, no_crew)).value for s in suite.scorers}


def data(name: str) -> Path:
    """The folder that the sets are in, as a user would give it."""
    return data_file(name).parent


def lines(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


async def test_gsm8k_takes_the_number_that_the_solution_ends_in() -> None:
    suite = load_suite("gsm8k", data("gsm8k"))
    assert len(suite.cases) == 200
    for case in suite.cases:
        assert await scores(suite, case, case.metadata["solution"]) == {"numeric": 1.0}
        assert await scores(suite, case, f"A: {case.expected}1") == {"numeric": 0.0}


def test_gsm8k_reads_the_file_that_its_authors_publish(tmp_path: Path) -> None:
    path = tmp_path / "grade_school_math" / "test.jsonl"
    lines(path, {"question": "How many?", "answer": "It is 9*200=1,800\n#### 1,800"})
    suite = load_suite("gsm8k", tmp_path)
    assert [(c.id, c.input, c.expected) for c in suite.cases] == [("gsm8k-test-0000", "How many?", "1800")]
    assert load_suite("gsm8k", path.parent).digest == suite.digest
    lines(path, {"question": "How many?", "answer": "18"})
    with pytest.raises(SuiteError, match="line 1: the answer does not end in ####"):
        load_suite("gsm8k", tmp_path)


def first_accepted(value: Any) -> Any:
    if isinstance(value, dict):
        chosen = {key: first_of(values) for key, values in value.items()}
        return {key: item for key, item in chosen.items() if item != ""}
    return value


def first_of(values: Any) -> Any:
    if not isinstance(values, list):
        return values
    return first_accepted(next((v for v in values if v != ""), ""))


# No value at all is accepted for two arguments that the function demands.
UNANSWERABLE = ("live_simple_106-63-0",)


HERE = ("simple_python", "multiple", "parallel", "parallel_multiple", "live_simple", "irrelevance")


@pytest.mark.parametrize("part", HERE)
async def test_bfcl_judges_its_own_answers_right_and_others_wrong(part: str) -> None:
    suite = load_suite(f"bfcl:{part}", data("bfcl"))
    assert suite.name == f"bfcl-{part}"
    for case in suite.cases:
        functions_data(case.input["functions"])  # a model can be offered them
        calls = [
            {"name": name, "arguments": first_accepted(arguments)}
            for wanted in case.expected
            for name, arguments in wanted.items()
        ]
        right = float(case.id not in UNANSWERABLE)
        assert await scores(suite, case, calls) == {"function_calls": right}, case.id
        other = [*calls, {"name": "nothing", "arguments": {}}]
        assert await scores(suite, case, other) == {"function_calls": 0.0}, case.id


def test_bfcl_is_all_of_its_parts_that_are_there(tmp_path: Path) -> None:
    folder = data("bfcl")
    assert len(load_suite("bfcl", folder).cases) == sum(
        len(load_suite(f"bfcl:{part}", folder).cases) for part in HERE
    )
    (tmp_path / "irrelevance.jsonl").write_bytes((folder / "bfcl" / "irrelevance.jsonl").read_bytes())
    assert {c.metadata["category"] for c in load_suite("bfcl", tmp_path).cases} == {"irrelevance"}
    with pytest.raises(UnknownNameError, match="Did you mean parallel"):
        load_suite("bfcl:paralel", folder)


def test_bfcl_reads_the_files_that_its_authors_publish(tmp_path: Path) -> None:
    source = data("bfcl") / "bfcl"
    folder = tmp_path / "bfcl_eval" / "data"
    for part in ("parallel", "irrelevance"):
        rows = [json.loads(line) for line in (source / f"{part}.jsonl").read_text().splitlines()]
        answers = [{"id": row["id"], "ground_truth": row.pop("ground_truth")} for row in rows]
        lines(folder / f"BFCL_v4_{part}.json", *rows)
        if part == "parallel":
            lines(folder / "possible_answer" / "BFCL_v4_parallel.json", *answers)
    for part in ("parallel", "irrelevance"):
        assert load_suite(f"bfcl:{part}", tmp_path).digest == load_suite(f"bfcl:{part}", source).digest
    assert len(load_suite("bfcl", folder).cases) == 160
    lines(folder / "possible_answer" / "BFCL_v4_parallel.json", *answers[:1])
    with pytest.raises(SuiteError, match="line 1: parallel_0 has no answer"):
        load_suite("bfcl", tmp_path)


def test_bfcls_types_become_json_schemas() -> None:
    declared = {
        "type": "dict",
        "properties": {
            "type": {"type": "float", "description": "Kind."},
            "pair": {"type": "tuple", "items": {"type": "any"}},
            "list": {"type": "array"},
            "deep": {"type": "dict", "properties": {"x": {"type": "tuple", "items": {"type": "float"}}}},
        },
        "required": ["type"],
    }
    assert json_schema(declared) == {
        "type": "object",
        "properties": {
            "type": {"type": "number", "description": "Kind."},
            "pair": {"type": "array", "items": {}},
            "list": {"type": "array", "items": {}},
            "deep": {
                "type": "object",
                "properties": {"x": {"type": "array", "items": {"type": "number"}}},
            },
        },
        "required": ["type"],
    }


def test_bfcls_crew_answers_with_the_calls_that_its_model_makes() -> None:
    suite = load_suite("bfcl:parallel", data("bfcl"))
    case = next(c for c in suite.cases if c.id == "parallel_0")
    assert suite.crew is not None
    given = [call("spotify_play", artist="Taylor Swift", duration=20)]
    with scripted([given, "None fits."]) as script:
        result = suite.crew.run(case.input, host="inline")
        assert suite.crew.run(case.input, host="inline").output == "None fits."
    assert result.output == [
        {"name": "spotify.play", "arguments": {"artist": "Taylor Swift", "duration": 20}}
    ]
    assert "Play songs" in script.requests[0].messages[-1].text


@pytest.mark.parametrize(("name", "passages"), [("hotpotqa", 994), ("musique", 1890)])
async def test_questions_of_several_hops_bring_their_passages(name: str, passages: int) -> None:
    suite = load_suite(name, data(f"multihop_{name}"))
    documents = load_documents(suite.documents)
    assert len(documents) == passages
    assert load_suite(name, data(f"multihop_{name}")).documents == suite.documents
    by_name = {Path(document.source).name: document for document in documents}
    for case in suite.cases:
        cited = " ".join(f"[{cut(by_name[source])[0].cite}]" for source in case.metadata["sources"])
        found = await scores(suite, case, f"{case.expected['answer']}\n{cited}")
        assert set(found.values()) == {1.0}, (case.id, found)
        found = await scores(suite, case, f"{case.expected['answer']} [{documents[0].source}#L1-L9]")
        assert found["f1"] == found["normalised"] == 1.0
        assert found["citation_recall"] < 1


def test_a_passages_title_reaches_who_finds_it(tmp_path: Path) -> None:
    lines(tmp_path / "corpus.jsonl", {"doc_id": "a/1", "title": "Gallu", "sentences": ["A demon.", " Old."]})
    lines(
        tmp_path / "questions.jsonl",
        {"id": "q", "question": "What is Gallu?", "answer": "a demon", "supporting_docs": ["a/1"]},
    )
    suite = load_suite("hotpotqa", tmp_path)
    (document,) = load_documents(suite.documents)
    assert (document.title, Path(document.source).name) == ("Gallu", "a_1.md")
    assert "A demon. Old." in document.text
    assert suite.cases[0].metadata["sources"] == ["a_1.md"]


def test_passages_are_written_once(home: Path) -> None:
    folder = passages_folder("x", {"1": ("Title", "Text.")})
    (folder / "mark").touch()
    assert passages_folder("x", {"1": ("Title", "Text.")}) == folder
    assert (folder / "mark").exists()
    assert passages_folder("x", {"1": ("Title", "Another.")}) != folder
    assert len(list(folder.parent.iterdir())) == 2


def test_passages_that_cannot_be_written_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("a file, where a folder is wanted")
    monkeypatch.setenv("CALLSHEET_HOME", str(tmp_path / "file"))
    with pytest.raises(SuiteError, match="the passages of the suite 'x' cannot be written") as caught:
        passages_folder("x", {"1": ("Title", "Text.")})
    assert "CALLSHEET_HOME" in caught.value.hint


async def test_strategyqa_takes_yes_and_no() -> None:
    suite = load_suite("strategyqa", data("strategyqa"))
    assert sum(c.expected == "yes" for c in suite.cases) == 49
    for case in suite.cases:
        assert await scores(suite, case, f"It is so.\nAnswer: {case.expected}") == {"choice": 1.0}


async def test_sql_judges_every_accepted_query_right() -> None:
    suite = load_suite("sql", data("sql"))
    assert len(suite.cases) == 83
    for case in suite.cases:
        assert "CREATE TABLE" in case.input
        for answer in case.expected["answers"]:
            assert await scores(suite, case, f"```sql\n{answer['sql']};\n```") == {"sql": 1.0}, case.id
        assert await scores(suite, case, "SELECT 'nothing' WHERE 1 = 0 LIMIT 0") != {}


def test_a_database_that_is_none_is_told(tmp_path: Path) -> None:
    lines(tmp_path / "defog_questions.jsonl", {"id": "1", "db": "shop", "question": "?", "answers": []})
    with pytest.raises(SuiteError, match=r"shop\.sqlite cannot be read"):
        load_suite("sql", tmp_path)
    (tmp_path / "databases").mkdir()
    (tmp_path / "databases" / "shop.sqlite").write_text("no database at all, but some words")
    with pytest.raises(SuiteError, match=r"shop\.sqlite cannot be read"):
        load_suite("sql", tmp_path)


def test_reading_a_database_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "databases").mkdir()
    with sqlite3.connect(tmp_path / "databases" / "shop.sqlite") as connection:
        connection.execute("CREATE TABLE item (name TEXT)")
    answers = [{"sql": "SELECT name FROM item"}]
    lines(tmp_path / "defog_questions.jsonl", {"id": "1", "db": "shop", "question": "?", "answers": answers})
    suite = load_suite("sql", tmp_path)
    assert suite.cases[0].input == "CREATE TABLE item (name TEXT);\n\nQuestion: ?"
    assert [p.name for p in (tmp_path / "databases").iterdir()] == ["shop.sqlite"]


@pytest.mark.parametrize("name", built_in_names())
def test_a_set_that_is_not_there_is_told_with_where_it_is_published(name: str, tmp_path: Path) -> None:
    for folder in (None, tmp_path, tmp_path / "gone"):
        with pytest.raises(SuiteError) as caught:
            load_suite(name, folder)
        assert ".jsonl" in str(caught.value)
        assert "GitHub" in caught.value.hint
        assert folder is not None or "--data DIR" in caught.value.hint


def test_a_line_of_another_set_is_told(tmp_path: Path) -> None:
    lines(tmp_path / "questions.jsonl", {"qid": "1", "question": "?", "answer": False}, {"qid": "2"})
    with pytest.raises(SuiteError, match="line 2: there is no question"):
        load_suite("strategyqa", tmp_path)


@pytest.mark.parametrize("name", ["gsm8k", "bfcl", "strategyqa", "sql", "multihop"])
def test_a_built_in_crew_is_found_again_where_its_runs_say(name: str) -> None:
    module = f"callsheet.scenarios.suites.{name}"
    crew = load_module(module).at("crew")
    try:
        assert load_source(crew.source) is crew
    except CallsheetError as error:
        pytest.fail(str(error))


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ("Paris [x.md#L1-L2], in [sic] France [1].\nwhy", "Paris, in [sic] France [1]."),
        ("\n [a.md]\n**yes**", "**yes**"),
        ("[a.md]", ""),
        ("\n" * 300_000 + "x", "x"),
        (" " * 300_000 + "[a.md]", ""),
        ("[" + "." * 300_000, "[" + "." * 300_000),
    ],
    ids=["cited", "citation first", "nothing else", "lines", "blanks", "open bracket"],
)
def test_what_is_judged_of_a_readers_answer_is_its_first_line_without_citations(
    answer: str, line: str
) -> None:
    assert first_line(answer) == line
