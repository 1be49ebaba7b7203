"""What durability costs one idle turn: at most one journal round trip a step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from callsheet.runtime.journal import Journal
from callsheet.runtime.turns import Turn
from tests.unit.runtime.town import Town, ask_echo, echo, output


class CountingJournal(Journal):
    """Counts its transactions."""

    writes = 0

    def write(self, records: Sequence[Any]) -> None:
        self.writes += 1
        super().write(records)


@pytest.mark.parametrize("steps", [1, 5, 20])
async def test_a_step_of_an_idle_turn_costs_one_transaction(tmp_path: Path, steps: int) -> None:
    journal = CountingJournal(tmp_path / "journal.db")
    town = Town(tmp_path / "journal.db", journal)

    async def flow(turn: Turn) -> Any:
        for number in range(steps):
            await town.step(turn, f"step {number}")
        return {"output": steps}

    await town.launch(flow=flow)
    assert output(await town.run()) == steps
    # And two for the run itself: its beginning, and its end.
    assert journal.writes <= steps + 2
    await town.close()


async def test_an_ask_costs_one_transaction_there_and_one_back(tmp_path: Path) -> None:
    journal = CountingJournal(tmp_path / "journal.db")
    town = Town(tmp_path / "journal.db", journal)
    await town.launch(flow=ask_echo, echo=echo)
    assert output(await town.run("hello")) == "hello"
    assert journal.writes <= 4
    await town.close()
