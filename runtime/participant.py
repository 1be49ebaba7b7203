"""A participant: takes turns, one task each, and replies exactly once to every message."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from callsheet.core.canonical import to_json
from callsheet.core.errors import CallsheetError, RunError
from callsheet.core.events import TurnFinished, TurnParked
from callsheet.core.ids import reply_envelope_id
from callsheet.core.records import Envelope
from callsheet.runtime.lanes import Lane, LaneDownError, Transport
from callsheet.runtime.protocol import (
    Dismissed,
    Join,
    JournalBroken,
    LaunchCard,
    Leaving,
    Listening,
    ParkTurn,
    StepAnswered,
    StepGranted,
    TurnGiven,
    TurnStopped,
)
from callsheet.runtime.services import Call
from callsheet.runtime.trace import trace_turn
from callsheet.runtime.turns import Turn

log = logging.getLogger(__name__)

Handler = Callable[[Turn], Awaitable[Any]]
"""Handles one message and returns the reply's body (JSON-compatible). What it raises is the reply too."""


QUIET_S = 0.02
"""How long a turn has to have done nothing but wait before it is parked. Parking too soon is harmless."""

FINISHED_TURNS = 10_000
"""How many finished turns a participant remembers, so that none is begun again while its answer travels."""


class Participant:
    """One process's (or object's) end of the lane to the coordinator, under one name of a launched crew.

    What survives a crash: every recorded step. The turns of a process that dies are given to its
    successor with the steps they had recorded; a turn that is given twice to a living process is taken
    once. When the coordinator is another one, the participant tells it who it is, and is given its open
    turns again.
    """

    def __init__(
        self,
        *,
        card: LaunchCard,
        name: str,
        replica: int = 0,
        replicas: int = 1,
        handler: Handler,
        transport: Transport,
        services: Mapping[str, Call],
        client: str,
        incarnation: str,
        clock: Callable[[], float] = time.time,
        on_dismissed: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._hello = Join(card=card, name=name, replica=replica, replicas=replicas, pid=os.getpid())
        self._handler = handler
        self._services = services
        self._clock = clock
        self._turns: dict[str, tuple[Turn, asyncio.Task[None]]] = {}
        self._on_dismissed = on_dismissed
        self._patient: dict[str, asyncio.TimerHandle | None] = {}
        self._open_gate = asyncio.Event()
        self._open_gate.set()
        self._finished: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._join_number = 0
        self._lane = Lane(
            transport, client=client, incarnation=incarnation, on_item=self._take, on_new_server=self._join,
            on_lost=self._lost,
        )  # fmt: skip

    def open(self) -> None:
        """Join the crew and begin to take turns."""
        self._join()
        self._lane.open()

    @property
    def under_way(self) -> int:
        """How many steps are being done here."""
        return sum(turn.under_way for turn, _ in self._turns.values())

    def hold(self) -> None:
        """Begin no more steps: those that come to one wait."""
        self._open_gate.clear()

    async def leave(self) -> None:
        """Tell the coordinator that this process goes, and that its successor is to have its turns.

        When this returns, all that it has recorded is in the journal.
        """
        await self._lane.settled(self._lane.post(Leaving(card=self._hello.card)))

    async def close(self) -> None:
        """Stop; unfinished turns stay unfinished."""
        for timer in self._patient.values():
            if timer is not None:
                timer.cancel()
        await self._lane.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def joined(self) -> None:
        """Wait until the coordinator knows that this participant is there."""
        await self._lane.settled(self._join_number)

    def _join(self) -> None:
        held = tuple((turn.info.run_id, id_, turn.info.since) for id_, (turn, _) in self._turns.items())
        turns = [turn for turn, _ in self._turns.values()]
        reserving = tuple(step for turn in turns for step in turn.reserving)
        self._join_number = self._lane.post(replace(self._hello, turns=held, reserving=reserving))
        for turn in turns:
            turn.say_again()

    def _lost(self, error: LaneDownError) -> None:
        log.error("%s/%s has lost the coordinator: %s", self._hello.card.name, self._name, error)
        for _, task in self._turns.values():
            task.cancel()

    def _take(self, item: Any) -> None:
        match item:
            case TurnGiven():
                self._begin(item)
            case StepAnswered(turn_id=turn_id):
                held = self._turns.get(turn_id)
                if held is not None:
                    held[0].answered(item.key, item.nth, item.kind, item.body)
            case StepGranted(turn_id=turn_id, key=key, nth=nth):
                held = self._turns.get(turn_id)
                if held is not None:
                    held[0].granted(key, nth)
            case TurnStopped(turn_id=turn_id):
                self._drop(turn_id)
            case ParkTurn(turn_id=turn_id):
                held = self._turns.get(turn_id)
                if held is not None:
                    self._patient.setdefault(turn_id, None)
                    self._moved(held[0])
            case Listening(run_id=run_id, on=on):
                for turn, _ in self._turns.values():
                    if turn.info.run_id == run_id:
                        turn.info = replace(turn.info, listened=on)
            case Dismissed():
                self._on_dismissed()
            case JournalBroken():
                for _, task in self._turns.values():
                    task.cancel()
            case _:
                raise TypeError(f"a participant does not take {type(item).__name__}")

    def _begin(self, given: TurnGiven) -> None:
        held = self._turns.get(given.envelope.id)
        if held is not None and held[0].info.since < given.info.since:
            self._drop(given.envelope.id)  # of the time before the run was resumed
            held = None
        if held is not None:
            held[0].info = given.info
            for step in given.steps:
                held[0].told(step)
            return
        if self._finished.get(given.envelope.id, -1.0) >= given.info.since:
            return  # our answer is on its way, and whoever gave us the turn again will find it
        turn = Turn(
            given.envelope, given.info, self._lane, self._services, given.steps, self._clock,
            gate=self._gate, moved=self._moved,
        )  # fmt: skip
        task = asyncio.get_running_loop().create_task(self._handle(turn))
        self._turns[turn.id] = (turn, task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _gate(self) -> None:
        if not self._open_gate.is_set():
            await self._open_gate.wait()

    def _drop(self, turn_id: str) -> None:
        """Stop working on a turn; nothing that its code still does counts."""
        held = self._turns.get(turn_id)
        if held is not None:
            self._forget(turn_id)
            held[0].end()
            held[1].cancel()

    def _forget(self, turn_id: str) -> None:
        del self._turns[turn_id]
        timer = self._patient.pop(turn_id, None)
        if timer is not None:
            timer.cancel()

    def _moved(self, turn: Turn) -> None:
        """Park a patient turn once it has only waited for a moment."""
        if turn.id not in self._patient:
            return
        timer = self._patient[turn.id]
        if timer is not None:
            timer.cancel()
        self._patient[turn.id] = asyncio.get_running_loop().call_later(QUIET_S, self._park, turn)

    def _park(self, turn: Turn) -> None:
        held, pending = self._turns.get(turn.id), turn.pending
        if held is None or held[0] is not turn or not turn.waits_only:
            return
        self._drop(turn.id)
        since = turn.info.since
        self._lane.post(TurnParked(run_id=turn.info.run_id, turn_id=turn.id, pending=pending, since=since))

    async def _handle(self, turn: Turn) -> None:
        started = self._clock()
        kind: Literal["reply", "error"] = "reply"
        try:
            body = to_json(await self._handler(turn))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if turn.over or (task is not None and task.cancelling()):
                raise
            # Nobody cancelled this turn: its own code let out what became of another task.
            kind, body = "error", to_json(_failure(self._name, error).to_dict())
        except CallsheetError as error:
            kind, body = "error", to_json(_plain(error).to_dict())
        except BaseException as error:
            # A fault in a user's flow or tool, or in ours: the run fails, and its log says where. Also
            # SystemExit and its like: out of a task they would end the loop, and all other turns with it.
            log.exception("the turn of %s in run %s failed", self._name, turn.info.run_id)
            kind, body = "error", to_json(_failure(self._name, error).to_dict())
        finally:
            held = self._turns.get(turn.id)
            if held is not None and held[0] is turn:  # it may have been given to us again
                self._forget(turn.id)
        if turn.over:
            return  # stopped or parked, and its code would not have it: what it came to does not count
        at = self._clock()
        self._finished[turn.id] = turn.info.since
        if len(self._finished) > FINISHED_TURNS:
            del self._finished[next(iter(self._finished))]
        run_id, since = turn.info.run_id, turn.info.since
        self._lane.post(
            TurnFinished(run_id=run_id, turn_id=turn.id, kind=kind, body=body, at=at, since=since)
        )
        ask = turn.envelope
        reply = Envelope(
            id=reply_envelope_id(ask.id), run_id=ask.run_id, kind=kind, sender=ask.receiver,
            receiver=ask.sender, body=body, cause=ask.id, reply_to=ask.id, at=at,
        )  # fmt: skip
        trace_turn(ask, reply, turn.info, started)


def _failure(name: str, error: BaseException) -> RunError:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "callsheet/runtime" not in f.filename]
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return RunError(f"{name} failed: {type(error).__name__}: {error}{where}")


def _plain(error: CallsheetError) -> CallsheetError:
    """The error, if its fields are JSON; else the same error without those that are not."""
    try:
        to_json(error.to_dict())
    except (TypeError, ValueError):
        return type(error)(error.message, hint=error.hint)
    return error


__all__ = ["Handler", "Participant"]
