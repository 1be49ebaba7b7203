"""`runs prune`: which runs go, and that `runs` is still a listing."""

from __future__ import annotations

from pathlib import Path

import pytest

from callsheet.cli.pruning import age_s
from callsheet.core.errors import UsageError
from tests.unit.cli.conftest import Callsheet
from tests.unit.cli.past import ASKING, FAILING, left_run


def test_runs_that_ended_before_go_and_others_stay(callsheet: Callsheet, home: Path) -> None:
    for source in (ASKING, FAILING):
        Path("crew.py").write_text(source)
        callsheet("run", "crew.py", "--inline", "hello")
    left = left_run(home)
    would = callsheet("runs", "prune", "--older-than", "0s", "--dry-run", "--json").data
    assert would["runs"] == 1
    assert would["bytes"] > 0
    failed = callsheet("runs", "--status", "failed", "--json").data[0]["run_id"]
    assert would["run_ids"] == [failed]
    listed = callsheet("runs", "prune", "--older-than", "0s", "--dry-run")
    assert [line.split()[:3] for line in listed.out.splitlines()[1:]] == [[failed, "failing", "failed"]]
    assert len(callsheet("runs", "--json").data) == 3
    assert callsheet("runs", "prune", "--older-than", "1h", "--json").data["runs"] == 0
    done = callsheet("runs", "prune", "--older-than", "0s")
    assert "1 run with" in done.err
    assert {run["status"] for run in callsheet("runs", "--json").data} == {"waiting", "running"}
    assert callsheet("show", left.run_id).status == 0


def test_pruning_makes_no_journal(callsheet: Callsheet, home: Path) -> None:
    ended = callsheet("runs", "prune", "--older-than", "30d", "--json")
    assert ended.data["runs"] == 0
    assert not home.exists()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("45m", 2700), ("12h", 43_200), ("30d", 2_592_000), ("1.5W", 907_200)]
)
def test_an_age_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert age_s(text) == seconds


@pytest.mark.parametrize("text", ["30", "d", "-3d", "3 d", "3days", "", "٣d"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--older-than"):
        age_s(text)


def test_nothing_goes_unless_it_is_said_how_old(callsheet: Callsheet) -> None:
    ended = callsheet("runs", "prune")
    assert ended.status == 2
    assert "--older-than" in ended.err
