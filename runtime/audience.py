"""Those who follow runs: what they are told, and whether models are asked to answer in parts for them.

All of it may be lost with the coordinator: who follows a run asks its successor again, and is told all of the
run again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from callsheet.core.errors import CallsheetError, RunTakenError, unknown_name
from callsheet.core.events import EndRun
from callsheet.core.records import Envelope, RunRecord, RunWaits, Step
from callsheet.runtime.group_commit import GroupCommit
from callsheet.runtime.journal import Journal, end_of
from callsheet.runtime.lane_server import LaneServer, Port
from callsheet.runtime.members import Members
from callsheet.runtime.protocol import Listening, Refused, RunNews, Spoken, Watch, WatchRun
from callsheet.runtime.recovery import ActiveRun

LOOK_BACK = 32
"""How far back a part of an answer looks, in what waits for a reader, for the part that it can be added to."""

GONE_S = 60.0
"""How long a guest may leave its news lying before it counts as gone."""


class Audience:
    """Tells clients of the runs that they follow; nothing they do can hold up a run.

    A reader that is slow gets what models say in larger parts: what waits for it is never more than what is kept
    of the run, and one part of each answer. A guest (who watches a run that another client began) that does not
    fetch its news for `GONE_S` is let go, and told so if it comes back.
    """

    def __init__(self, journal: Journal, commits: GroupCommit, members: Members, lanes: LaneServer) -> None:
        self._journal, self._commits, self._members, self._lanes = journal, commits, members, lanes
        self._guests: dict[tuple[str, str], float | None] = {}
        """(client, run) of each guest: when it was first found not to have fetched its news (monotonic, s)."""

    # --- who follows ---------------------------------------------------------------------------------

    def join(self, run: ActiveRun, client: str, wants: Watch) -> None:
        """A client follows a run from its beginning, or from its going on."""
        run.watchers[client] = wants
        self._listen(run)

    def watch(self, run: ActiveRun, port: Port, wants: Watch) -> None:
        """A client follows a run that is going on: it is told of all that it may have missed, too."""
        run_id = run.state.run_id
        if run.state.status != "running":  # its end is on its way to the journal
            self._commits.after(partial(self._tell_whole, port, run_id, wants))
            return
        self.join(run, port.client, wants)
        if wants != "end":
            self._commits.after(partial(self._tell_past, port, run_id))
        if wants == "tokens":
            self._commits.after(partial(_tell_said, port, run))

    def welcome(self, run: ActiveRun | None, port: Port, item: WatchRun) -> None:
        """A guest wants to follow a run, which may be over, or another coordinator's."""
        wants: Watch = "tokens" if item.tokens else "all"
        if run is None:
            self._commits.after(partial(self._tell_whole, port, item.run_id, wants))
            return
        if port.client not in run.watchers:
            self._guests[port.client, item.run_id] = None
        self.watch(run, port, wants)

    def leave(self, run: ActiveRun, client: str) -> None:
        """A guest follows the run no longer."""
        guest = client, run.state.run_id
        if guest in self._guests:
            del self._guests[guest]
            run.watchers.pop(client, None)
            self._listen(run)

    def _listen(self, run: ActiveRun) -> None:
        """Let those who have the run's turns know whether somebody reads along."""
        on = "tokens" in run.watchers.values()
        if on == run.info.listened:
            return
        run.info = replace(run.info, listened=on)
        turns = [(turn.envelope.receiver, id_) for id_, turn in run.state.open.items() if not turn.parked]
        takers = {self._members.taker(run.info.launch, receiver, id_) for receiver, id_ in turns}
        for client in takers:
            if client is not None:
                self._commits.after(partial(self.push, client, Listening(run_id=run.state.run_id, on=on)))

    # --- what they are told --------------------------------------------------------------------------

    def tell(self, run: ActiveRun, record: Envelope | Step) -> None:
        """Tell those who follow a run what is kept of it."""
        if isinstance(record, Step) and record.kind == "llm":
            run.saying.pop(record.turn_id, None)
        news = RunNews(run_id=run.state.run_id, record=record)
        for client, _ in self._followers(run):
            self._commits.after(partial(self.push, client, news))

    def tell_last(self, run: ActiveRun, last: EndRun | RunWaits) -> None:
        """Tell everybody that the run is over, or waits; nobody follows it any more."""
        for client in run.watchers:
            self._guests.pop((client, last.run_id), None)
            self.push(client, RunNews(run_id=last.run_id, record=last))

    def speak(self, run: ActiveRun, item: Spoken) -> None:
        """Hand on what a model says, and remember it for who comes in the middle of the answer."""
        before = None if item.anew else run.saying.get(item.turn_id)
        run.saying[item.turn_id] = replace(item, anew=True, text=(before.text if before else "") + item.text)
        for client, wants in self._followers(run):
            port = self._lanes.ports.get(client)
            if wants == "tokens" and port is not None and not _added(port, item):
                port.push(RunNews(run_id=item.run_id, record=item))

    def push(self, client: str, item: Any) -> None:
        """Send something to a client, if it is there."""
        port = self._lanes.ports.get(client)
        if port is not None:
            port.push(item)

    def tell_end(self, port: Port, run_id: str) -> bool:
        """Tell a client that missed it how its run ended; False if that is not known after all."""
        kept = self._commits.read_now(lambda: self._journal.run(run_id))
        if kept is not None:
            _push_last(port, kept)
        return kept is not None

    def _followers(self, run: ActiveRun) -> Iterator[tuple[str, str]]:
        for client, wants in list(run.watchers.items()):
            if wants == "end":
                continue
            if self._is_gone(client, run.state.run_id):
                self.leave(run, client)
                error = RunTakenError("the run's news were not fetched for too long", run_id=run.state.run_id)
                self.push(client, Refused(run_id=run.state.run_id, error=error.to_dict()))
                continue
            yield client, wants

    def _is_gone(self, client: str, run_id: str) -> bool:
        guest, port = (client, run_id), self._lanes.ports.get(client)
        if guest not in self._guests:
            return False
        since, now = self._guests[guest], time.monotonic()
        if port is None or not port.outbox or (since is not None and port.seen > since):
            self._guests[guest] = None
            return port is None
        if since is None:
            self._guests[guest] = now
        return since is not None and now - since > GONE_S

    async def _tell_past(self, port: Port, run_id: str) -> None:
        def read() -> list[Envelope | Step]:
            done = [step for step in self._journal.steps(run_id) if step.state != "intent"]
            return [*self._journal.envelopes(run_id), *done]

        for record in await self._commits.read(read):
            port.push(RunNews(run_id=run_id, record=record))

    async def _tell_whole(self, port: Port, run_id: str, wants: Watch) -> None:
        """All of a run that is not going on here any more."""
        kept: RunRecord | None = await self._commits.read(lambda: self._journal.run(run_id))
        error: CallsheetError
        if kept is None:
            error = unknown_name("run", run_id, (), hint="`callsheet runs` lists them.")
            port.push(Refused(run_id=run_id, error=error.to_dict()))
        elif kept.ended is None and kept.status != "waiting":
            error = RunTakenError(f"run {run_id} is not worked on here", run_id=run_id)
            port.push(Refused(run_id=run_id, error=error.to_dict()))
        else:
            if wants != "end":
                await self._tell_past(port, run_id)
            _push_last(port, kept)


def _tell_said(port: Port, run: ActiveRun) -> None:
    for said in run.saying.values():
        port.push(RunNews(run_id=said.run_id, record=said))


def _push_last(port: Port, kept: RunRecord) -> None:
    run_id = kept.run_id
    if kept.ended is not None:
        port.push(RunNews(run_id=run_id, record=end_of(kept)))
    elif kept.status == "waiting":
        end = end_of(kept)
        port.push(RunNews(run_id=run_id, record=RunWaits(run_id=run_id, usage=end.usage, at=end.at)))


def _added(port: Port, item: Spoken) -> bool:
    """Whether the part could be added to one of the same answer that still waits for its reader."""
    for back in range(1, min(LOOK_BACK, len(port.outbox)) + 1):
        news = port.outbox[-back]
        said = news.record if isinstance(news, RunNews) else None
        if isinstance(said, Step) and said.turn_id == item.turn_id:
            return False  # that answer is over
        if isinstance(said, Spoken) and said.turn_id == item.turn_id:
            together = item if item.anew else replace(said, text=said.text + item.text)
            port.outbox[-back] = RunNews(run_id=item.run_id, record=together)
            return True
    return False
