"""A coordinator whose journal cannot be written in the middle of a run, and the run once there is space again."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from callsheet.core.errors import JournalError, UnknownNameError, UsageError
from callsheet.runtime.journal import Journal, Record
from callsheet.runtime.protocol import ResumeRun
from callsheet.runtime.turns import Turn
from tests.unit.runtime.town import Town, given, output

RUN = "run-000001"
LONG = "x" * 20_000  # more than is free in a page: no write of it fits into what the file has
WRITES = 60


class FullJournal(Journal):
    """One whose disk is full from the nth write on: SQLite is not given another page, and says so."""

    def __init__(self, path: Path, full_from: int) -> None:
        super().__init__(path)
        self.full_from = full_from
        self.count = 0

    def write(self, records: Sequence[Record]) -> None:
        if self.count == self.full_from:
            pages = self._db.exec_driver_sql("PRAGMA page_count").scalar()
            self._db.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            self._db.rollback()
        self.count += 1
        super().write(records)


async def crew(town: Town, launch: str = "crew") -> None:
    """A flow and a worker, with steps and messages that all need room; two are under way at once."""

    async def work(turn: Turn) -> Any:
        n = given(turn)["n"]
        return {"output": [await town.step(turn, f"work-{n}-{i}", f"{i}{LONG}") for i in range(2)]}

    async def flow(turn: Turn) -> Any:
        found = [await town.step(turn, "begin", LONG)]
        for some in ((0, 1), (2,), (3,)):
            asked = [turn.ask("work", {"input": {"n": n, "long": LONG}}) for n in some]
            found += [answer["output"] for answer in await asyncio.gather(*asked)]
        found.append(await town.step(turn, "end", LONG))
        return {"output": [len(str(one)) for one in found]}

    for name, handler in (("flow", flow), ("work", work)):
        await town.join(name, handler, launch=launch).joined()


def recorded(journal: Journal) -> dict[str, int]:
    return {step.name: sum(s.name == step.name for s in journal.steps(RUN)) for step in journal.steps(RUN)}


async def test_a_run_on_a_full_disk_stops_and_goes_on_from_what_is_kept_once_there_is_space(
    tmp_path: Path,
) -> None:
    whole = Town(tmp_path / "whole.db")
    await crew(whole)
    wanted = output(await whole.run(LONG))
    await whole.close()
    stopped = 0
    for full_from in range(WRITES):
        path = tmp_path / str(full_from) / "journal.db"
        first = Town(path, FullJournal(_made(path), full_from))
        await crew(first)
        first.start(value=LONG)
        said = await _outcome(first)
        await first.close()
        if isinstance(said, list):
            assert said == wanted
            break
        assert "full" in said
        stopped += 1

        second = Town(path)
        second.done = first.done
        kept = second.journal.run(RUN)
        before = recorded(second.journal)
        assert all(first.done[name] == count == 1 for name, count in before.items())
        await crew(second, "crew-2")
        if kept is None:
            assert before == {}
            with pytest.raises(UnknownNameError):
                await _resumed(second)
            assert output(await second.run(LONG, launch="crew-2")) == wanted
        elif kept.status == "done":
            # The last write was kept, though its coordinator did not hear of it.
            with pytest.raises(UsageError, match="is done"):
                await _resumed(second)
        else:
            assert (kept.status, kept.ended, kept.output) == ("running", None, None)
            assert output(await _resumed(second)) == wanted
        assert {name: second.done[name] for name in before} == before
        assert set(recorded(second.journal).values()) == {1}
        assert len(recorded(second.journal)) == 10
        assert max(second.done.values()) <= 2
        await second.close()
    assert 8 < stopped < WRITES


async def _outcome(town: Town) -> Any:
    try:
        return output(await town.end())
    except JournalError as error:
        return error.message


async def _resumed(town: Town) -> Any:
    town.client.resume(ResumeRun(run_id=RUN, launch="crew-2"))
    return await town.end()


def _made(path: Path) -> Path:
    path.parent.mkdir()
    Journal(path).close()
    return path


async def test_a_run_whose_journal_is_taken_away_stops(tmp_path: Path) -> None:
    town = Town(tmp_path / "home" / "journal.db")

    async def flow(turn: Turn) -> Any:
        await town.step(turn, "first")
        shutil.rmtree(tmp_path / "home")
        await town.step(turn, "second")
        await town.step(turn, "third")

    await town.launch(flow=flow)
    town.start()
    with pytest.raises(JournalError, match="removed or replaced"):
        await town.end()
    assert "third" not in town.done
    await town.close()
