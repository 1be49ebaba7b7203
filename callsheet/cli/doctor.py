"""`doctor`: what is wrong on this machine, and how to mend it."""

from __future__ import annotations

import importlib
import os
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from callsheet.cli.journals import journal_path, reading
from callsheet.cli.options import Address, Home, Json, settings_of
from callsheet.cli.screen import console, print_json, printable
from callsheet.core.errors import CallsheetError, InfrastructureError, JournalError

if TYPE_CHECKING:
    from callsheet.settings import Settings

COUNTED_RUNS = 1000

GIB = 1024**3
MIB = 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found; `note` is worth knowing and stops nothing, `broken` has to be mended."""

    check: str
    state: Literal["ok", "note", "broken"]
    found: str
    remedy: str = ""


def doctor(as_json: Json = False, address: Address = None, home: Home = None) -> int:
    """Check what callsheet needs, and say how to mend what is wrong. Exit status 1 if anything is broken."""
    settings = settings_of(address=address, home=home)
    findings = examine(settings)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _show(findings)
    return 1 if any(finding.state == "broken" for finding in findings) else 0


def examine(settings: Settings) -> list[Finding]:
    """All checks, each of which answers whatever the others find."""
    checks: tuple[Callable[[Settings], Finding], ...] = (
        _python, _home, _disk, _journal, _runs, _memory, _shared_memory, _loopback, _ray, _cluster, _keys, _phoenix,
    )  # fmt: skip
    findings = []
    for check in checks:
        try:
            findings.append(check(settings))
        except (CallsheetError, OSError, ValueError) as error:
            message, hint = getattr(error, "message", str(error)), getattr(error, "hint", "")
            findings.append(
                Finding(check=check.__name__.strip("_"), state="broken", found=message, remedy=hint)
            )
    return findings


def _show(findings: list[Finding]) -> None:
    screen = console(sys.stdout)
    styles = {"ok": "green", "note": "yellow", "broken": "bold red"}
    for finding in findings:
        screen.print(f"{finding.state:<7}", style=styles[finding.state], end="")
        screen.print(printable(f"{finding.check:<15}{finding.found}"))
        if finding.remedy:
            screen.print(printable(f"{'':<22}{finding.remedy}"), style="dim")
    broken = sum(finding.state == "broken" for finding in findings)
    screen.print(f"\n{broken} to mend." if broken else "\nNothing is broken.")


def _python(settings: Settings) -> Finding:
    # An older one could not have imported this.
    return Finding(check="python", state="ok", found=".".join(str(part) for part in sys.version_info[:3]))


def _home(settings: Settings) -> Finding:
    place = _nearest(settings.home)
    remedy = "Point CALLSHEET_HOME (or --home) at a folder that you may write to."
    if not place.is_dir():
        return Finding(check="home", state="broken", found=f"{place} is not a folder", remedy=remedy)
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding(check="home", state="broken", found=f"{place} is not writable", remedy=remedy)
    return Finding(check="home", state="ok", found=str(settings.home))


def _disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(_nearest(settings.home)).free
    found = f"{free / GIB:.1f} GiB free"
    remedy = "Free some space, or point CALLSHEET_HOME at another disk. Phoenix alone takes 600 MB."
    if free < 100 * MIB:
        return Finding(check="disk", state="broken", found=found, remedy=remedy)
    return Finding(check="disk", state="note" if free < 2 * GIB else "ok", found=found,
                   remedy=remedy if free < 2 * GIB else "")  # fmt: skip


def _journal(settings: Settings) -> Finding:
    path = journal_path(settings)
    try:
        with reading(settings) as journal:
            if journal is None:
                return Finding(check="journal", state="ok", found=f"none yet; it will be {path}")
            journal.runs(limit=1)
    except JournalError as error:
        remedy = "Check the server and CALLSHEET_JOURNAL, its address."
        if path is not None:
            remedy = (
                "Check that you may read and write it and that the disk has space. If the file itself is "
                "broken, move it away, with the -wal and -shm beside it: the next run begins a new one, "
                "without the old runs."
            )
        return Finding(check="journal", state="broken", found=error.message, remedy=remedy)
    return Finding(check="journal", state="ok", found=f"{path or 'on a database server'} can be read")


def _runs(settings: Settings) -> Finding:
    try:
        with reading(settings) as journal:
            left = [] if journal is None else journal.orphans()
            waiting = [] if journal is None else journal.runs(limit=COUNTED_RUNS, status="waiting")
    except JournalError:
        return Finding(
            check="runs", state="note", found="cannot be told", remedy="The journal has to be mended first."
        )
    found, remedies = [], []
    if left:
        found.append(f"{_many(len(left))} cut off, the newest {left[-1].run_id}")
        remedies.append(
            "`callsheet resume RUN` goes on with one that was cut off, `resume --all` with all; "
            "`callsheet cancel RUN` ends it."
        )
    if waiting:
        found.append(f"{_many(len(waiting))} waiting for a person, the newest {waiting[0].run_id}")
        remedies.append("`callsheet show RUN` tells what a waiting one asks, and how to reply.")
    if not found:
        return Finding(check="runs", state="ok", found="none was cut off, and none waits for a person")
    return Finding(check="runs", state="note", found="; ".join(found), remedy=" ".join(remedies))


def _many(count: int) -> str:
    more = " or more" if count == COUNTED_RUNS else ""
    return f"{count}{more} run{' is' if count == 1 else 's are'}"


def _memory(settings: Settings) -> Finding:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return Finding(check="memory", state="note", found="cannot be told on this system")
    found = f"{available / GIB:.1f} GiB available"
    if available < 1.5 * GIB:
        return Finding(
            check="memory", state="note", found=found,
            remedy="Ray takes about 1 GiB, and 150 MB for each agent; --inline runs without it.",
        )  # fmt: skip
    return Finding(check="memory", state="ok", found=found)


def _shared_memory(settings: Settings) -> Finding:
    place = Path("/dev", "shm")
    if not place.is_dir():
        return Finding(check="shared memory", state="ok", found="no /dev/shm; Ray uses files")
    total = shutil.disk_usage(place).total
    found = f"{place} has {total / MIB:,.0f} MiB"
    if total < 256 * MIB:
        return Finding(
            check="shared memory", state="note", found=found,
            remedy="Ray is slower so. In Docker: --shm-size=1g.",
        )  # fmt: skip
    return Finding(check="shared memory", state="ok", found=found)


def _loopback(settings: Settings) -> Finding:
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
    except OSError as error:
        return Finding(
            check="ports", state="broken", found=f"nothing can listen on 127.0.0.1: {error}",
            remedy="Ray and Phoenix need it: allow loopback in the sandbox or firewall, or use --inline.",
        )  # fmt: skip
    return Finding(check="ports", state="ok", found="ports on 127.0.0.1 can be opened")


def _ray(settings: Settings) -> Finding:
    try:
        version = importlib.import_module("ray").__version__
    except Exception as error:  # whatever stops it from being imported is what is to be told
        return Finding(
            check="ray", state="broken", found=f"cannot be imported: {error}",
            remedy="Install callsheet anew (`uv sync`, or `pip install --force-reinstall ray`).",
        )  # fmt: skip
    return Finding(check="ray", state="ok", found=version)


def _cluster(settings: Settings) -> Finding:
    from callsheet.crews.system import ray_address

    address = ray_address(settings)
    if address is None:
        return Finding(check="cluster", state="ok", found="none is named; a run starts a Ray of its own")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return Finding(check="cluster", state="note", found=f"{address} (not an address that can be tried)")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=3):
            return Finding(check="cluster", state="ok", found=f"{address} answers")
    except (OSError, OverflowError) as error:
        return Finding(
            check="cluster", state="broken", found=f"nothing answers at {address}: {error}",
            remedy="Start it (`callsheet up`), mend the address (--address, CALLSHEET_ADDRESS, RAY_ADDRESS), "
            "or unset it.",
        )  # fmt: skip


def _keys(settings: Settings) -> Finding:
    from callsheet.crews.system import model_environ
    from callsheet.models.catalogue import list_models, parse_model

    if settings.model is not None:
        parse_model(settings.model)
    present = [info.key_env for info in list_models(model_environ(settings)) if info.key_present]
    if present:
        return Finding(check="keys", state="ok", found=f"set: {', '.join(present)}")
    return Finding(
        check="keys", state="note", found="no provider's key is set",
        remedy="Runs use `offline`, which is no language model. `callsheet models` shows what each needs.",
    )  # fmt: skip


def _phoenix(settings: Settings) -> Finding:
    from callsheet.crews.system import phoenix_endpoint
    from callsheet.tracing.phoenix import PhoenixClient, environment_path

    if settings.phoenix == "off":
        return Finding(check="phoenix", state="note", found="off: no traces are kept")
    url = phoenix_endpoint(settings)
    if url is None:
        installed = environment_path(settings.home, settings.phoenix_requirement).exists()
        return Finding(
            check="phoenix", state="ok",
            found=f"{'installed, not running' if installed else 'not installed yet'}; `callsheet up` starts it",
        )  # fmt: skip
    try:
        healthy = PhoenixClient(url, timeout_s=3.0).healthy()
    except InfrastructureError as error:
        return Finding(check="phoenix", state="broken", found=error.message, remedy=error.hint)
    if healthy:
        return Finding(check="phoenix", state="ok", found=f"{url} answers")
    remedy = "`callsheet up` starts one; runs go on without it, and their spans wait."
    if settings.phoenix is not None:
        remedy = "Start it, or mend or unset CALLSHEET_PHOENIX; runs go on without it, and their spans wait."
    return Finding(check="phoenix", state="broken", found=f"{url} does not answer", remedy=remedy)


def _nearest(path: Path) -> Path:
    """The path, or the nearest above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)
