"""A streamed reply of the Responses API: its last event holds the whole of it, those before only its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from callsheet.models.catalogue import ModelName
from callsheet.models.wire import broken_stream

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_TEXT = frozenset({"response.output_text.delta", "response.refusal.delta"})


class ResponseStream:
    """Takes the events of one reply; `emit` gets its text as it comes."""

    def __init__(self, name: ModelName, emit: Callable[[str], None]) -> None:
        self._name = name
        self._emit = emit
        self._body: dict[str, Any] | None = None

    def take(self, event: dict[str, Any] | None) -> None:
        """One event."""
        if event is None:
            return
        kind = str(event.get("type"))
        if kind in _TEXT:
            if isinstance(event.get("delta"), str) and event["delta"]:
                self._emit(event["delta"])
        elif kind in _LAST and isinstance(event.get("response"), Mapping):
            self._body = dict(event["response"])
        elif event.get("object") == "response":  # the whole reply: this server does not stream
            self._body = event

    def body(self) -> dict[str, Any]:
        """The reply's body. Raises ModelReplyError where the stream ended before the reply did."""
        if self._body is None:
            raise broken_stream(self._name.provider, self._name.model)
        return self._body
