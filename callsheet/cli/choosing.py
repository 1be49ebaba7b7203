"""Which model a run would take, and whether there is a key for it: told before anything is paid for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callsheet.cli.screen import notice
from callsheet.core.errors import SettingsError

if TYPE_CHECKING:
    from callsheet.crews.crew import Crew
    from callsheet.crews.launched import LaunchedCrew
    from callsheet.models.catalogue import ModelInfo
    from callsheet.models.policy import AgentModel
    from callsheet.settings import Settings


def check_models(
    model: AgentModel | None, settings: Settings, crew: Crew | LaunchedCrew, *, inline: bool = False
) -> None:
    """Raises SettingsError for a model that wants a key where none is set, UsageError for a policy that none fits.

    Where a cluster is joined it is asked what it has keys for. Of a crew that serves there already only
    `model` is looked at. Raises ClusterError where the cluster cannot be reached.
    """
    from callsheet.crews.system import model_environ
    from callsheet.models.catalogue import KEYS_ARE_READ_AT_START, PROVIDERS, parse_model

    _check_policies(model, settings, crew, inline)
    wanted = [parse_model(name).provider for name in _named(model, settings, crew)]
    if not any(PROVIDERS[provider].key_required for provider in wanted):
        return
    joins = _joins(settings, inline)
    known = {info.provider: info for info in _models(settings, inline)}
    for provider in wanted:
        info = known.get(provider)
        if info is None or info.key_present or not PROVIDERS[provider].key_required:
            continue
        if joins and model_environ(settings).get(info.key_env, "").strip():
            raise SettingsError(
                f"{info.key_env} is set here, but the cluster that this run would join was started without it",
                hint=KEYS_ARE_READ_AT_START,
            )
        raise SettingsError(
            f"the models of {provider} want a key, and {info.key_env} is not set",
            hint=f"Set {info.key_env}, or name another model with --model (`callsheet models` lists what "
            "there is; `offline` needs no key)." + (f" {KEYS_ARE_READ_AT_START}" if joins else ""),
        )


def tell_model(
    model: AgentModel | None, settings: Settings, crew: Crew | LaunchedCrew, *, inline: bool = False
) -> None:
    """Say so where the offline engine answers that nobody asked for."""
    from callsheet.crews.crew import Crew
    from callsheet.crews.system import model_environ
    from callsheet.models.catalogue import KEYS_ARE_READ_AT_START, OFFLINE, PROVIDERS, default_model

    if model is not None or settings.model is not None:
        return
    if isinstance(crew, Crew) and all(agent.model for agent in crew.agents):
        return
    here = default_model(model_environ(settings))
    if (_default_there(settings) if _joins(settings, inline) else here) != OFFLINE:
        return
    anthropic, openai = PROVIDERS["anthropic"], PROVIDERS["openai"]
    if here != OFFLINE:
        notice(
            f"A key for {here} is set here, but not in the cluster that this run joins, so the built-in "
            f"`offline` engine answers, which is no language model.\n{KEYS_ARE_READ_AT_START}"
        )
        return
    notice(
        "No model is named and no key is set, so the built-in `offline` engine answers. It is no language "
        "model: it only quotes what its tools find.\n"
        f"For a real one: --model {anthropic.example} with {anthropic.key_env} set, --model {openai.example} "
        f"with {openai.key_env}, or --model {PROVIDERS['ollama'].example} with Ollama running."
    )


def _check_policies(
    model: AgentModel | None, settings: Settings, crew: Crew | LaunchedCrew, inline: bool
) -> None:
    from callsheet.crews.crew import Crew
    from callsheet.models.policy import ModelPolicy, levels_of

    agents = crew.agents if isinstance(crew, Crew) else ()
    asked = [(model or agent.model, bool(agent.tools)) for agent in agents] or [(model, False)]
    policies = [
        (level, has_tools)
        for wanted, has_tools in asked
        if wanted is not None
        for level in levels_of(wanted)
        if isinstance(level, ModelPolicy)
    ]
    if not policies:
        return
    from callsheet.models.model_facts import ModelBook
    from callsheet.models.router import StepNeeds, no_model, route

    book = ModelBook(settings.models)
    usable = [info.provider for info in _models(settings, inline) if info.available]
    for policy, has_tools in policies:
        step = StepNeeds(abilities=frozenset({"tools"}) if has_tools else frozenset())
        routing = route(policy, step, book, usable)
        if not routing.choices:
            raise no_model(policy, step, routing)


def _named(model: AgentModel | None, settings: Settings, crew: Crew | LaunchedCrew) -> list[str]:
    from callsheet.crews.crew import Crew
    from callsheet.models.policy import named_models

    if model is not None:
        return list(named_models(model))
    own = [agent.model for agent in crew.agents] if isinstance(crew, Crew) else []
    named = [name for agents in own for name in named_models(agents)]
    if settings.model is not None and (not own or None in own):
        named.append(settings.model)
    return named


def _joins(settings: Settings, inline: bool) -> bool:
    from callsheet.crews.system import ray_address

    return not inline and ray_address(settings) is not None


def _default_there(settings: Settings) -> str:
    from callsheet.crews.portal import portal
    from callsheet.crews.system import shared_system

    async def ask() -> str:
        return (await shared_system(settings, "ray", notice)).default_model()

    return portal().run(ask())


def _models(settings: Settings, inline: bool) -> tuple[ModelInfo, ...]:
    """What the gateway of the run has keys for; in a Ray of the run's own it gets this process's."""
    if not _joins(settings, inline):
        from callsheet.crews.system import model_environ
        from callsheet.models.catalogue import list_models

        return list_models(model_environ(settings))
    from callsheet.crews.portal import portal
    from callsheet.crews.system import shared_system

    async def ask() -> tuple[ModelInfo, ...]:
        return await (await shared_system(settings, "ray", notice)).models()

    return portal().run(ask())
