"""A streamed Chat Completions reply, put together into the body that the same reply has in one piece.

So there is one translation of replies, whichever way they came. What servers differ in: calls without an
index, several calls under one index, names that are sent again with each piece, usage in a chunk of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from callsheet.models.catalogue import ModelName
from callsheet.models.wire import bad_reply, broken_stream

_APART = frozenset({"role", "content", "refusal", "tool_calls", "function_call"})
_ONCE = frozenset({"id", "model"})


class ChatStream:
    """Takes the chunks of one reply; `emit` gets the text of the first choice as it comes."""

    def __init__(self, name: ModelName, emit: Callable[[str], None]) -> None:
        self._name = name
        self._emit = emit
        self._body: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}
        self._done = False
        self._whole: dict[str, Any] | None = None

    def take(self, chunk: dict[str, Any] | None) -> None:
        """One chunk; None is the end that the server announces. Raises ModelReplyError for what is no chunk."""
        if chunk is None:
            self._done = True
            return
        for key in _ONCE:
            if isinstance(chunk.get(key), str) and chunk[key] and key not in self._body:
                self._body[key] = chunk[key]
        usage = chunk.get("usage") or _groq_usage(chunk)
        if isinstance(usage, Mapping):
            self._body["usage"] = usage
        choices = chunk.get("choices")
        if choices is None:
            return
        if not isinstance(choices, list):
            raise bad_reply(self._name.provider, self._name.model, "has choices that are no list")
        for choice in choices:
            if not isinstance(choice, Mapping):
                raise bad_reply(self._name.provider, self._name.model, "has a choice that is no object")
            if "message" in choice and "delta" not in choice:  # the whole reply: this server does not stream
                self._whole = chunk
                continue
            index = choice.get("index")
            number = index if isinstance(index, int) else 0
            self._take(number, choice)

    def body(self) -> dict[str, Any]:
        """The reply's body. Raises ModelReplyError where the stream ended before the reply did."""
        if self._whole is not None:
            return self._whole
        finished = bool(self._choices) and all(c.finish for c in self._choices.values())
        # Some servers do not say [DONE]. What has said why it stopped, and what it took, is whole.
        if not finished or not (self._done or "usage" in self._body):
            raise broken_stream(self._name.provider, self._name.model)
        choices = [
            {"index": number, "message": choice.message(), "finish_reason": choice.finish}
            for number, choice in sorted(self._choices.items())
        ]
        return {**self._body, "choices": choices}

    def _take(self, number: int, piece: Mapping[str, Any]) -> None:
        choice = self._choices.setdefault(number, _Choice())
        if isinstance(piece.get("finish_reason"), str):
            choice.finish = piece["finish_reason"]
        delta = piece.get("delta")
        if isinstance(delta, Mapping):
            choice.add(delta)
            if number == 0:
                self._say(delta)

    def _say(self, delta: Mapping[str, Any]) -> None:
        content = delta.get("content")
        if isinstance(content, list):
            content = "".join(
                b["text"] for b in content if isinstance(b, Mapping) and isinstance(b.get("text"), str)
            )
        for text in (content, delta.get("refusal")):
            if isinstance(text, str) and text:
                self._emit(text)


class _Choice:
    def __init__(self) -> None:
        self.finish = ""
        self._texts: dict[str, list[str]] = {}
        self._blocks: list[Any] = []
        self._others: dict[str, Any] = {}
        self._calls: list[_Call] = []
        self._at: dict[int, _Call] = {}
        self._function: _Call | None = None

    def add(self, delta: Mapping[str, Any]) -> None:
        for key, value in delta.items():
            if value is None:
                continue
            if isinstance(value, str) and key not in ("role", "name"):
                self._texts.setdefault(key, []).append(value)
            elif key == "content" and isinstance(value, list):
                self._blocks.extend(value)
            elif key == "tool_calls" and isinstance(value, list):
                for item in value:
                    if isinstance(item, Mapping):
                        self._call(item).add(item)
            elif key == "function_call" and isinstance(value, Mapping):
                self._function = self._function or _Call()
                self._function.add({"function": value})
            elif isinstance(value, list) and isinstance(self._others.get(key), list):
                self._others[key] = [*self._others[key], *value]
            else:
                self._others[key] = value

    def _call(self, item: Mapping[str, Any]) -> _Call:
        index, id_ = item.get("index"), item.get("id")
        last = self._calls[-1] if self._calls else None
        known = self._at.get(index) if isinstance(index, int) else last
        if known is None or (id_ and known.id and id_ != known.id):
            known = _Call()
            self._calls.append(known)
        if isinstance(index, int):
            self._at[index] = known
        return known

    def message(self) -> dict[str, Any]:
        message: dict[str, Any] = {key: "".join(texts) for key, texts in self._texts.items()}
        message.update(self._others)
        if self._blocks:
            text = message.get("content")
            head = [{"type": "text", "text": text}] if text else []
            message["content"] = [*head, *self._blocks]
        if self._calls:
            message["tool_calls"] = [call.data() for call in self._calls]
        if self._function is not None:
            message["function_call"] = self._function.data()["function"]
        return message


class _Call:
    def __init__(self) -> None:
        self.id = ""
        self._name = ""
        self._arguments: list[str] = []
        self._object: Any = None

    def add(self, item: Mapping[str, Any]) -> None:
        if isinstance(item.get("id"), str):
            self.id = self.id or item["id"]
        function = item.get("function")
        if not isinstance(function, Mapping):
            return
        name, arguments = function.get("name"), function.get("arguments")
        if isinstance(name, str) and name != self._name:
            self._name += name
        if isinstance(arguments, str):
            self._arguments.append(arguments)
        elif arguments is not None:
            self._object = arguments

    def data(self) -> dict[str, Any]:
        arguments = self._object if self._object is not None else "".join(self._arguments)
        return {"id": self.id, "type": "function", "function": {"name": self._name, "arguments": arguments}}


def _groq_usage(chunk: Mapping[str, Any]) -> Any:
    own = chunk.get("x_groq")
    return own.get("usage") if isinstance(own, Mapping) else None
