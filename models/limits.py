"""The limits a team sets: how much which calls may use, as settings give it.

A key names whose calls share the limit: one model (`openai/gpt-5.4-mini`), a provider (`openai/*`), a crew
(`crew:helpdesk`), or every call (`*`). A call has to find room in every one of them that it falls under.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from callsheet.core.errors import SettingsError, unknown_name
from callsheet.models.catalogue import OFFLINE, PROVIDERS

EVERYTHING = "*"
CREW = "crew:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the calls under one key may use together; None where there is no limit.

    A minute is a sliding one: no sixty seconds, wherever they begin, see more. A day is a UTC day.
    """

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Input, cached or not, and output."""
    input_tokens_per_minute: int | None = None
    """Without what was read from the provider's cache, as Anthropic counts."""
    output_tokens_per_minute: int | None = None
    in_flight: int | None = None
    """Calls that are under way at the same time."""
    usd_per_day: float | None = None
    tokens_per_day: int | None = None


def parse_limits(data: Mapping[str, Any]) -> dict[str, Limits]:
    """Limits by key, from settings. Raises SettingsError for what makes no sense, UnknownNameError for a name
    of no provider or no limit.
    """
    if not isinstance(data, Mapping):
        raise SettingsError(
            f"limits are {data!r}, and must be a table",
            hint='Such as {"openai/gpt-5.4-mini": {"requests_per_minute": 500}}.',
        )
    return {_key(key): _limits(key, value) for key, value in data.items()}


def keys_of(model: str, crew: str) -> tuple[str, ...]:
    """The keys that a call falls under, the narrowest first."""
    provider = model.partition("/")[0]
    keys = [model, EVERYTHING] if provider == model else [model, f"{provider}/*", EVERYTHING]
    return (f"{CREW}{crew}", *keys) if crew else tuple(keys)


def shown_key(key: str) -> str:
    """A key as messages name it."""
    return "all calls" if key == EVERYTHING else key


def _key(key: str) -> str:
    if key == EVERYTHING or (key.startswith(CREW) and len(key) > len(CREW)):
        return key
    provider, _, model = key.partition("/")
    if key != OFFLINE and (provider not in PROVIDERS or provider == OFFLINE or not model):
        examples = ("openai/gpt-5.4-mini", "openai/*", "crew:helpdesk", EVERYTHING)
        raise unknown_name(
            "model, provider or crew to limit",
            key,
            tuple(OFFLINE if name == OFFLINE else f"{name}/*" for name in PROVIDERS),
            f"A limit is for a model, a provider, a crew, or all: {', '.join(examples)}.",
        )
    return key


def _limits(key: str, value: Any) -> Limits:
    if isinstance(value, Limits):
        value = {name: amount for name in _NAMES if (amount := getattr(value, name)) is not None}
    if not isinstance(value, Mapping):
        raise SettingsError(
            f"the limits of {key!r} are {value!r}, and must be a table",
            hint=f"It may hold {', '.join(_NAMES)}.",
        )
    for name, amount in value.items():
        if name not in _NAMES:
            raise unknown_name("limit", name, _NAMES)
        least, kind = (0, (int, float)) if name == "usd_per_day" else (1, (int,))
        # A NaN compares false with everything.
        if isinstance(amount, bool) or not isinstance(amount, kind) or not least <= amount < 1e15:
            what = "a number of USD, 0 or more" if name == "usd_per_day" else "a whole number above 0"
            raise SettingsError(f"{name} of {key!r} is {amount!r}", hint=f"It must be {what}.")
    return Limits(**value)


_NAMES = tuple(field.name for field in fields(Limits))
