"""Running benches: `bench(suite, crew, …)`, for scripts and notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from callsheet.core.errors import UsageError
from callsheet.crews.runnable import Runnable
from callsheet.scenarios.benching import Bench
from callsheet.scenarios.results import BenchResult
from callsheet.scenarios.suite import Suite


def bench(suite: Suite, *crews: Runnable, resume: str | None = None, **options: Any) -> BenchResult:
    """Run every case of a suite by every crew, score the answers, and return all trials.

    Without crews the suite's own is benched. `resume` goes on with the bench of that id. Works where an event loop
    is running too. The options:

    - `models`: each crew is benched with each of them; None (the default) leaves a crew its own. A tier
      (`fast`, `balanced`, `frontier`) stands for the cheapest of it that will do.
    - `repeats`: how often each case is run; more than one tells how steady a crew is.
    - `host`: "ray" (the default), or "inline": in this process.
    - `at_once`: how many runs are under way at most.
    - `budget_usd`: what all runs, judges among them, may cost together.
    - `retry_failed`: when resuming, try again what failed.
    - `out`: the folder that benches are kept in, if not `benches` in the home.
    - `settings`, `progress`: as in `Crew.run`; `on_trial`: a function of the `BenchProgress`, after each trial.

    Raises as `Bench.arun`.
    """
    return _made(suite, crews, resume, options).run()


async def abench(suite: Suite, *crews: Runnable, resume: str | None = None, **options: Any) -> BenchResult:
    """As `bench`, with its options, in the caller's event loop. Cancelling this stops the runs under way."""
    return await _made(suite, crews, resume, options).arun()


def _made(suite: Suite, crews: Sequence[Runnable], resume: str | None, options: dict[str, Any]) -> Bench:
    if resume is None:
        return Bench.begin(suite, crews, **options)
    for name in ("models", "repeats", "host"):
        if name in options:
            raise UsageError(
                f"{name} is given for a bench that is resumed", hint="It goes on with what it had."
            )
    return Bench.resume(resume, suite, crews, **options)
