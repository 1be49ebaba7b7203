"""Answers without a model: what was kept of earlier ones, in a cassette or a cache, or what a script says."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Protocol

from callsheet.core.errors import CallsheetError
from callsheet.models.call_log import CallLog
from callsheet.models.messages import ModelReply, ModelRequest
from callsheet.models.provider import Emit

Found = ModelReply | None


class Exchanges(Protocol):
    """A place that may have the answer."""

    name: str

    def find(self, request: ModelRequest) -> Found | Awaitable[Found]:
        """The reply to the same request, or None. One that must have it raises ModelRequestError."""
        ...

    def keep(self, request: ModelRequest, answer: ModelReply | CallsheetError) -> None:
        """A request was answered, or failed: keep that, if it is to be kept."""
        ...

    async def close(self) -> None:
        """Write what is left."""
        ...


class Kept:
    """Several such places, asked in order: the first that has the answer gives it."""

    def __init__(self, places: Sequence[Exchanges]) -> None:
        self._places = tuple(places)

    async def find(self, request: ModelRequest, log: CallLog, emit: Emit | None) -> Found:
        """The answer, noted in the log, its text emitted in one part; None where no place has it."""
        for number, place in enumerate(self._places):
            found = place.find(request)
            reply = await found if inspect.isawaitable(found) else found
            if reply is None:
                continue
            log.kept = place.name
            # Those before keep it as if a model had said it: a recording has all that was answered.
            for earlier in self._places[:number]:
                earlier.keep(request, reply)
            if emit is not None and reply.message.text:
                emit(reply.message.text)
            return replace(reply, request_id=request.id)
        return None

    @property
    def answers_all(self) -> bool:
        """Whether one of the places answers every request, so that no model is asked and none is paid."""
        return any(getattr(place, "answers_all", False) for place in self._places)

    def keep(self, request: ModelRequest, answer: ModelReply | CallsheetError) -> None:
        """A model has answered, or the call has failed for good."""
        for place in self._places:
            place.keep(request, answer)

    async def close(self) -> None:
        """Close them all."""
        for place in self._places:
            await place.close()
