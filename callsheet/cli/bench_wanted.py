"""What a bench is of, as the command line names it: kept in its head, so that its id alone is enough to resume it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callsheet.cli.screen import notice
from callsheet.core.errors import UsageError

if TYPE_CHECKING:
    from callsheet.cli.bench_reports import Reports
    from callsheet.crews.runnable import Runnable
    from callsheet.scenarios.benching import Bench
    from callsheet.scenarios.results import BenchInfo
    from callsheet.scenarios.suite import Suite
    from callsheet.settings import Settings


class Wanted:
    """Suite, crews, models and cases, as they were written."""

    def __init__(
        self,
        *,
        suite: str,
        crews: tuple[str, ...],
        models: tuple[str, ...],
        cases: int | None,
        ids: tuple[str, ...],
        scorers: tuple[str, ...],
        inline: bool,
        settings: Settings,
    ) -> None:
        self._suite, self._crews, self._models = _whole(suite), tuple(map(_whole, crews)), models
        self._cases, self._ids, self._scorers, self._inline = cases, ids, scorers, inline
        self._settings = settings

    @staticmethod
    def of(info: BenchInfo, crews: Sequence[str], settings: Settings) -> Wanted:
        """As a bench was begun; `crews`, if given, say where its crews are now."""
        kept = info.settings.get("command")
        if kept is None:
            raise UsageError(
                f"the bench {info.bench_id} was not begun on the command line",
                hint=f'Go on with it where it was: bench(suite, crew, resume="{info.bench_id}").',
            )
        if settings.data is None and kept["data"]:
            settings = settings.model_copy(update={"data": Path(kept["data"])})
        return Wanted(
            suite=kept["suite"], crews=tuple(crews or kept["crews"]), models=tuple(kept["models"]),
            cases=kept["cases"], ids=tuple(kept["ids"]), scorers=tuple(kept["scorers"]),
            inline=info.host == "inline", settings=settings,
        )  # fmt: skip

    def load(self) -> tuple[Suite, list[Runnable]]:
        """The suite, and the crews; checked, before anything is started for them, for models without a key."""
        from callsheet.cli.choosing import check_models, tell_model
        from callsheet.crews.loading import resolve_crew
        from callsheet.models.policy import model_of
        from callsheet.scenarios.loading import load_suite

        _check_scorers(self._scorers)

        suite = load_suite(self._suite, self._settings.data, self._scorers)
        if self._cases is not None or self._ids:
            suite = suite.only(self._ids or None, self._cases)
        crews: list[Any] = [
            resolve_crew(ref, self._settings, inline=self._inline, progress=notice) for ref in self._crews
        ]
        crews = crews or ([] if suite.crew is None else [suite.crew])
        if not crews:
            raise UsageError(
                f"the suite {suite.name!r} names no crew", hint="Say which to bench: --crew CREW."
            )
        for found in crews:
            for model in self._models or (None,):
                check_models(
                    None if model is None else model_of(model), self._settings, found, inline=self._inline
                )
        if not self._models:
            tell_model(None, self._settings, crews[0], inline=self._inline)
        return suite, crews

    def begin(
        self, repeats: int, budget: float | None, at_once: int, reports: Reports
    ) -> tuple[Bench, Suite]:
        """A new bench."""
        from callsheet.scenarios.benching import Bench

        suite, crews = self.load()
        reports.check(suite)
        command = {
            "suite": self._suite, "crews": list(self._crews), "models": list(self._models),
            "cases": self._cases, "ids": list(self._ids), "scorers": list(self._scorers),
            "data": None if self._settings.data is None else str(self._settings.data.resolve()),
        }  # fmt: skip
        prepared = Bench.begin(
            suite, crews, models=self._models or (None,), repeats=repeats,
            host="inline" if self._inline else "ray", budget_usd=budget, at_once=at_once,
            settings=self._settings, recorded={"command": command}, progress=notice,
        )  # fmt: skip
        return prepared, suite


def resumed(
    wanted: str,
    crews: Sequence[str],
    budget: float | None,
    at_once: int | None,
    retry_failed: bool,
    settings: Settings,
    reports: Reports,
) -> tuple[Bench, Suite]:
    """The bench that is to go on, and its suite, found by what its head says."""
    from callsheet.scenarios.benching import Bench
    from callsheet.scenarios.store import benches_folder, find_bench

    info = find_bench(benches_folder(settings.home), wanted).info()
    suite, found = Wanted.of(info, crews, settings).load()
    reports.check(suite)
    options: dict[str, Any] = {} if at_once is None else {"at_once": at_once}
    prepared = Bench.resume(
        info.bench_id, suite, found, budget_usd=budget, retry_failed=retry_failed, settings=settings,
        progress=notice, **options,
    )  # fmt: skip
    return prepared, suite


def _check_scorers(names: Sequence[str]) -> None:
    """Told as what it is, a slip on the command line: the suite has scorers of its own."""
    from callsheet.scenarios.scorers import make_scorer

    for name in names:
        try:
            make_scorer(name)
        except UsageError as error:
            raise type(error)(f"--scorer: {error.message}", **error.to_dict()["fields"]) from None


def _whole(ref: str) -> str:
    """A file's place from anywhere: a bench may be resumed from another folder."""
    source, colon, name = ref.rpartition(":")
    if not colon or not name.isidentifier():
        source, name = ref.removesuffix(":"), ""
    if not Path(source).is_file():
        return ref
    return f"{Path(source).resolve()}:{name}" if name else str(Path(source).resolve())
