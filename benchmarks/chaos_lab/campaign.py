"""A campaign: runs are kept going, processes are killed by a plan, and every run is let come to its end."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from benchmarks.chaos_lab.actors import Killed, kill_actor, strike
from benchmarks.chaos_lab.models import ModelServer
from benchmarks.chaos_lab.people import decide
from benchmarks.chaos_lab.schedule import Kill
from benchmarks.chaos_lab.stage import ChaosError, Driver, Stage, below, until

RECORDS_TIMEOUT_S = 60.0
RESUME_TIMEOUT_S = 120.0
DRAIN_TIMEOUT_S = 120.0
Mode = Literal["cluster", "alone", "inline"]
OVER = ("done", "failed", "limited", "cancelled")


@dataclass
class Log:
    """What a campaign has to show for itself."""

    kills: list[Killed] = field(default_factory=list)
    jobs: dict[str, str] = field(default_factory=dict)
    """The run of each job of which a driver said that it has begun, and lived until it was in the journal."""
    faults: list[str] = field(default_factory=list)
    decisions: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What was decided on each question, by the question's id."""


class Campaign:
    """Runs under fire on one stage.

    On a `cluster`, runs outlive their drivers. `alone`, the driver has a Ray of its own, which ends with it:
    what it leaves behind is resumed by the next one. `inline`, the driver is all there is.
    """

    def __init__(
        self,
        stage: Stage,
        server: ModelServer,
        *,
        mode: Mode = "cluster",
        in_flight: int = 8,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.stage, self.server, self.mode = stage, server, mode
        self.log = Log()
        self._in_flight = in_flight
        self._progress = progress
        self._driver: Driver | None = None
        self._heard = 0
        self._jobs = 0
        self._asked: set[str] = set()
        """Jobs that the driver was told of and has not begun."""
        self._answered: set[str] = set()
        """Questions whose answer this driver has."""
        self._asked_before: dict[str, int] = {}
        """How many kills there had been when a question was first seen."""
        self._again: list[tuple[float, str]] = []
        """When which run is to be resumed once more."""

    def open(self) -> None:
        """Start everything."""
        if self.mode == "cluster":
            self.stage.up()
        self._new_driver()

    def run(self, plan: Iterable[Kill]) -> None:
        """Make the kills of the plan, then let every run come to its end."""
        for number, kill in enumerate(plan, 1):
            killed = self._make(kill)
            self.log.kills.append(killed)
            self._progress(f"{number:4} {killed.line}")
        self.drain()

    def storm(self, plan: Iterable[Kill]) -> None:
        """Make the kills of the plan without waiting for anything to come back; then go on with what was given up.

        A turn whose process dies three times without a record in between is given up: its run fails, and has to
        end well when it is resumed.
        """
        made: list[Killed] = []
        for kill in plan:
            self.tend()
            time.sleep(kill.delay_s)
            killed = strike(self.stage, kill)
            if killed is not None:
                made.append(killed)
                self._progress(f"{len(made):4} {killed.line}")
        self.drain()
        births = self.stage.all_births()
        for killed in made:
            later = [birth.at for birth in births if birth.label == killed.label and birth.at > killed.at]
            self.log.kills.append(replace(killed, up=min(later, default=time.time())))
        failed = [run["run_id"] for run in self.stage.journal.runs() if run["status"] == "failed"]
        self._progress(f"given up, and resumed: {len(failed)}")
        self._resume(failed)
        until(lambda: all(self.stage.journal.status(run) != "failed" for run in failed), "resumed runs")
        self.drain()

    def save(self) -> None:
        """Keep what is known of the campaign beside its journal and its ledger."""
        (self.stage.folder / "log.json").write_text(json.dumps(asdict(self.log), indent=1))
        seen = [asdict(sighting) for sighting in self.server.sightings]
        (self.stage.folder / "sightings.json").write_text(json.dumps(seen))

    def drain(self) -> None:
        """Wait until every run has come to its end; what has not is lost, which the verdict says."""
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        while time.monotonic() < deadline:
            self.tend(top_up=False)
            runs = {run["run_id"]: run["status"] for run in self.stage.journal.runs()}
            if all(status in OVER for status in runs.values()) and runs.keys() >= set(self.log.jobs.values()):
                return
            time.sleep(0.05)

    # --- the runs --------------------------------------------------------------------------------------

    @property
    def driver(self) -> Driver:
        """The driver of the moment."""
        assert self._driver is not None
        return self._driver

    def tend(self, *, top_up: bool = True) -> None:
        """Hear what the driver says, decide on what is asked, and keep as many runs going as are wanted."""
        told, self._heard = self.driver.told[self._heard :], len(self.driver.told)
        for line in told:
            self._hear(line)
        while self._again and self._again[0][0] < time.monotonic():
            self.driver.send(run=self._again.pop(0)[1])
        runs = self.stage.journal.runs()
        for run in runs:
            if run["status"] == "waiting":
                self._answer(run["run_id"], at_once=not top_up)
        if top_up:
            known = {run["run_id"] for run in runs}
            coming = len(self._asked) + len(set(self.log.jobs.values()) - known)
            going = sum(run["status"] == "running" for run in runs)
            for _ in range(self._in_flight - going - coming):
                self._start()

    def _hear(self, line: dict[str, Any]) -> None:
        if "started" in line:
            self.log.jobs[line["started"]] = line["run"]
            self._asked.discard(line["started"])
        elif "refused" in line:
            run_id, plain = line["run"], line["order"].keys() == {"run"}
            if plain and line["refused"] == "WaitingError":
                pass  # it has got as far as to ask
            elif plain and line["refused"] == "RunTakenError":
                # The processes of a dead driver's Ray die a little later, and hold the run until they do.
                self._again.append((time.monotonic() + 0.2, run_id))
            elif not (plain and self.stage.journal.status(run_id) == "done"):
                self.log.faults.append(f"the driver was refused: {line}")

    def _start(self) -> None:
        job = f"j{self._jobs:05}"
        self._jobs += 1
        self._asked.add(job)
        self.driver.send(job=job)

    def _answer(self, run_id: str, *, at_once: bool) -> None:
        """Reply to what a run asks: to one question in two only after one more kill, which it has to outlive."""
        for question in self.stage.journal.questions(run_id):
            id_ = question["id"]
            asked = self._asked_before.setdefault(id_, len(self.log.kills))
            patient = int(id_[-1], 16) % 2 == 1 and not at_once and len(self.log.kills) == asked
            if id_ not in self._answered and not patient:
                options = decide(question, self.stage.ledger())
                self._answered.add(id_)
                self.log.decisions[id_] = options
                self.driver.send(run=run_id, options=options)

    def _resume(self, runs: list[str]) -> None:
        for run_id in runs:
            self.driver.send(run=run_id)

    def _going(self) -> list[str]:
        return [run["run_id"] for run in self.stage.journal.runs() if run["status"] == "running"]

    # --- the kills -------------------------------------------------------------------------------------

    def _make(self, kill: Kill) -> Killed:
        journal = self.stage.journal
        goal = journal.count() + (1 if kill.point else kill.records)
        until(lambda: journal.count() >= goal, "records", RECORDS_TIMEOUT_S, meanwhile=self.tend)
        if kill.kind in ("driver", "node"):
            time.sleep(kill.delay_s)
        if kill.kind == "driver":
            return self._kill_driver(kill)
        if kill.kind == "node":
            return self._kill_node(kill)
        killed, fault = kill_actor(self.stage, self.server, kill, self.tend)
        if fault:
            self.log.faults.append(fault)
        return killed

    def _kill_driver(self, kill: Kill) -> Killed:
        at, place = time.time(), self.stage.journal.place()
        pid = self.driver.process.pid
        if kill.point:
            self.stage.order_death(kill.point, kill.records)
            until(self._is_dead, "a write to die at", RECORDS_TIMEOUT_S, meanwhile=self.tend)
            at = float(self.stage.own_kills()[-1]["at"])
        elif self.mode == "alone":
            self.stage.left.extend(below(pid))
        self._lose_driver()
        if self.mode == "inline":
            place = self.stage.journal.place()
        going = self._going()
        self._new_driver()
        ready = time.time()
        if self.mode != "cluster":
            self._resume(going)
        return self._recovery("driver", (pid,), at, going, place, ready, kill.point)

    def _is_dead(self) -> bool:
        return self.driver.process.poll() is not None

    def _kill_node(self, kill: Kill) -> Killed:
        victims = below(self.driver.process.pid) if self.mode == "alone" else self.stage.node()
        random.Random(len(self.log.kills)).shuffle(victims)
        at = time.time()
        for victim in victims:
            victim.kill()
        self._lose_driver()
        going, place = self._going(), self.stage.journal.place()
        by_itself = self.mode == "cluster" and kill.choice < 0.5
        if self.mode == "cluster":
            self.stage.down()
            self.stage.up(resume=by_itself)
        self._new_driver()
        ready = 0.0 if by_itself else time.time()
        if not by_itself:
            self._resume(going)
        pids = tuple(victim.pid for victim in victims)
        return self._recovery("node", pids, at, going, place, ready, "up" if by_itself else "")

    def _lose_driver(self) -> None:
        """What it was told of and had not begun was never begun; what it was answered may have to be said again."""
        self.driver.kill()
        for line in self.driver.told[self._heard :]:
            if "started" in line:
                self.log.jobs[line["started"]] = line["run"]
        known = {run["run_id"] for run in self.stage.journal.runs()}
        self.log.jobs = {job: run for job, run in self.log.jobs.items() if run in known}
        self._asked.clear()
        self._answered.clear()
        self._again.clear()

    def _new_driver(self) -> None:
        self._driver = self.stage.driver(self.mode)
        self._heard = 0

    def _recovery(
        self, kind: str, pids: tuple[int, ...], at: float, going: list[str], place: tuple[int, int],
        ready: float, point: str = "",
    ) -> Killed:  # fmt: skip
        """Wait for the first record of a run that was going on. Its crew's last process to be up counts as new."""
        mine, journal = set(going), self.stage.journal
        on_its_own = kind == "driver" and self.mode == "cluster"

        def crew_is_up() -> bool:
            return any("/" in label and birth.at > at for label, birth in self.stage.births().items())

        def records() -> list[float]:
            return [row["at"] for row in journal.moved_since(place) if row["run_id"] in mine]

        def moved() -> bool:
            return bool(records()) or all(journal.status(run_id) != "running" for run_id in going)

        told: dict[str, Any] = {
            "kind": kind, "label": self.mode, "pids": pids, "at": at, "point": point, "working": len(going)
        }  # fmt: skip
        if not going:
            return Killed(**told)
        try:
            if kind == "driver" and self.mode == "alone":
                # Until then it is the dying who write.
                what = f"processes after the death of the driver ({self.mode})"
                until(crew_is_up, what, RESUME_TIMEOUT_S, meanwhile=self.tend)
                place = journal.place()
            what = f"a record of a run after the death of the {kind} ({self.mode})"
            until(moved, what, RESUME_TIMEOUT_S, meanwhile=self.tend)
        except ChaosError as error:
            self.log.faults.append(str(error))
            return Killed(**told)
        first = min([*records(), time.time()])
        up = max([ready, *(birth.at for birth in self.stage.births().values() if birth.at < first)])
        return Killed(
            **told, up=up, away_s=first - at, recovery_s=None if on_its_own else max(0.0, first - up)
        )
