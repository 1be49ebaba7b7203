"""The spool folder: what one process puts there, any process can take, and nothing is taken twice."""

from pathlib import Path

import pytest

from callsheet.tracing.spool import CLAIM_S, MERGE_BYTES, Spool

BIG = b"x" * (MERGE_BYTES // 2 + 1)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(folder: Path, clock: Clock, max_bytes: int = 10**8) -> Spool:
    return Spool(folder, max_bytes, clock)


def drain(spool: Spool) -> list[bytes]:
    found = []
    while (claimed := spool.claim()) is not None:
        found.append(claimed[1])
        spool.done(claimed[0])
    return found


def test_what_is_put_is_taken_once_by_whoever_comes(tmp_path: Path, clock: Clock) -> None:
    make(tmp_path, clock).put(b"one")
    make(tmp_path, clock).put(b"two")
    assert drain(make(tmp_path, clock)) == [b"one", b"two"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path, clock: Clock) -> None:
    spool = make(tmp_path / "none", clock)
    assert spool.claim() is None
    assert spool.is_empty()


def test_small_bodies_are_put_together_in_order(tmp_path: Path, clock: Clock) -> None:
    spool = make(tmp_path, clock)
    for body in (b"a", b"b", b"c"):
        spool.put(body)
    assert len(list(tmp_path.iterdir())) == 1
    assert drain(spool) == [b"abc"]


def test_bodies_are_not_put_together_beyond_a_size(tmp_path: Path, clock: Clock) -> None:
    spool = make(tmp_path, clock)
    spool.put(BIG)
    spool.put(BIG)
    assert drain(spool) == [BIG, BIG]


def test_what_another_process_has_claimed_is_not_sent_again_with_the_next(
    tmp_path: Path, clock: Clock
) -> None:
    mine, other = make(tmp_path, clock), make(tmp_path, clock)
    mine.put(b"a")
    claimed = other.claim()
    assert claimed is not None
    mine.put(b"b")
    other.done(claimed[0])
    assert drain(mine) == [b"b"]


def test_a_claimed_file_is_nobody_elses_until_it_is_released(tmp_path: Path, clock: Clock) -> None:
    first, second = make(tmp_path, clock), make(tmp_path, clock)
    first.put(b"a")
    claimed = first.claim()
    assert claimed is not None
    assert second.claim() is None
    first.release(claimed[0])
    assert drain(second) == [b"a"]


def test_the_claim_of_a_crashed_process_lapses(tmp_path: Path, clock: Clock) -> None:
    crashed, alive = make(tmp_path, clock), make(tmp_path, clock)
    crashed.put(b"a")
    assert crashed.claim() is not None
    assert alive.claim() is None
    clock.now += CLAIM_S + 2
    assert drain(alive) == [b"a"]


def test_a_claim_that_lapsed_while_its_owner_was_slow_can_still_be_ended(
    tmp_path: Path, clock: Clock
) -> None:
    slow, quick = make(tmp_path, clock), make(tmp_path, clock)
    slow.put(b"a")
    claimed = slow.claim()
    assert claimed is not None
    clock.now += CLAIM_S + 2
    assert drain(quick) == [b"a"]
    slow.done(claimed[0])
    slow.release(claimed[0])
    slow.refuse(claimed[0])
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused_stays_and_is_never_claimed(tmp_path: Path, clock: Clock) -> None:
    spool = make(tmp_path, clock)
    spool.put(b"a")
    claimed = spool.claim()
    assert claimed is not None
    kept = spool.refuse(claimed[0])
    aside = spool.put_refused(b"b")
    assert (kept.read_bytes(), aside.read_bytes()) == (b"a", b"b")
    assert spool.claim() is None


def test_files_of_an_unknown_version_and_half_written_ones_are_left_alone(
    tmp_path: Path, clock: Clock
) -> None:
    (tmp_path / "v9-00000000000000000001-1-a.otlp").write_bytes(b"new")
    (tmp_path / "v1-00000000000000000001-1-a.tmp").write_bytes(b"half")
    (tmp_path / "notes.txt").write_bytes(b"hello")
    assert make(tmp_path, clock).claim() is None
    assert len(list(tmp_path.iterdir())) == 3


def test_a_full_spool_drops_the_oldest_counts_them_and_says_so(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    spool = make(tmp_path, clock, max_bytes=4 * len(BIG))
    bodies = [bytes([65 + i]) * len(BIG) for i in range(8)]
    for body in bodies:
        spool.put(body)
    left = drain(spool)
    assert left == bodies[-len(left) :]
    assert 1 <= len(left) <= 5
    assert spool.dropped == 8 - len(left)
    assert "is full" in caplog.text


def test_the_folder_is_for_its_owner_alone(tmp_path: Path, clock: Clock) -> None:
    make(tmp_path / "new" / "spool", clock).put(b"a")
    assert (tmp_path / "new" / "spool").stat().st_mode & 0o077 == 0
