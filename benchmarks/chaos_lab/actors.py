"""The death of one actor: which process it is, how it is killed, and when its successor moves again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.chaos_lab.models import ModelServer
from benchmarks.chaos_lab.records import OpenTurn
from benchmarks.chaos_lab.schedule import Kill
from benchmarks.chaos_lab.stage import LAUNCH, Birth, ChaosError, Process, Stage, until

MOVE_TIMEOUT_S = 60.0
AIM_TIMEOUT_S = 15.0
SINGLE = ("gateway", "memory", "coordinator")


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
    up: float | None = None
    """When its successor was up: what comes before that, the dead have sent."""
    working: int = 0
    """How many turns the process had; for a driver and a node, how many runs."""
    recovery_s: float | None = None
    away_s: float | None = None

    @property
    def line(self) -> str:
        """What is shown of it."""
        recovery = "" if self.recovery_s is None else f"  moved {self.recovery_s:.2f} s after its start"
        away = "" if self.away_s is None else f"  {self.away_s:.2f} s after the kill"
        return f"{self.kind:<12}{self.point:<8}{self.working:3} at work{recovery}{away}"


def kill_actor(stage: Stage, server: ModelServer, kill: Kill, tend: Callable[[], None]) -> tuple[Killed, str]:
    """Kill one actor and wait until all that it had to do has moved; the fault is empty if it has.

    `tend` is called while waiting.
    """
    label = label_of(kill)
    # A process that has nothing to do is a poor victim; but after a while even that one is taken.
    deadline = time.monotonic() + AIM_TIMEOUT_S
    while not _at_work(stage, server, label, kill) and time.monotonic() < deadline:
        tend()
        time.sleep(0.002)
    time.sleep(kill.delay_s)
    birth = stage.births()[label]
    turns = _turns_of(stage, label)
    place = stage.journal.place()
    if kill.point:
        before = len(stage.own_kills())
        stage.order_death(kill.point, kill.records)
        until(lambda: len(stage.own_kills()) > before, "a write to die at", MOVE_TIMEOUT_S, meanwhile=tend)
        at = float(stage.own_kills()[-1]["at"])
    else:
        victim = Process.of(birth.pid)
        if victim is None:
            raise ChaosError(f"{label} (pid {birth.pid}) is dead before it was killed")
        at = time.time()
        victim.kill()
    told: dict[str, Any] = {
        "kind": kill.kind, "label": label, "pids": (birth.pid,), "at": at, "point": kill.point,
        "working": len(turns),
    }  # fmt: skip
    try:
        again, moved = _wait_for_life(stage, label, birth, turns, place, tend)
    except ChaosError as error:
        return Killed(**told), f"after the death of {label} {kill.point}: {error}"
    told["up"] = again.at
    if moved is None:
        return Killed(**told), ""
    return Killed(**told, recovery_s=max(0.0, moved - again.at), away_s=moved - at), ""


def strike(stage: Stage, kill: Kill) -> Killed | None:
    """Kill one actor whatever it does, and wait for nothing; None if it is dead already."""
    label = label_of(kill)
    birth = stage.births()[label]
    victim, at = Process.of(birth.pid), time.time()
    if victim is None or not victim.kill():
        return None
    return Killed(kind=kill.kind, label=label, pids=(birth.pid,), at=at)


def label_of(kill: Kill) -> str:
    """The part that the kill is for."""
    if kill.kind in SINGLE:
        return kill.kind
    half = int(kill.choice * 2)
    name = {"agent": ("keeper#0", "payer#0")[half], "replica": f"scout#{half}", "flow": "flow#0"}[kill.kind]
    return f"{LAUNCH}/{name}"


def _turns_of(stage: Stage, label: str) -> list[OpenTurn]:
    """The open turns of a participant's process. A turn belongs to the replica that its id names."""
    if label in SINGLE:
        return []
    name, _, index = label.rpartition("/")[2].partition("#")
    turns = [turn for turn in stage.journal.open_turns() if turn.receiver == name]
    return [turn for turn in turns if name != "scout" or int(turn.id[:8], 16) % 2 == int(index)]


def _at_work(stage: Stage, server: ModelServer, label: str, kill: Kill) -> bool:
    if label.endswith("/payer#0") and kill.choice > 0.67:
        # Two payers in three are caught while they pay: that is where it hurts.
        return bool(stage.journal.begun_payments())
    if label == "gateway":
        return server.in_flight > 0
    if label == "memory":
        return any(turn.receiver == "scout" for turn in stage.journal.open_turns())
    return label == "coordinator" or bool(_turns_of(stage, label))


def _wait_for_life(
    stage: Stage,
    label: str,
    before: Birth,
    turns: list[OpenTurn],
    place: tuple[int, int],
    tend: Callable[[], None],
) -> tuple[Birth, float | None]:
    """The new process, and when it first did what only it could do. Returns when all its turns have moved."""
    mine = {turn.id for turn in turns}
    still = set(mine)
    moved: float | None = None
    deadline = time.monotonic() + MOVE_TIMEOUT_S

    def reborn() -> Birth | None:
        tend()
        found = stage.births()[label]
        return found if found.pid != before.pid else None

    again: Birth = until(reborn, "its successor", MOVE_TIMEOUT_S)
    if label in SINGLE:
        place = stage.journal.place()  # what came before was the doing of others, or of the dead
    while time.monotonic() < deadline:
        tend()
        # A turn whose question waits for a person is open no more: it does not have to move.
        still &= {turn.id for turn in stage.journal.open_turns()}
        for row in stage.journal.moved_since(place):
            if _is_its_own(label, row, mine):
                still.discard(row["turn"])
                moved = moved or time.time()
        if not still and (moved is not None or label not in SINGLE):
            return again, moved
        time.sleep(0.005)
    raise ChaosError(f"{len(still)} of its turns did not move: {sorted(still)[:3]}")


def _is_its_own(label: str, row: dict[str, Any], turns: set[str]) -> bool:
    if label == "gateway":
        return bool(row["kind"] == "llm")
    if label == "memory":
        return bool(row["kind"] == "tool" and row["name"] == "consult")
    return label == "coordinator" or row["turn"] in turns
