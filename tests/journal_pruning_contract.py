"""What every journal must do when old runs are pruned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from callsheet.core.canonical import to_json
from callsheet.core.records import RunWaits
from callsheet.runtime.journal import BLOB_BYTES, Journal, Pruned
from tests.journal_contract import end, envelope, step
from tests.journal_runs_contract import RUN, USAGE, resumed, working


class PruningContract:
    """The suite; a subclass gives the fixture `url`, a new and empty journal's address."""

    @pytest.fixture
    def open_(self, url: str) -> Iterator[Callable[..., Journal]]:
        """Opens journals of that address, and closes them at the end."""
        opened: list[Journal] = []

        def one(**options: Any) -> Journal:
            opened.append(Journal(url, **options))
            return opened[-1]

        yield one
        for journal in opened:
            journal.close()

    @pytest.fixture
    def journal(self, open_: Callable[..., Journal]) -> Journal:
        return open_()

    def test_old_runs_go_with_all_they_have_and_the_others_stay(self, journal: Journal) -> None:
        def of(run_id: str) -> list[Any]:
            return [working(run_id), envelope(f"e-{run_id}", run_id), step("k", run_id)]

        ids = [f"run-{i:06}" for i in range(6)]
        journal.write([record for run_id in ids for record in of(run_id)])
        journal.write([
            end(ids[0], at=50.0), end(ids[1], at=50.0, status="failed"), end(ids[2], at=60.0),
            RunWaits(run_id=ids[3], usage=USAGE, at=11.0), end(ids[4], at=40.0, status="failed"),
            resumed(ids[4]),
        ])  # fmt: skip
        would = journal.prune(55.0, dry_run=True)
        assert len(journal.runs()) == 6
        assert journal.prune(55.0) == would
        assert would.runs == 2
        assert would.bytes > 400
        assert sorted(run.run_id for run in journal.runs()) == ids[2:]
        for run_id in ids:
            there = run_id in ids[2:]
            assert (bool(journal.envelopes(run_id)), bool(journal.steps(run_id))) == (there, there)
        assert journal.prune(55.0) == Pruned(runs=0, bytes=0)

    def test_a_large_text_stays_as_long_as_any_run_refers_to_it(self, journal: Journal) -> None:
        texts = {name: to_json(name * BLOB_BYTES) for name in "abcdef"}
        journal.write(
            [working(input=texts["a"]), envelope(body=texts["b"]), step(input=texts["c"], result=texts["d"])]
        )
        journal.write([end(output=texts["e"], at=20.0)])
        stay = "run-000002"
        shared = {
            "a": envelope("e", stay, body=texts["a"]), "b": step("k1", stay, input=texts["b"]),
            "c": step("k2", stay, result=texts["c"]), "d": working(stay, input=texts["d"]),
            "e": end(stay, output=texts["e"], at=40.0),
        }  # fmt: skip
        journal.write([shared["d"], shared["a"], shared["b"], shared["c"], shared["e"]])
        journal.write([working("run-000003", input=texts["f"]), end("run-000003", at=21.0)])
        would = journal.prune(30.0, dry_run=True)
        assert BLOB_BYTES < would.bytes < 2 * BLOB_BYTES
        assert journal.prune(30.0) == would
        assert journal.envelopes(stay)[0].body == texts["a"]
        assert (journal.steps(stay)[0].input, journal.steps(stay)[1].result) == (texts["b"], texts["c"])
        run = journal.run(stay)
        assert run is not None
        assert (run.input, run.output) == (texts["d"], texts["e"])
        assert self._count_blobs(journal) == 5
        assert journal.prune(50.0).bytes > 5 * BLOB_BYTES
        assert self._count_blobs(journal) == 0

    def test_a_run_that_somebody_has_claimed_is_not_pruned(self, open_: Callable[..., Journal]) -> None:
        mine, other = open_(owner="me"), open_()
        mine.write([working(), end(status="failed", at=20.0)])
        mine.claim(RUN, "me")
        assert other.prune(30.0, dry_run=True).runs == other.prune(30.0).runs == 0
        mine.close()
        assert other.prune(30.0).runs == 1

    def test_pruning_in_many_parts_comes_to_the_same(
        self, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("callsheet.runtime.journal_pruning.RUNS_AT_ONCE", 2)
        large = '"' + "x" * BLOB_BYTES + '"'
        for i in range(7):
            journal.write([working(f"run-{i:06}", input=large), end(f"run-{i:06}", at=20.0)])
        would = journal.prune(30.0, dry_run=True)
        assert journal.prune(30.0) == would
        assert would.runs == 7
        assert BLOB_BYTES < would.bytes < 2 * BLOB_BYTES
        assert self._count_blobs(journal) == 0

    def _count_blobs(self, journal: Journal) -> int:
        with journal._db.begin():
            return int(journal._db.scalar(sa.text("SELECT count(*) FROM blobs")) or 0)
