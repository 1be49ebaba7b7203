"""A run as its coordinator knows it, begun anew or taken up again from the journal alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from callsheet.core.canonical import from_json
from callsheet.core.limits import Limits
from callsheet.core.records import RunRecord
from callsheet.core.run_state import RunState, rebuild
from callsheet.runtime.journal import Journal
from callsheet.runtime.protocol import RunInfo


@dataclass(slots=True)
class ActiveRun:
    """A run that is going on: its state, what its participants are told of it, and who follows it."""

    state: RunState
    record: RunRecord
    info: RunInfo
    watchers: dict[str, str] = field(default_factory=dict)
    timer: asyncio.TimerHandle | None = None
    deaths: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By turn: how often its process died since the turn last recorded a step, and how many it had then."""

    def count_death(self, turn_id: str) -> int:
        """The process that had this turn is dead: how often that happened without progress of the turn."""
        steps = len(self.state.open[turn_id].done)
        count, before = self.deaths.get(turn_id, (0, steps))
        count = count + 1 if steps == before else 1
        self.deaths[turn_id] = count, steps
        return count


def run_info(record: RunRecord, limits: Limits) -> RunInfo:
    """What participants are told of a run."""
    seconds = limits.deadline_s
    return RunInfo(
        run_id=record.run_id, crew=record.crew, launch=record.launch, session_id=record.session_id,
        options=record.options, limits=limits,
        deadline=None if seconds is None else record.started + seconds,
    )  # fmt: skip


def take_up(journal: Journal, record: RunRecord) -> ActiveRun | None:
    """The run, as its journal has it; None if nothing of it but its record was kept."""
    envelopes = journal.envelopes(record.run_id)
    root = next((e for e in envelopes if e.kind == "ask" and not e.cause), None)
    if root is None:
        return None
    limits = Limits.from_dict(from_json(record.limits))
    state = rebuild(root, limits, "running", envelopes, journal.steps(record.run_id))
    return ActiveRun(state=state, record=record, info=run_info(record, limits))
