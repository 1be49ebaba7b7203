"""From a span to what Phoenix shows: ids, name, times and OpenInference attributes.

The names are those of the OpenInference semantic conventions. Where a choice is ours, it was made by what
Phoenix 20.26 does with it: the kind is upper case (costs are computed for exactly `LLM`), an OK status is
said (unset shows as "–"), arguments and metadata are JSON text, tokens stand on LLM spans alone, and there
is no limit of 128 attributes (the SDK's default silently cuts the start of a long conversation).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, assert_never

from openinference.semconv.trace import (
    DocumentAttributes,
    EmbeddingAttributes,
    OpenInferenceMimeTypeValues,
    OpenInferenceSpanKindValues,
    SpanAttributes,
    ToolAttributes,
)

from callsheet.core import ids
from callsheet.tracing.content import Content, json_text
from callsheet.tracing.conversation import Value, gist, put_message, tool_schema
from callsheet.tracing.spans import (
    EmbeddingSpan,
    LlmSpan,
    MessageSpan,
    RetrieverSpan,
    RunSpan,
    Span,
    ToolSpan,
    TurnSpan,
    WaitSpan,
)

KIND = SpanAttributes.OPENINFERENCE_SPAN_KIND
TEXT = OpenInferenceMimeTypeValues.TEXT.value
JSON = OpenInferenceMimeTypeValues.JSON.value
SYSTEMS = frozenset({"openai", "anthropic", "cohere", "mistralai", "vertexai"})
"""Providers whose API shape has a name of its own in the conventions (`llm.system`)."""


@dataclass(frozen=True, slots=True)
class Described:
    """A span ready to be encoded. Ids are hex, times Unix seconds; `parent_id` is empty for the root."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    started: float
    ended: float
    attributes: dict[str, Value]
    error: str | None


def describe(span: Span, content: Content) -> Described:
    """What Phoenix is told of a span. Those below a turn get a new random id on every call."""
    match span:
        case RunSpan():
            return _run(span, content)
        case MessageSpan():
            return _message(span, content)
        case TurnSpan():
            return _turn(span, content)
        case LlmSpan():
            return _llm(span, content)
        case WaitSpan():
            return _wait(span, content)
        case ToolSpan():
            return _tool(span, content)
        case RetrieverSpan():
            return _retriever(span, content)
        case EmbeddingSpan():
            return _embedding(span, content)
        case _:
            assert_never(span)


def _run(span: RunSpan, content: Content) -> Described:
    attributes = _common(OpenInferenceSpanKindValues.AGENT, span.session_id)
    _input(attributes, content.text(span.input))
    _output(attributes, content.text(span.output))
    if span.user_id:
        attributes[SpanAttributes.USER_ID] = span.user_id
    attributes[SpanAttributes.AGENT_NAME] = span.crew
    attributes[SpanAttributes.METADATA] = json_text(
        {**span.metadata, "run_id": span.run_id, "crew": span.crew, "status": span.status}
    )
    root = ids.root_span_id(span.run_id)
    trace, error = ids.trace_id(span.run_id), content.error(span.error)
    return Described(span.crew, trace, root, "", span.started, span.ended, attributes, error)


def _message(span: MessageSpan, content: Content) -> Described:
    attributes = _common(OpenInferenceSpanKindValues.CHAIN, span.session_id)
    _input(attributes, content.text(span.text))
    # The tree is flat for the reader's sake; what caused what is told here.
    metadata = {
        "run_id": span.run_id,
        "seq": span.seq,
        "from": span.sender,
        "to": span.receiver,
        "kind": span.kind,
        "envelope_id": span.envelope_id,
    }
    if span.reply_to:
        metadata["reply_to"] = span.reply_to
    attributes[SpanAttributes.METADATA] = json_text(metadata)
    return Described(
        f"{span.sender} → {span.receiver}",
        ids.trace_id(span.run_id),
        ids.message_span_id(span.envelope_id),
        ids.root_span_id(span.run_id),
        span.at,
        span.at,
        attributes,
        None,
    )


def _turn(span: TurnSpan, content: Content) -> Described:
    attributes = _common(OpenInferenceSpanKindValues.AGENT, span.session_id)
    _input(attributes, content.text(span.input))
    _output(attributes, content.text(span.output))
    attributes[SpanAttributes.AGENT_NAME] = span.agent
    metadata = {"run_id": span.run_id, "kind": span.kind, "envelope_id": span.envelope_id}
    if span.crew:
        metadata["crew"] = span.crew
    attributes[SpanAttributes.METADATA] = json_text(metadata)
    return Described(
        # The flow has the crew's name, as the root has: they should not read as the same thing twice.
        f"{span.agent} (flow)" if span.kind == "flow" else span.agent,
        ids.trace_id(span.run_id),
        ids.turn_span_id(span.envelope_id),
        ids.message_span_id(span.envelope_id),
        span.started,
        span.ended,
        attributes,
        content.error(span.error),
    )


def _llm(span: LlmSpan, content: Content) -> Described:
    attributes = _common(OpenInferenceSpanKindValues.LLM, span.session_id)
    prefix, _, rest = span.model.partition("/")
    provider = span.provider or (prefix if rest else "")
    # The server's price list knows names without our prefix.
    model = rest if rest and prefix == provider else span.model
    attributes[SpanAttributes.LLM_MODEL_NAME] = model
    if provider:
        attributes[SpanAttributes.LLM_PROVIDER] = provider
    if provider in SYSTEMS:
        attributes[SpanAttributes.LLM_SYSTEM] = provider
    for i, message in enumerate(span.input_messages):
        put_message(attributes, f"{SpanAttributes.LLM_INPUT_MESSAGES}.{i}.", message, content)
    if span.input_messages:
        # The lists show one line: what the model was last told, not the whole conversation again.
        _input(attributes, content.text(gist(span.input_messages[-1])))
    if span.output_message is not None:
        put_message(attributes, f"{SpanAttributes.LLM_OUTPUT_MESSAGES}.0.", span.output_message, content)
        _output(attributes, content.text(gist(span.output_message)))
    for i, tool in enumerate(span.tools):
        attributes[f"{SpanAttributes.LLM_TOOLS}.{i}.{ToolAttributes.TOOL_JSON_SCHEMA}"] = content.json(
            tool_schema(tool)
        )
    if span.invocation:
        attributes[SpanAttributes.LLM_INVOCATION_PARAMETERS] = json_text(span.invocation)
    _put_tokens(attributes, span)
    if span.cost_usd is not None and math.isfinite(span.cost_usd):
        attributes[SpanAttributes.LLM_COST_TOTAL] = float(span.cost_usd)
    if span.stop:
        attributes[SpanAttributes.LLM_FINISH_REASON] = span.stop
    if span.agent:
        attributes[SpanAttributes.AGENT_NAME] = span.agent
    metadata: dict[str, Any] = {"run_id": span.run_id, "attempts": span.attempts, "cost_usd": span.cost_usd}
    if span.crew:
        metadata["crew"] = span.crew
    attributes[SpanAttributes.METADATA] = json_text({**span.notes, **metadata})
    return _child(model or "llm", span, attributes, content)


def _wait(span: WaitSpan, content: Content) -> Described:
    attributes = _common(OpenInferenceSpanKindValues.CHAIN, span.session_id)
    _input(attributes, span.name)
    _output(attributes, f"waited {span.ended - span.started:.3f} s for {span.reason}")
    if span.agent:
        attributes[SpanAttributes.AGENT_NAME] = span.agent
    attributes[SpanAttributes.METADATA] = json_text({"run_id": span.run_id, "waited_for": span.reason})
    return _child("wait for a limit", span, attributes, content)


def _tool(span: ToolSpan, content: Content) -> Described:
    attributes = _common(OpenInferenceSpanKindValues.TOOL, span.session_id)
    # Not also as tool.parameters: the server parses that, and these were written by a model.
    _input(attributes, content.json(span.arguments), JSON)
    _output(attributes, content.text(span.output))
    attributes[SpanAttributes.TOOL_NAME] = span.name
    if span.description:
        attributes[SpanAttributes.TOOL_DESCRIPTION] = content.text(span.description)
    if span.call_id:
        attributes[SpanAttributes.TOOL_ID] = span.call_id
    if span.agent:
        attributes[SpanAttributes.AGENT_NAME] = span.agent
    attributes[SpanAttributes.METADATA] = json_text({"run_id": span.run_id})
    return _child(span.name, span, attributes, content)


def _retriever(span: RetrieverSpan, content: Content) -> Described:
    attributes = _common(OpenInferenceSpanKindValues.RETRIEVER, span.session_id)
    _input(attributes, content.text(span.query))
    _output(attributes, f"{len(span.documents)} document{'' if len(span.documents) == 1 else 's'}")
    for i, document in enumerate(span.documents):
        prefix = f"{SpanAttributes.RETRIEVAL_DOCUMENTS}.{i}."
        if document.get("id") is not None:
            attributes[prefix + DocumentAttributes.DOCUMENT_ID] = str(document["id"])
        score = document.get("score")
        if score is not None and math.isfinite(score):
            attributes[prefix + DocumentAttributes.DOCUMENT_SCORE] = float(score)
        attributes[prefix + DocumentAttributes.DOCUMENT_CONTENT] = content.text(
            str(document.get("content") or "")
        )
        if document.get("metadata"):
            attributes[prefix + DocumentAttributes.DOCUMENT_METADATA] = content.json(
                json_text(document["metadata"])
            )
    attributes[SpanAttributes.METADATA] = json_text({"run_id": span.run_id})
    return _child("memory search", span, attributes, content)


def _embedding(span: EmbeddingSpan, content: Content) -> Described:
    attributes = _common(OpenInferenceSpanKindValues.EMBEDDING, span.session_id)
    _input(attributes, content.text(span.text))
    attributes[SpanAttributes.EMBEDDING_MODEL_NAME] = model = span.model.partition("/")[2] or span.model
    text = f"{SpanAttributes.EMBEDDING_EMBEDDINGS}.0.{EmbeddingAttributes.EMBEDDING_TEXT}"
    attributes[text] = content.text(span.text)
    if span.input_tokens:
        attributes[SpanAttributes.LLM_TOKEN_COUNT_PROMPT] = span.input_tokens
        attributes[SpanAttributes.LLM_TOKEN_COUNT_TOTAL] = span.input_tokens
    told = {
        "run_id": span.run_id,
        "tokens": span.input_tokens,
        "cost_usd": span.cost_usd,
        "texts": span.texts,
    }
    attributes[SpanAttributes.METADATA] = json_text(told)
    return _child(model, span, attributes, content)


def _child(
    name: str,
    span: LlmSpan | WaitSpan | ToolSpan | RetrieverSpan | EmbeddingSpan,
    attributes: dict[str, Value],
    content: Content,
) -> Described:
    return Described(
        name,
        ids.trace_id(span.run_id),
        (span.span_id if isinstance(span, ToolSpan | RetrieverSpan) else "") or os.urandom(8).hex(),
        span.parent_span_id or ids.root_span_id(span.run_id),
        span.started,
        span.ended,
        attributes,
        None if isinstance(span, WaitSpan) else content.error(span.error),
    )


def _common(kind: OpenInferenceSpanKindValues, session_id: str) -> dict[str, Value]:
    attributes: dict[str, Value] = {KIND: kind.value}
    if session_id:
        attributes[SpanAttributes.SESSION_ID] = session_id
    return attributes


def _input(attributes: dict[str, Value], text: str, mime: str = TEXT) -> None:
    attributes[SpanAttributes.INPUT_VALUE] = text
    attributes[SpanAttributes.INPUT_MIME_TYPE] = mime


def _output(attributes: dict[str, Value], text: str, mime: str = TEXT) -> None:
    attributes[SpanAttributes.OUTPUT_VALUE] = text
    attributes[SpanAttributes.OUTPUT_MIME_TYPE] = mime


def _put_tokens(attributes: dict[str, Value], span: LlmSpan) -> None:
    if span.input_tokens or span.output_tokens:
        attributes[SpanAttributes.LLM_TOKEN_COUNT_PROMPT] = span.input_tokens
        attributes[SpanAttributes.LLM_TOKEN_COUNT_COMPLETION] = span.output_tokens
        attributes[SpanAttributes.LLM_TOKEN_COUNT_TOTAL] = span.input_tokens + span.output_tokens
    details = (
        (SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_READ, span.cache_read_tokens),
        (SpanAttributes.LLM_TOKEN_COUNT_PROMPT_DETAILS_CACHE_WRITE, span.cache_write_tokens),
        (SpanAttributes.LLM_TOKEN_COUNT_COMPLETION_DETAILS_REASONING, span.reasoning_tokens),
    )
    attributes.update((name, count) for name, count in details if count)
