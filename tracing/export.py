"""The thread that brings spans to Phoenix, or to the spool while Phoenix does not take them.

    emit → queue → [ encode → one POST → Phoenix ]      while Phoenix answers
                          └──→ spool ──→ Phoenix        while it does not, and until it did for once

A body goes to the disk first unless the last POST succeeded, so a killed process loses at most the spans of
the last fraction of a second. After a failed POST none is tried for `BREAKER_S`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from callsheet.tracing.config import TracingConfig
from callsheet.tracing.spans import Span
from callsheet.tracing.spool import Spool
from callsheet.tracing.transport import Outcome, Transport

if TYPE_CHECKING:
    from callsheet.tracing.encoding import Encoder

POST_TIMEOUT_S = 2.0
BREAKER_S = 5.0
"""How long a failed POST keeps others from being tried; also how often an idle process looks at the spool."""
ROUND_SPANS = 512
ROUND_FILES = 20
"""Spool files sent in one go before new spans get their turn."""

_log = logging.getLogger(__name__)


class _Marker:
    """Stands in the queue behind the spans that a flush waits for."""

    def __init__(self) -> None:
        self.reached = threading.Event()


class Exporter:
    """Takes spans from any thread; all else happens in a daemon thread of its own."""

    def __init__(self, config: TracingConfig, *, start: bool = True) -> None:
        self.config = config
        self.dropped = 0
        """Spans dropped because the queue was full or the disk failed."""
        self._queue: deque[Span | _Marker] = deque()
        self._overflowed = False
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._stop_at: float | None = None
        self._transport = Transport(config.endpoint, config.headers) if config.endpoint else None
        self._spool = Spool(config.spool_dir, config.max_spool_bytes)
        self._proven = False
        self._retry_at = 0.0
        self._told: set[str] = set()
        # Held while spans leave the queue and become bodies: what `_bodies` holds is not settled yet.
        self._moving = threading.Lock()
        self._bodies: deque[bytes] = deque()
        self._encoder: Encoder | None = None
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        if self._transport is not None:
            self._wake.set()  # an earlier process may have left something in the spool
        if start:
            self._start()

    def offer(self, span: Span) -> None:
        """Queue a span; drops it where `max_queue` wait already."""
        if len(self._queue) >= self.config.max_queue:
            self.dropped += 1
            self._overflowed = True
            return
        self._queue.append(span)
        if not self._wake.is_set():
            self._wake.set()
        if self._thread is None:
            self._start()

    def flush(self, timeout_s: float) -> bool:
        """Wait until what was offered so far is sent or in the spool; False if the time was too short."""
        marker = _Marker()
        self._queue.append(marker)
        self._start()
        self._hurry.set()
        self._wake.set()
        return marker.reached.wait(timeout_s)

    def shutdown(self, timeout_s: float) -> None:
        """Send or spool what is left within about `timeout_s`, and end the thread."""
        self._stop_at = time.monotonic() + timeout_s
        self._hurry.set()
        self._wake.set()
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        # Where the thread hangs in a POST (or failed, or a fork left none), put aside what it has not
        # settled. Should that POST succeed after all, the spans arrive twice, which is harmless.
        with self._moving:
            bodies = [*self._bodies.copy(), *self._encode_next(len(self._queue))]
        rescue = Spool(self.config.spool_dir, self.config.max_spool_bytes)
        for body in bodies:
            self._keep(body, rescue)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="callsheet-tracing", daemon=True)
                self._thread.start()

    def _loop(self) -> None:
        idle_s = BREAKER_S if self._transport is not None else None
        while True:
            if self._wake.wait(idle_s):
                self._hurry.wait(self.config.schedule_delay_s)
            self._hurry.clear()
            self._wake.clear()
            stopping = self._stop_at is not None  # asked before the queue is emptied, for the last time
            try:
                self._settle_queue()
                self._send_spooled()
            except Exception as error:
                # Tracing never takes a run down with it.
                self._tell("bug", logging.ERROR, "spans could not be exported: %r", error)
            if stopping:
                return

    def _settle_queue(self) -> None:
        reached: list[_Marker] = []
        if self._overflowed:
            most = self.config.max_queue
            self._tell("queue", logging.WARNING, "spans were dropped: more than %d were waiting", most)
        while self._queue or self._bodies:
            with self._moving:
                self._bodies.extend(self._encode_next(ROUND_SPANS, reached))
            while self._bodies:
                self._deliver(self._bodies[0])
                self._bodies.popleft()
            for marker in reached:
                marker.reached.set()
            reached.clear()

    def _encode_next(self, limit: int, reached: list[_Marker] | None = None) -> list[bytes]:
        spans: list[Span] = []
        while self._queue and len(spans) < limit:
            item = self._queue.popleft()
            if not isinstance(item, _Marker):
                spans.append(item)
            elif reached is not None:
                reached.append(item)
        if not spans:
            return []
        if self._encoder is None:
            from callsheet.tracing.encoding import Encoder  # protobuf: 50 ms that no caller should wait for

            self._encoder = Encoder(self.config)
        return list(self._encoder.encode(spans))

    def _deliver(self, body: bytes) -> None:
        if self._proven and self._send(body):
            return
        if not self._keep(body, self._spool) and self._may_try() and not self._send(body):
            self.dropped += 1

    def _send(self, body: bytes) -> bool:
        outcome = self._post(body)
        if outcome.kind == "refused":
            try:
                self._spool.put_refused(body)
            except OSError:
                self.dropped += 1
        return outcome.kind != "later"

    def _keep(self, body: bytes, spool: Spool) -> bool:
        try:
            spool.put(body)
        except OSError as error:
            self._tell(
                "disk",
                logging.ERROR,
                "spans that Phoenix does not take cannot be kept in %s (%s): free some space, or make the"
                " folder writable",
                spool.folder,
                error,
            )
            return False
        return True

    def _send_spooled(self) -> None:
        for _ in range(ROUND_FILES):
            if not self._may_try():
                return
            try:
                claimed = self._spool.claim()
            except OSError as error:
                self._tell(
                    "read", logging.ERROR, "the span spool %s cannot be read: %s", self._spool.folder, error
                )
                return
            if claimed is None:
                return
            path, body = claimed
            match self._post(body).kind:
                case "sent":
                    self._spool.done(path)
                case "refused":
                    self._spool.refuse(path)
                case "later":
                    self._spool.release(path)
        self._wake.set()  # there may be more

    def _may_try(self) -> bool:
        if self._transport is None or time.monotonic() < self._retry_at:
            return False
        return self._stop_at is None or time.monotonic() < self._stop_at

    def _post(self, body: bytes) -> Outcome:
        assert self._transport is not None
        timeout_s = POST_TIMEOUT_S
        if self._stop_at is not None:
            timeout_s = min(timeout_s, max(0.05, (self._stop_at - time.monotonic()) / 2))
        outcome = self._transport.post(body, timeout_s)
        if outcome.kind == "later":
            self._proven = False
            self._retry_at = time.monotonic() + BREAKER_S
        else:
            self._proven = True
            self._told.discard("away")
        if outcome.kind == "refused" or outcome.advice:
            where = f"{self._transport.url}/v1/traces"
            kept = f"kept in {self._spool.folder}"
            self._tell(outcome.reason, logging.WARNING, "%s: %s; spans are %s. %s",
                       where, outcome.reason, kept, outcome.advice)  # fmt: skip
        elif outcome.kind == "later":
            self._tell("away", logging.INFO, "%s takes no spans now (%s); they wait in %s",
                       self._transport.url, outcome.reason, self._spool.folder)  # fmt: skip
        return outcome

    def _tell(self, what: str, level: int, message: str, *values: object) -> None:
        """Log a thing once, not for every batch."""
        if what not in self._told:
            self._told.add(what)
            _log.log(level, message, *values)
