"""Letting runs in: those that begin, and those that go on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from callsheet.core.errors import CallsheetError, ClusterError, DefinitionError, RunTakenError
from callsheet.core.events import CancelRequested, RunStarted
from callsheet.core.records import is_question
from callsheet.core.run_state import start
from callsheet.runtime.active_runs import ActiveRuns
from callsheet.runtime.audience import Audience
from callsheet.runtime.group_commit import GroupCommit
from callsheet.runtime.journal import Journal
from callsheet.runtime.lane_server import Port
from callsheet.runtime.members import Members
from callsheet.runtime.performing import Performer
from callsheet.runtime.protocol import Refused, ResumeRun, StartRun, Watch
from callsheet.runtime.recovery import (
    ActiveRun,
    answer,
    check_question,
    resume,
    run_info,
    take_waiting,
    was_heard,
)
from callsheet.runtime.trace import trace_message

log = logging.getLogger(__name__)

REJOIN_S = 10.0
"""How long after its birth a coordinator waits for a crew's participants before it refuses a run of it."""


class Admission:
    """Takes a run that a driver sends, if its crew is here, or on its way to a coordinator that was replaced.

    `event` gives a run that is going on what has happened to it.
    """

    def __init__(
        self,
        journal: Journal,
        commits: GroupCommit,
        members: Members,
        runs: ActiveRuns,
        performer: Performer,
        audience: Audience,
        *,
        owner: str,
        clock: Callable[[], float],
        event: Callable[[str, Any], None],
    ) -> None:
        self._journal, self._commits, self._members = journal, commits, members
        self._runs, self._performer, self._audience = runs, performer, audience
        self._owner, self._clock, self._event = owner, clock, event
        self._born = time.monotonic()
        self._early: dict[str, dict[str, tuple[Port, StartRun | ResumeRun, asyncio.TimerHandle]]] = {}

    @property
    def awaited(self) -> set[str]:
        """The launches that runs wait for."""
        return {launch for launch, early in self._early.items() if early}

    def close(self) -> None:
        """Refuse nobody any more."""
        for early in self._early.values():
            for _, _, timer in early.values():
                timer.cancel()

    def start(self, port: Port, item: StartRun) -> None:
        """Begin a run; one that a predecessor began is only followed again."""
        run_id = item.record.run_id
        # Only who talked to a predecessor can have begun the run with it.
        known = self._runs.find(run_id) if port.returning else self._runs.get(run_id)
        if known is not None:
            self._audience.watch(known, port, item.watch)
            return
        if self._runs.is_past(run_id) and self._audience.tell_end(port, run_id):
            return
        launch = item.record.launch
        if launch not in self._members.launches:
            self._come_early(port, launch, run_id, item)
            return
        state, commands = start(RunStarted(envelope=item.envelope, limits=item.limits))
        record = replace(item.record, owner=self._owner, since=item.record.started)
        run = ActiveRun(state=state, record=record, info=run_info(record, item.limits))
        self._audience.join(run, port.client, item.watch)
        self._runs.add(run)
        self._commits.keep(record)
        self._commits.after(lambda: trace_message(item.envelope, run.info))
        self._performer.perform(run, commands)

    def resume(self, port: Port, item: ResumeRun) -> None:
        """Go on with a run that ended, waits or was left; or give a reply to one that is going on."""

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
        # Who talked to a predecessor may have been heard by it, as far as this coordinator knows.
        again = item.again or port.returning
        known = self._runs.find(run_id) if again else self._runs.get(run_id)
        if known is not None and known.state.status != "running":
            self.resume(port, item)  # it has just ended, or come to wait: when that is kept
            return
        followers: dict[str, Watch] = {}
        if known is not None and known.record.launch not in self._members.launches:
            followers = known.watchers
            self._runs.drop(known)  # its crew is gone, and another is there for it
            known = None
        if known is not None:
            if item.reply is not None:
                questions = [id_ for id_, turn in known.state.open.items() if is_question(turn.envelope)]
                if not again:
                    check_question(run_id, item.reply[0], questions)
            elif not again:
                raise RunTakenError(
                    f"run {run_id} is going on already", run_id=run_id,
                    hint=f"`callsheet watch {run_id}` follows it.",
                )  # fmt: skip
            self._audience.watch(known, port, item.watch)
            if item.reply is not None:
                self._event(run_id, answer(item, self._clock()))
            return
        past = again and self._runs.is_past(run_id) and await self._has_gone_on(item)
        if past and self._audience.tell_end(port, run_id):
            return
        found = await self._commits.read(lambda: resume(self._journal, item, self._owner, self._clock()))
        for client, wants in (followers | {port.client: item.watch}).items():
            self._audience.join(found.run, client, wants)
        self._runs.add(found.run)
        self._commits.keep(found.keep)
        self._performer.perform(found.run, found.commands)

    async def _has_gone_on(self, item: ResumeRun) -> bool:
        """Whether the run was resumed since its sender looked at it: by this very item, for all we know."""
        if item.reply is not None or item.since is None:
            return bool(await self._commits.read(lambda: was_heard(self._journal, item)))
        record = await self._commits.read(lambda: self._journal.run(item.run_id))
        return record is not None and record.since != item.since

    def cancel(self, run_id: str, reason: str) -> None:
        """Stop a run that waits, and is held by nobody."""

        async def go() -> None:
            run = await self._commits.read(lambda: take_waiting(self._journal, run_id, self._owner))
            if run is not None:
                self._runs.add(run)
                self._event(run_id, CancelRequested(run_id=run_id, reason=reason, at=self._clock()))

        self._commits.after(go)

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

    def joined(self, launch: str) -> None:
        """A crew is here: begin the runs that came before it."""
        for port, item, timer in self._early.pop(launch, {}).values():
            timer.cancel()
            if isinstance(item, StartRun):
                self.start(port, item)
            else:
                self.resume(port, item)

    def _refuse(self, port: Port, launch: str, run_id: str) -> None:
        self._early[launch].pop(run_id, None)
        error = DefinitionError(
            f"no crew is launched as {launch!r}", hint="`callsheet crews` lists those that are."
        )
        port.push(Refused(run_id=run_id, error=error.to_dict()))
