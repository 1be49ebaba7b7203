"""Which models a step may be asked of under a policy, and why: decided from facts alone.

The order: what the policy prefers, then the cheapest for a call of this size, then the newest. A model comes
in where it is of the policy's tier, can do what the step needs, holds the conversation, costs no more than
allowed, and its provider has a key or an address.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from callsheet.core.errors import UsageError
from callsheet.models.catalogue import PROVIDERS, ModelName, parse_model
from callsheet.models.messages import Image, ModelRequest, Usage
from callsheet.models.model_facts import ModelBook, ModelFacts
from callsheet.models.policy import ModelPolicy, Tier
from callsheet.models.quotes import OUTPUT_TOKENS, most_input_tokens

MOST_CANDIDATES = 4
"""How many models a call may be tried with, one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRule:
    """A tier: families by name, and what a million tokens of output may cost there, in USD."""

    families: tuple[str, ...]
    least_usd: float = 0.0
    most_usd: float = 1e9


TIER_RULES: Mapping[Tier, TierRule] = {
    "fast": TierRule(
        families=("anthropic/claude-haiku-*", "openai/gpt-[4-9]*-mini", "openai/gpt-[4-9]*-nano"), most_usd=6
    ),
    "balanced": TierRule(
        families=("anthropic/claude-sonnet-*", "openai/gpt-[5-9]", "openai/gpt-[4-9].[0-9]"), most_usd=18
    ),
    "frontier": TierRule(
        families=("anthropic/claude-opus-*", "openai/gpt-[5-9]", "openai/gpt-[5-9].[0-9]"),
        least_usd=20,
        most_usd=60,
    ),
}
"""Families by the names their makers give them. Prices keep a family's older generations where they belong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNeeds:
    """What a step demands of its model: abilities, and tokens (the most that its input can have)."""

    abilities: frozenset[str] = frozenset()
    input_tokens: int = 0
    max_tokens: int | None = None
    """What the answer may have; None: nobody said, and `OUTPUT_TOKENS` is taken for it."""

    @property
    def output_tokens(self) -> int:
        """What the answer is taken to have at most."""
        return self.max_tokens or OUTPUT_TOKENS


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A model that will do, and why it stands where it stands."""

    model: str
    usd: float | None
    """The most that the call may cost; None where no price is known."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The models for a step, best first, and those of the tier that will not do, each with the reason."""

    choices: tuple[Choice, ...]
    left_out: tuple[tuple[str, str], ...]


def needs_of(request: ModelRequest) -> StepNeeds:
    """What the request demands of its model."""
    abilities = set()
    if request.tools:
        abilities.add("tools")
    if request.output is not None:
        abilities.add("json")
    if any(isinstance(part, Image) for message in request.messages for part in message.parts):
        abilities.add("vision")
    return StepNeeds(
        abilities=frozenset(abilities),
        input_tokens=most_input_tokens(request),
        max_tokens=request.max_tokens,
    )


def tier_of(facts: ModelFacts) -> frozenset[str]:
    """The tiers that a model is of: as settings say, else by its family and price."""
    if facts.tier:
        return frozenset({facts.tier})
    if facts.retired or facts.output_usd is None:
        return frozenset()
    return frozenset(
        tier
        for tier, rule in TIER_RULES.items()
        if rule.least_usd <= facts.output_usd <= rule.most_usd
        and any(fnmatchcase(facts.name, family) for family in rule.families)
    )


def route(policy: ModelPolicy, step: StepNeeds, book: ModelBook, usable: Collection[str]) -> Routing:
    """The models that will do; `usable` are the providers with a key or an address. May be none: see `no_model`."""
    abilities = policy.needs | step.abilities
    found: list[tuple[tuple[float, float, int, str], Choice]] = []
    left_out: list[tuple[str, str]] = []
    for model in _candidates(policy, book):
        name, facts = parse_model(model), book.of(model)
        rank = _rank(policy, name)
        if model not in policy.prefer and policy.tier not in tier_of(facts):
            continue
        usd = book.cost(name, Usage(input_tokens=step.input_tokens or 1000, output_tokens=step.output_tokens))
        obstacle = _obstacle(policy, step, abilities, name, facts, usd, usable)
        if obstacle:
            left_out.append((model, obstacle))
            continue
        preferred = len(policy.prefer) if rank is None else rank
        # What bills nobody we know of counts as free; ISO days without their dashes sort as numbers.
        order = (float(preferred), usd or 0.0, -_day(facts.released), model)
        found.append((order, Choice(model=model, usd=usd, why=_why(policy, rank, usd))))
    found.sort(key=lambda item: item[0])
    return Routing(choices=_spread([choice for _, choice in found]), left_out=tuple(left_out))


def _spread(choices: list[Choice]) -> tuple[Choice, ...]:
    """The first few; the last of them of another provider than the rest, so that one's bad day is not the end."""
    first, rest = choices[:MOST_CANDIDATES], choices[MOST_CANDIDATES:]
    providers = {parse_model(choice.model).provider for choice in first}
    if len(providers) == 1:
        other = next((c for c in rest if parse_model(c.model).provider not in providers), None)
        if other is not None:
            first[-1] = other
    return tuple(first)


def no_model(policy: ModelPolicy, step: StepNeeds, routing: Routing) -> UsageError:
    """The error where no model will do: what is missing."""
    wanted = sorted(policy.needs | step.abilities)
    with_ = f" with {', '.join(wanted)}" if wanted else ""
    lacking = [reason for _, reason in routing.left_out if reason.startswith("no key")]
    others = [f"{model}: {reason}" for model, reason in routing.left_out if not reason.startswith("no key")]
    if others:
        hint = f"Left out: {'; '.join(others[:5])}. Loosen the policy, or name a model."
    elif lacking:
        keys = sorted({reason.partition("(")[2].rstrip(")") for reason in lacking})
        hint = f"Set {' or '.join(keys)}, or name a model in prefer= or in the setting `models`."
    else:
        hint = "Name a model in prefer=, or give one this tier in the setting `models`."
    tokens = f" for {step.input_tokens} tokens" if step.input_tokens else ""
    return UsageError(f"there is no {policy.tier} model{with_}{tokens}", hint=hint)


def _candidates(policy: ModelPolicy, book: ModelBook) -> Iterable[str]:
    named = (name for name in policy.prefer if not name.endswith("/*"))
    listed = (model for provider in PROVIDERS for model in book.known(provider) if not book.is_dated(model))
    return dict.fromkeys((*named, *listed))


def _rank(policy: ModelPolicy, name: ModelName) -> int | None:
    for number, wanted in enumerate(policy.prefer):
        if wanted in (str(name), f"{name.provider}/*"):
            return number
    return None


def _obstacle(
    policy: ModelPolicy,
    step: StepNeeds,
    abilities: Collection[str],
    name: ModelName,
    facts: ModelFacts,
    usd: float | None,
    usable: Collection[str],
) -> str:
    if name.provider not in usable:
        info = PROVIDERS[name.provider]
        return f"no key ({info.key_env})" if info.key_required else f"no address ({info.url_env})"
    lacking = [ability for ability in sorted(abilities) if not facts.can(ability)]
    if lacking:
        return f"has no {', '.join(lacking)}"
    length = step.input_tokens + step.output_tokens
    if facts.context is not None and length > facts.context:
        return f"holds {facts.context} tokens, and the call may have {length}"
    if facts.max_output is not None and (step.max_tokens or 0) > facts.max_output:
        return f"writes {facts.max_output} tokens at most, and {step.max_tokens} are asked for"
    if policy.max_usd_per_call is not None and usd is not None and usd > policy.max_usd_per_call:
        return f"may cost {usd:.4f} USD, above {policy.max_usd_per_call:g}"
    return ""


def _day(released: str) -> int:
    return int(released.replace("-", "") or 0) if released.replace("-", "").isdecimal() else 99999999


def _why(policy: ModelPolicy, rank: int | None, usd: float | None) -> str:
    price = "no price is known" if usd is None else f"at most {usd:.4f} USD"
    return f"preferred; {price}" if rank is not None else f"{policy.tier}; {price}"
