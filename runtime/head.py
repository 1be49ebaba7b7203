"""A Ray head that `callsheet up` starts in the background on loopback, and `callsheet down` ends."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from callsheet.core.errors import ClusterError
from callsheet.runtime.cluster import LOCAL_ENVIRONMENT, token_environment
from callsheet.tracing.phoenix.identity import end, identity

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Head:
    """A Ray head of ours. `known_as` tells its process from a later one of the same pid.

    Whoever holds the token in `token_path` may use it: on a machine of several people, loopback alone
    would let each of them run code as its owner.
    """

    pid: int
    known_as: str
    address: str
    log_path: str
    token_path: str


def running_head(home: Path) -> Head | None:
    """The head that was started for this home, if it lives."""
    try:
        head = Head(**json.loads(_record(home).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return head if identity(head.pid) == head.known_as else None


def start_head(
    home: Path, *, hidden: tuple[str, ...] = (), progress: Callable[[str], None] = lambda _: None
) -> Head:
    """Start a Ray head for this home, or return the one that runs. It outlives this process.

    Raises ClusterError when it does not answer in time; its log says why.
    """
    running = running_head(home)
    if running is not None:
        return running
    progress("starting Ray")
    folder = _record(home).parent
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    token_path = _token(folder)
    environment = {**os.environ, **LOCAL_ENVIRONMENT, **token_environment(token_path)}
    # Our actors stay until they are told to go: Ray would wait for them in vain before it ends.
    environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] = "0"
    for name in (*hidden, "RAY_ADDRESS", "RAY_AUTH_TOKEN"):
        environment.pop(name, None)
    log_path = folder / "head.log"
    command = [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}",
        "--node-ip-address=127.0.0.1", "--include-dashboard=false", "--disable-usage-stats",
    ]  # fmt: skip
    with log_path.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )  # fmt: skip
    head = Head(
        pid=process.pid, known_as=identity(process.pid) or "", address=f"127.0.0.1:{port}",
        log_path=str(log_path), token_path=str(token_path),
    )  # fmt: skip
    try:
        _wait_until_up(process, port, log_path)
    except BaseException:
        _end(head)
        raise
    temporary = _record(home).with_suffix(".new")
    temporary.write_text(json.dumps(asdict(head)))
    temporary.replace(_record(home))
    return head


def stop_head(home: Path) -> bool:
    """End the head that was started for this home, and nothing else; False if none runs."""
    head = running_head(home)
    if head is not None:
        _end(head)
    _record(home).unlink(missing_ok=True)
    return head is not None


def _token(folder: Path) -> Path:
    """A new token, in a file that its owner alone can read."""
    path = folder / "auth_token"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    return path


def _record(home: Path) -> Path:
    return home / "ray" / "head.json"


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        # `ray start --block` says this when all of its processes are there.
        if "Ray runtime started" in log_path.read_text(errors="replace") and _listens(port):
            return
        time.sleep(0.1)
    tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-6:])
    raise ClusterError(
        f"Ray did not start:\n{tail}", hint=f"Its log is {log_path}; `callsheet doctor` may help."
    )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(head: Head) -> None:
    """SIGTERM lets `ray start --block` end all it started; what is left of its session is killed."""
    members = _session_of(head.pid)
    end(head.pid, head.known_as, STOP_TIMEOUT_S)
    for pid, known_as in members.items():
        end(pid, known_as, 1.0)


def _session_of(pid: int) -> dict[int, str]:
    """The processes of a session: all that the head started are in it."""
    found: dict[int, str] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            known_as = identity(int(entry.name)) if os.getsid(int(entry.name)) == pid else None
        except OSError:
            continue  # it has just ended
        if known_as is not None:
            found[int(entry.name)] = known_as
    return found
