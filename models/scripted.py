"""Scripted models: replies from a list or a function, in the place of any model, for tests."""

from __future__ import annotations

import inspect
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from callsheet.core.canonical import to_json
from callsheet.core.errors import CallsheetError, DefinitionError, ModelRequestError
from callsheet.models.messages import (
    Message,
    ModelReply,
    ModelRequest,
    Stop,
    Text,
    ToolCall,
    ToolResult,
    Usage,
    assistant,
)
from callsheet.models.offline_text import count_tokens

Reply = Any
"""Text; a tool call, or a list of them; a Message; a ModelReply; data, given as JSON; an error, raised."""

Replies = Sequence[Reply] | Mapping[str, Sequence[Reply]] | Callable[[ModelRequest], Reply | Awaitable[Reply]]

MODEL = "scripted"
"""The model that answered, as replies and spans name it."""

_TOLD = 300
"""Characters shown of what a model was told last, in an error."""


def call(tool: str, arguments: str | None = None, /, **given: Any) -> ToolCall:
    """A tool call, its arguments as keywords, or as text just as a model could write it (malformed too)."""
    return ToolCall(id="", name=tool, arguments=to_json(given) if arguments is None else arguments)


def reply(
    text: str = "",
    *calls: ToolCall,
    stop: Stop | None = None,
    cost_usd: float | None = 0.0,
    usage: Usage | None = None,
) -> ModelReply:
    """A reply in full: text and tool calls, why the model stopped, and what it cost and used."""
    return ModelReply(
        request_id="", message=assistant(text, *calls), stop=stop or ("tool_calls" if calls else "end"),
        model=MODEL, usage=usage or Usage(output_tokens=count_tokens(text)), cost_usd=cost_usd,
    )  # fmt: skip


class Script:
    """Answers every request: with the next reply of a list, of the asking agent's list, or of a function.

    `requests` has all that was asked, in order. A list that has run out fails the call with ModelRequestError,
    which says who asked what. One script is for one process, and not kept anywhere.
    """

    name = "script"
    answers_all = True

    def __init__(self, replies: Replies) -> None:
        lists = replies.values() if isinstance(replies, Mapping) else [replies]
        if not callable(replies):
            for given in lists:
                if isinstance(given, str) or not isinstance(given, Sequence):
                    raise DefinitionError(
                        f"a script of {given!r}",
                        hint='Give a list of replies, ["first", "second"], a list for each agent by its name, '
                        "or a function that takes the request.",
                    )
        self._replies = replies
        self._given: dict[str, int] = defaultdict(int)
        self._calls = 0
        self.requests: list[ModelRequest] = []
        self.fault: Exception | None = None
        """What the function raised, if it raised something that is no error of callsheet's."""

    def of(self, agent: str) -> list[ModelRequest]:
        """The requests of one agent, in order."""
        return [request for request in self.requests if request.agent == agent]

    @property
    def left(self) -> int:
        """How many replies have not been asked for; 0 for a function."""
        if callable(self._replies):
            return 0
        lists = self._replies.values() if isinstance(self._replies, Mapping) else [self._replies]
        return sum(len(given) for given in lists) - sum(self._given.values())

    async def find(self, request: ModelRequest) -> ModelReply:
        """The next reply. Raises what the script holds of errors, and ModelRequestError where it holds none."""
        self.requests.append(request)
        found = await self._next(request)
        if isinstance(found, CallsheetError):
            raise CallsheetError.from_dict(found.to_dict())
        return self._reply(found, request)

    def keep(self, request: ModelRequest, answer: ModelReply | CallsheetError) -> None:
        """Nothing is kept: no model is asked."""

    async def close(self) -> None:
        """Nothing is open."""

    async def _next(self, request: ModelRequest) -> Reply:
        if callable(self._replies):
            try:
                found = self._replies(request)
                return await found if inspect.isawaitable(found) else found
            except CallsheetError:
                raise
            except Exception as error:
                self.fault = error
                raise ModelRequestError(
                    f"the script's function failed for {_who(request)}: {type(error).__name__}: {error}",
                    model=request.model, run_id=request.run_id, hint="Mend the function.",
                ) from error  # fmt: skip
        key, replies = "", self._replies
        if isinstance(replies, Mapping):
            key = request.agent
            if key not in replies:
                names = ", ".join(replies) or "nobody"
                raise _missing(request, f"the script has replies for {names}, and none for {_who(request)}")
            replies = replies[key]
        number = self._given[key]
        if number >= len(replies):
            has = "1 reply" if len(replies) == 1 else f"{len(replies)} replies"
            raise _missing(request, f"{_who(request)} asks once more, and the script had {has}")
        self._given[key] = number + 1
        return replies[number]

    def _reply(self, found: Reply, request: ModelRequest) -> ModelReply:
        wanted = found if isinstance(found, ModelReply) else reply_of(found)
        parts = tuple(
            self._numbered(part) if isinstance(part, ToolCall) else part for part in wanted.message.parts
        )
        usage = wanted.usage
        if not usage.input_tokens:
            usage = replace(usage, input_tokens=sum(map(_tokens, request.messages)))
        message = replace(wanted.message, parts=parts)
        return replace(wanted, request_id=request.id, message=message, usage=usage)

    def _numbered(self, given: ToolCall) -> ToolCall:
        if given.id:
            return given
        self._calls += 1
        return replace(given, id=f"call_{self._calls}")


def reply_of(value: Reply) -> ModelReply:
    """What a script may hold, as a reply. Raises DefinitionError for what cannot be one."""
    match value:
        case str():
            return reply(value)
        case ToolCall():
            return reply("", value)
        case Message():
            found = reply(value.text, *value.tool_calls)
            return replace(found, message=value)
        case BaseModel():
            return reply(value.model_dump_json())
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, ToolCall) for item in value):
        return reply("", *value)
    if value is None or isinstance(value, (dict, list, tuple, int, float)):
        try:
            return reply(json.dumps(value, ensure_ascii=False))
        except (TypeError, ValueError) as error:
            raise DefinitionError(
                f"a script holds {value!r}, which has no JSON form: {error}", hint="Give plain data."
            ) from error
    raise DefinitionError(
        f"a script holds {value!r}, which is no reply",
        hint="Give text, call(…), a list of calls, data, reply(…), or an error to raise.",
    )


def _who(request: ModelRequest) -> str:
    return request.agent or "who asks"


def _missing(request: ModelRequest, why: str) -> ModelRequestError:
    last = request.messages[-1] if request.messages else None
    told = ""
    if last is not None:
        text = last.text or "\n".join(p.content for p in last.parts if isinstance(p, ToolResult))
        told = f". It was told last ({last.role}): {text[:_TOLD]}{'…' if len(text) > _TOLD else ''}"
    return ModelRequestError(
        f"{why}{told}", model=request.model, run_id=request.run_id,
        hint="Add a reply to the script, or use a function of the request.",
    )  # fmt: skip


def _tokens(message: Message) -> int:
    texts = (
        part.text if isinstance(part, Text) else part.content if isinstance(part, ToolResult) else ""
        for part in message.parts
    )
    return sum(count_tokens(text) for text in texts)
