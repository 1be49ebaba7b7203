"""A bench while it runs, on standard error: a live table in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from callsheet.cli.screen import console, notice, one_line, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from callsheet.scenarios.progress import BenchProgress
    from callsheet.scenarios.results import BenchInfo

LINES = 20
"""How many lines a whole bench takes at most, failures aside."""

FAILURES = 10
"""How many failures are told one by one."""

ERROR_WIDTH = 200


class Pace:
    """How fast trials get done, and how long the rest takes; from the first on, since before it the host starts."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def text(self, so_far: BenchProgress) -> str:
        """Rate and time left, as far as there is anything to judge by."""
        now = time.monotonic()
        if self._first is None and so_far.done > so_far.kept:
            self._first = now, so_far.done
        since, before = self._first or (now, so_far.done)
        if so_far.done <= before or now <= since:
            return ""
        rate = (so_far.done - before) / (now - since)
        left = (so_far.info.planned - so_far.done) / rate
        speed = f"{rate:.1f} a second" if rate >= 1 else f"{rate * 60:.1f} a minute"
        return f"{speed}, {_duration(left)} left"


class Lines:
    """Lines of their own, for logs and pipes."""

    def __init__(self, info: BenchInfo) -> None:
        self._info = info
        self._step = max(1, info.planned // LINES)
        self._next = 0
        self._failures = 0
        self._pace = Pace()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, so_far: BenchProgress) -> None:
        """Say so of a failure, and at each twentieth part."""
        self._tell_failure(so_far)
        pace = self._pace.text(so_far)
        if so_far.done < self._next and so_far.done < self._info.planned:
            return
        if so_far.last is None:
            kept = f", {so_far.kept} of them are done" if so_far.kept else ""
            notice(f"bench {self._info.bench_id}: {self._info.planned} runs{kept}")
        else:
            notice(f"{so_far.done}/{self._info.planned}  {_figures(so_far)}  {pace}".rstrip())
        self._next = (so_far.done // self._step + 1) * self._step

    def _tell_failure(self, so_far: BenchProgress) -> None:
        trial = so_far.last
        if trial is None or trial.status == "done":
            return
        self._failures += 1
        if self._failures <= FAILURES:
            said = one_line(trial.error, ERROR_WIDTH)
            notice(
                f"{trial.status}: case {trial.case} by {trial.candidate.label}, run {trial.run_id}: {said}"
            )
        if self._failures == FAILURES:
            notice("Further failures are in the report.")


class LiveTable:
    """A table that is drawn anew, with a bar, the running scores and what is spent."""

    def __init__(self, info: BenchInfo) -> None:
        self._info = info
        self._pace = Pace()
        self._so_far: BenchProgress | None = None
        self._live: Any = None

    def __enter__(self) -> Self:
        from rich.live import Live

        notice(f"bench {self._info.bench_id}")
        # What others print meanwhile is put above it.
        self._live = Live(console=console(), get_renderable=self._draw, refresh_per_second=4)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, so_far: BenchProgress) -> None:
        """Take note; it is drawn a few times a second."""
        self._pace.text(so_far)
        self._so_far = so_far

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        so_far = self._so_far
        if so_far is None:
            return Text("starting", style="dim")
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("", "done", self._info.scorers[0].name, "failed"):
            table.add_column(title, no_wrap=True)
        for candidate, tally in list(so_far.tallies.items()):
            score = "" if tally.score is None else f"{tally.score:.3f}"
            table.add_row(Text(printable(candidate.label)), str(tally.done), score, str(tally.failed))
        foot = f"{so_far.done}/{self._info.planned}  {_spent(so_far)}  {self._pace.text(so_far)}"
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(total=max(1, self._info.planned), completed=so_far.done, width=30), Text(foot)
        )
        return Group(table, bar)


def _figures(so_far: BenchProgress) -> str:
    name = so_far.info.scorers[0].name
    scores = [
        f"{candidate.label} {tally.score:.3f}"
        for candidate, tally in so_far.tallies.items()
        if tally.score is not None
    ]
    failed = f"  {so_far.failed} failed" if so_far.failed else ""
    return f"{name}: {', '.join(scores) or '…'}{failed}  {_spent(so_far)}"


def _spent(so_far: BenchProgress) -> str:
    if so_far.unpriced and not so_far.spent_usd:
        return "cost not known"
    more = ", and calls without a known price" if so_far.unpriced else ""
    return f"{so_far.spent_usd:.4f} USD spent{more}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
