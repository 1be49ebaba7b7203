"""Campaigns short enough for the suite: each has a Ray of its own, in processes below this one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.chaos_lab.models import ModelServer
from benchmarks.chaos_lab.stage import Stage


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    """The model server that all runs of a module ask."""
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def stage(server: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A folder with a home, and whatever is started in it, ended with the module."""
    folder: Path = tmp_path_factory.mktemp("chaos")
    stage = Stage(folder, server.url)
    yield stage
    stage.close()
