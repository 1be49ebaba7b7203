"""The conversation in a provider-neutral form: frozen parts, messages, requests and replies.

Dataclasses of the standard library, cheap to pickle, since they are on the path of every call; `MESSAGE` and
`REPLY` are pydantic adapters for where they enter or leave (disk, providers). Every value survives pickle and JSON.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import Discriminator, TypeAdapter

from callsheet.core.frozen import frozen

VERSION = 1
"""Version of the stored form. 1: text, tool calls and results, thinking, opaque parts; images since 0.2."""


@frozen
class Text:
    """Plain text."""

    text: str
    type: Literal["text"] = "text"


@frozen
class Image:
    """A picture for the model to see: `data` in base64 (of `media_type`), or the `url` where it lies."""

    media_type: str = ""
    data: str = ""
    url: str = ""
    type: Literal["image"] = "image"


@frozen
class ToolCall:
    """The model asks for a tool; `arguments` is the JSON text exactly as the model wrote it."""

    id: str
    name: str
    arguments: str
    type: Literal["tool_call"] = "tool_call"


@frozen
class ToolResult:
    """What a tool call gave; `is_error` marks a message about what went wrong."""

    call_id: str
    name: str
    content: str
    is_error: bool = False
    type: Literal["tool_result"] = "tool_result"


@frozen
class Thinking:
    """A model's reasoning, to be handed back as its provider demands (`signature`; `redacted` data)."""

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    type: Literal["thinking"] = "thinking"


@frozen
class Opaque:
    """A block that this version has no form for, carried as the provider's own JSON text."""

    provider: str
    json: str
    type: Literal["opaque"] = "opaque"


Part = Text | Image | ToolCall | ToolResult | Thinking | Opaque


@frozen
class Message:
    """One message; `name` is the agent or person it came from, where that is known."""

    role: Literal["system", "user", "assistant", "tool"]
    parts: tuple[Annotated[Part, Discriminator("type")], ...]
    name: str | None = None

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls, in the model's order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))


def system(text: str) -> Message:
    """A system message."""
    return Message(role="system", parts=(Text(text=text),))


def user(text: str, name: str | None = None) -> Message:
    """A user message."""
    return Message(role="user", parts=(Text(text=text),), name=name)


def assistant(text: str, *calls: ToolCall) -> Message:
    """An assistant message with text and tool calls."""
    parts: tuple[Part, ...] = (Text(text=text),) if text else ()
    return Message(role="assistant", parts=(*parts, *calls))


def tool_results(*results: ToolResult) -> Message:
    """The results of one message's tool calls, in the order of the calls."""
    return Message(role="tool", parts=results)


@frozen
class ToolSpec:
    """What a model is told of a tool; `schema` is the JSON Schema text of its arguments (an object)."""

    name: str
    description: str
    schema: str


@frozen
class OutputSpec:
    """The structured output wanted: a name and the JSON Schema text that the answer must fit."""

    name: str
    schema: str
    description: str = ""


OutputMode = Literal["native", "tool", "prompt"]
"""How `output` is asked for: by the provider's own structured output, by a tool that must be called, or in words."""


@frozen
class ModelRequest:
    """One model call, as an agent hands it to the gateway.

    `id` is unique per attempt to run the step. `model` is `provider/name` (or `offline`). `run_id`,
    `turn_id`, `agent` and `session_id` place the call's span; `parent_span_id` is the turn's.
    """

    id: str
    model: str
    messages: tuple[Message, ...]
    candidates: tuple[str, ...] = ()
    """Models in order of preference, as the router chose them; `model` is the first. Empty: `model` alone."""
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = "auto"
    """`auto`, `none`, `required`, or the name of the tool that must be called."""
    output: OutputSpec | None = None
    output_mode: OutputMode = "native"
    temperature: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    extra: str = "{}"
    """JSON object merged into the provider's request body as it is, for what has no field here."""
    stream: bool = False
    """Somebody reads along: the provider is asked for the answer in parts, where the caller takes them."""
    cache: Literal["auto", "on", "off"] = "auto"
    """Whether an earlier answer to the same request will do: `auto` for what is asked at temperature 0."""
    record: str = ""
    """The cassette that the exchange is added to (see models/cassette.py); empty: none."""
    replay: str = ""
    """The cassette that answers in the place of any model; empty: none."""
    deadline: float | None = None
    """Unix time (s) after which nobody waits for the answer."""
    run_id: str = ""
    turn_id: str = ""
    agent: str = ""
    crew: str = ""
    session_id: str = ""
    parent_span_id: str = ""


@frozen
class Usage:
    """Tokens of one or many calls. `input_tokens` includes the cached ones."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


Stop = Literal["end", "tool_calls", "length", "stop_sequence", "refusal", "content_filter", "other"]
"""Why a model stopped."""


@frozen
class ModelReply:
    """What a model call gave; `cost_usd` is None where no price is known, never 0 for want of one."""

    request_id: str
    message: Message
    stop: Stop
    model: str
    """The model that answered, as the provider names it, with our prefix: `openai/gpt-4o-2024-08-06`."""
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None
    elapsed_s: float = 0.0
    attempts: int = 1
    response_id: str | None = None
    source: Literal["model", "cassette", "cache"] = "model"
    """Who answered: a model, or what was kept of one's earlier answer."""
    v: int = VERSION


MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)
REPLY: TypeAdapter[ModelReply] = TypeAdapter(ModelReply)


def reply_to_data(reply: ModelReply) -> dict[str, Any]:
    """JSON-compatible form of a reply, for the journal."""
    data: dict[str, Any] = REPLY.dump_python(reply, mode="json")
    return data


def reply_from_data(data: dict[str, Any]) -> ModelReply:
    """A reply read back from the journal. Raises ValueError for a version this code does not know."""
    if data.get("v") != VERSION:
        raise ValueError(
            f"a model reply of version {data.get('v')!r}; this callsheet reads version {VERSION}"
        )
    return REPLY.validate_python(data)
