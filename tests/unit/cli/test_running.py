"""`callsheet run`, inline, in this process."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from callsheet.cli.entry import command_line
from tests.unit.cli.conftest import Callsheet

QUESTION = "How does callsheet survive a crash?"
CREW = """
from callsheet import Agent, Crew
crew = Crew("desk", agents=[Agent("clerk", role="You answer.")])
"""


def test_research_answers_with_citations_to_the_documents(callsheet: Callsheet, documents: Path) -> None:
    ended = callsheet("run", "research", "--inline", "--docs", "docs", "README.md", QUESTION)
    assert ended.status == 0
    assert "[README.md#L" in ended.out
    assert "every finished step is kept in the journal" in ended.out


def test_the_conversation_goes_to_standard_error(callsheet: Callsheet, documents: Path) -> None:
    ended = callsheet("run", "research", "--inline", "--docs", "docs", "README.md", QUESTION)
    for part in ("you → research", "researcher → research", "used search_documents", "done · offline", "$0"):
        assert part in ended.err
        assert part not in ended.out


def test_json_is_one_object_and_nothing_else(callsheet: Callsheet, documents: Path) -> None:
    ended = callsheet("run", "research", "--inline", "--json", "--session", "s1", "--docs", "docs", QUESTION)
    assert set(ended.data) == {
        "run_id", "crew", "status", "output", "usage", "elapsed_s", "trace_id", "trace_url", "session_id",
        "questions", "error",
    }  # fmt: skip
    assert ended.data["status"] == "done"
    assert ended.data["session_id"] == "s1"
    assert ended.data["usage"]["llm_calls"] >= 3


def test_without_a_key_it_says_that_no_language_model_answers(callsheet: Callsheet, documents: Path) -> None:
    told = callsheet("run", "research", "--inline", "--docs", "docs", QUESTION).err
    assert "no language model" in told
    assert "ANTHROPIC_API_KEY" in told
    assert (
        "no language model"
        not in callsheet("run", "research", "--inline", "--model", "offline", "--docs", "docs", QUESTION).err
    )


def test_the_input_is_read_from_standard_input(
    callsheet: Callsheet, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(QUESTION + "\n"))
    ended = callsheet("run", "research", "--inline", "--json", "--docs", "README.md")
    assert ended.status == 0
    assert "[README.md#L" in ended.data["output"]


def test_a_crew_file_runs(callsheet: Callsheet) -> None:
    Path("desk.py").write_text(CREW)
    ended = callsheet("run", "desk.py", "--inline", "hello there")
    assert ended.status == 0
    assert "desk → clerk" in ended.err


def test_a_failing_flow_is_status_1_and_stays_in_the_journal(callsheet: Callsheet) -> None:
    Path("desk.py").write_text(
        CREW + "@crew.flow\nasync def go(run, task):\n    raise ValueError('[/] too bad')\n"
    )
    ended = callsheet("run", "desk.py", "--inline", "--json", "hello")
    assert ended.status == 1
    assert ended.data["status"] == "failed"
    assert "[/] too bad" in ended.data["error"]["message"]
    assert "error: " in ended.err
    assert callsheet("runs", "--json").data[0]["status"] == "failed"


def test_a_failed_run_says_how_it_goes_on_after_its_error(callsheet: Callsheet) -> None:
    Path("desk.py").write_text(CREW + "@crew.flow\nasync def go(run, task):\n    raise ValueError(task)\n")
    ended = callsheet("run", "desk.py", "--inline", "too bad")
    run = callsheet("runs", "--json").data[0]["run_id"]
    how = f"`callsheet resume {run}` takes the failed turns again, once the cause is mended."
    assert ended.err.index("too bad") < ended.err.index(how)
    assert how in callsheet("watch", run).err
    for command in ("resume", "show"):
        again = callsheet(command, run, "--json")
        assert again.data["error"]["hint"] == how
    assert callsheet("show", run).out.count("callsheet resume") == 1


def test_a_failure_with_a_hint_of_its_own_says_how_it_goes_on_too(callsheet: Callsheet) -> None:
    Path("desk.py").write_text(
        CREW + "@crew.flow\nasync def go(run, task):\n    return await run.ask('clark', task)\n"
    )
    ended = callsheet("run", "desk.py", "--inline", "--json", "hello")
    told, how = ended.data["error"]["hint"].splitlines()
    assert "Did you mean clerk?" in told
    assert how.startswith(f"`callsheet resume {ended.data['run_id']}`")


def test_nothing_is_logged_before_the_conversation_of_a_failed_run(
    callsheet: Callsheet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Path("desk.py").write_text(CREW + "@crew.flow\nasync def go(run, task):\n    raise ValueError('bad')\n")
    ended = callsheet("run", "desk.py", "--inline", "hello")
    assert " in run " not in ended.err
    monkeypatch.setenv("CALLSHEET_DEBUG", "1")
    command_line(["run", "desk.py", "--inline", "hello"])
    assert any(record.exc_info for record in caplog.records)


def test_a_flow_that_asks_a_stranger_is_told_who_is_there(callsheet: Callsheet) -> None:
    Path("desk.py").write_text(
        CREW + "@crew.flow\nasync def go(run, task):\n    return await run.ask('clark', task)\n"
    )
    ended = callsheet("run", "desk.py", "--inline", "hello")
    assert ended.status == 2
    assert "clark" in ended.err
    assert "Did you mean clerk?" in ended.err


def test_a_limit_is_status_3(callsheet: Callsheet) -> None:
    Path("desk.py").write_text(
        "from callsheet import Agent, Crew, Limits\n"
        "crew = Crew('desk', agents=[Agent('a', role='Help.'), Agent('b', role='Help.')], limits=Limits(turns=2))\n"
    )
    ended = callsheet("run", "desk.py", "--inline", "--json", "hello")
    assert ended.status == 3
    assert ended.data["status"] == "limited"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["run"], "Missing argument 'CREW'"),
        (["run", "reserch", "q"], "Did you mean research?"),
        (["run", "nothing.py", "q"], "nothing.py does not exist"),
        (["run", "no.such.module:crew", "q"], "there is no module 'no.such.module'"),
        (["run", "research", "--model", "gpt-5", "q"], "Write openai/gpt-5"),
        (["run", "research", "--model", "nobody/x", "q"], "no model provider is called 'nobody'"),
        (["run", "research", "--docs", "missing.md", "q"], "missing.md does not exist"),
        (["run", "research", "--docs"], "--docs names no file"),
        (["run", "research", "--budget", "0", "q"], "--budget is 0"),
        (["run", "research", "--budget", "nan", "q"], "--budget is nan"),
        (["run", "research", "--deadline", "-1", "q"], "--deadline is -1"),
        (["run", "research", "--deadline", "soon", "q"], "Invalid value for '--deadline'"),
        (["run", "research", "--bogus", "q"], "No such option: --bogus"),
        (["run", "research", "one", "two"], "unexpected extra argument"),
        (["run", "research", " "], "the INPUT is missing"),
        (["nonsense"], "No such command 'nonsense'"),
    ],
)
def test_wrong_usage_is_status_2_with_a_remedy(callsheet: Callsheet, args: list[str], told: str) -> None:
    ended = callsheet(*args, *([] if args[:1] != ["run"] or len(args) < 2 else ["--inline"]))
    assert ended.status == 2
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert told in ended.err
    assert len(ended.err.strip().splitlines()) >= 2


@pytest.mark.parametrize(
    ("args", "kind", "told"),
    [
        (["run"], "UsageError", "Missing argument 'CREW'"),
        (["run", "reserch", "q"], "UnknownNameError", "reserch"),
        (["run", "research", "--bogus", "q"], "UsageError", "No such option: --bogus"),
        (["resume", "zzz"], "UnknownNameError", "zzz"),
        (["reply", "zzz", "yes"], "UnknownNameError", "zzz"),
        (["approve", "zzz"], "UnknownNameError", "zzz"),
        (["deny", "zzz"], "UnknownNameError", "zzz"),
        (["replay", "zzz"], "UnknownNameError", "zzz"),
        (["fork", "zzz", "--at", "1"], "UnknownNameError", "zzz"),
        (["show", "zzz"], "UnknownNameError", "zzz"),
    ],
)
def test_with_json_an_error_before_a_result_is_an_object_on_standard_output(
    callsheet: Callsheet, args: list[str], kind: str, told: str
) -> None:
    ended = callsheet(*args, "--json")
    assert ended.status == 2
    assert told in ended.err
    error = ended.data["error"]
    assert list(error) == ["type", "message", "hint"]
    assert error["type"] == kind
    assert told in error["message"]
    assert error["hint"]


def test_with_json_a_journal_that_cannot_be_opened_is_an_object_too(callsheet: Callsheet, home: Path) -> None:
    home.mkdir()
    (home / "journal.db").write_text("no database " * 100)
    Path("desk.py").write_text(CREW)
    ended = callsheet("run", "desk.py", "--inline", "--json", "hello")
    assert ended.status == 1
    assert ended.data["error"]["type"] == "JournalError"


def test_words_after_two_dashes_ask_for_no_json(callsheet: Callsheet) -> None:
    assert callsheet("run", "reserch", "--", "--json").out == ""


def test_an_unreadable_document_is_status_2(callsheet: Callsheet) -> None:
    Path("data.bin").write_bytes(b"\0\1\2" * 100)
    ended = callsheet("run", "research", "--inline", "--docs", "data.bin", "--", "what is it?")
    assert ended.status == 2
    assert "data.bin" in ended.err


def test_a_wrong_setting_says_where_settings_come_from(
    callsheet: Callsheet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLSHEET_JOURNAL_SYNC", "sometimes")
    ended = callsheet("run", "research", "--inline", "q")
    assert ended.status == 2
    assert "journal_sync" in ended.err
    assert "pyproject.toml" in ended.err


def test_what_a_crew_prints_is_not_mixed_with_the_answer(callsheet: Callsheet) -> None:
    Path("desk.py").write_text(
        "print('the file speaks')\n"
        + CREW
        + "@crew.flow\nasync def go(run, task):\n    print('the flow speaks')\n    return 'done'\n"
    )
    ended = callsheet("run", "desk.py", "--inline", "--json", "hello")
    assert ended.data["output"] == "done"
    assert "the file speaks" in ended.err
    assert "the flow speaks" in ended.err
    assert callsheet("runs", "--json").data[0]["output"] == "done"


@pytest.mark.parametrize(
    ("type_", "given", "seen"),
    [
        ("list[str]", '["Oslo", "Rome"]', ["Oslo", "Rome"]),
        ("dict[str, int]", '{"a": 1}', {"a": 1}),
        ("int", "3", 3),
        ("str", '["Oslo"]', '["Oslo"]'),
        ("str | list[str]", '["Oslo"]', '["Oslo"]'),
    ],
)
def test_the_input_is_json_for_a_flow_that_takes_no_text(
    callsheet: Callsheet, type_: str, given: str, seen: object
) -> None:
    Path("desk.py").write_text(
        f"{CREW}\n@crew.flow\nasync def go(run, task: {type_}):\n    return {{'seen': task}}\n"
    )
    ended = callsheet("run", "desk.py", "--inline", "--json", given)
    assert ended.data["output"] == {"seen": seen}


def test_an_input_that_is_no_json_is_told_before_anything_starts(callsheet: Callsheet, home: Path) -> None:
    Path("desk.py").write_text(CREW + "@crew.flow\nasync def go(run, task: list[str]):\n    return task\n")
    ended = callsheet("run", "desk.py", "--inline", "Oslo, Rome")
    assert ended.status == 2
    assert "no JSON" in ended.err
    assert not home.exists()


def test_a_phoenix_that_is_named_and_not_there_is_told_with_its_address(
    callsheet: Callsheet, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callsheet.crews.starting.trace_url", lambda *_: None)
    monkeypatch.setattr("callsheet.crews.system.tracing_config", lambda *_: None)
    monkeypatch.setenv("CALLSHEET_PHOENIX", "http://127.0.0.1:1")
    ended = callsheet("run", "research", "--inline", "--docs", "docs", "--", "journal?")
    assert "no Phoenix answers at http://127.0.0.1:1" in ended.err
    assert "callsheet up" not in ended.err
