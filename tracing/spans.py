"""What happened, as plain data: one frozen class per kind of span, with no OpenTelemetry type in it.

A trace is one run (the shape was chosen by watching it grow in Phoenix):

    RunSpan                       the root: crew, input, output; emitted when the run ends
    ├── MessageSpan               `user → researcher`, begins and ends at sending
    │   └── TurnSpan              what the receiver did with that message
    │       ├── LlmSpan           one model call
    │       ├── WaitSpan          what one waited for before
    │       ├── ToolSpan          one tool call
    │       └── RetrieverSpan     one search of the memory
    │           └── EmbeddingSpan what an embedding model was asked for it
    └── MessageSpan …             messages are flat under the root: they read as a conversation

The ids of the first three are derived from the run's and the envelope's id (`callsheet.core.ids`), so any
process can emit any span at any time, before or after its parent. A span that is emitted twice is stored
once; the first one stays. LLM, tool and retriever spans get a random id and name their parent, which is
`core.ids.turn_span_id(envelope_id)` as a rule and the root where `parent_span_id` is empty.

Times are Unix seconds. Texts may hold anything (NUL, lone surrogates); what a viewer cannot take is
replaced on the way out. Every span survives pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpan:
    """A whole run, the root of its trace. Emit it once, when the run is over for good.

    Phoenix keeps the first root it gets: a run that only waits for a person is not over.
    """

    run_id: str
    crew: str
    started: float
    ended: float
    input: str = ""
    output: str = ""
    status: str = "done"
    """How the run ended, in the word of the run's state machine; kept as metadata."""
    error: str | None = None
    """What went wrong; None makes the span OK, a text (also an empty one) makes it an error."""
    session_id: str = ""
    user_id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """JSON-compatible extras, shown on the run's page and usable in Phoenix's filters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageSpan:
    """A message at the moment it was sent."""

    run_id: str
    envelope_id: str
    sender: str
    receiver: str
    at: float
    kind: str = "ask"
    """The envelope's kind, kept as metadata."""
    text: str = ""
    seq: int = 0
    """The message's number within the run, from 0."""
    reply_to: str = ""
    """The id of the envelope that this one answers, or empty."""
    session_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnSpan:
    """One participant's handling of one message."""

    run_id: str
    envelope_id: str
    """The envelope that is handled; it gives this span's id and its parent's."""
    agent: str
    started: float
    ended: float
    crew: str = ""
    kind: Literal["agent", "flow"] = "agent"
    input: str = ""
    output: str = ""
    error: str | None = None
    session_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmSpan:
    """One model call. A step that a replay takes from the journal makes none.

    A message is a dict `{"role", "content", "name", "tool_calls": [{"id", "name", "arguments"}],
    "tool_call_id"}`, each key but the role optional, arguments as JSON text. A tool is a dict
    `{"name", "description", "parameters"}`, the JSON Schema of the parameters as text or as a dict.
    """

    run_id: str
    model: str
    """`provider/name`, or the name alone."""
    started: float
    ended: float
    parent_span_id: str = ""
    session_id: str = ""
    agent: str = ""
    crew: str = ""
    provider: str = ""
    input_messages: tuple[Mapping[str, Any], ...] = ()
    output_message: Mapping[str, Any] | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    invocation: Mapping[str, Any] = field(default_factory=dict)
    """The request's parameters (temperature, max_tokens, …), never a key."""
    input_tokens: int = 0
    """Includes the cached ones."""
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = None
    """None where no price is known. Phoenix computes its own cost from model and tokens."""
    stop: str = ""
    attempts: int = 1
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What happened on the call's way, as JSON-compatible data: the choice of the model, failed attempts, waits."""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitSpan:
    """A wait before a model call: for a limit, or for a model that is left alone after failures."""

    run_id: str
    name: str
    """What could not be called meanwhile: a model."""
    reason: str
    """Such as `requests_per_minute of openai/gpt-5.4-mini`."""
    started: float
    ended: float
    parent_span_id: str = ""
    session_id: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpan:
    """One tool call that was really made."""

    run_id: str
    name: str
    started: float
    ended: float
    parent_span_id: str = ""
    session_id: str = ""
    agent: str = ""
    description: str = ""
    arguments: str = "{}"
    """JSON text."""
    output: str = ""
    error: str | None = None
    call_id: str = ""
    span_id: str = ""
    """From `tracing.new_span_id`, where other spans are to hang below this one; random where empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanPlace:
    """Where a span belongs that another process is to make; with no run it belongs to no trace."""

    run_id: str = ""
    parent_span_id: str = ""
    session_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSpan:
    """One text that an embedding model made a vector of. Of a call with several, a text has its share."""

    run_id: str
    model: str
    """`provider/name`."""
    started: float
    ended: float
    parent_span_id: str = ""
    session_id: str = ""
    text: str = ""
    input_tokens: int = 0
    """The text's share of the call's, by length."""
    cost_usd: float | None = None
    """Its share of the call's cost; None where no price is known."""
    texts: int = 1
    """How many texts the call had, also of other runs."""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrieverSpan:
    """One search of the memory.

    A document is a dict `{"id", "score", "content", "metadata"}`, each key optional, best first.
    """

    run_id: str
    started: float
    ended: float
    parent_span_id: str = ""
    session_id: str = ""
    query: str = ""
    documents: tuple[Mapping[str, Any], ...] = ()
    error: str | None = None
    span_id: str = ""
    """From `tracing.new_span_id`, where other spans are to hang below this one; random where empty."""


Span = RunSpan | MessageSpan | TurnSpan | LlmSpan | WaitSpan | ToolSpan | RetrieverSpan | EmbeddingSpan
