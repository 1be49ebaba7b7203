"""Ids that follow from other ids, so that every process computes the same one and a replay repeats it.

The run's id is made once, by whoever starts the run. All else is derived: the trace id and the root
span from the run, an envelope's id from the turn and step that send it, a message's span from the
envelope. That is why an envelope needs to carry no trace context, and why sending it twice is harmless.
"""

from __future__ import annotations

import re

from callsheet.core.canonical import digest

RUN_ID = re.compile(r"^[a-z0-9][a-z0-9-]{5,63}\Z")


def trace_id(run_id: str) -> str:
    """The run's trace id: 32 lower-case hex digits, never all zero (W3C Trace Context)."""
    return digest("trace", run_id)


def root_span_id(run_id: str) -> str:
    """The span id of the run's root span: 16 hex digits."""
    return digest("root-span", run_id)[:16]


def message_span_id(envelope_id: str) -> str:
    """The span id of the message span of an envelope: 16 hex digits."""
    return digest("message-span", envelope_id)[:16]


def turn_span_id(envelope_id: str) -> str:
    """The span id of the turn that handles an envelope: 16 hex digits."""
    return digest("turn-span", envelope_id)[:16]


def root_envelope_id(run_id: str) -> str:
    """The id of the envelope that starts a run."""
    return digest("root-envelope", run_id)


def step_key(kind: str, input_digest: str) -> str:
    """What a recorded step is found by: its kind and its input, never its position in the turn."""
    return f"{kind}-{input_digest}"


def idempotency_key(turn_id: str, place: str) -> str:
    """What tells a service that two attempts at a tool call are one: the same on every attempt."""
    return digest("idempotency", turn_id, place)


def sent_envelope_id(turn_id: str, key: str, nth: int) -> str:
    """The id of the envelope that the nth step of that key sends, the same on every attempt."""
    return digest("envelope", turn_id, key, str(nth))


def reply_envelope_id(envelope_id: str) -> str:
    """The id of the reply to an envelope; an envelope has exactly one."""
    return f"{envelope_id}-reply"
