"""The runs that a coordinator works on, and those of which it knows that they are over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from callsheet.core.events import DeadlinePassed
from callsheet.runtime.group_commit import GroupCommit
from callsheet.runtime.journal import Journal
from callsheet.runtime.recovery import ActiveRun, take_up

PAST_RUNS = 10_000
"""How many ended runs are remembered, so that late news of them asks no question of the journal."""


class ActiveRuns:
    """Runs by id. What a predecessor of this coordinator left is taken up when it is first asked for."""

    def __init__(
        self,
        journal: Journal,
        commits: GroupCommit,
        owner: str,
        clock: Callable[[], float],
        on_deadline: Callable[[str, DeadlinePassed], None],
    ) -> None:
        self._journal, self._commits, self._owner, self._clock = journal, commits, owner, clock
        self._on_deadline = on_deadline
        self._runs: dict[str, ActiveRun] = {}
        self._past: dict[str, None] = {}

    def all(self) -> list[ActiveRun]:
        """Those that are going on."""
        return list(self._runs.values())

    def get(self, run_id: str) -> ActiveRun | None:
        """The run, if this coordinator works on it."""
        return self._runs.get(run_id)

    def is_past(self, run_id: str) -> bool:
        """Whether it is known to be over, or another's."""
        return run_id in self._past

    def find(self, run_id: str) -> ActiveRun | None:
        """The run, if it is going on; one that a predecessor of this coordinator began is taken up."""
        run = self._runs.get(run_id)
        if run is not None or run_id in self._past:
            return run
        record = self._commits.read_now(lambda: self._journal.run(run_id))
        if record is None:
            return None
        if record.ended is not None or record.status == "waiting" or record.owner not in ("", self._owner):
            self._past[run_id] = None
            return None
        again: ActiveRun | None = self._commits.read_now(lambda: take_up(self._journal, record))
        if again is not None:
            self.add(again)
        return again

    def add(self, run: ActiveRun) -> None:
        """A run goes on here, until its deadline at most."""
        run_id = run.state.run_id
        self._past.pop(run_id, None)
        self._runs[run_id] = run
        if run.info.deadline is not None:
            passed = DeadlinePassed(run_id=run_id, at=run.info.deadline)
            wait = max(0.0, run.info.deadline - self._clock())
            run.timer = asyncio.get_running_loop().call_later(wait, self._on_deadline, run_id, passed)

    def drop(self, run: ActiveRun) -> None:
        """It is over, or waits, or goes on as another."""
        if run.timer is not None:
            run.timer.cancel()
        run_id = run.state.run_id
        if self._runs.get(run_id) is not run:
            return
        del self._runs[run_id]
        self._past[run_id] = None
        if len(self._past) > PAST_RUNS:
            del self._past[next(iter(self._past))]

    def close(self) -> None:
        """No deadline comes any more."""
        for run in self._runs.values():
            if run.timer is not None:
                run.timer.cancel()
