"""Unit tests cannot reach outside their process: no sockets, no Ray, no subprocesses."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def closed_doors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tries to connect, listen, start Ray or a process fails the test."""

    def refuse(what: str) -> Any:
        def refused(*args: Any, **kwargs: Any) -> Any:
            raise AssertionError(f"a unit test must not {what}")

        return refused

    monkeypatch.setattr(socket.socket, "connect", refuse("connect a socket"))
    monkeypatch.setattr(socket.socket, "bind", refuse("bind a socket"))
    monkeypatch.setattr(subprocess.Popen, "__init__", refuse("start a process"))
    ray = sys.modules.get("ray")
    if ray is not None:
        monkeypatch.setattr(ray, "init", refuse("start Ray"))


@pytest.fixture(autouse=True)
def nothing_left_over(home: Path) -> Iterator[None]:
    """Hosts that a test opened, and its tracing, end with it."""
    yield
    from callsheet import tracing

    if "callsheet.crews.portal" in sys.modules:
        sys.modules["callsheet.crews.portal"].close_portal()
    tracing.shutdown(0.5)
