"""`cancel`: of runs that nobody works on, and of those that somebody does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from callsheet.cli import stopping
from callsheet.core.events import EndRun
from callsheet.core.limits import RunUsage
from callsheet.runtime.journal import Journal
from tests.unit.cli.conftest import Callsheet
from tests.unit.cli.past import ASKING, FAILING, journal_of, left_run, source_of


def test_a_waiting_run_is_cancelled_at_once_and_keeps_its_usage(callsheet: Callsheet) -> None:
    Path("crew.py").write_text(ASKING)
    asked = callsheet("run", "crew.py", "--inline", "--json", "hello").data
    ended = callsheet("cancel", asked["run_id"][:15], "--reason", "changed my mind")
    assert ended.status == 0, ended.err
    assert f"`callsheet resume {asked['run_id']}`" in ended.err
    shown = callsheet("show", asked["run_id"], "--json").data
    assert shown["status"] == "cancelled"
    assert shown["error"]["message"] == "changed my mind"
    assert shown["usage"] == asked["usage"]


def test_a_cancelled_run_can_be_resumed(callsheet: Callsheet) -> None:
    Path("crew.py").write_text(ASKING)
    run = callsheet("run", "crew.py", "--inline", "--json", "hello").data["run_id"]
    callsheet("cancel", run)
    resumed = callsheet("resume", run, "--json")
    assert resumed.status == 4, resumed.err
    assert callsheet("reply", run, "small").status == 0


def test_a_run_that_was_cut_off_is_cancelled(callsheet: Callsheet, home: Path) -> None:
    record = left_run(home)
    assert callsheet("cancel", record.run_id).status == 0
    assert callsheet("runs", "--json").data[0]["status"] == "cancelled"
    assert callsheet("resume", "--all", "--json").data == []


def test_the_trace_of_a_run_that_nobody_works_on_gets_its_root(
    callsheet: Callsheet, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans: list[Any] = []
    monkeypatch.setattr("callsheet.tracing.emit", spans.append)
    record = left_run(home)
    callsheet("cancel", record.run_id, "--reason", "enough")
    (span,) = spans
    assert (span.run_id, span.status, span.error) == (record.run_id, "cancelled", "enough")
    assert span.started == record.started


def test_a_run_that_has_ended_is_not_cancelled(callsheet: Callsheet) -> None:
    Path("crew.py").write_text(FAILING)
    run = callsheet("run", "crew.py", "--inline", "--json", "hello").data["run_id"]
    ended = callsheet("cancel", run)
    assert ended.status == 2
    assert "it is failed" in ended.err
    assert callsheet("show", run, "--json").data["status"] == "failed"


def test_whoever_works_on_the_run_is_ordered_to_stop_it(
    callsheet: Callsheet, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "PATIENCE_S", 0.0)
    record = left_run(home, owner="inline-1-x", source=source_of("crew.py", "failing"))
    with journal_of(home, owner="inline-1-x") as theirs:
        ended = callsheet("cancel", record.run_id, "--reason", "enough")
        assert ended.status == 1
        assert "has not ended within" in ended.err
        assert [(order.run_id, order.reason) for order in theirs.orders()] == [(record.run_id, "enough")]
        assert theirs.run(record.run_id) == record


def test_a_run_that_is_done_before_it_stops_is_told_to_be_done(
    callsheet: Callsheet, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = left_run(home, owner="inline-1-x")
    order = Journal.order_cancel
    with journal_of(home, owner="inline-1-x") as theirs:

        def finished_meanwhile(journal: Journal, run_id: str, reason: str, at: float) -> bool:
            ordered = order(journal, run_id, reason, at)
            theirs.write(
                [
                    EndRun(
                        run_id=run_id,
                        status="done",
                        output='{"output":1}',
                        error=None,
                        usage=RunUsage(),
                        at=at,
                    )
                ]
            )
            return ordered

        monkeypatch.setattr(Journal, "order_cancel", finished_meanwhile)
        ended = callsheet("cancel", record.run_id)
    assert ended.status == 0
    assert "it is done" in ended.err
