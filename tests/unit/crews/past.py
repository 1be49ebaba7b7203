"""What is recorded of a run, for the tests that look back at it."""

from __future__ import annotations

from typing import Any

from callsheet.core.records import Envelope, RunRecord, Step
from callsheet.crews import Crew, Result
from callsheet.crews.forking import fork_run
from callsheet.crews.portal import portal
from callsheet.crews.replaying import Replay, replay_run
from callsheet.crews.system import shared_system
from callsheet.runtime.journal import Journal
from callsheet.runtime.protocol import ResumeRun
from tests.unit.crews.fake_models import Bench

Past = tuple[RunRecord, list[Envelope], list[Step]]


def past_of(bench: Bench, run: Result | str) -> Past:
    """A run's record, envelopes and steps."""
    run_id = run if isinstance(run, str) else run.run_id
    journal = Journal(bench.settings.journal_url)
    try:
        record = journal.run(run_id)
        assert record is not None
        return record, journal.envelopes(run_id), journal.steps(run_id)
    finally:
        journal.close()


def up_to(past: Past, *, steps: int, envelopes: int) -> Past:
    """The run as it was when only so much of it was kept."""
    return past[0], past[1][:envelopes], past[2][:steps]


async def replayed(bench: Bench, crew: Crew, run: Result | Past) -> Replay:
    """What today's crew does with that run; not one call reaches a model."""
    past: Any = past_of(bench, run) if isinstance(run, Result) else run
    before = len(bench.gateway.requests)
    found = await replay_run(crew, *past)
    assert len(bench.gateway.requests) == before
    return found


async def fork(bench: Bench, run: Result | str, at: int, **changes: Any) -> str:
    """The id of a fork that is kept in the journal, and has not begun."""
    journal = Journal(bench.settings.journal_url)
    try:
        run_id = run if isinstance(run, str) else run.run_id
        return fork_run(journal, run_id, at, **changes).run_id
    finally:
        journal.close()


async def resumed(bench: Bench, crew: Crew, run_id: str) -> Any:
    """Let a kept run go on with this crew; how it ended."""

    async def go() -> Any:
        system = await shared_system(bench.settings, "inline", lambda _: None)
        launch = await system.launched(crew)
        system.host.client.resume(ResumeRun(run_id=run_id, launch=launch))
        return await system.host.client.end(run_id)

    return await portal().arun(go())
