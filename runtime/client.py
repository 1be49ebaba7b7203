"""A driver's end of the lane to the coordinator: start runs, follow them, ask about them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

from callsheet.core.errors import CallsheetError, ClusterError, InfrastructureError
from callsheet.core.events import EndRun
from callsheet.core.ids import root_envelope_id
from callsheet.core.limits import Limits
from callsheet.core.records import PERSON, Envelope, RunRecord, Step
from callsheet.runtime.lanes import Lane, LaneDownError, Transport
from callsheet.runtime.protocol import (
    FLOW,
    Answer,
    CancelRun,
    JournalBroken,
    Query,
    Refused,
    RunNews,
    StartRun,
)

News = Envelope | Step | EndRun

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
        self._started: dict[str, tuple[int, StartRun]] = {}
        self._lane = Lane(
            transport, client=client, incarnation=incarnation, on_item=self._take,
            on_new_server=self._again, on_lost=self._lost,
            busy=lambda: bool(self._answers or self._following),
        )  # fmt: skip

    async def close(self) -> None:
        """Stop listening; whoever follows a run or waits for an answer gets ClusterError."""
        await self._lane.close()
        self._fail(ClusterError("the connection to the coordinator is closed", hint=_IN_THE_JOURNAL))

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

    def start(self, record: RunRecord, limits: Limits, *, watch: Literal["end", "all"] = "end") -> None:
        """Begin a run of the launched crew that `record.launch` names, with `record.input` as its message.

        Raises ClusterError when the coordinator is gone.
        """
        if self._lane.lost is not None:
            raise self._gone(self._lane.lost)
        envelope = Envelope(
            id=root_envelope_id(record.run_id), run_id=record.run_id, kind="ask", sender=PERSON,
            receiver=FLOW, body=record.input, at=record.started,
        )  # fmt: skip
        self._following[record.run_id] = asyncio.Queue()
        item = StartRun(record=record, envelope=envelope, limits=limits, watch=watch)
        self._started[record.run_id] = self._lane.post(item), item

    def cancel(self, run_id: str, reason: str) -> None:
        """Stop a run."""
        self._lane.post(CancelRun(run_id=run_id, reason=reason))

    async def follow(self, run_id: str) -> AsyncIterator[News]:
        """What is kept of a started run, as it is kept, until its end (an EndRun). For one follower.

        Raises InfrastructureError when the coordinator or its journal is lost, and the error that a run
        was refused with.
        """
        queue = self._following[run_id]
        try:
            while True:
                news = await queue.get()
                if isinstance(news, CallsheetError):
                    raise news
                yield news
                if isinstance(news, EndRun):
                    return
        finally:
            # A generator that was left early ends late: the run may have another follower by then.
            if self._following.get(run_id) is queue:
                del self._following[run_id]
                self._started.pop(run_id, None)

    async def end(self, run_id: str) -> EndRun:
        """Wait for the end of a started run."""
        async for news in self.follow(run_id):
            if isinstance(news, EndRun):
                return news
        raise ClusterError(f"run {run_id} ended without an end")

    def _take(self, item: Any) -> None:
        match item:
            case RunNews(run_id=run_id, record=record):
                if run_id in self._following:
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

    def _again(self) -> None:
        # The lane itself sends again what the lost coordinator had not taken.
        for run_id, (number, item) in self._started.items():
            if number <= self._lane.acked:
                self._started[run_id] = self._lane.post(item), item
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
