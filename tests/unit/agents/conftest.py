"""Crews on a scripted model, inline."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from callsheet.crews.portal import close_portal
from callsheet.tools import Tool
from tests.unit.agents.desk import Desk
from tests.unit.crews.fake_models import Bench, scripted_bench


@pytest.fixture(autouse=True, scope="session")
def no_host_of_others() -> None:
    """A host that tests elsewhere left open ends here, before the doors of unit tests are closed."""
    close_portal()


@pytest.fixture
def bench(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Runs crews inline against a script."""
    yield from scripted_bench(monkeypatch)


@pytest.fixture
async def desk(home: Path, tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Desk]]]:
    """Opens a desk: an agent with these tools, whose model answers from a script."""
    opened: list[Desk] = []

    async def open_desk(*tools: Tool, **options: Any) -> Desk:
        made = Desk(tmp_path / "journal.db", *tools, **options)
        opened.append(made)
        await made.open()
        return made

    yield open_desk
    for made in opened:
        await made.town.close()
