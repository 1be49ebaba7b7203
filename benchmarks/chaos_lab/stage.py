"""The processes of a campaign: a Ray head with its crew, drivers, and how each of them is ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos_lab.records import Journal, lines
from callsheet.runtime.head import running_head, stop_head
from callsheet.tracing.phoenix.identity import identity

ROOT = Path(__file__).parents[2]
HOOK = Path(__file__).with_name("hook")
CREW_FILE = Path(__file__).with_name("crew_file.py")
LAUNCH = "chaos"
START_TIMEOUT_S = 240.0
DOCUMENT = "# Crashes\n\nA crash costs no finished step: each is in the journal.\n\n# Shelves\n\nThere are shelves.\n"


class ChaosError(Exception):
    """The campaign itself cannot go on."""


def until(
    condition: Callable[[], Any],
    what: str,
    timeout_s: float = 60.0,
    *,
    meanwhile: Callable[[], None] = lambda: None,
) -> Any:
    """Wait for a state of other processes, which nothing tells us of; returns it. Raises ChaosError."""
    deadline = time.monotonic() + timeout_s
    while True:
        meanwhile()
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise ChaosError(f"waited {timeout_s:g} s for {what}")
        time.sleep(0.005)


@dataclass(frozen=True, slots=True)
class Birth:
    """A process of ours that is up: which part it is (`coordinator`, `LAUNCH/payer#0`), and since when."""

    label: str
    pid: int
    at: float


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process and when it was started, so that its number alone is never signalled."""

    pid: int
    known_as: str

    @staticmethod
    def of(pid: int) -> Process | None:
        """The process of that number, if it lives."""
        known_as = identity(pid)
        return None if known_as is None else Process(pid=pid, known_as=known_as)

    @property
    def alive(self) -> bool:
        """Whether it lives."""
        return identity(self.pid) == self.known_as

    def kill(self) -> bool:
        """End it at once; False if it was gone."""
        if not self.alive:
            return False
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


def below(pid: int) -> list[Process]:
    """All that was started below a process, and all in its session."""
    parents, sessions = {}, {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
            parents[int(entry.parent.name)] = int(fields[1])
            sessions[int(entry.parent.name)] = int(fields[3])
        except (OSError, ValueError):
            continue  # it has just ended
    found = {pid} | {one for one, session in sessions.items() if session == pid}
    grown = True
    while grown:
        more = {one for one, parent in parents.items() if parent in found} | found
        grown, found = more != found, more
    processes = [Process.of(one) for one in sorted(found - {pid})]
    return [process for process in processes if process is not None]


@dataclass
class Driver:
    """A driver's process, and what it has told."""

    process: subprocess.Popen[str]
    told: list[dict[str, Any]] = field(default_factory=list)

    def send(self, **order: Any) -> None:
        """Order something of it; nothing happens if it is dead."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait(20)

    def close(self) -> None:
        """Let it end in order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()


class Stage:
    """A folder with a home, a ledger and documents, and the processes that work in it."""

    def __init__(self, folder: Path, model_url: str, *, verbose: bool = False) -> None:
        self.folder, self.home = folder, folder / "home"
        self.verbose = verbose
        self.docs = folder / "docs"
        self.docs.mkdir(parents=True, exist_ok=True)
        (self.docs / "crashes.md").write_text(DOCUMENT)
        self.journal = Journal(self.home / "journal.db")
        self.drivers: list[Driver] = []
        self.left: list[Process] = []
        """What a dead driver's Ray may leave behind."""
        self._log = (folder / "processes.log").open("ab")
        names = [
            n for n in os.environ if not n.startswith(("CALLSHEET_", "RAY_")) and not n.endswith("_API_KEY")
        ]
        self.environment = {
            **{name: os.environ[name] for name in names},
            "CALLSHEET_HOME": str(self.home), "CALLSHEET_PHOENIX": "off",
            "CALLSHEET_MODEL": "openai-compatible/chaos", "OPENAI_COMPATIBLE_BASE_URL": model_url,
            "CHAOS_FOLDER": str(folder), "PYTHONPATH": os.pathsep.join([str(HOOK), str(ROOT)]),
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        }  # fmt: skip

    # --- what can be seen ----------------------------------------------------------------------------

    def births(self) -> dict[str, Birth]:
        """The last process that came up as each part."""
        return {birth.label: birth for birth in self.all_births()}

    def all_births(self) -> list[Birth]:
        """Every process that came up, in that order."""
        return [Birth(line["label"], line["pid"], line["at"]) for line in lines(self.folder / "births.jsonl")]

    def ledger(self) -> list[dict[str, Any]]:
        """What the tools did, in the order in which they did it."""
        return lines(self.folder / "ledger.jsonl")

    def own_kills(self) -> list[dict[str, Any]]:
        """The processes that ended themselves by an order."""
        return lines(self.folder / "own_kills.jsonl")

    def order_death(self, point: str, nth: int) -> None:
        """Let whoever writes the journal next die at that point of its nth write from now."""
        new = self.folder / "order.new"
        new.write_text(json.dumps({"point": point, "nth": nth}))
        new.replace(self.folder / "order.json")

    @contextlib.contextmanager
    def shut(self, gate: str) -> Iterator[None]:
        """Payments wait `before` or `after` their effect for the length of the block."""
        path = self.folder / f"shut-{gate}"
        path.touch()
        try:
            yield
        finally:
            path.unlink()

    # --- what can be started and ended -----------------------------------------------------------------

    def callsheet(
        self, *args: str, check: bool = True, timeout_s: float = START_TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """One command line, to its end. Raises ChaosError if it fails."""
        command = [sys.executable, "-c", "from callsheet.cli import main; main()", *args]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=timeout_s,
        )  # fmt: skip
        self._log.write(f"$ callsheet {' '.join(args)}\n{done.stdout}{done.stderr}".encode())
        self._log.flush()
        if check and done.returncode:
            raise ChaosError(f"callsheet {' '.join(args)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def up(self, *, resume: bool = True) -> None:
        """Start a Ray head with the services, which goes on with runs that were cut off, and launch the crew."""
        self.callsheet("up", "--no-phoenix", *(() if resume else ("--no-resume",)))
        self.callsheet("launch", str(CREW_FILE), "--name", LAUNCH)

    def down(self) -> None:
        """End the head."""
        stop_head(self.home)

    def node(self) -> list[Process]:
        """All the processes of the head."""
        head = running_head(self.home)
        if head is None:
            return []
        own = Process.of(head.pid)
        return [*([own] if own else []), *below(head.pid)]

    def driver(self, mode: str) -> Driver:
        """Start a driver (`cluster` or `alone`) and wait until it takes orders."""
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.chaos_lab.driver", mode, str(self.docs)],
            cwd=self.folder, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._log, text=True, start_new_session=True,
        )  # fmt: skip
        driver = Driver(process)
        self.drivers.append(driver)
        threading.Thread(target=self._listen, args=(driver,), daemon=True).start()
        until(lambda: driver.told or process.poll() is not None, "a driver", START_TIMEOUT_S)
        return driver

    def _listen(self, driver: Driver) -> None:
        assert driver.process.stdout is not None
        for line in driver.process.stdout:
            try:
                driver.told.append(json.loads(line))
            except ValueError:
                self._log.write(line.encode())

    def close(self) -> None:
        """End all that was started here."""
        for driver in self.drivers:
            left = below(driver.process.pid)
            driver.kill()
            for process in left:
                process.kill()
        for process in self.left:
            process.kill()
        self.down()
        self.journal.close()
        self._log.close()
