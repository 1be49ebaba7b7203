"""A streamed Messages reply, put together into the body that the same reply has in one piece.

https://platform.claude.com/docs/en/build-with-claude/streaming has the events.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from callsheet.models.catalogue import ModelName
from callsheet.models.wire import bad_reply, broken_stream


class MessageStream:
    """Takes the events of one reply; `emit` gets its text as it comes."""

    def __init__(self, name: ModelName, emit: Callable[[str], None]) -> None:
        self._name = name
        self._emit = emit
        self._message: dict[str, Any] | None = None
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self._done = False

    def take(self, event: dict[str, Any] | None) -> None:
        """One event. Raises ModelReplyError for what cannot stand where it does."""
        if event is None:
            return
        match event.get("type"):
            case "message":  # the whole reply: this server does not stream
                self._message, self._done = event, True
            case "message_start":
                message = event.get("message")
                if not isinstance(message, Mapping):
                    raise self._wrong("begins without a message")
                self._message = dict(message)
                self._count(message.get("usage"))
            case "content_block_start":
                block = event.get("content_block")
                if not isinstance(block, Mapping) or not isinstance(block.get("type"), str):
                    raise self._wrong("has a content block without a type")
                self._blocks[self._index(event)] = _Block(block)
                if block["type"] == "text" and isinstance(block.get("text"), str) and block["text"]:
                    self._emit(block["text"])
            case "content_block_delta":
                self._delta(event)
            case "content_block_stop":
                self._block(event).closed = True
            case "message_delta":
                self._count(event.get("usage"))
                delta = event.get("delta")
                if self._message is not None and isinstance(delta, Mapping):
                    self._message.update(delta)
            case "message_stop":
                self._done = True

    def body(self) -> dict[str, Any]:
        """The reply's body. Raises ModelReplyError where the stream ended before the reply did."""
        if self._message is None or not self._done or not all(b.closed for b in self._blocks.values()):
            raise broken_stream(self._name.provider, self._name.model)
        if self._blocks:
            self._message["content"] = [block.whole() for _, block in sorted(self._blocks.items())]
        if self._usage:
            self._message["usage"] = self._usage
        return self._message

    def _delta(self, event: Mapping[str, Any]) -> None:
        block, delta = self._block(event), event.get("delta")
        if not isinstance(delta, Mapping):
            raise self._wrong("has a piece that is no object")
        kind = delta.get("type")
        for key, value in delta.items():
            if key == "type":
                continue
            if key == "partial_json":
                if isinstance(value, str):
                    block.json.append(value)
            elif kind == "citations_delta" and key == "citation":
                block.data["citations"] = [*(block.data.get("citations") or ()), value]
            else:
                block.add(key, value)
        if kind == "text_delta" and isinstance(delta.get("text"), str) and delta["text"]:
            self._emit(delta["text"])

    def _count(self, usage: Any) -> None:
        # Those of `message_delta` are cumulative, and may leave out what `message_start` said.
        if isinstance(usage, Mapping):
            self._usage.update({key: value for key, value in usage.items() if value is not None})

    def _index(self, event: Mapping[str, Any]) -> int:
        index = event.get("index")
        if not isinstance(index, int):
            raise self._wrong("has a piece without a place")
        return index

    def _block(self, event: Mapping[str, Any]) -> _Block:
        block = self._blocks.get(self._index(event))
        if block is None:
            raise self._wrong("has a piece of a block that did not begin")
        return block

    def _wrong(self, what: str) -> Exception:
        return bad_reply(self._name.provider, self._name.model, what)


class _Block:
    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = dict(data)
        self.json: list[str] = []
        self.closed = False
        self._texts: dict[str, list[str]] = {}

    def add(self, key: str, value: Any) -> None:
        if isinstance(value, str):
            started = self.data.get(key)
            self._texts.setdefault(key, [started] if isinstance(started, str) else []).append(value)
        elif value is not None:
            self.data[key] = value

    def whole(self) -> dict[str, Any]:
        for key, texts in self._texts.items():
            self.data[key] = "".join(texts)
        self._texts = {}
        text = "".join(self.json)
        if text.strip():
            try:
                self.data["input"] = json.loads(text)
            except (ValueError, RecursionError):
                # What the model wrote is told to the model, as it is; a server's own tool knows better.
                self.data["input"] = text if self.data.get("type") == "tool_use" else {}
        return self.data
