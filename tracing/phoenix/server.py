"""A Phoenix server of ours: started once, in the background, on loopback, with its data kept.

`<home>/phoenix` holds its environment, its data (`data/`), its log and `server.json`, which names the
process and is written as soon as there is one: a starter that is killed while it waits leaves a server that
`running_phoenix` finds.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from callsheet.core.errors import TracingError
from callsheet.tracing.phoenix.client import PhoenixClient
from callsheet.tracing.phoenix.environment import (
    PHOENIX_REQUIREMENT,
    Progress,
    ensure_environment,
    locked,
    silent,
    tail,
)
from callsheet.tracing.phoenix.identity import end, identity

START_TIMEOUT_S = 240.0
"""Measured: 19 to 62 s on two cores, nearly all of it the import of 7,000 modules."""
STOP_PATIENCE_S = 15.0
LAUNCHER = Path(__file__).with_name("launcher.py")

SAFE_LOCAL = {
    "PHOENIX_HOST": "127.0.0.1",
    "PHOENIX_TELEMETRY_ENABLED": "false",
    "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
    "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
    "PHOENIX_AGENTS_DISABLE_BASH": "true",
    "PHOENIX_AGENTS_DISABLE_WEB_ACCESS": "true",
    "PHOENIX_AGENTS_DISABLE_GITHUB": "true",
    "PHOENIX_ENABLE_MCP_SERVER": "false",
    "PHOENIX_ALLOWED_SANDBOX_PROVIDERS": "NONE",
    "PHOENIX_LOG_MIGRATIONS": "false",
}
"""Nothing is sent to anyone, and nothing in the server runs commands or reaches the web."""

# The server shows what strangers wrote: it gets no key, nor anything else that it can do without.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")

_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoenixProcess:
    """A server of ours. `known_as` tells its process from a later one of the same pid."""

    pid: int
    url: str
    log_path: Path
    known_as: str
    port: int
    grpc_port: int


def running_phoenix(home: Path) -> PhoenixProcess | None:
    """The server that was started for this home, if its process lives; it may still be starting."""
    try:
        record = json.loads((home / "phoenix" / "server.json").read_text())
        process = PhoenixProcess(**{**record, "log_path": Path(record["log_path"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return process if identity(process.pid) == process.known_as else None


def start_phoenix(
    home: Path,
    *,
    port: int = 6006,
    grpc_port: int = 4317,
    requirement: str = PHOENIX_REQUIREMENT,
    progress: Progress = silent,
    timeout_s: float = START_TIMEOUT_S,
) -> PhoenixProcess:
    """A server that answers: the one of ours that runs already, else a new one.

    A port that is taken is replaced by a free one; look at the result. The process outlives its starter.
    Calling this twice is safe, also at once from two processes. Raises TracingError where it cannot be
    installed, or does not answer within `timeout_s`.
    """
    python = ensure_environment(home, requirement=requirement, progress=progress)
    folder = home / "phoenix"
    with locked(folder / "server.lock", progress, "another process is starting Phoenix; waiting for it"):
        process = running_phoenix(home)
        if process is None:
            process = _spawn(python, folder, port, grpc_port, progress)
        _wait_until_healthy(process, timeout_s)
    return process


def stop_phoenix(process: PhoenixProcess) -> bool:
    """End that server, and only it; False if it had ended already. What it has taken in is stored first."""
    ended = end(process.pid, process.known_as, STOP_PATIENCE_S)
    child = _children.pop(process.pid, None)
    if child is not None:
        child.wait(timeout=STOP_PATIENCE_S)
    record = process.log_path.with_name("server.json")
    try:
        if json.loads(record.read_text()).get("known_as") == process.known_as:
            record.unlink()
    except (OSError, ValueError):
        return ended  # no record, or a broken one: nothing points to this process any more
    return ended


def _spawn(python: Path, folder: Path, port: int, grpc_port: int, progress: Progress) -> PhoenixProcess:
    port = _free_port(port, progress, "Phoenix's")
    grpc_port = _free_port(grpc_port, progress, "Phoenix's gRPC", taken=port)
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    log_path = folder / "server.log"
    if log_path.exists():
        log_path.replace(folder / "server.log.1")
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment |= SAFE_LOCAL
    environment |= {
        "PHOENIX_WORKING_DIR": str(data),
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PYTHONUNBUFFERED": "1",
    }
    progress("Starting Phoenix (about 20 s).")
    try:
        with log_path.open("wb") as log:
            child = subprocess.Popen(  # noqa: S603 - our own script
                # Isolated: neither the working folder nor PYTHONPATH may put a module before Phoenix's own.
                [str(python), "-I", str(LAUNCHER)],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise TracingError(
            f"Phoenix cannot be started: {error}",
            hint=f"Delete {python.parent.parent} to have it installed anew.",
        ) from error
    _children[child.pid] = child
    process = PhoenixProcess(
        pid=child.pid,
        url=f"http://127.0.0.1:{port}",
        log_path=log_path,
        known_as=identity(child.pid) or "",
        port=port,
        grpc_port=grpc_port,
    )
    record = folder / "server.json"
    making = record.with_suffix(".tmp")
    making.write_text(json.dumps({**asdict(process), "log_path": str(log_path)}))
    making.replace(record)
    return process


def _wait_until_healthy(process: PhoenixProcess, timeout_s: float) -> None:
    client = PhoenixClient(process.url, timeout_s=2.0)
    until = time.monotonic() + timeout_s
    while not client.healthy():
        if identity(process.pid) != process.known_as:
            stop_phoenix(process)
            raise TracingError(
                f"Phoenix ended while it was starting\n{tail(process.log_path)}",
                hint=f"See {process.log_path}. Runs work without Phoenix: their spans wait on disk.",
            )
        if time.monotonic() >= until:
            stop_phoenix(process)
            raise TracingError(
                f"Phoenix did not answer within {timeout_s:.0f} s\n{tail(process.log_path)}",
                hint=f"See {process.log_path}; the machine may be busy: try again.",
            )
        time.sleep(0.2)


def _free_port(wanted: int, progress: Progress, whose: str, taken: int = 0) -> int:
    for port in (*range(wanted, min(wanted + 20, 65536)), 0):
        if port == taken and port != 0:
            continue
        with socket.socket() as probe:
            # As servers do: a port in TIME_WAIT is free, one that is listened on is not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found = int(probe.getsockname()[1])
        if found != wanted:
            progress(f"Port {wanted} is taken; {whose} port is {found}.")
        return found
    raise TracingError(f"no port is free for Phoenix, from {wanted} on", hint="Give another with --port.")
