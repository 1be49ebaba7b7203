"""The span of a model call, from its request and what became of it."""

from __future__ import annotations

import json
from typing import Any

from callsheet.core.errors import CallsheetError
from callsheet.models.call_log import CallLog
from callsheet.models.messages import Message, ModelReply, ModelRequest, Text, ToolCall, ToolResult, Usage
from callsheet.models.policy import PREFIX
from callsheet.tracing import LlmSpan, WaitSpan


def llm_span(
    request: ModelRequest,
    reply: ModelReply | None,
    error: CallsheetError | None,
    started: float,
    ended: float,
    *,
    content: bool = True,
    log: CallLog | None = None,
) -> LlmSpan:
    """The `LlmSpan` of a call; times in Unix seconds. `content=False` leaves out messages and tools.

    What happened on its way (`log`) is in the span's notes.
    """
    log = CallLog() if log is None else log
    usage = reply.usage if reply is not None else Usage()
    model = reply.model if reply is not None else _asked(request, log)
    inputs = [item for message in request.messages for item in span_messages(message)]
    outputs = span_messages(reply.message) if reply is not None else []
    return LlmSpan(
        run_id=request.run_id,
        parent_span_id=request.parent_span_id,
        session_id=request.session_id,
        agent=request.agent,
        crew=request.crew,
        model=model,
        provider=model.partition("/")[0],
        input_messages=tuple(inputs) if content else (),
        output_message=outputs[0] if content and outputs else None,
        tools=tuple(
            {"name": tool.name, "description": tool.description, "parameters": tool.schema}
            for tool in request.tools
        )
        if content
        else (),
        invocation=_invocation(request),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        cost_usd=reply.cost_usd if reply is not None else None,
        stop=reply.stop if reply is not None else "",
        attempts=reply.attempts if reply is not None else max(log.attempts, 1),
        notes=log.data(content=content),
        error=None if error is None else f"{type(error).__name__}: {error}",
        started=started,
        ended=ended,
    )


def wait_spans(request: ModelRequest, log: CallLog) -> list[WaitSpan]:
    """A span for each time that the call waited for a limit or a circuit breaker."""
    return [
        WaitSpan(
            run_id=request.run_id,
            parent_span_id=request.parent_span_id,
            session_id=request.session_id,
            agent=request.agent,
            name=wait.model,
            reason=wait.reason,
            started=wait.started,
            ended=wait.ended,
        )
        for wait in log.waits
    ]


def _asked(request: ModelRequest, log: CallLog) -> str:
    """The model that was asked last, where none has answered."""
    if log.failures:
        return log.failures[-1].model
    if log.choices:
        return log.choices[0][0]
    return "none" if request.model.startswith(PREFIX) else request.model


def span_messages(message: Message) -> list[dict[str, Any]]:
    """A message as spans show it; tool results become a message each."""
    items: list[dict[str, Any]] = [
        {"role": "tool", "content": part.content, "tool_call_id": part.call_id, "name": part.name}
        for part in message.parts
        if isinstance(part, ToolResult)
    ]
    texts = [part.text for part in message.parts if isinstance(part, Text)]
    calls = [part for part in message.parts if isinstance(part, ToolCall)]
    if texts or calls or not items:
        item: dict[str, Any] = {"role": message.role, "content": "".join(texts)}
        if message.name:
            item["name"] = message.name
        if calls:
            item["tool_calls"] = [
                {"id": call.id, "name": call.name, "arguments": call.arguments} for call in calls
            ]
        items.append(item)
    return items


def _invocation(request: ModelRequest) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if request.temperature is not None:
        found["temperature"] = request.temperature
    if request.max_tokens is not None:
        found["max_tokens"] = request.max_tokens
    if request.stop:
        found["stop"] = list(request.stop)
    if request.tools and request.tool_choice != "auto":
        found["tool_choice"] = request.tool_choice
    if request.output is not None:
        found["output"] = request.output.name
    if request.extra not in ("", "{}"):
        try:
            found["extra"] = json.loads(request.extra)
        except ValueError:
            found["extra"] = request.extra
    return found
