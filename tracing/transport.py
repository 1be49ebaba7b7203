"""One try to hand a request body to an OTLP/HTTP server, and what its answer means."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

CONTENT_FAULTS = frozenset({400, 413, 415, 422})
"""Answers that blame the body: sending it again will not help. All else is the server's state or set-up."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a body: `sent`; `later` (keep it, try again); `refused` (never send it again)."""

    kind: Literal["sent", "later", "refused"]
    reason: str = ""
    advice: str = ""
    """What a person should do; empty where waiting is enough."""


class Transport:
    """Posts bodies to `<endpoint>/v1/traces`, a new connection each, no redirects, no proxy."""

    def __init__(self, endpoint: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        parts = urlsplit(endpoint)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port
        self._path = parts.path.rstrip("/") + "/v1/traces"
        self._headers = {**dict(headers), "content-type": "application/x-protobuf"}
        self.url = endpoint

    def post(self, body: bytes, timeout_s: float) -> Outcome:
        """Send a body; `timeout_s` bounds connecting and each wait for the server. Never raises."""
        connect = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = connect(self._host, self._port, timeout=timeout_s)
        try:
            connection.request("POST", self._path, body, self._headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return Outcome("later", f"{type(error).__name__}: {error}")
        except ValueError as error:
            # A header that cannot be sent; the error's text would show it, and it may be a key.
            return Outcome("later", type(error).__name__, "Check the headers and the address.")
        finally:
            connection.close()
        return self._judge(status)

    def _judge(self, status: int) -> Outcome:
        if 200 <= status < 300:
            return Outcome("sent")
        reason = f"HTTP {status}"
        if status in (401, 403):
            return Outcome(
                "later", reason, "Phoenix wants another key: set the header authorization: Bearer <key>."
            )
        if status in CONTENT_FAULTS:
            return Outcome("refused", reason, "This callsheet and that Phoenix may not fit together.")
        if status in (408, 429) or status >= 500:
            return Outcome("later", reason)
        return Outcome("later", reason, f"Is it really Phoenix that listens at {self.url}?")
