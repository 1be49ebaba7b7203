"""One bench: cases × crews × models × repeats, so many at once, within one budget, resumable at any moment."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from callsheet.agents.data import data_of
from callsheet.core.errors import DefinitionError, InfrastructureError, LimitError, RunError
from callsheet.crews.portal import portal
from callsheet.crews.runnable import Runnable
from callsheet.crews.system import HostName
from callsheet.models.policy import model_of
from callsheet.scenarios.budget import BudgetPool, BudgetSpentError, check_budget
from callsheet.scenarios.own_loop import in_own_loop
from callsheet.scenarios.progress import BenchProgress, FailureWatch
from callsheet.scenarios.provenance import check_same, describe
from callsheet.scenarios.results import BenchInfo, BenchResult, Trial
from callsheet.scenarios.store import BenchFolder, benches_folder, find_bench
from callsheet.scenarios.suite import Suite
from callsheet.scenarios.trial_runner import Place, TrialRunner
from callsheet.scenarios.trials import Planned, contestants, plan
from callsheet.settings import Settings, load_settings

OnTrial = Callable[[BenchProgress], None]


class Bench:
    """One bench: begun anew, or resumed from its folder. `run` does what is not done yet.

    `at_once` runs are under way at most. Whatever ends it, finished trials are on disk, and what runs had done is
    in the journal: resumed, it takes every trial exactly once into its result, and pays for no model call that
    was finished. `progress` is told in a line what is being started; `on_trial` hears of each finished trial.
    """

    def __init__(
        self,
        suite: Suite,
        crews: Sequence[Runnable],
        folder: BenchFolder,
        info: BenchInfo,
        settings: Settings,
        *,
        at_once: int = 8,
        budget_usd: float | None = None,
        retry_failed: bool = False,
        progress: Callable[[str], None] = lambda _: None,
        on_trial: OnTrial = lambda _: None,
    ) -> None:
        if isinstance(at_once, bool) or not isinstance(at_once, int) or at_once < 1:
            raise DefinitionError(f"at_once is {at_once!r}", hint="Give a whole number, 1 or more.")
        check_budget(budget_usd)
        self.info = info
        self._suite, self._folder, self._settings = suite, folder, settings
        models = list(dict.fromkeys(candidate.model for candidate in info.candidates))
        self._contestants = contestants(crews, models)
        self._at_once, self._budget_usd, self._retry_failed = at_once, budget_usd, retry_failed
        self._progress, self._on_trial = progress, on_trial
        self._trials: dict[int, Trial] = {}

    @classmethod
    def begin(
        cls,
        suite: Suite,
        crews: Sequence[Runnable],
        *,
        models: Sequence[str | None] = (None,),
        repeats: int = 1,
        host: HostName = "ray",
        budget_usd: float | None = None,
        out: str | Path | None = None,
        settings: Settings | None = None,
        recorded: dict[str, Any] | None = None,
        **options: Any,
    ) -> Bench:
        """A new bench, its head on disk. Raises DefinitionError for what cannot be benched.

        `out` is the folder that benches are kept in, if not `benches` in the home. `recorded` is kept in the
        head's settings, for who resumes it.
        """
        settings = settings or load_settings()
        check_budget(budget_usd)
        if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
            raise DefinitionError(f"repeats is {repeats!r}", hint="Give a whole number, 1 or more.")
        if host not in ("ray", "inline"):
            raise DefinitionError(f"there is no host {host!r}", hint="It is `ray` or `inline`.")
        for model in models:
            if model is not None:
                model_of(model)
        crews = crews or ([] if suite.crew is None else [suite.crew])
        found = contestants(crews, models)
        bench_id = time.strftime("bench-%m%d-%H%M%S-", time.gmtime()) + uuid.uuid4().hex[:4]
        info = describe(
            bench_id, suite, found, repeats, host,
            {**(recorded or {}), "budget_usd": budget_usd, "at_once": options.get("at_once", 8)},
        )  # fmt: skip
        root = benches_folder(settings.home) if out is None else Path(out)
        bench = cls(
            suite, crews, BenchFolder(root / bench_id), info, settings, budget_usd=budget_usd, **options
        )
        BenchFolder.create(root / bench_id, info)
        return bench

    @classmethod
    def resume(
        cls,
        wanted: str,
        suite: Suite,
        crews: Sequence[Runnable] = (),
        *,
        budget_usd: float | None = None,
        out: str | Path | None = None,
        settings: Settings | None = None,
        **options: Any,
    ) -> Bench:
        """The bench of that id, or whose id begins so. `budget_usd` takes the place of the one it had.

        Raises UnknownNameError, and UsageError where suite or crews are not those that it was begun with.
        """
        settings = settings or load_settings()
        folder = find_bench(benches_folder(settings.home) if out is None else Path(out), wanted)
        info = folder.info()
        crews = crews or ([] if suite.crew is None else [suite.crew])
        models = list(dict.fromkeys(candidate.model for candidate in info.candidates))
        check_same(info, suite, contestants(crews, models))
        options.setdefault("at_once", info.settings.get("at_once", 8))
        budget = info.settings.get("budget_usd") if budget_usd is None else budget_usd
        return cls(suite, crews, folder, info, settings, budget_usd=budget, **options)

    def listen(self, on_trial: OnTrial) -> None:
        """Tell this one of each finished trial."""
        self._on_trial = on_trial

    @property
    def bench_id(self) -> str:
        """The bench's id, by which it is resumed."""
        return self.info.bench_id

    def result(self) -> BenchResult:
        """The bench with the trials that are finished by now."""
        inputs = {
            case.id: {"input": data_of(case.input), "expected": data_of(case.expected)}
            for case in self._suite.cases
        }
        trials = tuple(trial for _, trial in sorted(self._trials.items()))
        return BenchResult(info=self.info, trials=trials, inputs=inputs)

    def run(self) -> BenchResult:
        """As `arun`, blocking. Ctrl-C stops the runs that are under way; `resume` goes on with them."""
        return in_own_loop(self.arun)

    async def arun(self) -> BenchResult:
        """Do all trials that are not done. Scorers run in this event loop, and runs in their own.

        Raises LimitError when the budget is spent, with the result so far as `partial`; RunError when every run of
        a candidate fails, also with it; InfrastructureError when the journal or the cluster is lost.
        """
        with self._folder.held():
            try:
                return await self._run()
            except BudgetSpentError:
                raise self._budget_spent() from None
            except InfrastructureError as error:
                hint = f"{error.hint} {self.how_to_go_on()}".strip()
                raise type(error)(error.message, **{**error.to_dict()["fields"], "hint": hint}) from error

    def how_to_go_on(self) -> str:
        """What to type to go on with it."""
        return (
            f"Finished trials are kept: `callsheet bench --resume {self.bench_id}` goes on with the others."
        )

    async def _run(self) -> BenchResult:
        self._trials = self._folder.trials()
        trials = plan(self._suite, self._contestants, self.info.repeats)
        todo = [planned for planned in trials if self._is_open(planned)]
        again = {planned.number for planned in todo} & self._trials.keys()
        host: HostName = "inline" if self.info.host == "inline" else "ray"
        place = Place(
            bench_id=self.bench_id, host=host, settings=self._settings, progress=self._progress
        )  # fmt: skip
        left = await self._left(place) if todo else set()  # what is complete needs no host
        spent = await self._spent(place, left)
        self._pool = BudgetPool(self._budget_usd, spent, self._at_once)
        runner = TrialRunner(self._suite, place, self._pool, left, retry_failed=self._retry_failed)
        so_far = BenchProgress(info=self.info, spent_usd=spent)
        for number, trial in self._trials.items():
            if number not in again:
                so_far.add(trial)
        so_far.kept = so_far.done
        self._on_trial(so_far)
        await self._take_all(todo, runner, so_far)
        return self.result()

    def _is_open(self, planned: Planned) -> bool:
        trial = self._trials.get(planned.number)
        return trial is None or (self._retry_failed and _failed(trial))

    async def _take_all(self, todo: Sequence[Planned], runner: TrialRunner, so_far: BenchProgress) -> None:
        watch = FailureWatch(len(self.info.cases) * self.info.repeats)
        waiting = iter(todo)
        spent = False

        async def work() -> None:
            nonlocal spent
            for planned in waiting:
                if spent:
                    return  # what is under way is done to its end, as far as its share reaches
                try:
                    trial = await runner.run_trial(planned)
                except BudgetSpentError:
                    spent = True
                    return
                self._folder.add(trial)
                self._trials[trial.number] = trial
                self._tell(trial, so_far)
                error = watch.add(trial)
                if error and len(self._trials) < self.info.planned:
                    raise self._only_failures(trial, error)

        workers = [asyncio.create_task(work()) for _ in range(min(self._at_once, len(todo)))]
        try:
            if workers:
                await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for worker in workers:
                worker.cancel()
            ended = await asyncio.gather(*workers, return_exceptions=True)
        faults = [end for end in ended if isinstance(end, Exception)]
        # What is beneath all runs says more than what it did to one of them.
        faults.sort(key=lambda fault: not isinstance(fault, InfrastructureError))
        if faults:
            raise faults[0]
        if spent:
            raise BudgetSpentError

    def _tell(self, trial: Trial, so_far: BenchProgress) -> None:
        if trial.cost_usd is None and self._budget_usd is not None and not so_far.unpriced:
            self._progress(
                f"no price is known for a model of {trial.candidate.label}: what it costs has no part in the budget"
            )
        so_far.add(trial)
        so_far.spent_usd = self._pool.spent_usd
        self._on_trial(so_far)

    async def _left(self, place: Place) -> set[str]:
        """The runs that an earlier process has begun."""
        if not self._folder.is_begun:
            return set()

        async def ask() -> list[Any]:
            client = (await place.system()).host.client
            found: list[Any] = await client.query("runs", prefix=f"{self.bench_id}-", limit=1_000_000)
            return found

        return {record.run_id for record in await portal().arun(ask())}

    async def _spent(self, place: Place, left: set[str]) -> float:
        """What the bench has cost: its finished trials, and runs of others as far as they have come."""
        # What failed may have been tried again since, and cut off: its run tells.
        sure = [t for t in self._trials.values() if not _failed(t) or t.run_id not in left]
        spent = sum(trial.known_usd + trial.judging_usd for trial in sure)
        counted = {trial.run_id for trial in sure}
        for run_id in left:
            if run_id.partition("-j")[0] not in counted:
                past = await place.past(run_id)
                spent += 0.0 if past is None else past.usage.cost_usd
        return spent

    def _only_failures(self, trial: Trial, error: str) -> RunError:
        return RunError(
            f"every run of {trial.candidate.label} failed: {error}", run_id=trial.run_id, partial=self.result(),
            hint=f"`callsheet show {trial.run_id}` shows one of them. Once the cause is mended, `callsheet bench "
            f"--resume {self.bench_id} --retry-failed` goes on.",
        )  # fmt: skip

    def _budget_spent(self) -> LimitError:
        budget, spent = self._budget_usd or 0.0, self._pool.spent_usd
        done, planned = len(self._trials), self.info.planned
        enough = self._pool.enough_usd(done, planned)
        call = self._pool.call_usd
        needs = f"; a model call may need up to {call:.6g} USD" if call else ""
        return LimitError(
            f"the bench's budget of {budget:g} USD has no room for another run: {spent:.6g} USD are spent, with "
            f"{done} of {planned} trials done{needs}",
            limit="budget_usd", allowed=budget, used=spent, wanted=call, partial=self.result(),
            hint=f"Nothing is lost: `callsheet bench --resume {self.bench_id} --budget {enough:g}` goes on "
            "with more.",
        )  # fmt: skip


def _failed(trial: Trial) -> bool:
    """Whether its run gave no answer, or a scorer could not judge it."""
    return trial.status != "done" or any(score.error for score in trial.scores.values())
