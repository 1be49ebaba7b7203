"""Crews on a scripted model, inline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from callsheet.crews.portal import close_portal
from tests.unit.crews.fake_models import Bench, scripted_bench


@pytest.fixture(autouse=True, scope="session")
def no_host_of_others() -> None:
    """A host that tests elsewhere left open ends here, before the doors of unit tests are closed."""
    close_portal()


@pytest.fixture
def bench(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Runs crews inline against a script."""
    yield from scripted_bench(monkeypatch)
