"""What an agent may say in place of a model's name: a policy, by which one is picked, or a cascade of models.

Both are frozen plain data (a cascade also holds the user's check), survive pickle, and have a text by which
steps are known: a run that is resumed finds its steps though another model would be picked by now.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from callsheet.core.canonical import from_json, to_json
from callsheet.core.errors import DefinitionError
from callsheet.models.catalogue import PROVIDERS, parse_model

Tier = Literal["fast", "balanced", "frontier"]
TIERS: tuple[Tier, ...] = ("fast", "balanced", "frontier")
NEEDS = ("tools", "vision", "json", "thinking")

PREFIX = "policy:"
"""What the text of a policy begins with; no provider is called that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPolicy:
    """The cheapest model that will do: of a tier, with the abilities that are needed, within a price.

    What a step itself needs (tools it offers, images in it, a format of the answer, the conversation's length)
    counts without being named. `max_usd_per_call` is held against the most that the call may cost. `prefer`
    comes first, in its order, whatever it costs within that: models (`provider/name`, which need not be of the tier) or
    providers (`anthropic/*`). Raises DefinitionError or UnknownNameError for what cannot be meant.
    """

    tier: Tier = "balanced"
    needs: frozenset[str] = frozenset()
    max_usd_per_call: float | None = None
    prefer: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tier not in TIERS:
            raise DefinitionError(
                f"there is no tier {self.tier!r} of models", hint=f"It is {', '.join(TIERS)}."
            )
        object.__setattr__(self, "needs", frozenset(_names("needs", self.needs)))
        object.__setattr__(self, "prefer", tuple(_names("prefer", self.prefer)))
        for need in sorted(self.needs):
            if need not in NEEDS:
                raise DefinitionError(f"a model cannot need {need!r}", hint=f"Needs are {', '.join(NEEDS)}.")
        for name in self.prefer:
            provider, slash, model = name.partition("/")
            if not (slash and model == "*" and provider in PROVIDERS):
                parse_model(name)
        most = self.max_usd_per_call
        if most is not None:
            number = isinstance(most, (int, float)) and not isinstance(most, bool)
            if not number or not 0 < most < math.inf:
                raise DefinitionError(f"max_usd_per_call is {most!r}", hint="It must be above 0, in USD.")

    def to_text(self) -> str:
        """The policy as a text, the same for the same policy; it stands in a request where a model's name does."""
        data: dict[str, Any] = {"tier": self.tier}
        if self.needs:
            data["needs"] = sorted(self.needs)
        if self.max_usd_per_call is not None:
            data["max_usd_per_call"] = self.max_usd_per_call
        if self.prefer:
            data["prefer"] = list(self.prefer)
        return PREFIX + to_json(data)

    @staticmethod
    def from_text(text: str) -> ModelPolicy:
        """The policy of a `to_text`. Raises DefinitionError for a text that is none."""
        try:
            data = from_json(text.removeprefix(PREFIX))
            return ModelPolicy(**data)
        except (ValueError, TypeError) as error:
            raise DefinitionError(f"{text[:200]!r} is no policy of models") from error

    def __str__(self) -> str:
        """For people: `fast model with tools`."""
        with_ = f" with {', '.join(sorted(self.needs))}" if self.needs else ""
        return f"{self.tier} model{with_}"


Accept = Callable[[Any], Any]
"""The user's check of an answer: of its value where the agent has an `output`, else of its text; may be async."""


@dataclass(frozen=True, slots=True)
class Cascade:
    """Models to try in turn, the cheapest first: the next is asked where an answer of one before will not do.

    That is: it does not fit the agent's `output`, `accept` says no, the model refuses, is cut off, or cannot be
    reached. `accept` runs in the agent's process, again when a run is resumed, and must say the same of the same
    answer. The last one's answer is treated as that of a single model. Raises DefinitionError.
    """

    models: tuple[str | ModelPolicy, ...]
    accept: Accept | None = None

    def __init__(self, models: Sequence[str | ModelPolicy], accept: Accept | None = None) -> None:
        if isinstance(models, (str, ModelPolicy)) or not isinstance(models, Iterable):
            raise DefinitionError(
                f"a cascade of {models!r}", hint="Give a list of models: Cascade([cheap, strong])."
            )
        levels = tuple(models)
        if len(levels) < 2:
            raise DefinitionError("a cascade needs two models or more", hint="Cascade([cheap, strong]).")
        for level in levels:
            if isinstance(level, str):
                parse_model(level)
            elif not isinstance(level, ModelPolicy):
                raise DefinitionError(
                    f"a cascade holds {level!r}", hint="It holds names of models and policies."
                )
        if accept is not None and not callable(accept):
            raise DefinitionError(f"accept is {accept!r}", hint="Give a function that takes the answer.")
        object.__setattr__(self, "models", levels)
        object.__setattr__(self, "accept", accept)

    def __str__(self) -> str:
        """For people: `openai/gpt-5.4-nano, then openai/gpt-5.5`."""
        return ", then ".join(str(level) for level in self.models)


AgentModel = str | ModelPolicy | Cascade
"""What an agent's `model=` takes."""


def check_model(model: Any) -> None:
    """Raises DefinitionError or UnknownNameError for what is no model, policy or cascade."""
    if isinstance(model, str):
        parse_model(model)
    elif not isinstance(model, (ModelPolicy, Cascade)):
        raise DefinitionError(
            f"model is {model!r}",
            hint="It is a name (provider/name, or `offline`), a ModelPolicy or a Cascade.",
        )


def levels_of(model: AgentModel) -> tuple[str | ModelPolicy, ...]:
    """The models or policies that are asked in turn; one, but for a cascade."""
    return model.models if isinstance(model, Cascade) else (model,)


def text_of(level: str | ModelPolicy) -> str:
    """How a request names it, and by which its steps are known."""
    return level if isinstance(level, str) else level.to_text()


def model_to_data(model: AgentModel) -> str | list[str]:
    """What is kept of the model that a run is given: a text, or those of a cascade.

    Raises as `check_model`, and DefinitionError for a cascade with a check, of which no other process would know.
    """
    check_model(model)
    if not isinstance(model, Cascade):
        return text_of(model)
    if model.accept is not None:
        raise DefinitionError(
            "a run cannot be given a cascade with a check: it would be lost where the run is resumed",
            hint="Give the cascade to the agents, Agent(model=Cascade(…, accept=…)), or leave `accept` out.",
        )
    return [text_of(level) for level in model.models]


def model_from_data(data: str | list[str]) -> AgentModel:
    """The model of a `model_to_data`."""
    if isinstance(data, str):
        return _level(data)
    return Cascade([_level(text) for text in data])


def model_of(spelling: str) -> str | ModelPolicy:
    """What a person means by a model in one word: a tier's name is the policy of that tier, all else a model's name.

    Raises UnknownNameError for the name of no provider's.
    """
    for tier in TIERS:
        if spelling == tier:
            return ModelPolicy(tier=tier)
    parse_model(spelling)
    return spelling


def _level(text: str) -> str | ModelPolicy:
    return ModelPolicy.from_text(text) if text.startswith(PREFIX) else text


def named_models(model: AgentModel | None) -> tuple[str, ...]:
    """The models that are named outright, which have to be reachable."""
    return () if model is None else tuple(level for level in levels_of(model) if isinstance(level, str))


def _names(what: str, value: Any) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise DefinitionError(f"{what} is {value!r}", hint=f'It is a list of names: {what}=["…"].')
    names = list(value)
    for name in names:
        if not isinstance(name, str):
            raise DefinitionError(f"{what} holds {name!r}", hint="It holds names.")
    return names
