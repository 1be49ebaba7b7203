"""What a bench was begun with, and whether it still is the same: results of two things are no one result."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from callsheet.agents import Agent
from callsheet.core.canonical import digest, to_json
from callsheet.core.errors import UsageError
from callsheet.crews import Crew
from callsheet.crews.runnable import Runnable
from callsheet.models.policy import named_models
from callsheet.scenarios.results import BenchInfo, ScorerInfo
from callsheet.scenarios.suite import Suite
from callsheet.scenarios.trials import Contestant, crew_name

PACKAGES = ("callsheet", "ray", "openai", "anthropic")


def describe(
    bench_id: str,
    suite: Suite,
    contestants: Sequence[Contestant],
    repeats: int,
    host: str,
    settings: dict[str, Any],
) -> BenchInfo:
    """The head of a new bench."""
    crews = {crew_name(each.crew): _crew_digest(each.crew) for each in contestants}
    return BenchInfo(
        bench_id=bench_id, suite=suite.name, digest=suite.digest,
        cases=tuple(case.id for case in suite.cases),
        scorers=scorers_of(suite),
        candidates=tuple(each.candidate for each in contestants), repeats=repeats, host=host,
        started=time.time(), versions=_versions(), settings={**settings, "crew_digests": crews},
        machine=_machine(),
    )  # fmt: skip


def scorers_of(suite: Suite) -> tuple[ScorerInfo, ...]:
    """What a bench keeps of the suite's scorers."""
    return tuple(ScorerInfo(name=s.name, unit=s.unit, better=s.better) for s in suite.scorers)


def check_same(info: BenchInfo, suite: Suite, contestants: Sequence[Contestant]) -> None:
    """Raises UsageError where a bench would go on with another suite, or other crews, than it began with."""
    if suite.digest != info.digest or suite.name != info.suite:
        raise _changed(
            info,
            f"the suite {info.suite!r}",
            f"its cases or scorers are not those that {suite.name!r} has now",
        )
    given = tuple(each.candidate for each in contestants)
    if given != info.candidates:
        names = ", ".join(candidate.crew for candidate in info.candidates)
        raise UsageError(
            f"the bench {info.bench_id} compares {names}, and {', '.join(c.crew for c in given)} are given",
            hint="Resume it with the crews that it was begun with, in that order.",
        )
    known = info.settings.get("crew_digests", {})
    for each in contestants:
        name = crew_name(each.crew)
        if known.get(name, "") != _crew_digest(each.crew):
            raise _changed(info, f"the crew {name!r}", "its agents, their roles, tools or models are others")


def _changed(info: BenchInfo, what: str, how: str) -> UsageError:
    return UsageError(
        f"{what} has changed since the bench {info.bench_id} began: {how}",
        hint="Undo the change to go on, or begin a new bench.",
    )


def _crew_digest(crew: Runnable) -> str:
    """Follows from a crew's agents; "" for one that serves on a cluster, whose agents are not here to be looked at."""
    if not isinstance(crew, Crew):
        return ""
    agents = [
        [a.name, a.role.model_dump(mode="json"), _models(a), [tool.name for tool in a.tools]]
        for a in crew.agents
    ]
    return digest(crew.name, to_json(agents))


def _models(agent: Agent) -> list[str]:
    return list(named_models(agent.model))


def _machine() -> dict[str, Any]:
    found = os.uname()
    return {"system": f"{found.sysname} {found.release} {found.machine}", "cpus": os.cpu_count()}


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
