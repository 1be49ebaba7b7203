"""Which trials a bench is made of: each case by each candidate, as often as it is repeated, numbered in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from callsheet.core.errors import DefinitionError
from callsheet.crews.runnable import Runnable
from callsheet.scenarios.case import Case
from callsheet.scenarios.results import Candidate
from callsheet.scenarios.suite import Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A candidate, and the crew that is it."""

    candidate: Candidate
    crew: Runnable


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A trial that is to be done. `number` counts from 1, `repeat` from 0."""

    number: int
    case: Case
    contestant: Contestant
    repeat: int

    def run_id(self, bench_id: str) -> str:
        """The id of its run: the same in every process that works on the bench."""
        return f"{bench_id}-{self.number:05d}"


def contestants(crews: Sequence[Runnable], models: Sequence[str | None]) -> tuple[Contestant, ...]:
    """Each crew with each model. Raises DefinitionError for none, and for two that would be one."""
    if not crews:
        raise DefinitionError("a bench without a crew", hint="Give it at least one.")
    for crew in crews:
        if not isinstance(crew, Runnable):
            raise DefinitionError(f"{crew!r} is no crew", hint="Give a Crew, or what Crew.connect gives.")
    found = [
        Contestant(candidate=Candidate(crew=crew_name(crew), model=model), crew=crew)
        for crew in crews
        for model in (models or (None,))
    ]
    labels = [each.candidate.label for each in found]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise DefinitionError(
            f"two of what is to be compared are called {twice[0]!r}",
            hint="Results are told apart by the crew's name and the model: name one of the crews anew.",
        )
    return tuple(found)


def crew_name(crew: Runnable) -> str:
    """The name of a crew, or of a launch."""
    name: str = getattr(crew, "name", "")
    return name


def plan(suite: Suite, contestants: Sequence[Contestant], repeats: int) -> tuple[Planned, ...]:
    """All trials, case by case, so that candidates can be compared before the last case is done."""
    rows = [
        (case, contestant, repeat)
        for case in suite.cases
        for repeat in range(repeats)
        for contestant in contestants
    ]
    return tuple(
        Planned(number=number, case=case, contestant=contestant, repeat=repeat)
        for number, (case, contestant, repeat) in enumerate(rows, 1)
    )
