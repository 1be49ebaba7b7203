"""Running one trial: its run is found, gone on with, or started; then its answer is scored."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from callsheet.agents.data import data_of
from callsheet.core.canonical import digest, to_json
from callsheet.core.errors import (
    CallsheetError,
    DefinitionError,
    DocumentError,
    InfrastructureError,
    RunTakenError,
    SettingsError,
    UnknownNameError,
    UsageError,
)
from callsheet.core.ids import trace_id
from callsheet.crews import Crew, Result
from callsheet.crews.portal import portal
from callsheet.crews.runnable import Runnable
from callsheet.crews.system import HostName, System, shared_system
from callsheet.models.policy import AgentModel, model_of
from callsheet.scenarios.budget import BudgetPool, BudgetSpentError
from callsheet.scenarios.outcome import STATUS, Past, error_text, needed_usd, stopped_by_share
from callsheet.scenarios.results import ScoreRecord, Trial
from callsheet.scenarios.scorers import Scorer
from callsheet.scenarios.suite import Suite
from callsheet.scenarios.trials import Planned
from callsheet.settings import Settings

TAKEN_EVERY_S = 0.5
TAKEN_S = 1800.0
"""How long a run is waited for that another process works on, which its deadline ends at the latest."""

OF_THE_BENCH = (DocumentError, RunTakenError, SettingsError, UnknownNameError)
"""What is wrong for every trial, or goes away by itself: the bench ends with it, and no trial fails for it."""


@dataclass(kw_only=True)
class Place:
    """Where the runs of a bench are: the host, and what is known there of runs and documents."""

    bench_id: str
    host: HostName
    settings: Settings
    progress: Callable[[str], None]
    _collections: dict[tuple[str, ...], asyncio.Task[str]] = field(default_factory=dict)

    async def system(self) -> System:
        """The host, opened on first use. In the portal's loop."""
        return await shared_system(self.settings, self.host, self.progress)

    async def past(self, run_id: str) -> Past | None:
        """The run, if it was begun."""

        async def ask() -> Any:
            return await (await self.system()).host.client.query("run", run_id=run_id)

        return Past.of(await portal().arun(ask()))

    async def collection(self, paths: tuple[str, ...]) -> str:
        """The documents at those paths in the memory; they are read once."""
        if not paths:
            return ""
        task = self._collections.get(paths)
        if task is None:
            task = self._collections[paths] = asyncio.create_task(portal().arun(self._read(paths)))
        return await asyncio.shield(task)

    async def _read(self, paths: tuple[str, ...]) -> str:
        notices: list[str] = []
        found = await (await self.system()).add_documents(paths, notices)
        for line in notices:
            self.progress(line)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A run that is wanted, of a case or for a scorer."""

    crew: Runnable
    given: Any
    run_id: str
    model: AgentModel | None = None
    limits: Any = None
    docs: tuple[str, ...] = ()

    @property
    def own_usd(self) -> float:
        """What the run may cost by its own limits, whatever the bench may."""
        limits = self.limits or getattr(self.crew, "limits", None)
        own = None if limits is None else limits.budget_usd
        return math.inf if own is None else float(own)


class TrialRunner:
    """Runs trials. What a run has done is in the journal: nothing that is finished there is done again.

    `left` are the ids of runs that an earlier process of this bench has begun.
    """

    def __init__(
        self,
        suite: Suite,
        place: Place,
        pool: BudgetPool,
        left: Collection[str],
        *,
        retry_failed: bool = False,
    ) -> None:
        self._suite, self._place, self._pool = suite, place, pool
        self._left = set(left)
        self._retry_failed = retry_failed

    async def run_trial(self, planned: Planned) -> Trial:
        """Do one trial. Raises BudgetSpentError, InfrastructureError, and UsageError for what no run can be."""
        contestant = planned.contestant
        run_id, named = planned.run_id(self._place.bench_id), contestant.candidate.model
        suite = self._suite
        paths = (*suite.documents, *(suite.folder / name for name in planned.case.files))
        wanted = Wanted(
            crew=contestant.crew, given=planned.case.input, run_id=run_id,
            model=None if named is None else model_of(named), limits=suite.limits,
            docs=tuple(str(Path(path)) for path in paths),
        )  # fmt: skip
        started = time.time()
        trial = Trial(
            number=planned.number, case=planned.case.id, candidate=contestant.candidate, repeat=planned.repeat,
            run_id=run_id, status="failed", started=started, trace_id=trace_id(run_id),
        )  # fmt: skip
        try:
            past = await self.run(wanted, retry_failed=self._retry_failed)
        except OF_THE_BENCH:
            raise
        except UsageError as error:  # of this case: its input is nothing that the crew takes
            return trial.changed(error=error_text(error))
        trial = _ended(trial, past)
        if trial.status != "done":
            return trial
        judging = Judging(self, run_id)
        scores = await self._scores(past, planned, judging)
        return trial.changed(scores=scores, judging_usd=judging.spent_usd)

    async def run(self, wanted: Wanted, *, retry_failed: bool = False) -> Past:
        """The run, ended or waiting, within what the bench may spend."""
        run_id, pool = wanted.run_id, self._pool
        past = await self._place.past(run_id) if run_id in self._left else None
        again = past is not None and _goes_on(past, wanted.own_usd, retry_failed)
        above = 0.0
        while past is None or again:
            before = 0.0 if past is None else past.usage.cost_usd
            most = wanted.own_usd - before if wanted.own_usd > before else math.inf
            share = await pool.take(above, most, 0.0 if past is None else needed_usd(past, wanted.own_usd))
            allowed = None if share is None else min(before + share, wanted.own_usd)
            used = 0.0
            try:
                result = await self._go(wanted, past, allowed)
                past = await self._found(run_id, result)
                used = past.usage.cost_usd - before
            finally:
                pool.give_back(share, used)
            again = share is not None and stopped_by_share(past, wanted.own_usd)
            above = 0.0 if share is None else share - used
        self._left.add(run_id)
        return past

    async def judged(self, wanted: Wanted) -> Past:
        """The run of a scorer's crew; one of an earlier process only if it was given the same."""
        past = await self._place.past(wanted.run_id) if wanted.run_id in self._left else None
        given = data_of(wanted.given)
        if past is not None and past.given != given:
            wanted = replace(wanted, run_id=f"{wanted.run_id}-{digest(to_json(given))[:6]}")
        return await self.run(wanted, retry_failed=True)

    async def _found(self, run_id: str, result: Result | None) -> Past:
        past = await self._place.past(run_id)
        if past is None:
            raise UsageError(f"the run {run_id} is not in the journal any more", hint="Has it been pruned?")
        return past if result is None else replace(past, trace_url=result.trace_url)

    async def _go(self, wanted: Wanted, past: Past | None, allowed: float | None) -> Result | None:
        place = self._place
        if past is not None:
            return await self._go_on(wanted, past, allowed)
        return await wanted.crew.arun(
            wanted.given, check=False, run_id=wanted.run_id, host=place.host, settings=place.settings,
            progress=place.progress, model=wanted.model, session=place.bench_id, limits=wanted.limits,
            budget_usd=allowed, collection=await place.collection(wanted.docs),
        )  # fmt: skip

    async def _go_on(self, wanted: Wanted, past: Past, allowed: float | None) -> Result | None:
        place, told = self._place, False
        until = time.monotonic() + TAKEN_S
        while True:
            try:
                return await wanted.crew.aresume(
                    wanted.run_id, check=False, host=place.host, settings=place.settings,
                    progress=place.progress, budget_usd=allowed,
                )  # fmt: skip
            except RunTakenError:
                # A cluster goes on for a while with the runs of a driver that was killed.
                if time.monotonic() > until:
                    raise
            except UsageError:
                found = await place.past(wanted.run_id)
                if found is None or found.status != "done":
                    raise
                return None  # it has ended meanwhile
            if not told:
                place.progress(f"another process works on run {wanted.run_id} yet; it is waited for")
            told = True
            await asyncio.sleep(TAKEN_EVERY_S)
            found = await place.past(wanted.run_id)
            if found is not None and found.status != "running":
                return None

    async def _scores(self, past: Past, planned: Planned, judging: Judging) -> dict[str, ScoreRecord]:
        attempt = past.attempt(planned.case)
        found: dict[str, ScoreRecord] = {}
        for scorer in self._suite.scorers:
            found[scorer.name] = await _score(scorer, attempt, judging)
            if judging.stopped is not None:  # a scorer may have taken it for a failure of its own
                raise judging.stopped
        return found


class Judging:
    """Runs crews for the scorers of one trial, under ids of their own: a bench that is resumed pays none twice."""

    def __init__(self, runner: TrialRunner, run_id: str) -> None:
        self._runner, self._run_id = runner, run_id
        self._count = 0
        self.spent_usd = 0.0
        self.stopped: Exception | None = None

    async def run(self, crew: Crew, given: Any) -> Result:
        """Run a scorer's crew where the bench runs. Raises the error that ended the run."""
        self._count += 1
        wanted = Wanted(crew=crew, given=given, run_id=f"{self._run_id}-j{self._count}")
        try:
            past = await self._runner.judged(wanted)
        except (BudgetSpentError, InfrastructureError) as error:
            self.stopped = error
            raise
        self.spent_usd += past.usage.cost_usd
        return past.result(crew.output).checked()


async def _score(scorer: Scorer, attempt: Any, judging: Judging) -> ScoreRecord:
    try:
        score = await scorer.score(attempt, judging.run)
        if not math.isfinite(score.value):
            raise DefinitionError(f"the scorer {scorer.name!r} gave {score.value}")  # noqa: TRY301
    except CallsheetError as error:
        return ScoreRecord(value=None, error=error_text(error))
    except Exception as error:  # whatever a scorer raises is its failure, and no wrong answer
        return ScoreRecord(value=None, error=f"{type(error).__name__}: {error}")
    return ScoreRecord(value=float(score.value), explanation=score.explanation)


def _ended(trial: Trial, past: Past) -> Trial:
    usage = past.usage
    return trial.changed(
        status=STATUS[past.status], output=past.output if past.status == "done" else None,
        error="" if past.status == "done" else error_text(past.error) or past.status,
        llm_calls=usage.llm_calls, tool_calls=usage.tool_calls, steps=past.steps,
        input_tokens=usage.input_tokens, output_tokens=usage.output_tokens,
        cost_usd=None if usage.unpriced_calls else usage.cost_usd, known_usd=usage.cost_usd,
        elapsed_s=past.elapsed_s, started=past.record.started, trace_url=past.trace_url,
    )  # fmt: skip


def _goes_on(past: Past, own_usd: float, retry_failed: bool) -> bool:
    """Whether a run that an earlier process has begun is to be gone on with: it is no result yet."""
    match past.status:
        case "running" | "cancelled":
            return True
        case "failed" | "limited":
            broken = isinstance(past.error, InfrastructureError)
            return retry_failed or broken or stopped_by_share(past, own_usd)
        case _:
            return False
