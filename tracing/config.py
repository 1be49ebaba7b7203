"""Where the spans of a process go, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from callsheet.core.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingConfig:
    """Settings of `callsheet.tracing.configure`; survives pickle, so that a driver hands it to its actors.

    Raises SettingsError for an endpoint that is no http(s) address or holds a password, and for a header
    that cannot be sent.
    """

    spool_dir: Path
    """Folder for what cannot be sent now; made on first use, shared by all processes of a machine."""
    endpoint: str | None = None
    """Base address of Phoenix, as `http://127.0.0.1:6006`; None keeps every span in the spool."""
    project: str = "callsheet"
    """The Phoenix project that the traces belong to."""
    service_name: str = "callsheet"
    """Names the kind of process, as `callsheet-agent`."""
    content: bool = True
    """False replaces every text of a conversation (prompts, answers, arguments, documents) by its length."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Sent with each request, as `(("authorization", "Bearer …"),)`; not shown by repr."""
    schedule_delay_s: float = 0.5
    """How long spans gather before they are sent, in seconds."""
    max_queue: int = 20_000
    """Spans that may wait in memory; beyond it new ones are dropped and counted."""
    max_spool_bytes: int = 256 * 1024 * 1024
    """Size of the spool folder beyond which its oldest files are dropped."""

    def __post_init__(self) -> None:
        for name, value in self.headers:
            # Found out later, it would be told with its value, which may be a key.
            if not (name + value).isascii() or not (name + value).isprintable():
                raise SettingsError(
                    f"the tracing header {name!r} holds a line end or another character that no header can",
                    hint="Give its value alone, as `Bearer <key>`, without the end of the line it was read from.",
                )
        if self.endpoint is None:
            return
        try:
            parts = urlsplit(self.endpoint)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            secret = bool(parts.username or parts.password)
        except ValueError:
            good = secret = False
        if secret:
            raise SettingsError(
                "the tracing endpoint holds a user name or password, which would stand in logs",
                hint="Leave it out of the address, and set the header authorization: Bearer <key>.",
            )
        if not good:
            raise SettingsError(
                f"the tracing endpoint {self.endpoint!r} is not an address that spans can be sent to",
                hint="Give Phoenix's base address, as http://127.0.0.1:6006, or none to keep spans on disk.",
            )
