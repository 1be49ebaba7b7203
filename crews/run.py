"""A run that is under way: follow it, wait for it, stop it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pydantic import ValidationError

from callsheet.agents.output import output_type
from callsheet.core.canonical import from_json
from callsheet.core.errors import CallsheetError, InfrastructureError, RunError, WaitingError
from callsheet.core.events import EndRun
from callsheet.core.records import Envelope, RunRecord, RunWaits, body_text
from callsheet.crews.portal import portal
from callsheet.crews.questions import questions_of
from callsheet.crews.result import EventReader, Result, RunEvent, how_to_go_on, worked_s
from callsheet.runtime.client import Client
from callsheet.runtime.protocol import FLOW


class Run:
    """One run of a crew. It goes on whether or not anybody looks, and what it does is in the journal."""

    def __init__(
        self,
        client: Client,
        record: RunRecord,
        output: Any = None,
        links: tuple[str, str] | None = None,
        past: Sequence[Envelope] = (),
    ) -> None:
        self._client, self._record, self._output = client, record, output
        self._links = links
        self._resumed = bool(past)
        self._reader = EventReader()
        for envelope in past:  # it has to know whose turns they are that go on
            self._reader.read(envelope)
        self._events: asyncio.Queue[RunEvent | None] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[EndRun | RunWaits] = self._loop.create_future()
        self._task = self._loop.create_task(self._follow())

    @property
    def run_id(self) -> str:
        """The run's id: what `callsheet show` and its like take."""
        return self._record.run_id

    @property
    def live_url(self) -> str | None:
        """Where Phoenix shows the run's messages as they come."""
        return None if self._links is None else self._links[0]

    @property
    def trace_url(self) -> str | None:
        """Where Phoenix shows the run's trace."""
        return None if self._links is None else self._links[1]

    async def events(self) -> AsyncIterator[RunEvent]:
        """What happens in the run, once it is in the journal, until its end. For one reader."""
        async for event in portal().aiter(self._read()):
            yield event

    def result(self, *, check: bool = True) -> Result:
        """Wait for the end. Raises the error that ended the run, or gives it in the result if not `check`."""
        found = portal().run(self._result())
        return found.checked() if check else found

    async def aresult(self, *, check: bool = True) -> Result:
        """As `result`, in the caller's event loop."""
        found = await portal().arun(self._result())
        return found.checked() if check else found

    async def outcome(self) -> Result:
        """In the portal's loop: wait for the end, for whoever has no other hold of the run.

        Being cancelled cancels the run.
        """
        try:
            return await self._result()
        except asyncio.CancelledError:
            self._client.cancel(self.run_id, "nobody waits for it any more")
            raise

    def cancel(self, reason: str = "cancelled by its starter") -> None:
        """Ask for the run to be stopped; `result` tells when it is."""
        self._loop.call_soon_threadsafe(self._client.cancel, self.run_id, reason)

    async def _read(self) -> AsyncIterator[RunEvent]:
        while (event := await self._events.get()) is not None:
            yield event

    async def _follow(self) -> None:
        try:
            async for news in self._client.follow(self.run_id):
                self._events.put_nowait(self._reader.read(news))
                if isinstance(news, (EndRun, RunWaits)):
                    self._end.set_result(news)
        except Exception as error:  # whatever it is, whoever waits must hear of it
            if not self._end.done():
                self._end.set_exception(self._explained(error))
                self._end.exception()  # nobody has to wait
        except asyncio.CancelledError:
            self._end.cancel()
            raise
        finally:
            self._events.put_nowait(None)

    def _explained(self, error: Exception) -> Exception:
        """What ended the following and not the run says how the run goes on; others may share the error."""
        if not isinstance(error, InfrastructureError):
            return error
        hint = f"`callsheet resume {self.run_id}` goes on with the run once that is mended."
        fields = error.to_dict()["fields"] | {"hint": f"{error.hint} {hint}".strip()}
        return type(error)(error.message, **fields)

    async def _result(self) -> Result:
        end = await asyncio.shield(self._end)
        if isinstance(end, RunWaits):
            return await self._waits(end)
        output, error = None, None
        if end.output is not None:
            output = from_json(end.output)["output"]
            if self._output is not None:
                output = _typed(self._output, output)
        if end.error is not None:
            error = CallsheetError.from_dict(end.error)
            if end.status == "failed":
                error = how_to_go_on(error, self.run_id)
            if isinstance(error, RunError):
                error.run_id = error.run_id or self.run_id
                if error.partial is None:
                    error.partial = await self._answers() or None
        return Result(
            run_id=self.run_id, crew=self._record.crew, status=end.status, output=output, error=error,
            usage=end.usage, elapsed_s=await self._worked_s(end), session_id=self._record.session_id,
            trace_url=self.trace_url,
        )  # fmt: skip

    async def _waits(self, end: RunWaits) -> Result:
        record, envelopes, _ = await self._client.query("run", run_id=self.run_id)
        questions = questions_of(envelopes)
        asked = questions[0].text if questions else "a question"
        more = f" (and {len(questions) - 1} more)" if len(questions) > 1 else ""
        error = WaitingError(
            f"the run waits for a person: {asked}{more}", run_id=self.run_id,
            hint=" ".join(question.how for question in questions[:1]),
        )  # fmt: skip
        return Result(
            run_id=self.run_id, crew=self._record.crew, status="waiting", error=error, usage=end.usage,
            elapsed_s=worked_s(record or self._record), session_id=self._record.session_id, questions=questions,
            trace_url=self.trace_url,
        )  # fmt: skip

    async def _worked_s(self, end: EndRun) -> float:
        if not self._resumed:
            return end.at - self._record.started
        try:
            record, _, _ = await self._client.query("run", run_id=self.run_id)
        except InfrastructureError:
            return worked_s(self._record)  # without the last stretch; how the run ended is told all the same
        return worked_s(record or self._record)

    async def _answers(self) -> dict[str, str]:
        """What a run that did not end well has of work: the last answer of each agent."""
        try:
            _, envelopes, _ = await self._client.query("run", run_id=self.run_id)
        except InfrastructureError:
            return {}  # the error that ended the run says more
        return {e.sender: body_text(e.body) for e in envelopes if e.kind == "reply" and e.sender != FLOW}


def _typed(type_: Any, data: Any) -> Any:
    try:
        return output_type(type_).value(data)
    except ValidationError:
        # A type that does not read what it writes. The run is done and paid for: its data as they are.
        return data
