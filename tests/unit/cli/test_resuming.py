"""`resume`, `reply`, `approve` and `deny`, inline, in this process."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Callsheet, Ended
from tests.unit.cli.past import ASKING, CASHIER, FAILING, journal_of, left_run, source_of


def begin(callsheet: Callsheet, source: str, task: str) -> Ended:
    """A run of a crew file that does not come to its end."""
    Path("crew.py").write_text(source)
    ended = callsheet("run", "crew.py", "--inline", "--json", task)
    assert ended.status in (1, 3, 4), ended.err
    return ended


def ledger() -> str:
    return Path("ledger.txt").read_text() if Path("ledger.txt").exists() else ""


# --- questions to a person -------------------------------------------------------------------------------


def test_a_waiting_run_is_status_4_and_says_what_it_asks_and_how_to_reply(callsheet: Callsheet) -> None:
    ended = begin(callsheet, ASKING, "hello")
    run = ended.data["run_id"]
    assert ended.status == 4
    assert ended.data["status"] == "waiting"
    assert [(q["question"], q["choices"]) for q in ended.data["questions"]] == [
        ("Which size?", ["small", "large"])
    ]
    assert "asking asks: Which size?" in ended.err
    assert "small, large" in ended.err
    assert f"`callsheet reply {run} CHOICE`" in ended.err


def test_a_reply_lets_the_run_go_on_to_its_end(callsheet: Callsheet) -> None:
    before = begin(callsheet, ASKING, "hello").data
    ended = callsheet("reply", before["run_id"][:15], "small", "--json")
    assert ended.status == 0, ended.err
    assert ended.data["output"] == "It is small"
    assert ended.data["run_id"] == before["run_id"]
    assert ended.data["usage"]["llm_calls"] == before["usage"]["llm_calls"]


def test_a_reply_that_is_no_choice_changes_nothing(callsheet: Callsheet) -> None:
    run = begin(callsheet, ASKING, "hello").data["run_id"]
    refused = callsheet("reply", run, "medium")
    assert refused.status == 2
    assert "small, large" in refused.err
    assert callsheet("runs", "--json").data[0]["status"] == "waiting"


def test_of_several_questions_each_is_replied_to_by_its_id(callsheet: Callsheet) -> None:
    asked = begin(callsheet, ASKING, "both")
    run, questions = asked.data["run_id"], {q["question"]: q["id"] for q in asked.data["questions"]}
    for told in (asked.err, callsheet("show", run).out):
        for id_ in questions.values():
            assert f"`callsheet reply {run} --question {id_[:8]} TEXT`" in told
    unclear = callsheet("reply", run, "red")
    assert unclear.status == 2
    assert "--question" in unclear.err
    first = callsheet("reply", run, "red", "--question", questions["Which colour?"][:8], "--json")
    assert first.status == 4
    assert [q["question"] for q in first.data["questions"]] == ["Which size?"]
    assert callsheet("reply", run, "small", "--json").data["output"] == "small red"


def test_a_reply_to_nothing_is_refused(callsheet: Callsheet) -> None:
    run = begin(callsheet, ASKING, "hello").data["run_id"]
    callsheet("reply", run, "small")
    late = callsheet("reply", run, "large")
    assert late.status == 2
    assert "no open question" in late.err


def test_an_approved_call_is_made_once(callsheet: Callsheet) -> None:
    asked = begin(callsheet, CASHIER, "refund order 17")
    assert asked.status == 4
    assert '{"order_id": "17"}' in asked.err
    assert ledger() == ""
    ended = callsheet("approve", asked.data["run_id"], "fine", "--json")
    assert ended.status == 0, ended.err
    assert ledger() == "17\n"
    again = callsheet("approve", asked.data["run_id"])
    assert again.status == 2
    assert ledger() == "17\n"


def test_a_denied_call_is_not_made_and_the_run_goes_on(callsheet: Callsheet) -> None:
    asked = begin(callsheet, CASHIER, "refund order 17")
    ended = callsheet("deny", asked.data["run_id"], "not without a receipt", "--json")
    assert ended.status == 0, ended.err
    assert ledger() == ""
    shown = callsheet("show", asked.data["run_id"]).out
    assert "not without a receipt" in shown


def test_a_text_is_no_decision(callsheet: Callsheet) -> None:
    asked = begin(callsheet, CASHIER, "refund order 17")
    ended = callsheet("reply", asked.data["run_id"], "yes")
    assert ended.status == 2
    assert f"`callsheet approve {asked.data['run_id']}`" in ended.err
    assert ledger() == ""


def test_a_waiting_run_is_not_resumed_without_a_reply(callsheet: Callsheet) -> None:
    run = begin(callsheet, ASKING, "hello").data["run_id"]
    ended = callsheet("resume", run, "--json")
    assert ended.status == 4
    assert ended.data["questions"][0]["question"] == "Which size?"
    assert ended.data["error"]["type"] == "WaitingError"
    assert f"`callsheet reply {run} CHOICE`" in ended.err


# --- runs that failed, or were stopped -------------------------------------------------------------------


def test_a_failed_run_goes_on_and_repeats_no_model_call(callsheet: Callsheet) -> None:
    failed = begin(callsheet, FAILING, "hello")
    assert failed.status == 1
    Path("mended").touch()
    ended = callsheet("resume", failed.data["run_id"], "--json")
    assert ended.status == 0, ended.err
    assert ended.data["output"] == "printed"
    assert ended.data["usage"] == failed.data["usage"]


def test_the_models_of_the_steps_before_are_named(callsheet: Callsheet) -> None:
    run = begin(callsheet, FAILING, "hello").data["run_id"]
    Path("mended").touch()
    for _ in range(2):  # once it goes on, then it is done already
        assert "done · offline" in callsheet("resume", run).err
    forked = callsheet("fork", run, "--at", "6")
    assert "done · offline" in forked.err, forked.err
    asked = begin(callsheet, ASKING, "hello").data["run_id"]
    assert "waiting · offline" in callsheet("resume", asked).err
    assert "done · offline" in callsheet("reply", asked, "small").err


def test_a_done_run_gives_its_answer_again(callsheet: Callsheet) -> None:
    Path("mended").touch()
    Path("crew.py").write_text(FAILING)
    done = callsheet("run", "crew.py", "--inline", "--json", "hello").data
    again = callsheet("resume", done["run_id"], "--json")
    assert again.status == 0
    assert "is done already" in again.err
    assert {**again.data, "elapsed_s": 0} == {**done, "elapsed_s": 0}


LIMITED = FAILING.replace("agents=", "limits=Limits(turns=1), agents=")


def test_a_run_that_a_limit_stopped_goes_on_with_more(callsheet: Callsheet) -> None:
    Path("mended").touch()
    limited = begin(callsheet, LIMITED, "hello")
    assert limited.status == 3
    assert callsheet("resume", limited.data["run_id"]).status == 3
    ended = callsheet("resume", limited.data["run_id"], "--limit", "turns=5", "--json")
    assert ended.status == 0, ended.err
    limits = callsheet("show", limited.data["run_id"], "--json").data["limits"]
    assert limits["turns"] == 5
    assert limits["messages"] == 1000


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--limit", "turns"], "Write NAME=VALUE"),
        (["--limit", "turn=5"], "Did you mean turns?"),
        (["--limit", "turns=many"], "Give a number"),
        (["--limit", "turns=0"], "turns is 0"),
        (["--limit", "turns=none"], "turns is None"),
        (["--budget", "0"], "--budget is 0"),
        (["--budget-tokens", "0"], "--budget-tokens is 0"),
        (["--deadline", "nan"], "--deadline is nan"),
    ],
)
def test_a_limit_that_can_be_none_is_refused(callsheet: Callsheet, args: list[str], told: str) -> None:
    run = begin(callsheet, FAILING, "hello").data["run_id"]
    ended = callsheet("resume", run, *args)
    assert ended.status == 2
    assert told in ended.err
    assert callsheet("runs", "--json").data[0]["status"] == "failed"


def test_limits_and_budgets_are_those_of_the_resumed_run(callsheet: Callsheet) -> None:
    run = begin(callsheet, FAILING, "hello").data["run_id"]
    callsheet(
        "resume",
        run,
        "--budget",
        "2",
        "--budget-tokens",
        "90000",
        "--deadline",
        "60",
        "--limit",
        "messages=7",
    )
    limits = callsheet("show", run, "--json").data["limits"]
    assert (limits["budget_usd"], limits["budget_tokens"], limits["deadline_s"], limits["messages"]) == (
        2.0, 90_000, 60.0, 7
    )  # fmt: skip
    callsheet("resume", run, "--limit", "deadline_s=none")
    limits = callsheet("show", run, "--json").data["limits"]
    assert limits["deadline_s"] is None
    assert limits["budget_usd"] == 2.0


# --- the time that is told ---------------------------------------------------------------------------------


def test_the_time_told_is_that_of_work_and_not_of_waiting(callsheet: Callsheet, home: Path) -> None:
    waiting = begin(callsheet, ASKING, "hello").data
    long_ago(home, waiting["run_id"])
    assert callsheet("runs", "--json").data[0]["elapsed_s"] < 600
    assert callsheet("resume", waiting["run_id"], "--json").data["elapsed_s"] < 600
    done = callsheet("reply", waiting["run_id"], "small", "--json").data
    assert waiting["elapsed_s"] < done["elapsed_s"] < 600
    for told in (
        callsheet("show", waiting["run_id"], "--json").data,
        callsheet("resume", waiting["run_id"], "--json").data,
    ):
        assert told["elapsed_s"] == done["elapsed_s"]


def test_the_time_for_which_a_run_lay_there_failed_is_no_work(callsheet: Callsheet, home: Path) -> None:
    failed = begin(callsheet, FAILING, "hello").data
    long_ago(home, failed["run_id"])
    Path("mended").touch()
    done = callsheet("resume", failed["run_id"], "--json").data
    assert done["elapsed_s"] < 600
    assert callsheet("runs", "--json").data[0]["elapsed_s"] == done["elapsed_s"]


def long_ago(home: Path, run_id: str) -> None:
    """Have a run begun an hour ago, which its seconds of work know nothing of."""
    with contextlib.closing(sqlite3.connect(home / "journal.db")) as db, db:
        db.execute("UPDATE runs SET started = started - 3600 WHERE run_id = ?", (run_id,))


# --- which run, and where its crew is --------------------------------------------------------------------


def test_one_run_or_all_of_them(callsheet: Callsheet) -> None:
    for args in ([], ["1122", "--all"]):
        ended = callsheet("resume", *args)
        assert ended.status == 2
        assert "`callsheet resume --all`" in ended.err


def test_a_crew_that_was_moved_is_named(callsheet: Callsheet) -> None:
    run = begin(callsheet, FAILING, "hello").data["run_id"]
    Path("mended").touch()
    Path("crew.py").rename("moved.py")
    lost = callsheet("resume", run)
    assert lost.status == 2
    assert "crew.py does not exist" in lost.err
    assert "--crew" in lost.err
    Path("other.py").write_text(ASKING)
    other = callsheet("resume", run, "--crew", "other.py")
    assert other.status == 2
    assert "'asking'" in other.err
    assert callsheet("resume", run, "--crew", "moved.py").status == 0


def test_a_run_that_somebody_works_on_is_left_to_them(callsheet: Callsheet, home: Path) -> None:
    Path("crew.py").write_text(FAILING)
    record = left_run(home, owner="inline-1-x", source=source_of("crew.py", "failing"))
    with journal_of(home, owner="inline-1-x"):
        ended = callsheet("resume", record.run_id)
        assert ended.status == 2
        assert f"`callsheet watch {record.run_id}`" in ended.err


def test_the_later_of_two_does_not_say_that_it_goes_on(callsheet: Callsheet, home: Path) -> None:
    Path("crew.py").write_text(
        "from callsheet.runtime.journal import Journal\n"
        f"journal = Journal({str(home / 'journal.db')!r}, owner='inline-2-y')\n"
        "journal.claim('1122-000000-aaaaaaaa', 'inline-2-y')  # while this one was still reading the crew\n"
        f"{FAILING}"
    )
    record = left_run(home, source=source_of("crew.py", "failing"))
    ended = callsheet("resume", record.run_id)
    assert ended.status == 2
    assert f"`callsheet watch {record.run_id}`" in ended.err
    assert "going on" not in ended.err
    assert "starting" not in ended.err


def test_a_run_that_was_cut_off_goes_on(callsheet: Callsheet, home: Path) -> None:
    Path("crew.py").write_text(FAILING)
    Path("mended").touch()
    record = left_run(home, source=source_of("crew.py", "failing"))
    ended = callsheet("resume", record.run_id)
    assert ended.status == 0, ended.err
    assert ended.out == "printed\n"


def test_all_that_were_cut_off_go_on(callsheet: Callsheet, home: Path) -> None:
    Path("crew.py").write_text(FAILING)
    Path("mended").touch()
    record = left_run(home, source=source_of("crew.py", "failing"))
    ended = callsheet("resume", "--all", "--json")
    assert ended.status == 0, ended.err
    assert [(run["run_id"], run["output"]) for run in ended.data] == [(record.run_id, "printed")]
    again = callsheet("resume", "--all", "--json")
    assert again.status == 0
    assert again.data == []
    assert "No run was cut off" in again.err


def test_what_of_all_cannot_go_on_is_told(callsheet: Callsheet, home: Path) -> None:
    record = left_run(home, source=source_of("gone.py", "failing"))
    ended = callsheet("resume", "--all")
    assert ended.status == 2
    assert record.run_id in ended.err
    assert "gone.py does not exist" in ended.err
    assert f"`callsheet cancel {record.run_id}`" in ended.err
