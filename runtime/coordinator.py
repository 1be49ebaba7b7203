"""The coordinator: routes envelopes, writes the journal, keeps runs within their limits.

It takes an event, decides (core), journals, and only then performs: nobody hears of anything that is not
in the journal. It runs no code of users.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from callsheet.core.canonical import to_json
from callsheet.core.errors import (
    AgentError,
    CallsheetError,
    ClusterError,
    JournalError,
)
from callsheet.core.events import (
    CancelRequested,
    MessageSent,
    StepRecorded,
    StepReserved,
    TurnFinished,
    TurnParked,
    TurnTaken,
)
from callsheet.core.run_state import decide
from callsheet.runtime.active_runs import ActiveRuns
from callsheet.runtime.admission import Admission
from callsheet.runtime.audience import Audience
from callsheet.runtime.group_commit import GroupCommit
from callsheet.runtime.journal import Journal
from callsheet.runtime.lane_server import LaneServer, Port
from callsheet.runtime.members import Members
from callsheet.runtime.performing import Performer
from callsheet.runtime.protocol import (
    Answer,
    CancelRun,
    Dismissed,
    Join,
    JournalBroken,
    Leaving,
    ParkTurn,
    Ping,
    Query,
    ResumeRun,
    Spoken,
    StartRun,
    TurnStopped,
    UnwatchRun,
    WatchRun,
)
from callsheet.runtime.queries import Queries
from callsheet.runtime.recovery import ActiveRun
from callsheet.runtime.upkeep import Upkeep

log = logging.getLogger(__name__)

DEATHS = 3
"""How often a process may die under a turn that records nothing in between before the turn is given up."""


class Coordinator:
    """One for a cluster. A plain class: the hosts make it an actor, or an object in this process.

    What survives a crash: everything it has acknowledged, since it acknowledges after the commit. A call
    that failed may have been journaled or not; sending its items again is safe, because every envelope,
    step and finished turn has an id and is taken once. A participant that comes back with a new
    incarnation gets its unfinished turns again, with the steps they have recorded. A coordinator that
    takes another's place learns who is there from the participants, which join it again, and takes up each
    run from the journal when it first hears of it. `kill(client)` ends a participant's process; where there is
    none, code that does not yield cannot be stopped.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        owner: str = "",
        clock: Callable[[], float] = time.time,
        kill: Callable[[str], None] | None = None,
    ) -> None:
        self._journal = journal
        self._owner = owner
        self._clock = clock
        self._lanes = LaneServer(self._receive)
        self._members = Members()
        self._commits = GroupCommit(journal, self._tell_broken)
        self._runs = ActiveRuns(journal, self._commits, owner, clock, self._event)
        self._audience = Audience(journal, self._commits, self._members, self._lanes)
        self._performer = Performer(
            journal, self._commits, self._members, self._audience, self._runs, clock,
            on_stop=lambda client: self._upkeep.told_to_stop(client),
        )  # fmt: skip
        self._admission = Admission(
            journal, self._commits, self._members, self._runs, self._performer, self._audience,
            owner=owner, clock=clock, event=self._event,
        )  # fmt: skip
        self._queries = Queries(journal, self._members, self._commits.read, self._stop_runs_of)
        self._upkeep = Upkeep(
            journal, self._commits, self._members, self._lanes,
            cancel=self._cancel, busy=self._busy_launches, dismiss=self._dismiss, kill=kill,
        )  # fmt: skip

    async def exchange(self, data: bytes) -> bytes:
        """One call of a client's lane."""
        return await self._lanes.exchange(data)

    async def close(self) -> None:
        """Write what is left, and close the journal."""
        self._runs.close()
        self._admission.close()
        await self._upkeep.close()
        await self._commits.close()

    # --- what comes in -------------------------------------------------------------------------------

    def _receive(self, port: Port, first: int, items: Sequence[Any]) -> None:
        if self._commits.broken is not None:
            port.push(JournalBroken(error=self._commits.broken.to_dict()))
            return
        for item in items:
            match item:
                case MessageSent(envelope=envelope):
                    self._event(envelope.run_id, item)
                case StepRecorded(step=step):
                    self._event(step.run_id, item)
                case TurnFinished(run_id=run_id, kind="reply"):
                    self._event(run_id, item)
                case TurnFinished(run_id=run_id) | TurnParked(run_id=run_id):
                    self._event_of_now(run_id, item)
                case StepReserved(step=step):
                    self._event_of_now(step.run_id, item)
                case Spoken(run_id=run_id):
                    run = self._runs.get(run_id)
                    if run is not None:
                        self._audience.speak(run, item)
                case StartRun():
                    self._upkeep.begin()
                    self._admission.start(port, item)
                case ResumeRun():
                    self._upkeep.begin()
                    self._admission.resume(port, item)
                case WatchRun(run_id=run_id):
                    self._audience.welcome(self._runs.find(run_id), port, item)
                case UnwatchRun(run_id=run_id):
                    run = self._runs.get(run_id)
                    if run is not None:
                        self._audience.leave(run, port.client)
                case Join():
                    self._join(port, item)
                case Leaving(card=card):
                    self._members.leave(card, port.client)
                case CancelRun(run_id=run_id, reason=reason):
                    self._cancel(run_id, reason)
                case Query():
                    self._ask(port, item)
                case Ping():
                    self._upkeep.begin()
                case _:
                    raise TypeError(f"the coordinator does not take {type(item).__name__}")
        number = first + len(items) - 1
        self._commits.after(lambda: port.ack(number))

    def _event(self, run_id: str, event: Any) -> None:
        run = self._runs.get(run_id) or self._runs.find(run_id)
        if run is None or self._commits.broken is not None:
            return  # it is over: late news
        run.state, commands = decide(run.state, event)
        self._performer.perform(run, commands)

    def _event_of_now(self, run_id: str, event: TurnFinished | TurnParked | StepReserved) -> None:
        """What holds for the stretch of work alone that it is of: a resumed run leaves it behind."""
        run = self._runs.find(run_id)
        if run is not None and event.since == run.info.since:
            self._event(run_id, event)

    def _cancel(self, run_id: str, reason: str) -> None:
        if self._runs.find(run_id) is None:
            self._admission.cancel(run_id, reason)
        self._event(run_id, CancelRequested(run_id=run_id, reason=reason, at=self._clock()))

    def _join(self, port: Port, item: Join) -> None:
        launch = item.card.name
        self._upkeep.begin()
        died = self._members.has_died(item, port.client)
        if self._members.join(item, port.client):
            for record in self._commits.read_now(lambda: self._journal.unended(launch)) or ():
                self._runs.find(record.run_id)
        for run in [run for run in self._runs.all() if run.info.launch == launch]:
            for turn_id, turn in list(run.state.open.items()):
                if turn_id in run.state.open and self._members.takes(port.client, launch, turn.envelope):
                    self._hand_over(run, turn_id, item, died)
        for run_id, turn_id, _ in item.turns:
            held = self._runs.find(run_id)
            open_ = None if held is None else held.state.open.get(turn_id)
            # A run that was resumed with another crew is that crew's.
            if (
                held is None
                or open_ is None
                or not self._members.takes(port.client, held.info.launch, open_.envelope)
            ):
                stopped = TurnStopped(turn_id=turn_id, reason="the run is over")
                self._commits.after(partial(port.push, stopped))
        self._admission.joined(launch)

    def _hand_over(self, run: ActiveRun, turn_id: str, item: Join, died: bool) -> None:
        """A process is there, perhaps in the place of a dead one: it gets an open turn of its own."""
        run_id = run.state.run_id
        current = (run_id, turn_id, run.info.since) in item.turns
        reserving = tuple(step for step in item.reserving if current and step.turn_id == turn_id)
        self._event(run_id, TurnTaken(run_id=run_id, turn_id=turn_id, at=self._clock(), reserving=reserving))
        turn = run.state.open.get(turn_id)
        if turn is None or turn.parked:
            return
        if died and run.count_death(turn_id) >= DEATHS:
            self._give_up(run, turn_id, item.name)
            return
        self._commits.after(partial(self._performer.give_again, turn_id, run_id))
        if run.state.questions:
            self._performer.to_taker(run, turn.envelope.receiver, turn_id, ParkTurn(turn_id=turn_id))

    def _give_up(self, run: ActiveRun, turn_id: str, name: str) -> None:
        """A turn that only ever ends its process is answered with an error."""
        run_id = run.state.run_id
        error = AgentError(
            f"the process of {name} died {DEATHS} times while it worked on the same step",
            agent=name,
            run_id=run_id,
            hint="Something that it does ends the process: a tool that exits, a crash in a library, or too "
            "little memory. `ray logs` and the files in Ray's session folder tell more.",
        )
        log.warning("%s in run %s", error.message, run_id)
        body = to_json(error.to_dict())
        at = self._clock()
        self._event(run_id, TurnFinished(run_id=run_id, turn_id=turn_id, kind="error", body=body, at=at))

    def _stop_runs_of(self, launch: str) -> None:
        """Nobody serves them any more: waiting for their deadline would help no one."""
        for run in self._runs.all():
            if run.info.launch == launch:
                self._cancel(run.record.run_id, f"the crew {launch} was stopped")

    def _busy_launches(self) -> set[str]:
        return {run.info.launch for run in self._runs.all()} | self._admission.awaited

    def _dismiss(self, launch: str) -> None:
        for client in self._members.clients_of(launch):
            self._audience.push(client, Dismissed())
        self._members.remove_launch(launch)

    def _ask(self, port: Port, item: Query) -> None:
        async def answer() -> None:
            try:
                port.push(Answer(id=item.id, value=await self._queries.answer(item.verb, item.args)))
            except CallsheetError as error:
                port.push(Answer(id=item.id, error=error.to_dict()))
            except Exception as error:  # whoever asked is waiting
                log.exception("the query %s failed", item.verb)
                fault = ClusterError(f"the coordinator failed at {item.verb!r}: {error}")
                port.push(Answer(id=item.id, error=fault.to_dict()))

        self._commits.after(answer)

    def _tell_broken(self, error: JournalError) -> None:
        for port in self._lanes.ports.values():
            port.push(JournalBroken(error=error.to_dict()))
