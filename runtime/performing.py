"""Performing what was decided: journal first, then those whom it concerns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from callsheet.core.events import (
    CancelTurn,
    Command,
    Deliver,
    DeliverAgain,
    EndRun,
    Grant,
    KeepEnvelope,
    KeepStep,
    Park,
    Recall,
    Resolve,
    Wait,
)
from callsheet.core.limits import RunUsage
from callsheet.core.records import Envelope, RunWaits
from callsheet.runtime.active_runs import ActiveRuns
from callsheet.runtime.audience import Audience
from callsheet.runtime.group_commit import GroupCommit
from callsheet.runtime.journal import Journal
from callsheet.runtime.members import Members
from callsheet.runtime.protocol import (
    ParkTurn,
    StepAnswered,
    StepGranted,
    TurnGiven,
    TurnStopped,
)
from callsheet.runtime.recovery import ActiveRun
from callsheet.runtime.trace import trace_run


class Performer:
    """Carries out commands. All that leaves goes after the commit of what it depends on.

    `on_stop` hears of each participant that is told to stop a turn.
    """

    def __init__(
        self,
        journal: Journal,
        commits: GroupCommit,
        members: Members,
        audience: Audience,
        runs: ActiveRuns,
        clock: Callable[[], float] = time.time,
        on_stop: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._on_stop = on_stop
        self._journal, self._commits, self._members = journal, commits, members
        self._audience, self._runs, self._clock = audience, runs, clock

    def perform(self, run: ActiveRun, commands: Sequence[Command]) -> None:
        """Carry out what was decided about a run."""
        for command in commands:
            match command:
                case KeepEnvelope(envelope=envelope):
                    self._commits.keep(envelope)
                    self._audience.tell(run, envelope)
                case KeepStep(step=step):
                    self._commits.keep(step)
                    if step.state != "intent":
                        self._audience.tell(run, step)
                case Deliver(envelope=envelope):
                    self._commits.after(partial(self.give, run, envelope))
                case DeliverAgain(turn_id=turn_id):
                    self._commits.after(partial(self.give_again, turn_id, run.state.run_id))
                case Park(turn_id=turn_id, receiver=receiver):
                    self.to_taker(run, receiver, turn_id, ParkTurn(turn_id=turn_id))
                case Grant(turn_id=turn_id, receiver=receiver):
                    granted = StepGranted(turn_id=turn_id, key=command.key, nth=command.nth)
                    self.to_taker(run, receiver, turn_id, granted)
                case Wait(usage=usage):
                    self._let_wait(run, usage)
                case Resolve(turn_id=turn_id, receiver=receiver):
                    answered = StepAnswered(
                        turn_id=turn_id,
                        key=command.key,
                        nth=command.nth,
                        kind=command.kind,
                        body=command.body,
                    )
                    self.to_taker(run, receiver, turn_id, answered)
                case Recall(turn_id=turn_id):
                    run_id = run.state.run_id
                    self._commits.after(partial(self.give_again, turn_id, run_id))
                case CancelTurn(turn_id=turn_id, receiver=receiver, reason=reason):
                    stopped = TurnStopped(turn_id=turn_id, reason=reason)
                    self.to_taker(run, receiver, turn_id, stopped)
                    client = self._members.taker(run.info.launch, receiver, turn_id)
                    if client is not None:
                        self._commits.after(partial(self._on_stop, client))
                case EndRun():
                    self._end(run, command)

    def give(self, run: ActiveRun, envelope: Envelope, steps: tuple[Any, ...] = ()) -> None:
        """Hand a turn to whose it is; who is not there gets it when it joins."""
        client = self._members.taker(run.info.launch, envelope.receiver, envelope.id)
        if client is not None:
            self._audience.push(client, TurnGiven(envelope=envelope, info=run.info, steps=steps))

    async def give_again(self, turn_id: str, run_id: str) -> None:
        """Hand out an open turn again, with all that it has recorded."""
        run = self._runs.get(run_id)
        turn = run.state.open.get(turn_id) if run is not None else None
        if run is not None and turn is not None and not turn.parked:
            steps = await self._commits.read(lambda: self._journal.turn_steps(run_id, turn_id))
            self.give(run, turn.envelope, tuple(steps))

    def to_taker(self, run: ActiveRun, receiver: str, turn_id: str, item: Any) -> None:
        """Send something to whoever has a turn."""
        client = self._members.taker(run.info.launch, receiver, turn_id)
        if client is not None:
            self._commits.after(partial(self._audience.push, client, item))

    def _let_wait(self, run: ActiveRun, usage: RunUsage) -> None:
        """Nothing of it is held any more but what is in the journal."""
        waits = RunWaits(run_id=run.record.run_id, usage=usage, at=self._clock())
        self._commits.keep(waits)
        self._let_go(run, waits)

    def _end(self, run: ActiveRun, end: EndRun) -> None:
        self._commits.keep(end)
        self._commits.after(lambda: trace_run(run.record, end))
        self._let_go(run, end)

    def _let_go(self, run: ActiveRun, last: EndRun | RunWaits) -> None:
        if run.timer is not None:
            run.timer.cancel()

        def tell() -> None:
            self._runs.drop(run)
            self._audience.tell_last(run, last)

        self._commits.after(tell)
