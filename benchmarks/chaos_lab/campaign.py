"""A campaign: runs are kept going, processes are killed by a plan, and what moved again when is written down."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos_lab.models import ModelServer
from benchmarks.chaos_lab.people import decide
from benchmarks.chaos_lab.records import OpenTurn
from benchmarks.chaos_lab.schedule import Kill
from benchmarks.chaos_lab.stage import LAUNCH, Birth, ChaosError, Driver, Process, Stage, until

MOVE_TIMEOUT_S = 60.0
AIM_TIMEOUT_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Killed:
    """A kill that was made, and how its runs went on.

    `recovery_s`: from the new process being up to the first record of its own; None where it had no work.
    `away_s`: from the kill to that record.
    """

    kind: str
    label: str
    pids: tuple[int, ...]
    at: float
    point: str = ""
    working: int = 0
    """How many turns the process had."""
    recovery_s: float | None = None
    away_s: float | None = None


@dataclass
class Log:
    """What a campaign has to show for itself."""

    kills: list[Killed] = field(default_factory=list)
    jobs: dict[str, str] = field(default_factory=dict)
    """The run of each job whose driver said that it has begun."""
    faults: list[str] = field(default_factory=list)
    decisions: dict[str, str] = field(default_factory=dict)
    """What was decided on each question, by the question's id."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form."""
        return asdict(self)


class Campaign:
    """Runs under fire on one stage; `alone`: the driver has a Ray of its own."""

    def __init__(
        self, stage: Stage, server: ModelServer, *, alone: bool = False, in_flight: int = 8,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.stage, self.server, self.alone, self.in_flight = stage, server, alone, in_flight
        self.log = Log()
        self._progress = progress
        self._driver: Driver | None = None
        self._heard = 0
        self._next = 0
        self._asked: dict[str, str] = {}
        self._resumed: dict[str, float] = {}

    @property
    def driver(self) -> Driver:
        assert self._driver is not None
        return self._driver

    def open(self) -> None:
        """Start everything."""
        if not self.alone:
            self.stage.up()
        self._new_driver()

    def _new_driver(self) -> None:
        self._driver = self.stage.driver("alone" if self.alone else "cluster")
        self._heard = 0

    # --- the runs --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin one more run."""
        self.driver.send(job=f"j{self._next:05}")
        self._next += 1

    def tend(self, *, top_up: bool = True) -> list[dict[str, Any]]:
        """Hear what the driver says, decide on what is asked, and keep the runs going; the runs that are not done."""
        told, self._heard = self.driver.told[self._heard :], len(self.driver.told)
        for line in told:
            if "started" in line:
                self.log.jobs[line["started"]] = line["run"]
            elif "refused" in line and self.driver.process.poll() is None:
                self.log.faults.append(f"the driver was refused: {line}")
        runs = self.stage.journal.runs()
        going = [run for run in runs if run["status"] == "running"]
        for run in runs:
            if run["status"] == "waiting":
                self._answer(run["run_id"])
        if top_up:
            begun = {run["run_id"] for run in runs}
            unheard = [job for job, run in self.log.jobs.items() if run not in begun]
            asked = self._next - len(self.log.jobs) - self._lost_orders
            for _ in range(self.in_flight - len(going) - len(unheard) - asked):
                self.start()
        return [run for run in runs if run["status"] != "done"]

    _lost_orders = 0

    def _answer(self, run_id: str) -> None:
        for question in self.stage.journal.questions(run_id):
            if question["id"] in self.log.decisions:
                continue
            reply, why = decide(question, self.stage.ledger())
            self.log.decisions[question["id"]] = why
            self.driver.send(run=run_id, reply=[question["id"], reply])

    # --- the kills -------------------------------------------------------------------------------------

    def run(self, plan: Iterable[Kill]) -> None:
        """Make the kills of the plan, then let every run come to its end."""
        for number, kill in enumerate(plan, 1):
            killed = self._kill(kill)
            self.log.kills.append(killed)
            recovery = (
                "" if killed.recovery_s is None else f", moved {killed.recovery_s:.2f} s after its start"
            )
            away = "" if killed.away_s is None else f" ({killed.away_s:.2f} s after the kill)"
            self._progress(
                f"{number:4} {killed.kind:<12}{killed.point:<7} {killed.working} turns{recovery}{away}"
            )
        self.drain()

    def drain(self, timeout_s: float = 120.0) -> None:
        """Wait until every run has come to its end; what has not is lost, which the verdict says."""
        ended = ("done", "failed", "limited", "cancelled")
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            left = [run for run in self.tend(top_up=False) if run["status"] not in ended]
            known = {run["run_id"] for run in self.stage.journal.runs()}
            if not left and known and known.issuperset(self.log.jobs.values()):
                return
            time.sleep(0.05)

    def _kill(self, kill: Kill) -> Killed:
        base = self.stage.journal.count()
        goal = base + (1 if kill.point else kill.records)
        until(lambda: (self.tend(), self.stage.journal.count() >= goal)[1], "records", MOVE_TIMEOUT_S)
        time.sleep(kill.delay_s)
        if kill.kind == "driver":
            return self._kill_driver(kill)
        if kill.kind == "node":
            return self._kill_node()
        return self._kill_actor(kill)

    def _label(self, kill: Kill) -> str:
        if kill.kind in ("gateway", "memory", "coordinator"):
            return kill.kind
        half = int(kill.choice * 2)
        name = {"agent": ("keeper#0", "payer#0")[half], "replica": f"scout#{half}", "flow": "flow#0"}[
            kill.kind
        ]
        launches = [label for label in self.stage.births() if label.endswith(f"/{name}")]
        return launches[-1]

    def _turns_of(self, label: str) -> list[OpenTurn]:
        """The open turns of a participant's process; the agent's, if all its replicas have one name."""
        name, _, index = label.rpartition("/")[2].partition("#")
        turns = [turn for turn in self.stage.journal.open_turns() if turn.receiver == name]
        return [t for t in turns if name != "scout" or int(t.id[:8], 16) % 2 == int(index)]

    def _at_work(self, label: str) -> bool:
        if label == "gateway":
            return self.server.in_flight > 0
        if label == "memory":
            return any(turn.receiver == "scout" for turn in self.stage.journal.open_turns())
        return bool(self._turns_of(label)) if "/" in label else True

    def _kill_actor(self, kill: Kill) -> Killed:
        label = self._label(kill)
        # A process that has nothing to do is a poor victim; but after a while even that one is taken.
        deadline = time.monotonic() + AIM_TIMEOUT_S
        while not self._at_work(label) and time.monotonic() < deadline:
            self.tend()
            time.sleep(0.002)
        birth = self.stage.births()[label]
        turns = self._turns_of(label) if "/" in label else []
        place = self.stage.journal.place()
        if kill.point:
            done = len(self.stage.own_kills())
            self.stage.order_death(kill.point, kill.records)
            until(
                lambda: (self.tend(), len(self.stage.own_kills()) > done)[1],
                "a write to die at",
                MOVE_TIMEOUT_S,
            )
            at = self.stage.own_kills()[-1]["at"]
            place = self.stage.journal.place()
        else:
            victim = Process.of(birth.pid)
            if victim is None:
                raise ChaosError(f"{label} (pid {birth.pid}) is dead before it was killed")
            at = time.time()
            victim.kill()
        try:
            again, moved = self._wait_for_life(label, birth, turns, place)
        except ChaosError as error:
            self.log.faults.append(f"after the kill of {label} {kill.point}: {error}")
            return Killed(
                kind=kill.kind, label=label, pids=(birth.pid,), at=at, point=kill.point, working=len(turns)
            )
        return Killed(
            kind=kill.kind, label=label, pids=(birth.pid,), at=at, point=kill.point, working=len(turns),
            recovery_s=None if moved is None else max(0.0, moved - again.at),
            away_s=None if moved is None else moved - at,
        )  # fmt: skip

    def _wait_for_life(
        self, label: str, before: Birth, turns: list[OpenTurn], place: tuple[int, int]
    ) -> tuple[Birth, float | None]:
        """The new process, and when it first did what only it could do. Returns when all its turns have moved."""
        open_ids = {turn.id for turn in turns}
        again: Birth | None = None
        moved: float | None = None
        deadline = time.monotonic() + MOVE_TIMEOUT_S
        while time.monotonic() < deadline:
            self.tend()
            if again is None:
                found = self.stage.births()[label]
                again = found if found.pid != before.pid else None
                if again is not None and label in ("gateway", "memory", "coordinator"):
                    # What came before was the doing of others, or of the dead.
                    place = self.stage.journal.place()
                continue
            for row in self.stage.journal.moved_since(place):
                if self._is_its_own(label, row, {turn.id for turn in turns}):
                    open_ids.discard(row["turn"])
                    moved = moved or time.time()
            # A turn of which the person was asked waits, and will not move.
            still = open_ids & {turn.id for turn in self.stage.journal.open_turns()}
            if not still and (moved is not None or ("/" in label and not turns)):
                return again, moved
            if not turns and "/" in label:
                return again, None
            if open_ids and not still and moved is None:
                return again, None
            time.sleep(0.005)
        if again is None:
            raise ChaosError("it did not come back")
        raise ChaosError(f"{len(open_ids)} of its turns did not move: {sorted(open_ids)[:3]}")

    @staticmethod
    def _is_its_own(label: str, row: dict[str, Any], turns: set[str]) -> bool:
        if label == "coordinator":
            return True
        if label == "gateway":
            return row["kind"] == "llm"
        if label == "memory":
            return bool(row["kind"] == "tool" and row["name"] == "consult")
        return row["turn"] in turns

    def _kill_driver(self, kill: Kill) -> Killed:
        driver, at, place = self.driver, time.time(), self.stage.journal.place()
        driver.kill()
        self._forget_orders()
        going = [run["run_id"] for run in self.stage.journal.runs() if run["status"] == "running"]
        self._new_driver()
        ready = time.time()
        if self.alone:
            self._resume(going)
        moved = self._first_record(place, going)
        return Killed(
            kind="driver", label="alone" if self.alone else "cluster", pids=(driver.process.pid,), at=at,
            working=len(going), away_s=None if moved is None else moved - at,
            recovery_s=None if moved is None or not self.alone else max(0.0, moved - max(ready, self._last_birth(moved))),
        )  # fmt: skip

    def _kill_node(self) -> Killed:
        from benchmarks.chaos_lab.stage import below

        victims = below(self.driver.process.pid) if self.alone else self.stage.node()
        at = time.time()
        for victim in random.Random(at).sample(victims, len(victims)):
            victim.kill()
        going = [run["run_id"] for run in self.stage.journal.runs() if run["status"] == "running"]
        self.driver.kill()
        self._forget_orders()
        if not self.alone:
            self.stage.down()
            self.stage.up()
        place = self.stage.journal.place()
        self._new_driver()
        ready = time.time()
        self._resume(going)
        moved = self._first_record(place, going)
        return Killed(
            kind="node", label="alone" if self.alone else "cluster", pids=tuple(v.pid for v in victims), at=at,
            working=len(going), away_s=None if moved is None else moved - at,
            recovery_s=None if moved is None else max(0.0, moved - max(ready, self._last_birth(moved))),
        )  # fmt: skip

    def _forget_orders(self) -> None:
        """Jobs that a dead driver was told of and never began are not awaited; questions may be open again."""
        told = {line["started"] for line in self.driver.told if "started" in line}
        for line in self.driver.told:
            if "started" in line:
                self.log.jobs[line["started"]] = line["run"]
        begun = {run["run_id"] for run in self.stage.journal.runs()}
        # What was posted and not yet acknowledged when its driver died has never been begun.
        for job in [job for job, run in self.log.jobs.items() if run not in begun and job in told]:
            del self.log.jobs[job]
        self._lost_orders = self._next - len(self.log.jobs)

    def _resume(self, runs: list[str]) -> None:
        for run_id in runs:
            self.driver.send(run=run_id)

    def _last_birth(self, moved: float) -> float:
        return max((birth.at for birth in self.stage.births().values() if birth.at < moved), default=0.0)

    def _first_record(self, place: tuple[int, int], runs: list[str]) -> float | None:
        if not runs:
            return None
        mine = set(runs)
        try:
            until(
                lambda: (self.tend(), any(row["run_id"] in mine for row in self.stage.journal.moved_since(place)))[1],
                "a record of a run that was resumed", 2 * MOVE_TIMEOUT_S,
            )  # fmt: skip
        except ChaosError as error:
            self.log.faults.append(str(error))
            return None
        return time.time()


def campaign_folder(base: Path, name: str) -> Path:
    """A folder for a campaign of that name, below `base`."""
    folder = base / name
    folder.mkdir(parents=True)
    return folder
