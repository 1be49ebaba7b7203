"""A bench's folder: what is in it after a crash at any byte, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.core.errors import UsageError
from callsheet.scenarios.results import BenchInfo, Candidate, ScorerInfo, Trial
from callsheet.scenarios.store import BenchFolder, find_bench, list_benches

CANDIDATE = Candidate(crew="solver")


def info(bench_id: str = "bench-one") -> BenchInfo:
    return BenchInfo(
        bench_id=bench_id, suite="small", digest="d", cases=("a", "b", "c"), scorers=(ScorerInfo(name="right"),),
        candidates=(CANDIDATE,),
    )  # fmt: skip


def trial(number: int, output: str = "yes — \u2028 \n so") -> Trial:
    return Trial(
        number=number, case=f"case-{number}", candidate=CANDIDATE, run_id=f"bench-one-{number}", status="done",
        output=output,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> BenchFolder:
    return BenchFolder.create(tmp_path / "bench-one", info())


def test_what_is_kept_is_read_back(folder: BenchFolder) -> None:
    with folder.held():
        for number in (2, 1, 3):
            folder.add(trial(number))
    again = BenchFolder(folder.path)
    assert again.info() == info()
    assert list(again.trials().values()) == [trial(1), trial(2), trial(3)]


def test_half_a_character_in_what_a_trial_ended_with_spoils_no_line(folder: BenchFolder) -> None:
    ended = trial(1).changed(output={"said": "\ud83d"}, error="RunError: \ud83d")
    with folder.held():
        folder.add(ended)
    assert folder.trials() == {1: ended}
    assert ended.error == "RunError: \ufffd"


@given(cut=st.integers(0, 400))
def test_a_crash_at_any_byte_costs_no_finished_trial(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = BenchFolder.create(tmp_path_factory.mktemp("benches") / "bench-one", info())
    with folder.held():
        folder.add(trial(1))
        folder.add(trial(2))
    path = folder.path / "trials.jsonl"
    first = path.read_bytes().index(b"\n") + 1
    kept = min(first + cut, path.stat().st_size - 1)
    path.write_bytes(path.read_bytes()[:kept])
    assert list(folder.trials()) == [1]
    with folder.held():
        folder.add(trial(3))
    assert list(folder.trials()) == [1, 3]


def test_of_a_trial_that_was_tried_again_the_last_line_holds(folder: BenchFolder) -> None:
    with folder.held():
        folder.add(trial(1, "no"))
        folder.add(trial(1, "yes"))
    assert [t.output for t in folder.trials().values()] == ["yes"]


def test_two_cannot_hold_it_and_one_after_the_other_can(folder: BenchFolder) -> None:
    with (
        folder.held(),
        pytest.raises(UsageError, match="another process works on"),
        BenchFolder(folder.path).held(),
    ):
        pass
    with BenchFolder(folder.path).held():
        folder_was_free = True
    assert folder_was_free


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"v": 99}', "line 1 is of version 99"), ("no json", "line 1 is damaged"), ('{"v": 1}', "line 1 is damaged"),
        ("[]", "line 1 is damaged"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_trial_is_refused_by_its_place(folder: BenchFolder, line: str, told: str) -> None:
    (folder.path / "trials.jsonl").write_text(line + "\n")
    with pytest.raises(UsageError, match=told):
        folder.trials()


def test_a_head_of_another_version_is_refused(folder: BenchFolder) -> None:
    head = folder.path / "bench.json"
    head.write_text(json.dumps({**json.loads(head.read_text()), "v": 2}))
    with pytest.raises(UsageError, match="is of version 2, and this callsheet reads version 1"):
        folder.info()


def test_a_bench_is_found_by_the_beginning_of_its_id_and_nothing_outside_is(tmp_path: Path) -> None:
    for name in ("bench-one", "bench-two", "bench-three"):
        BenchFolder.create(tmp_path / "benches" / name, info(name))
    (tmp_path / "benches" / "bench-torn").mkdir()
    benches = tmp_path / "benches"
    assert find_bench(benches, "bench-one").info().bench_id == "bench-one"
    assert find_bench(benches, "bench-th").info().bench_id == "bench-three"
    assert len(list_benches(benches)) == 3
    with pytest.raises(UsageError, match="more than one bench begins with 'bench-t'"):
        find_bench(benches, "bench-t")
    for wanted in ("", "none", "../benches/bench-one", "/etc"):
        with pytest.raises(UsageError, match="no bench is called"):
            find_bench(benches, wanted)
    assert list_benches(tmp_path / "nowhere") == []
