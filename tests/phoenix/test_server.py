"""Starting, finding and stopping a real Phoenix server."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from callsheet.core.errors import TracingError
from callsheet.tracing.phoenix import PhoenixClient, running_phoenix, start_phoenix, stop_phoenix

pytestmark = pytest.mark.timeout(600)

LOOPBACK = {
    "0100007F",
    "00000000000000000000000001000000",
    "0000000000000000FFFF00000100007F",  # 127.0.0.1 as an IPv6-mapped address
}


def listening(pid: int) -> list[tuple[str, int]]:
    """The (hex address, port) pairs that a process listens on, from the kernel's own tables."""
    inodes = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        if found := re.match(r"socket:\[(\d+)\]", str(handle.readlink())):
            inodes.add(found[1])
    places = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, _, port = fields[1].partition(":")
                places.append((address, int(port, 16)))
    return places


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's tables of sockets")
def test_it_listens_on_loopback_alone(real_phoenix: Any) -> None:
    process = real_phoenix.process
    places = listening(process.pid)
    assert {port for _, port in places} == {process.port, process.grpc_port}
    assert {address for address, _ in places} <= LOOPBACK


def test_a_port_that_is_taken_is_replaced_and_that_is_said(real_phoenix: Any) -> None:
    assert real_phoenix.process.port != real_phoenix.wanted_port
    assert real_phoenix.process.grpc_port not in (real_phoenix.wanted_port, real_phoenix.process.port)
    assert any(f"Port {real_phoenix.wanted_port} is taken" in line for line in real_phoenix.said)
    assert PhoenixClient(real_phoenix.process.url).healthy()


def test_starting_again_finds_the_one_that_runs(real_phoenix: Any) -> None:
    assert start_phoenix(real_phoenix.home) == real_phoenix.process
    assert running_phoenix(real_phoenix.home) == real_phoenix.process


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads Linux's /proc")
def test_it_gets_none_of_the_environment_but_the_safe_settings(real_phoenix: Any) -> None:
    raw = Path(f"/proc/{real_phoenix.process.pid}/environ").read_bytes().decode()
    environment = dict(line.split("=", 1) for line in raw.split("\0") if line)
    strange = {
        name
        for name in environment
        if not name.startswith(("PHOENIX_", "PYTHON"))
        and name not in {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LC_CTYPE"}
    }
    assert strange == set()
    assert environment["PHOENIX_TELEMETRY_ENABLED"] == "false"
    assert environment["PHOENIX_ALLOW_EXTERNAL_RESOURCES"] == "false"


def test_it_is_a_session_of_its_own_and_outlives_a_terminal(real_phoenix: Any) -> None:
    assert os.getsid(real_phoenix.process.pid) == real_phoenix.process.pid


def test_stopping_spares_a_process_that_only_has_the_same_pid(real_phoenix: Any) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        reused = dataclasses.replace(real_phoenix.process, pid=other.pid)
        assert stop_phoenix(reused) is False
        assert other.poll() is None
        other.communicate(b"\n")
        assert other.returncode == 0


def test_a_server_that_cannot_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    python = tmp_path / "phoenix" / "env-1" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho the database is broken\nexit 3\n")
    python.chmod(0o755)
    with pytest.raises(TracingError, match="the database is broken"):
        start_phoenix(tmp_path, requirement="arize-phoenix==1", port=0)
    assert running_phoenix(tmp_path) is None


@pytest.mark.parametrize("record", ["", "{}", "[1]", '{"pid": 1}', "\0"])
def test_a_broken_record_is_no_server(tmp_path: Path, record: str) -> None:
    (tmp_path / "phoenix").mkdir()
    (tmp_path / "phoenix" / "server.json").write_text(record)
    assert running_phoenix(tmp_path) is None


def test_stopping_ends_the_process_and_forgets_it(tmp_path: Path) -> None:
    """With a stand-in for Phoenix that answers its health check: the real one is stopped by its fixture."""
    python = tmp_path / "phoenix" / "env-1" / "bin" / "python"
    python.parent.mkdir(parents=True)
    server = (
        "import http.server,os\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers()\n"
        "http.server.HTTPServer(('127.0.0.1', int(os.environ['PHOENIX_PORT'])), H).serve_forever()\n"
    )
    (tmp_path / "server.py").write_text(server)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/server.py"\n')
    python.chmod(0o755)
    process = start_phoenix(tmp_path, requirement="arize-phoenix==1", port=0, grpc_port=0)
    assert PhoenixClient(process.url).healthy()
    assert stop_phoenix(process) is True
    assert not PhoenixClient(process.url).healthy()
    assert running_phoenix(tmp_path) is None
    assert stop_phoenix(process) is False
    assert list((tmp_path / "phoenix").glob("server.json")) == []
