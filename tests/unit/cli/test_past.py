"""`replay` and `fork`, and what `show` tells of forks, questions and earlier attempts."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Callsheet

DESK = """
from callsheet import Agent, Crew, tool

@tool(effect="idempotent")
def order_status(order_id: str) -> str:
    '''Look up where an order is.'''
    with open("calls.txt", "a") as calls:
        calls.write(order_id + "\\n")
    return f"Order {order_id} left the warehouse on Monday."

crew = Crew("desk", agents=[
    Agent("clerk", role="You answer questions about orders.", tools=[order_status]),
    Agent("editor", role="You rewrite answers."),
])
"""
ASKING = """
from callsheet import Agent, Crew
crew = Crew("asking", agents=[Agent("clerk", role="You answer.")])

@crew.flow
async def go(run, task):
    colour = await run.ask_person("Which colour?", choices=["red", "blue"])
    return f"{task} in {colour}"
"""


@pytest.fixture
def desk(callsheet: Callsheet) -> str:
    """The id of a run that is done, of the crew in `desk.py`."""
    Path("desk.py").write_text(DESK)
    run = callsheet("run", "desk.py", "--inline", "--json", "Where is order 17?")
    assert run.status == 0, run.err
    return str(run.data["run_id"])


def calls() -> list[str]:
    return Path("calls.txt").read_text().split()


def numbers(callsheet: Callsheet, run: str) -> dict[int, dict[str, Any]]:
    data = callsheet("show", run, "--json").data
    return {record["number"]: record for record in (*data["messages"], *data["steps"])}


def test_show_numbers_every_message_and_step(callsheet: Callsheet, desk: str) -> None:
    found = numbers(callsheet, desk)
    assert sorted(found) == list(range(1, len(found) + 1))
    assert found[1]["sender"] == "person"
    text = callsheet("show", desk).out
    assert "   1  you → desk: Where is order 17?" in text
    assert "   3    · clerk thought with offline" in text


def test_replay_of_the_same_code_is_the_same_and_calls_nothing(callsheet: Callsheet, desk: str) -> None:
    before = calls()
    ended = callsheet("replay", desk[:13])
    assert ended.status == 0, ended.err
    assert "today's code does what is recorded" in ended.out
    assert "3 turns" in ended.out
    assert calls() == before
    assert callsheet("replay", desk, "--json").data["same"] is True


def test_replay_shows_the_first_step_that_differs(callsheet: Callsheet, desk: str) -> None:
    Path("desk.py").write_text(DESK.replace("about orders", "in verse"))
    ended = callsheet("replay", desk)
    assert ended.status == 1, ended.err
    assert "today's code differs at 3" in ended.out
    assert "in the turn of clerk that 2 began: clerk was made otherwise" in ended.out
    assert "You answer questions in verse" in ended.out
    data = callsheet("replay", desk, "--json")
    assert (data.status, data.data["differences"][0]["number"]) == (1, 3)


def test_replay_shows_texts_that_differ_as_a_diff(callsheet: Callsheet, desk: str) -> None:
    Path("desk.py").write_text(
        DESK + "\n@crew.flow\nasync def go(run, task):\n"
        "    return await run.ask('editor', await run.ask('clerk', task + '\\nBe short.'))\n"
    )
    ended = callsheet("replay", desk)
    assert "the message to it reads otherwise" in ended.out
    assert "    +Be short." in ended.out


def test_replay_of_a_crew_that_has_moved_names_the_way(callsheet: Callsheet, desk: str) -> None:
    Path("desk.py").rename("moved.py")
    gone = callsheet("replay", desk)
    assert gone.status == 2
    assert "desk.py does not exist" in gone.err
    assert "--crew" in gone.err
    assert callsheet("replay", desk, "--crew", "moved.py").status == 0


def test_fork_goes_on_from_a_step_and_repeats_nothing_before_it(callsheet: Callsheet, desk: str) -> None:
    found = numbers(callsheet, desk)
    editor = next(n for n, record in found.items() if record.get("receiver") == "editor")
    before = calls()
    ended = callsheet("fork", desk, "--at", str(editor), "--input", "Say it in verse.", "--json")
    assert ended.status == 0, ended.err
    assert f"forked from {desk} at {editor}" in ended.err
    assert calls() == before
    assert ended.data["run_id"] != desk
    assert ended.data["usage"]["llm_calls"] == 1
    shown = callsheet("show", ended.data["run_id"], "--json").data
    assert shown["forked_from"] == {"run": desk, "at": editor}
    assert f"forked from {desk} at {editor}" in callsheet("show", ended.data["run_id"]).out
    assert numbers(callsheet, ended.data["run_id"])[editor]["body"]["input"] == "Say it in verse."
    assert callsheet("show", desk, "--json").data["status"] == "done"
    assert callsheet("replay", ended.data["run_id"]).status == 0


def test_fork_with_another_input_of_the_run(callsheet: Callsheet, desk: str) -> None:
    ended = callsheet("fork", desk, "--at", "1", "--input", "Where is order 99?", "--json")
    assert ended.status == 0, ended.err
    assert calls()[-1] == "99"
    assert "99" in ended.data["output"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--at", "99"], "1 to "),
        (["--at", "0"], "1 to "),
        (["--at", "3", "--input", "x"], "1 (to flow), 2 (to clerk)"),
        (["--at", "2", "--input", " "], "--input"),
        (["--at", "2", "--model", "nobody/x"], "nobody"),
    ],
)
def test_a_fork_that_cannot_be_is_refused_and_leaves_nothing(
    callsheet: Callsheet, desk: str, args: list[str], told: str
) -> None:
    ended = callsheet("fork", desk, *args)
    assert ended.status == 2
    assert told in ended.err
    assert len(callsheet("runs", "--json").data) == 1


def test_a_flow_that_takes_no_text_takes_json(callsheet: Callsheet) -> None:
    Path("sum.py").write_text(
        "from callsheet import Agent, Crew\ncrew = Crew('sum', agents=[Agent('clerk', role='Add.')])\n"
        "@crew.flow\nasync def go(run, numbers: list[int]) -> int:\n    return sum(numbers)\n"
    )
    run = callsheet("run", "sum.py", "--inline", "--json", "[1, 2]").data["run_id"]
    assert callsheet("fork", run, "--at", "1", "--input", "[3, 4]", "--json").data["output"] == 7
    refused = callsheet("fork", run, "--at", "1", "--input", "three")
    assert refused.status == 2
    assert "JSON" in refused.err


def test_show_tells_what_a_waiting_run_asks_and_how_to_reply(callsheet: Callsheet) -> None:
    Path("asking.py").write_text(ASKING)
    run = callsheet("run", "asking.py", "--inline", "--json", "A car").data["run_id"]
    text = callsheet("show", run).out
    assert "asking asks (" in text
    assert "Which colour?" in text
    assert "- blue" in text
    assert f"`callsheet reply {run} CHOICE`" in text
    (question,) = callsheet("show", run, "--json").data["questions"]
    assert (question["question"], question["choices"]) == ("Which colour?", ["red", "blue"])
    assert callsheet("replay", run).status == 0


def test_a_question_can_be_answered_another_way_in_a_fork(callsheet: Callsheet) -> None:
    Path("asking.py").write_text(ASKING)
    run = callsheet("run", "asking.py", "--inline", "--json", "A car").data["run_id"]
    assert callsheet("reply", run, "red", "--json").data["output"] == "A car in red"
    fork = callsheet("fork", run, "--at", "2", "--json")
    assert fork.status == 4
    other = fork.data["run_id"]
    assert callsheet("reply", other, "blue", "--json").data["output"] == "A car in blue"
    assert "red" in callsheet("show", run).out


def test_show_tells_of_earlier_attempts_and_of_calls_without_an_end(
    callsheet: Callsheet, desk: str, home: Path
) -> None:
    with sqlite3.connect(home / "journal.db") as db:
        db.execute("UPDATE envelopes SET id = id || '.1', kind = 'error' WHERE receiver = 'person'")
        db.execute("UPDATE steps SET state = 'intent' WHERE kind = 'tool'")
        db.execute("UPDATE runs SET status = 'running', ended = NULL, output = NULL")
    text = callsheet("show", desk).out
    assert "(an earlier attempt)" in text
    assert "clerk began to use order_status 17 (it has no result" in text
    assert "running, but nobody works on it any more" in text
    assert f"`callsheet resume {desk}`" in text
