"""The trace of a run: emit what happened as plain data; a thread of its own sends it to Phoenix.

Call `configure` once in every process, `emit` for each span, and `flush` before a process is killed from
outside (`ray.kill` gives it no chance to). Until `configure` was called, all of it does nothing.

What survives: spans that Phoenix did not take lie in the spool folder, and whichever process is alive when
it answers again sends them. A SIGKILL loses at most what was emitted within the last `schedule_delay_s`
and the one request under way.
"""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING

from callsheet.tracing.config import TracingConfig
from callsheet.tracing.spans import (
    EmbeddingSpan,
    LlmSpan,
    MessageSpan,
    RetrieverSpan,
    RunSpan,
    Span,
    SpanPlace,
    ToolSpan,
    TurnSpan,
    WaitSpan,
)

if TYPE_CHECKING:
    from callsheet.tracing.export import Exporter

__all__ = [
    "EmbeddingSpan",
    "LlmSpan",
    "MessageSpan",
    "RetrieverSpan",
    "RunSpan",
    "Span",
    "SpanPlace",
    "ToolSpan",
    "TracingConfig",
    "TurnSpan",
    "WaitSpan",
    "configure",
    "emit",
    "flush",
    "is_enabled",
    "new_span_id",
    "shutdown",
]

EXIT_TIMEOUT_S = 1.0
"""What the end of a process may wait for its last spans."""

_exporter: Exporter | None = None
_lock = threading.Lock()
_hooked = False


def configure(config: TracingConfig) -> None:
    """Start sending this process's spans. The same config again does nothing; another one takes over."""
    global _exporter, _hooked
    from callsheet.tracing.export import Exporter

    with _lock:
        if _exporter is not None and _exporter.config == config:
            return
        previous, _exporter = _exporter, Exporter(config)
        if not _hooked:
            _hooked = True
            atexit.register(shutdown, EXIT_TIMEOUT_S)
            os.register_at_fork(after_in_child=_after_fork)
    if previous is not None:
        previous.shutdown(EXIT_TIMEOUT_S)


def is_enabled() -> bool:
    """Whether spans go anywhere: lets a caller skip the making of what nobody will see."""
    return _exporter is not None


def emit(span: Span) -> None:
    """Hand over a span. Never blocks and never raises; converted and sent by another thread."""
    exporter = _exporter
    if exporter is not None:
        exporter.offer(span)


def new_span_id() -> str:
    """A random span id (16 hex digits), for a tool span that others hang below while it still runs."""
    return os.urandom(8).hex()


def flush(timeout_s: float = 5.0) -> bool:
    """Wait until all spans emitted so far are sent or in the spool; False if `timeout_s` was too short."""
    exporter = _exporter
    return exporter is None or exporter.flush(timeout_s)


def shutdown(timeout_s: float = EXIT_TIMEOUT_S) -> None:
    """Send or spool what is left and stop; returns within about `timeout_s`. Later spans are ignored."""
    global _exporter
    with _lock:
        exporter, _exporter = _exporter, None
    if exporter is not None:
        exporter.shutdown(timeout_s)


def _after_fork() -> None:
    # Threads do not survive a fork, and the parent sends what was queued before it.
    global _exporter, _lock
    _lock = threading.Lock()
    if _exporter is not None:
        from callsheet.tracing.export import Exporter

        _exporter = Exporter(_exporter.config, start=False)
