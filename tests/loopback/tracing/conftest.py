"""A small OTLP/HTTP server on loopback whose mood a test can change."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class OtlpServer:
    """Counts the spans it accepted, by name; `answer` decides on the status of each request."""

    def __init__(self, port: int = 0) -> None:
        self.names: Counter[str] = Counter()
        self.span_ids: set[bytes] = set()
        self.requests: list[tuple[str, dict[str, str], int]] = []
        """(path, lower-case headers, the status it was answered with)."""
        self.answer: Callable[[dict[str, str], list[str]], int] = lambda headers, names: 200
        self._changed = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = outer._take(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        spans = [
            span
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        names = [span.name for span in spans]
        status = self.answer(headers, names)
        with self._changed:
            self.requests.append((path, headers, status))
            if status == 200:
                self.names.update(names)
                self.span_ids.update(span.span_id for span in spans)
            self._changed.notify_all()
        return status

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> bool:
        """Wait until the condition holds; looked at after each request."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def otlp() -> Iterator[OtlpServer]:
    server = OtlpServer()
    yield server
    server.close()


@pytest.fixture
def start_otlp() -> Iterator[Callable[[int], OtlpServer]]:
    """Starts a server on a given port, at the moment the test wants it."""
    started: list[OtlpServer] = []

    def start(port: int = 0) -> OtlpServer:
        started.append(OtlpServer(port))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def black_hole() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
