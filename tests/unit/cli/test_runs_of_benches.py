"""Runs of a bench in `show` and `watch`: it is the bench that goes on, and keeps their results."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from callsheet.cli import watching
from callsheet.core.records import RunRecord
from callsheet.testing import reply, scripted
from tests.unit.cli.conftest import Callsheet
from tests.unit.cli.past import journal_of, left_run

SUITE = """
name: orders
scorers: [contains]
crew: desk.py
cases:
  - {id: a, input: "Where is order 17?", expected: Monday}
"""
DESK = """
from callsheet import Agent, Crew
crew = Crew("desk", agents=[Agent("clerk", role="You answer.")])
"""


@pytest.fixture(autouse=True)
def files(callsheet: Callsheet) -> None:
    Path("suite.yaml").write_text(SUITE)
    Path("desk.py").write_text(DESK)


def left_of_bench(home: Path) -> RunRecord:
    """A run of a bench that nobody works on any more."""
    record = replace(
        left_run(home), run_id="bench-1122-000000-abcd-00001", session_id="bench-1122-000000-abcd",
        started=time.time(),
    )  # fmt: skip
    with journal_of(home) as journal:
        journal.write([record])
    return record


def test_a_run_that_failed_in_a_bench_is_shown_with_how_the_bench_goes_on(callsheet: Callsheet) -> None:
    from callsheet.core.errors import ModelRequestError

    with scripted(lambda request: ModelRequestError("no such thing")):
        ended = callsheet("bench", "suite.yaml", "--inline", "--json")
    trial = ended.data["result"]["trials"][0]
    bench_id = ended.data["result"]["info"]["bench_id"]
    shown = callsheet("show", trial["run_id"]).out
    assert f"`callsheet bench --resume {bench_id} --retry-failed` goes on with it" in shown
    assert "callsheet resume" not in shown


def test_a_run_that_its_share_of_a_benchs_budget_stopped_is_not_to_be_resumed_alone(
    callsheet: Callsheet,
) -> None:
    with scripted(lambda request: reply("on Monday", cost_usd=0.3)):
        ended = callsheet("bench", "suite.yaml", "--inline", "--budget", "0.2", "--json")
    assert ended.status == 3
    bench_id = callsheet("benches", "--json").data[0]["bench_id"]
    shown = callsheet("show", f"{bench_id}-00001").out
    assert f"callsheet bench --resume {bench_id}" in shown
    assert "callsheet resume" not in shown


def test_a_run_that_was_cut_off_with_its_bench_goes_on_with_it(
    callsheet: Callsheet, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LEFT_AFTER_S", 0.0)
    record = left_of_bench(home)
    told = "`callsheet bench --resume bench-1122-000000-abcd` goes on"
    assert told in callsheet("watch", record.run_id).err
    assert told in callsheet("show", record.run_id).out


def test_a_run_of_a_session_that_only_looks_like_a_bench_is_resumed_itself(
    callsheet: Callsheet, home: Path
) -> None:
    record = replace(left_run(home), session_id="bench-1122-000000-abcd")
    with journal_of(home) as journal:
        journal.write([record])
    assert f"`callsheet resume {record.run_id}` goes on" in callsheet("show", record.run_id).out


def test_the_help_of_watch_says_when_words_are_seen_before_their_end(callsheet: Callsheet) -> None:
    told = " ".join(callsheet("watch", "--help").out.split())
    assert "only of a run on a cluster" in told
    assert "the Ray that a `run` starts for itself" in told
