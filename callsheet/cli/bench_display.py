"""A bench while it runs, on standard error: a live table in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from callsheet.cli.screen import console, notice, one_line, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from callsheet.scenarios.results import BenchInfo
    from callsheet.scenarios.standing import Standing

LINES = 20
"""How many lines a whole bench takes at most, failures aside."""

FAILURES = 10
"""How many failures are told one by one."""

ERROR_WIDTH = 200


class Pace:
    """How fast trials get done, and how long the rest takes; from the first on, since before it the host starts."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def text(self, standing: Standing) -> str:
        """Rate and time left, as far as there is anything to judge by."""
        now = time.monotonic()
        if self._first is None and standing.done > standing.kept:
            self._first = now, standing.done
        since, before = self._first or (now, standing.done)
        if standing.done <= before or now <= since:
            return ""
        rate = (standing.done - before) / (now - since)
        left = (standing.info.planned - standing.done) / rate
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

    def show(self, standing: Standing) -> None:
        """Say so of a failure, and at each twentieth part."""
        self._tell_failure(standing)
        pace = self._pace.text(standing)
        if standing.done < self._next and standing.done < self._info.planned:
            return
        if standing.last is None:
            kept = f", {standing.kept} of them are done" if standing.kept else ""
            notice(f"bench {self._info.bench_id}: {self._info.planned} runs{kept}")
        else:
            notice(f"{standing.done}/{self._info.planned}  {_figures(standing)}  {pace}".rstrip())
        self._next = (standing.done // self._step + 1) * self._step

    def _tell_failure(self, standing: Standing) -> None:
        trial = standing.last
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
        self._standing: Standing | None = None
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

    def show(self, standing: Standing) -> None:
        """Take note; it is drawn a few times a second."""
        self._pace.text(standing)
        self._standing = standing

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        standing = self._standing
        if standing is None:
            return Text("starting", style="dim")
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("", "done", self._info.scorers[0].name, "failed"):
            table.add_column(title, no_wrap=True)
        for candidate, tally in list(standing.tallies.items()):
            score = "" if tally.score is None else f"{tally.score:.3f}"
            table.add_row(Text(printable(candidate.label)), str(tally.done), score, str(tally.failed))
        foot = f"{standing.done}/{self._info.planned}  {_spent(standing)}  {self._pace.text(standing)}"
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(total=max(1, self._info.planned), completed=standing.done, width=30), Text(foot)
        )
        return Group(table, bar)


def _figures(standing: Standing) -> str:
    name = standing.info.scorers[0].name
    scores = [
        f"{candidate.label} {tally.score:.3f}"
        for candidate, tally in standing.tallies.items()
        if tally.score is not None
    ]
    failed = f"  {standing.failed} failed" if standing.failed else ""
    return f"{name}: {', '.join(scores) or '…'}{failed}  {_spent(standing)}"


def _spent(standing: Standing) -> str:
    more = ", and calls without a known price" if standing.unpriced else ""
    return f"{standing.spent_usd:.4f} USD spent{more}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
