"""Phoenix's own Python environment, made on first use.

It is built under a temporary name and renamed when it is whole, so what has the final name works. A lock
keeps two processes from building at once; it goes with its holder, and what a crash left half-made is
removed by the next attempt.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from callsheet.core.errors import TracingError

PHOENIX_REQUIREMENT = "arize-phoenix==20.26.1"
"""What is installed; `phoenix_requirement` in pyproject.toml says the same, for people who look there."""

INSTALL_TIMEOUT_S = 1800.0
LOCK_TIMEOUT_S = 1900.0
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)

Progress = Callable[[str], None]


def silent(line: str) -> None:
    """A progress callback that shows nothing."""


def environment_path(home: Path, requirement: str = PHOENIX_REQUIREMENT) -> Path:
    """Where the environment for that requirement is, or will be."""
    pin = re.sub(r"[^A-Za-z0-9.+]+", "-", requirement.removeprefix("arize-phoenix").lstrip("=")).strip("-")
    return home / "phoenix" / f"env-{pin or 'latest'}"


def environment_python(environment: Path) -> Path:
    """The interpreter of an environment."""
    return environment / "bin" / "python"


def ensure_environment(
    home: Path,
    *,
    requirement: str = PHOENIX_REQUIREMENT,
    progress: Progress = silent,
    timeout_s: float = INSTALL_TIMEOUT_S,
) -> Path:
    """The interpreter of Phoenix's environment, which is made first where it is missing (600 MB, once).

    Uses uv where there is one, else venv and pip. Raises TracingError where it cannot be made.
    """
    target = environment_path(home, requirement)
    python = environment_python(target)
    if python.exists():
        return python
    folder = target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TracingError(
            f"the folder {folder} for Phoenix cannot be made: {error}",
            hint="Set CALLSHEET_HOME to a folder that you may write to.",
        ) from error
    with locked(folder / "env.lock", progress, "another process is installing Phoenix; waiting for it"):
        if python.exists():
            return python
        for leftover in folder.glob("env-*.making-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        making = folder / f"{target.name}.making-{os.getpid()}"
        shutil.rmtree(target, ignore_errors=True)  # there, but without an interpreter
        try:
            _build(making, requirement, folder / "install.log", progress, timeout_s)
            making.rename(target)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return python


def _build(making: Path, requirement: str, log_path: Path, progress: Progress, timeout_s: float) -> None:
    began = time.monotonic()
    uv = _uv()
    installer = "uv" if uv else "pip, which takes a minute or more"
    progress(
        f"Installing {requirement} into an environment of its own (once; about 600 MB), with {installer}."
    )
    python = str(environment_python(making))
    if uv:
        commands = [
            [*uv, "venv", "--no-project", "--python", sys.executable, str(making)],
            [*uv, "pip", "install", "--python", python, requirement],
        ]
    else:
        commands = [
            [sys.executable, "-m", "venv", str(making)],
            [python, "-m", "pip", "install", "--disable-pip-version-check", requirement],
        ]
    with log_path.open("wb") as log:
        for command in commands:
            left_s = timeout_s - (time.monotonic() - began)
            try:
                status = subprocess.run(  # noqa: S603 - our own words and the pinned requirement
                    command,
                    cwd=log_path.parent,
                    env=_without_secrets(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=max(1.0, left_s),
                    check=False,
                ).returncode
                why = f"`{' '.join(command[-4:])}` ended with status {status}"
            except subprocess.TimeoutExpired:
                status, why = 1, f"it was not ready after {timeout_s:.0f} s"
            except OSError as error:
                status, why = 1, str(error)
            if status != 0:
                raise TracingError(
                    f"Phoenix could not be installed: {why}\n{tail(log_path)}",
                    hint=f"See {log_path}; check the connection to the package index and the disk space, and "
                    "try again. Runs work without Phoenix: their spans wait on disk.",
                )
    progress(f"Phoenix is installed ({time.monotonic() - began:.0f} s).")


def _uv() -> list[str]:
    if found := shutil.which("uv"):
        return [found]
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    return []


def _without_secrets() -> dict[str, str]:
    # An installer runs code of 150 packages; it needs the settings of pip and uv, and no model's key.
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("UV_", "PIP_")) or not _SECRET.search(name)
    }


def tail(path: Path, lines: int = 8) -> str:
    """The last lines of a log, indented; empty where there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 8192))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join("    " + line for line in text.strip().splitlines()[-lines:])


@contextlib.contextmanager
def locked(path: Path, progress: Progress, waiting: str, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold a lock file; it is freed when its holder ends, however that happens.

    Says `waiting` once where another holds it. Raises TracingError after `timeout_s`.
    """
    with path.open("a") as handle:
        until = time.monotonic() + timeout_s
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    told = True
                    progress(waiting)
                if time.monotonic() >= until:
                    raise TracingError(
                        f"{path} was locked by another process for {timeout_s:.0f} s",
                        hint="See what that process does (`fuser` names it), end it, and try again.",
                    ) from None
                time.sleep(0.2)
        yield
