"""A town of participants around one coordinator, for the tests of the runtime."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from callsheet.runtime.turns import Turn
from tests.unit.runtime.town import Town


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    made = Town(tmp_path / "journal.db")
    yield made
    await made.close()


@pytest.fixture
async def working(town: Town) -> list[str]:
    """A crew whose worker never finishes; the list tells what became of it."""
    told: list[str] = []

    async def work(turn: Turn) -> Any:
        told.append("begun")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("stopped")
            raise

    async def flow(turn: Turn) -> Any:
        return await turn.ask("work", {"input": 0})

    await town.launch(flow=flow, work=work)
    return told
