"""What is recorded of a run, for the tests that look back at it."""

from __future__ import annotations

from typing import Any

from callsheet.core.records import Envelope, RunRecord, Step
from callsheet.crews import Crew, Result
from callsheet.crews.replaying import Replay, replay_run
from callsheet.runtime.journal import Journal
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
