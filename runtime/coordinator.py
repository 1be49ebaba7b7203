"""The coordinator: routes envelopes, writes the journal, keeps runs within their limits.

It takes an event, decides (core), journals, and only then performs: nobody hears of anything that is not
in the journal. It runs no code of users.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from callsheet.core.canonical import to_json
from callsheet.core.errors import (
    AgentError,
    CallsheetError,
    ClusterError,
    DefinitionError,
    JournalError,
    RunTakenError,
)
from callsheet.core.events import (
    CancelRequested,
    CancelTurn,
    Command,
    DeadlinePassed,
    Deliver,
    DeliverAgain,
    EndRun,
    Grant,
    KeepEnvelope,
    KeepStep,
    MessageSent,
    Park,
    Recall,
    Resolve,
    RunStarted,
    StepRecorded,
    StepReserved,
    TurnFinished,
    TurnParked,
    Wait,
)
from callsheet.core.limits import RunUsage
from callsheet.core.records import Envelope, RunWaits, is_question
from callsheet.core.run_state import decide, start
from callsheet.runtime.group_commit import GroupCommit
from callsheet.runtime.journal import Journal, end_of
from callsheet.runtime.lane_server import LaneServer, Port
from callsheet.runtime.members import Members
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
    Refused,
    ResumeRun,
    RunNews,
    StartRun,
    StepAnswered,
    StepGranted,
    TurnGiven,
    TurnStopped,
)
from callsheet.runtime.queries import Queries
from callsheet.runtime.recovery import ActiveRun, answer, check_question, resume, run_info, take_up
from callsheet.runtime.trace import trace_message, trace_run
from callsheet.runtime.upkeep import Upkeep

log = logging.getLogger(__name__)

PAST_RUNS = 10_000
"""How many ended runs are remembered, so that late news of them asks no question of the journal."""

DEATHS = 3
"""How often a process may die under a turn that records nothing in between before the turn is given up."""

REJOIN_S = 10.0
"""How long after its birth a coordinator waits for a crew's participants before it refuses a run of it."""


class Coordinator:
    """One for a cluster. A plain class: the hosts make it an actor, or an object in this process.

    What survives a crash: everything it has acknowledged, since it acknowledges after the commit. A call
    that failed may have been journaled or not; sending its items again is safe, because every envelope,
    step and finished turn has an id and is taken once. A participant that comes back with a new
    incarnation gets its unfinished turns again, with the steps they have recorded. A coordinator that
    takes another's place learns who is there from the participants, which join it again, and takes up each
    run from the journal when it first hears of it.
    """

    def __init__(self, journal: Journal, *, owner: str = "", clock: Callable[[], float] = time.time) -> None:
        self._journal = journal
        self._owner = owner
        self._clock = clock
        self._born = time.monotonic()
        self._lanes = LaneServer(self._receive)
        self._members = Members()
        self._runs: dict[str, ActiveRun] = {}
        self._past: dict[str, None] = {}
        self._early: dict[str, dict[str, tuple[Port, StartRun | ResumeRun, asyncio.TimerHandle]]] = {}
        self._commits = GroupCommit(journal, self._tell_broken)
        self._queries = Queries(journal, self._members, self._commits.read, self._stop_runs_of)
        self._upkeep = Upkeep(
            journal, self._commits, self._members, self._lanes,
            cancel=self._cancel, busy=self._busy_launches, dismiss=self._dismiss,
        )  # fmt: skip

    async def exchange(self, data: bytes) -> bytes:
        """One call of a client's lane."""
        return await self._lanes.exchange(data)

    async def close(self) -> None:
        """Write what is left, and close the journal."""
        timers = [run.timer for run in self._runs.values()]
        timers += [timer for early in self._early.values() for _, _, timer in early.values()]
        for timer in timers:
            if timer is not None:
                timer.cancel()
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
                case TurnFinished(run_id=run_id) | TurnParked(run_id=run_id):
                    self._event(run_id, item)
                case StepReserved(step=step):
                    self._event(step.run_id, item)
                case StartRun():
                    self._start(port, item)
                case ResumeRun():
                    self._resume(port, item)
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

    def _start(self, port: Port, item: StartRun) -> None:
        run_id = item.record.run_id
        # Only who talked to a predecessor can have begun the run with it.
        known = self._run(run_id) if port.returning else self._runs.get(run_id)
        if known is not None:
            self._watch(known, port, item.watch)
            return
        if run_id in self._past and self._tell_end(port, run_id):
            return
        launch = item.record.launch
        if launch not in self._members.launches:
            self._come_early(port, launch, run_id, item)
            return
        state, commands = start(RunStarted(envelope=item.envelope, limits=item.limits))
        record = replace(item.record, owner=self._owner, since=item.record.started)
        run = ActiveRun(state=state, record=record, info=run_info(record, item.limits))
        run.watchers[port.client] = item.watch
        self._activate(run)
        self._commits.keep(record)
        self._commits.after(lambda: trace_message(item.envelope, run.info))
        self._perform(run, commands)

    def _resume(self, port: Port, item: ResumeRun) -> None:
        async def go() -> None:
            try:
                await self._resume_now(port, item)
            except CallsheetError as error:
                port.push(Refused(run_id=item.run_id, error=error.to_dict()))
            except Exception as error:  # whoever asked is waiting
                log.exception("run %s could not be resumed", item.run_id)
                fault = ClusterError(f"the coordinator could not resume run {item.run_id}: {error}")
                port.push(Refused(run_id=item.run_id, error=fault.to_dict()))

        self._commits.after(go)

    async def _resume_now(self, port: Port, item: ResumeRun) -> None:
        run_id = item.run_id
        if item.launch not in self._members.launches:
            self._come_early(port, item.launch, run_id, item)
            return
        known = self._run(run_id) if item.again else self._runs.get(run_id)
        if known is not None and known.record.launch not in self._members.launches:
            del self._runs[run_id]  # its crew is gone, and another is there for it
            known = None
        if known is not None:
            if item.reply is not None:
                questions = [id_ for id_, turn in known.state.open.items() if is_question(turn.envelope)]
                check_question(run_id, item.reply[0], questions)
            elif not item.again:
                raise RunTakenError(
                    f"run {run_id} is going on already", run_id=run_id,
                    hint=f"`callsheet watch {run_id}` follows it.",
                )  # fmt: skip
            self._watch(known, port, item.watch)
            if item.reply is not None:
                self._event(run_id, answer(item, self._clock()))
            return
        if item.again and run_id in self._past and self._tell_end(port, run_id):
            return
        found = await self._commits.read(lambda: resume(self._journal, item, self._owner, self._clock()))
        self._past.pop(run_id, None)
        found.run.watchers[port.client] = item.watch
        self._activate(found.run)
        self._commits.keep(found.keep)
        self._perform(found.run, found.commands)

    def _come_early(self, port: Port, launch: str, run_id: str, item: StartRun | ResumeRun) -> None:
        """A run for a crew that is not here: refused, unless the crew is on its way."""
        early = self._early.setdefault(launch, {})
        if port.returning and run_id not in early:
            # It served with a predecessor of this coordinator, and its participants are on their way.
            wait = max(0.0, self._born + REJOIN_S - time.monotonic())
            timer = asyncio.get_running_loop().call_later(wait, self._refuse, port, launch, run_id)
            early[run_id] = port, item, timer
        elif run_id not in early:
            self._refuse(port, launch, run_id)

    def _refuse(self, port: Port, launch: str, run_id: str) -> None:
        self._early[launch].pop(run_id, None)
        error = DefinitionError(
            f"no crew is launched as {launch!r}", hint="`callsheet crews` lists those that are."
        )
        port.push(Refused(run_id=run_id, error=error.to_dict()))

    def _watch(self, run: ActiveRun, port: Port, watch: Literal["end", "all"]) -> None:
        """Tell a client of a run that is going on; of all that it may have missed, too."""
        run_id = run.record.run_id
        run.watchers[port.client] = watch

        async def catch_up() -> None:
            def read() -> list[Any]:
                return [*self._journal.envelopes(run_id), *self._journal.steps(run_id)]

            for record in await self._commits.read(read):
                port.push(RunNews(run_id=run_id, record=record))

        if watch == "all":
            self._commits.after(catch_up)

    def _tell_end(self, port: Port, run_id: str) -> bool:
        """Tell a client that missed it how its run ended; False if that is not known after all."""
        kept = self._commits.read_now(lambda: self._journal.run(run_id))
        if kept is not None and kept.ended is not None:
            port.push(RunNews(run_id=run_id, record=end_of(kept)))
        elif kept is not None and kept.status == "waiting":
            end = end_of(kept)
            port.push(RunNews(run_id=run_id, record=RunWaits(run_id=run_id, usage=end.usage, at=end.at)))
        return kept is not None

    def _activate(self, run: ActiveRun) -> None:
        run_id = run.state.run_id
        self._runs[run_id] = run
        self._upkeep.begin()
        if run.info.deadline is not None:
            passed = DeadlinePassed(run_id=run_id, at=run.info.deadline)
            wait = max(0.0, run.info.deadline - self._clock())
            run.timer = asyncio.get_running_loop().call_later(wait, self._event, run_id, passed)

    def _run(self, run_id: str) -> ActiveRun | None:
        """The run, if it is going on; one that a predecessor of this coordinator began is taken up."""
        run = self._runs.get(run_id)
        if run is not None or run_id in self._past:
            return run
        record = self._commits.read_now(lambda: self._journal.run(run_id))
        if record is None:
            return None
        if record.ended is not None or record.status == "waiting" or record.owner not in ("", self._owner):
            self._past[run_id] = None  # over, or somebody else's by now
            return None
        again: ActiveRun | None = self._commits.read_now(lambda: take_up(self._journal, record))
        if again is not None:
            self._activate(again)
        return again

    def _event(self, run_id: str, event: Any) -> None:
        run = self._runs.get(run_id) or self._run(run_id)
        if run is None or self._commits.broken is not None:
            return  # it is over: late news
        run.state, commands = decide(run.state, event)
        self._perform(run, commands)

    def _cancel(self, run_id: str, reason: str) -> None:
        self._event(run_id, CancelRequested(run_id=run_id, reason=reason, at=self._clock()))

    def _join(self, port: Port, item: Join) -> None:
        launch = item.card.name
        self._upkeep.begin()
        died = self._members.has_died(item, port.client)
        if self._members.join(item, port.client):
            for record in self._commits.read_now(lambda: self._journal.unended(launch)) or ():
                self._run(record.run_id)
        for run in [run for run in self._runs.values() if run.info.launch == launch]:
            for turn_id, turn in list(run.state.open.items()):
                if not self._members.takes(port.client, launch, turn.envelope):
                    continue
                if died and run.count_death(turn_id) >= DEATHS:
                    self._give_up(run, turn_id, item.name)
                elif not turn.parked:
                    self._commits.after(partial(self._give_again, turn_id, run.state.run_id))
                    if run.state.questions:
                        self._to_taker(run, turn.envelope.receiver, turn_id, ParkTurn(turn_id=turn_id))
        for run_id, turn_id in item.turns:
            held = self._run(run_id)
            if held is None or turn_id not in held.state.open:
                stopped = TurnStopped(turn_id=turn_id, reason="the run is over")
                self._commits.after(partial(port.push, stopped))
        for early_port, early, timer in self._early.pop(launch, {}).values():
            timer.cancel()
            if isinstance(early, StartRun):
                self._start(early_port, early)
            else:
                self._resume(early_port, early)

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
        for run in list(self._runs.values()):
            if run.info.launch == launch:
                self._cancel(run.record.run_id, f"the crew {launch} was stopped")

    def _busy_launches(self) -> set[str]:
        return {run.info.launch for run in self._runs.values()} | set(self._early)

    def _dismiss(self, launch: str) -> None:
        for client in self._members.clients_of(launch):
            self._push(client, Dismissed())
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

    # --- what is to be done --------------------------------------------------------------------------

    def _perform(self, run: ActiveRun, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case KeepEnvelope(envelope=envelope):
                    self._commits.keep(envelope)
                    self._tell(run, envelope)
                case KeepStep(step=step):
                    self._commits.keep(step)
                    self._tell(run, step)
                case Deliver(envelope=envelope):
                    self._commits.after(partial(self._give, run, envelope))
                case DeliverAgain(turn_id=turn_id):
                    self._commits.after(partial(self._give_again, turn_id, run.state.run_id))
                case Park(turn_id=turn_id, receiver=receiver):
                    self._to_taker(run, receiver, turn_id, ParkTurn(turn_id=turn_id))
                case Grant(turn_id=turn_id, receiver=receiver):
                    granted = StepGranted(turn_id=turn_id, key=command.key, nth=command.nth)
                    self._to_taker(run, receiver, turn_id, granted)
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
                    self._to_taker(run, receiver, turn_id, answered)
                case Recall(turn_id=turn_id):
                    run_id = run.state.run_id
                    self._commits.after(partial(self._give_again, turn_id, run_id))
                case CancelTurn(turn_id=turn_id, receiver=receiver, reason=reason):
                    stopped = TurnStopped(turn_id=turn_id, reason=reason)
                    self._to_taker(run, receiver, turn_id, stopped)
                case EndRun():
                    self._end(run, command)

    def _give(self, run: ActiveRun, envelope: Envelope, steps: tuple[Any, ...] = ()) -> None:
        """Hand a turn to whose it is; who is not there gets it when it joins."""
        client = self._members.taker(run.info.launch, envelope.receiver, envelope.id)
        if client is not None:
            self._push(client, TurnGiven(envelope=envelope, info=run.info, steps=steps))

    async def _give_again(self, turn_id: str, run_id: str) -> None:
        run = self._runs.get(run_id)
        turn = run.state.open.get(turn_id) if run is not None else None
        if run is not None and turn is not None:
            steps = await self._commits.read(lambda: self._journal.turn_steps(run_id, turn_id))
            self._give(run, turn.envelope, tuple(steps))

    def _to_taker(self, run: ActiveRun, receiver: str, turn_id: str, item: Any) -> None:
        client = self._members.taker(run.info.launch, receiver, turn_id)
        if client is not None:
            self._commits.after(partial(self._push, client, item))

    def _tell(self, run: ActiveRun, record: Any) -> None:
        for client, wants in run.watchers.items():
            if wants == "all":
                news = RunNews(run_id=run.state.run_id, record=record)
                self._commits.after(partial(self._push, client, news))

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
            if self._runs.get(last.run_id) is run:
                del self._runs[last.run_id]
                self._past[last.run_id] = None
                if len(self._past) > PAST_RUNS:
                    del self._past[next(iter(self._past))]
            for client in run.watchers:
                self._push(client, RunNews(run_id=last.run_id, record=last))

        self._commits.after(tell)

    def _push(self, client: str, item: Any) -> None:
        port = self._lanes.ports.get(client)
        if port is not None:
            port.push(item)

    def _tell_broken(self, error: JournalError) -> None:
        for port in self._lanes.ports.values():
            port.push(JournalBroken(error=error.to_dict()))
