"""The spans of messages, turns and runs, made from what the journal keeps of them."""

from __future__ import annotations

from callsheet import tracing
from callsheet.core.events import EndRun
from callsheet.core.records import Envelope, RunRecord, body_text
from callsheet.runtime.protocol import FLOW, RunInfo


def trace_message(envelope: Envelope, info: RunInfo) -> None:
    """A message, at the moment it was sent."""
    if not tracing.is_enabled():
        return
    tracing.emit(
        tracing.MessageSpan(
            run_id=envelope.run_id,
            envelope_id=envelope.id,
            session_id=info.session_id,
            sender=envelope.sender,
            receiver=envelope.receiver,
            kind=envelope.kind,
            text=body_text(envelope.body),
            at=envelope.at,
            reply_to=envelope.reply_to,
        )
    )


def trace_turn(ask: Envelope, reply: Envelope, info: RunInfo, started: float) -> None:
    """A turn that is over, and the reply it sent."""
    if not tracing.is_enabled():
        return
    text = body_text(reply.body)
    failed = reply.kind == "error"
    tracing.emit(
        tracing.TurnSpan(
            run_id=ask.run_id,
            envelope_id=ask.id,
            agent=info.crew if ask.receiver == FLOW else ask.receiver,
            crew=info.crew,
            kind="flow" if ask.receiver == FLOW else "agent",
            input=body_text(ask.body),
            output="" if failed else text,
            error=text if failed else None,
            started=started,
            ended=reply.at,
            session_id=info.session_id,
        )
    )
    trace_message(reply, info)


def trace_run(record: RunRecord, end: EndRun) -> None:
    """A run that is over: the root of its trace."""
    if not tracing.is_enabled():
        return
    tracing.emit(
        tracing.RunSpan(
            run_id=end.run_id,
            crew=record.crew,
            input=body_text(record.input),
            output="" if end.output is None else body_text(end.output),
            status=end.status,
            error=None if end.error is None else str(end.error.get("message", "")),
            started=record.started,
            ended=end.at,
            session_id=record.session_id,
        )
    )
