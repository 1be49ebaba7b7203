"""How the gateway behaves. Holds no key, so that it can be logged, pickled and sent to a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from callsheet.core.errors import SettingsError, unknown_name
from callsheet.models.catalogue import PROVIDERS, base_url
from callsheet.models.limits import parse_limits
from callsheet.models.model_facts import ModelBook


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """Settings of the model gateway; times in seconds.

    Raises UnknownNameError for a base URL of an unknown provider or a limit on one, and SettingsError for
    values that make no sense.
    """

    base_urls: Mapping[str, str] = field(default_factory=dict)
    """Addresses by provider, before those of the environment. No user name or password in them."""
    request_timeout_s: float = 300.0
    """For one attempt; the request's own deadline also holds."""
    max_attempts: int = 4
    first_backoff_s: float = 0.5
    """Upper bound of the first wait; it doubles from attempt to attempt, and is drawn at random below."""
    max_backoff_s: float = 20.0
    max_wait_s: float = 60.0
    """A provider that asks for a longer wait than this is not waited for: the call fails at once."""
    default_max_tokens: int = 8192
    """For APIs that demand a limit (Anthropic) where the request has none."""
    expects: str = ""
    """The provider whose SDK a gateway in a process of its own imports at once, and not only with its first call."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """What calls may use, by model, provider, crew or all (see models/limits.py): `Limits`, or tables of them."""
    ledger_path: str = ""
    """The file that keeps budgets by day and the last minute's use; empty: memory, for as long as the gateway."""
    cache_path: str = ""
    """The file of the response cache (see models/response_cache.py); empty: there is none."""
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What is known of models beyond the catalogue, by `provider/name`: see models/model_facts.py."""
    breaker_failures: int = 8
    """After so many failed attempts in a row a model is left alone for `breaker_pause_s`, then probed."""
    breaker_pause_s: float = 15.0
    """Doubles with each probe that fails, up to eight times this."""
    trace_content: bool = True
    """Put messages, tools and arguments into spans. Off: counts, names and times only."""

    def __post_init__(self) -> None:
        for provider in self.base_urls:
            if provider not in PROVIDERS:
                raise unknown_name("model provider", provider, tuple(PROVIDERS))
            base_url(PROVIDERS[provider], {}, self.base_urls)
        object.__setattr__(self, "limits", parse_limits(self.limits))
        ModelBook(self.models)  # says now what would be wrong later
        for name in (
            "request_timeout_s",
            "max_attempts",
            "max_wait_s",
            "default_max_tokens",
            "breaker_failures",
            "breaker_pause_s",
        ):
            if getattr(self, name) <= 0:
                raise SettingsError(f"{name} is {getattr(self, name)!r}; it must be above 0")
        for name in ("first_backoff_s", "max_backoff_s"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name} is {getattr(self, name)!r}; it must not be negative")
