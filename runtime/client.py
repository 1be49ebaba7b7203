"""A driver's end of the lane to the coordinator: start runs, follow them, ask about them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from callsheet.core.errors import CallsheetError, ClusterError, InfrastructureError, WaitingError
from callsheet.core.events import EndRun
from callsheet.core.ids import root_envelope_id
from callsheet.core.limits import Limits
from callsheet.core.records import PERSON, Envelope, RunRecord, RunWaits, Step
from callsheet.runtime.lanes import Lane, LaneDownError, Transport
from callsheet.runtime.protocol import (
    FLOW,
    PING_S,
    Answer,
    CancelRun,
    JournalBroken,
    Ping,
    Query,
    Refused,
    ResumeRun,
    RunNews,
    Spoken,
    StartRun,
    UnwatchRun,
    Watch,
    WatchRun,
)

News = Envelope | Step | RunWaits | EndRun | Spoken

_IN_THE_JOURNAL = "What was finished is in the journal: `callsheet runs` lists it."


class Client:
    """One driver's lane to the coordinator. Its runs go on when it dies; what they did is in the journal."""

    def __init__(
        self,
        transport: Transport,
        *,
        client: str,
        incarnation: str = "0",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._asked: dict[int, tuple[int, Query]] = {}
        self._following: dict[str, asyncio.Queue[News | InfrastructureError | CallsheetError]] = {}
        self._started: dict[str, tuple[int, StartRun | ResumeRun | WatchRun]] = {}
        self._seen: dict[str, set[tuple[object, ...]]] = {}
        self._pinging: asyncio.Task[None] | None = None
        self._lane = Lane(
            transport, client=client, incarnation=incarnation, on_item=self._take,
            on_new_server=self._again, on_lost=self._lost,
            busy=lambda: bool(self._answers or self._following),
        )  # fmt: skip

    async def close(self) -> None:
        """Stop listening; whoever follows a run or waits for an answer gets ClusterError."""
        if self._pinging is not None:
            self._pinging.cancel()
            await asyncio.wait([self._pinging])
        await self._lane.close()
        self._fail(ClusterError("the connection to the coordinator is closed", hint=_IN_THE_JOURNAL))

    def lose(self, reason: str) -> None:
        """There is no coordinator any more: whoever follows a run or waits for an answer gets ClusterError."""
        self._lane.give_up(LaneDownError(reason, final=True))

    async def query(self, verb: str, **args: Any) -> Any:
        """Ask the coordinator something. Raises what it raised, and ClusterError when it is gone."""
        if self._lane.lost is not None:
            raise self._gone(self._lane.lost)
        id_ = next(self._ids)
        future = self._answers[id_] = asyncio.get_running_loop().create_future()
        query = Query(id=id_, verb=verb, args=args)
        self._asked[id_] = self._lane.post(query), query
        try:
            return await future
        finally:
            del self._answers[id_], self._asked[id_]

    def keep_alive(self) -> None:
        """Say now and then that this driver is there: the crews that it launched serve until it is gone."""

        async def ping() -> None:
            while self._lane.lost is None:
                await asyncio.sleep(PING_S)
                self._lane.post(Ping())

        if self._pinging is None:
            self._pinging = asyncio.get_running_loop().create_task(ping())

    def start(self, record: RunRecord, limits: Limits, *, watch: Watch = "end") -> None:
        """Begin a run of the launched crew that `record.launch` names, with `record.input` as its message.

        Raises ClusterError when the coordinator is gone.
        """
        if self._lane.lost is not None:
            raise self._gone(self._lane.lost)
        envelope = Envelope(
            id=root_envelope_id(record.run_id), run_id=record.run_id, kind="ask", sender=PERSON,
            receiver=FLOW, body=record.input, at=record.started,
        )  # fmt: skip
        self._follow(record.run_id, StartRun(record=record, envelope=envelope, limits=limits, watch=watch))

    def resume(self, item: ResumeRun) -> None:
        """Go on with a run; follow it as one that was started. Raises ClusterError when the coordinator is gone."""
        if self._lane.lost is not None:
            raise self._gone(self._lane.lost)
        self._follow(item.run_id, item)

    def watch(self, run_id: str, *, tokens: bool = True) -> None:
        """Follow a run that another client began: `follow` tells all of its past first, in no order.

        `tokens`: what its models say, too. Raises ClusterError when the coordinator is gone; `follow` raises
        RunTakenError where the coordinator does not work on the run, or this client did not keep up with it.
        """
        if self._lane.lost is not None:
            raise self._gone(self._lane.lost)
        self._follow(run_id, WatchRun(run_id=run_id, tokens=tokens))

    def _follow(self, run_id: str, item: StartRun | ResumeRun | WatchRun) -> None:
        self._following[run_id] = asyncio.Queue()
        self._seen[run_id] = set()
        self._started[run_id] = self._lane.post(item), item

    def cancel(self, run_id: str, reason: str) -> None:
        """Stop a run."""
        self._lane.post(CancelRun(run_id=run_id, reason=reason))

    async def follow(self, run_id: str) -> AsyncIterator[News]:
        """What is kept of a run, as it is kept, until it ends (EndRun) or waits (RunWaits). For one follower.

        Raises InfrastructureError when the coordinator or its journal is lost, and the error that a run
        was refused with.
        """
        queue = self._following[run_id]
        left = True
        try:
            while True:
                news = await queue.get()
                left = not isinstance(news, (EndRun, RunWaits, CallsheetError))
                if isinstance(news, CallsheetError):
                    raise news
                yield news
                if not left:
                    return
        finally:
            # A generator that was left early ends late: the run may have another follower by then.
            if self._following.get(run_id) is queue:
                del self._following[run_id]
                _, item = self._started.pop(run_id)
                if left and isinstance(item, WatchRun):
                    self._lane.post(UnwatchRun(run_id=run_id))
                self._seen.pop(run_id, None)

    async def end(self, run_id: str) -> EndRun:
        """Wait for the end of a started run. Raises WaitingError if it comes to wait for a person."""
        async for news in self.follow(run_id):
            if isinstance(news, EndRun):
                return news
            if isinstance(news, RunWaits):
                raise WaitingError(f"run {run_id} waits for a person", run_id=run_id)
        raise ClusterError(f"run {run_id} ended without an end")

    def _take(self, item: Any) -> None:
        match item:
            case RunNews(run_id=run_id, record=record):
                if run_id in self._following and not self._has_seen(run_id, record):
                    self._following[run_id].put_nowait(record)
            case Refused(run_id=run_id, error=error):
                if run_id in self._following:
                    self._following[run_id].put_nowait(CallsheetError.from_dict(error))
            case Answer(id=id_, value=value, error=error):
                future = self._answers.get(id_)
                if future is not None and not future.done():
                    if error is None:
                        future.set_result(value)
                    else:
                        future.set_exception(CallsheetError.from_dict(error))
            case JournalBroken(error=error):
                self._fail(CallsheetError.from_dict(error))
            case _:
                raise TypeError(f"a client does not take {type(item).__name__}")

    def _has_seen(self, run_id: str, record: News) -> bool:
        """A coordinator that takes another's place tells all of a run again."""
        if isinstance(record, Envelope):
            key: tuple[object, ...] = (record.id,)
        elif isinstance(record, Step):
            key = record.turn_id, record.key, record.nth, record.state
        else:
            return False
        seen = self._seen[run_id]
        if key in seen:
            return True
        seen.add(key)
        return False

    def _again(self) -> None:
        # The lane itself sends again what the lost coordinator had not taken.
        for run_id, (number, item) in self._started.items():
            if number <= self._lane.acked:
                again = replace(item, again=True) if isinstance(item, ResumeRun) else item
                self._started[run_id] = self._lane.post(again), again
        for id_, (number, query) in self._asked.items():
            if number <= self._lane.acked:
                self._asked[id_] = self._lane.post(query), query

    def _lost(self, error: LaneDownError) -> None:
        self._fail(self._gone(error))

    def _gone(self, error: LaneDownError) -> ClusterError:
        return ClusterError(f"the coordinator is gone: {error}", hint=_IN_THE_JOURNAL)

    def _fail(self, error: CallsheetError) -> None:
        for queue in self._following.values():
            queue.put_nowait(error)
        for future in self._answers.values():
            if not future.done():
                future.set_exception(error)
