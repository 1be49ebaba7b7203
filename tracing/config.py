"""Where the spans of a process go, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from callsheet.core.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingConfig:
    """Settings of `callsheet.tracing.configure`; survives pickle, so that a driver hands it to its actors.

    Raises SettingsError for an endpoint that is no http(s) address.
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
        if self.endpoint is None:
            return
        try:
            parts = urlsplit(self.endpoint)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            raise SettingsError(
                f"the tracing endpoint {self.endpoint!r} is not an address that spans can be sent to",
                hint="Give Phoenix's base address, as http://127.0.0.1:6006, or none to keep spans on disk.",
            )
