"""A real Phoenix server for the whole test session; its environment is kept between sessions."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from callsheet.core.errors import TracingError
from callsheet.tracing.phoenix import (
    PhoenixProcess,
    ensure_environment,
    environment_path,
    start_phoenix,
    stop_phoenix,
)


def _cache() -> Path:
    return Path(os.environ.get("CALLSHEET_TEST_CACHE") or Path.home() / ".cache" / "callsheet-tests")


@dataclass(frozen=True)
class RealPhoenix:
    """A running server, the home it was started for, the port it was asked for, and what it said."""

    process: PhoenixProcess
    home: Path
    wanted_port: int
    said: tuple[str, ...]


@pytest.fixture(scope="session")
def real_phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPhoenix]:
    """Phoenix with an empty database. Takes about 20 s, and a minute or more where it must be installed."""
    try:
        ensure_environment(_cache())
    except TracingError as error:
        pytest.skip(f"Phoenix cannot be installed here: {error}")
    home = tmp_path_factory.mktemp("home")
    target = environment_path(home)
    target.parent.mkdir()
    target.symlink_to(environment_path(_cache()))
    said: list[str] = []
    with socket.socket() as in_the_way:
        in_the_way.bind(("127.0.0.1", 0))
        in_the_way.listen()
        wanted = in_the_way.getsockname()[1]
        process = start_phoenix(home, port=wanted, grpc_port=wanted, progress=said.append)
    yield RealPhoenix(process, home, wanted, tuple(said))
    stop_phoenix(process)


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Phoenix stores what it takes in the background, and has no way to say when: this asks until it has."""
    import time

    def wait(condition: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < until, "Phoenix did not store the spans within 60 s"
            time.sleep(0.1)

    return wait
