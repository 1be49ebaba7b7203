"""Several processes, one spool: crashes, ends and imports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from callsheet import tracing
from callsheet.tracing import TracingConfig
from callsheet.tracing.spool import Spool

EMITTER = """
import sys
from pathlib import Path
from callsheet import tracing
from callsheet.tracing import ToolSpan, TracingConfig
folder, url, prefix, count = sys.argv[1:5]
tracing.configure(TracingConfig(spool_dir=Path(folder), endpoint=url or None, schedule_delay_s=0.02))
for i in range(int(count)):
    tracing.emit(ToolSpan(run_id="run-012345", name=f"{prefix}{i}", started=1.0, ended=2.0))
    if "acknowledge" in sys.argv and i % 10 == 9 and tracing.flush(30.0):
        print(i + 1, flush=True)
"""


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    tracing.shutdown(5.0)


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", EMITTER, *arguments], stdout=subprocess.PIPE, text=True)


def drain_into(otlp: Any, folder: Path) -> None:
    tracing.configure(TracingConfig(spool_dir=folder, endpoint=otlp.url, schedule_delay_s=0.02))


def test_a_process_that_just_ends_loses_no_span(tmp_path: Path, otlp: Any) -> None:
    with start(str(tmp_path), otlp.url, "p", "50") as process:
        assert process.wait(60) == 0
    assert otlp.wait_for(lambda: len(otlp.names) == 50)


@pytest.mark.timeout(60)
def test_a_process_ends_promptly_and_keeps_its_spans_when_the_server_never_answers(
    tmp_path: Path, black_hole: str
) -> None:
    with start(str(tmp_path), black_hole, "p", "50") as process:
        assert process.wait(20) == 0
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("*.otlp*"))
    assert all(f"p{i}".encode() in kept for i in range(50))


def test_two_processes_share_a_spool_and_nothing_is_lost(tmp_path: Path, otlp: Any) -> None:
    with start(str(tmp_path), "", "a", "300", "acknowledge") as first:
        with start(str(tmp_path), "", "b", "300", "acknowledge") as second:
            assert second.wait(60) == 0
        assert first.wait(60) == 0
    drain_into(otlp, tmp_path)
    assert otlp.wait_for(lambda: len(otlp.names) == 600)
    assert set(otlp.names.values()) == {1}


def test_two_processes_that_send_the_same_spool_do_not_both_send_a_file(tmp_path: Path, otlp: Any) -> None:
    for i in range(40):  # each call leaves a file of its own
        tracing.configure(TracingConfig(spool_dir=tmp_path))
        tracing.emit(tracing.ToolSpan(run_id="run-012345", name=f"s{i}", started=1.0, ended=2.0))
        tracing.shutdown(10.0)
    with start(str(tmp_path), otlp.url, "a", "1"), start(str(tmp_path), otlp.url, "b", "1"):
        drain_into(otlp, tmp_path)
        assert otlp.wait_for(lambda: len(otlp.names) == 42)
    assert set(otlp.names.values()) == {1}


@pytest.mark.parametrize("kind", ["away", "answering"])
def test_a_killed_process_loses_nothing_that_it_had_flushed(
    tmp_path: Path, otlp: Any, free_port: int, kind: str
) -> None:
    url = otlp.url if kind == "answering" else f"http://127.0.0.1:{free_port}"
    with start(str(tmp_path), url, "k", "1000000", "acknowledge") as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(30)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in process.stdout if line.strip().isdigit()]
    drain_into(otlp, tmp_path)
    expected = {f"k{i}" for i in range(max(acknowledged))}
    assert otlp.wait_for(lambda: expected <= set(otlp.names))


def test_what_a_dead_process_had_claimed_is_free_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from callsheet.tracing.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]), 10**6); spool.put(b'a'); print(spool.claim() is not None, flush=True)\n"
        "sys.stdin.read()"
    )
    spool = Spool(tmp_path, 10**6)
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert spool.claim() is None
        holder.kill()
        holder.wait()
    claimed = spool.claim()
    assert claimed is not None
    assert claimed[1] == b"a"


@pytest.mark.parametrize("module", ["callsheet.tracing", "callsheet.tracing.phoenix"])
def test_importing_the_face_loads_nothing_heavy(module: str) -> None:
    code = f"import {module}, sys; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = (
        "opentelemetry",
        "openinference",
        "google.protobuf",
        "requests",
        "ray",
        "pydantic",
        "grpc",
        "phoenix",
    )
    assert [name for name in loaded.split() if name.startswith(heavy)] == []
