"""`callsheet run` with --record, --replay and --json-lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Callsheet

CREW = """
from callsheet import Agent, Crew
crew = Crew("desk", agents=[Agent("clerk", role="You answer."), Agent("editor", role="You polish.")])
"""


@pytest.fixture(autouse=True)
def desk(callsheet: Callsheet) -> None:
    Path("desk.py").write_text(CREW)


def test_what_was_recorded_is_replayed(callsheet: Callsheet) -> None:
    first = callsheet(
        "run", "desk.py", "--inline", "--record", "c.jsonl", "--model", "offline", "Is it here?"
    )
    assert first.status == 0
    assert len(Path("c.jsonl").read_text().splitlines()) == 2
    again = callsheet("run", "desk.py", "--inline", "--replay", "c.jsonl", "Is it here?")
    assert again.status == 0
    assert again.out == first.out
    assert "no language model" not in again.err.partition("you → ")[0]


def test_a_request_that_is_not_there_fails_the_run_with_the_difference(callsheet: Callsheet) -> None:
    callsheet("run", "desk.py", "--inline", "--record", "c.jsonl", "Is it here?")
    ended = callsheet("run", "desk.py", "--inline", "--replay", "c.jsonl", "Is it there?")
    assert ended.status == 1
    assert "-Is it here?" in ended.err
    assert "+Is it there?" in ended.err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--replay", "none.jsonl"], "none.jsonl cannot be read"),
        (["--record", "none/c.jsonl"], "cannot be recorded to"),
        (["--record", "desk.py"], "no cassette"),
        (["--record", "c.jsonl", "--replay", "c.jsonl"], "do not go together"),
        (["--json", "--json-lines"], "do not go together"),
    ],
)
def test_what_cannot_be_done_is_status_2(callsheet: Callsheet, args: list[str], told: str) -> None:
    ended = callsheet("run", "desk.py", "--inline", *args, "Is it here?")
    assert ended.status == 2
    assert told in ended.err
    assert (ended.out == "") == ("--json" not in args)
    assert Path("desk.py").read_text() == CREW


def test_json_lines_are_events_as_they_come_and_the_result_at_last(callsheet: Callsheet) -> None:
    ended = callsheet("run", "desk.py", "--inline", "--json-lines", "Is it here?")
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.status == 0
    result = lines[-1]["result"]
    assert [line["kind"] for line in lines].count("end") == 1
    assert lines[-1]["kind"] == "end"
    assert lines[-1]["at"] >= lines[0]["at"]
    assert result["status"] == "done"
    said = "".join(line["text"] for line in lines if line["kind"] == "tokens" and line["sender"] == "editor")
    assert said == result["output"]
    assert {line["kind"] for line in lines} == {"message", "tokens", "llm", "end"}
    usage = [line["usage"]["output_tokens"] for line in lines if line["kind"] == "llm"]
    assert sum(usage) == result["usage"]["output_tokens"]


def test_json_lines_tell_a_failure_too(callsheet: Callsheet) -> None:
    Path("desk.py").write_text(
        CREW + "@crew.flow\nasync def go(run, task):\n    raise ValueError('too bad')\n"
    )
    ended = callsheet("run", "desk.py", "--inline", "--json-lines", "Is it here?")
    assert ended.status == 1
    assert "too bad" in json.loads(ended.out.splitlines()[-1])["result"]["error"]["message"]


def test_the_lines_of_run_and_watch_have_the_same_form(callsheet: Callsheet) -> None:
    first = callsheet("run", "desk.py", "--inline", "--json-lines", "Is it here?")
    lines = [json.loads(line) for line in first.out.splitlines()]
    run_id = lines[-1]["result"]["run_id"]
    watched = [json.loads(line) for line in callsheet("watch", run_id, "--json-lines").out.splitlines()]
    kept = [line for line in lines if line["kind"] != "tokens"]
    assert [(line["kind"], set(line)) for line in watched] == [(line["kind"], set(line)) for line in kept]
