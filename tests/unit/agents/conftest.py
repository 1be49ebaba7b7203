"""Crews on a scripted model, inline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.crews.fake_models import Bench, scripted_bench


@pytest.fixture
def bench(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Runs crews inline against a script."""
    yield from scripted_bench(monkeypatch)
