"""Runs that were cut off: they go on by their status, and no process works on them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from callsheet.cli.journals import reading
from callsheet.cli.past_runs import PastCrews, made_inline, restart_run
from callsheet.cli.screen import notice, print_error
from callsheet.cli.words import how_to_resume
from callsheet.core.errors import CallsheetError, ClusterError

if TYPE_CHECKING:
    from callsheet.core.records import RunRecord
    from callsheet.crews.run import Run
    from callsheet.runtime.journal import Journal
    from callsheet.settings import Settings

PATIENCE_S = 20.0
"""How long a coordinator is given to take up the runs that it was asked to."""

EVERY_S = 0.1


def restart_cut_off(
    settings: Settings,
    limits: Mapping[str, float | None],
    *,
    crew: str | None = None,
    inline: bool = False,
) -> tuple[list[tuple[RunRecord, Run]], int]:
    """Go on with all of them, each where it was made, or all `inline`; a crew of several is launched once.

    What cannot go on is told on standard error; the exit status is the worst of those, else 0.
    """
    with reading(settings) as journal:
        left = [] if journal is None else journal.orphans()
    crews, status = PastCrews(settings, crew), 0
    begun: list[tuple[RunRecord, Run]] = []
    for record in left:
        here = inline or made_inline(record)
        try:
            begun.append((record, restart_run(record, crews, settings, inline=here, limits=limits)))
        except CallsheetError as error:
            _tell(record, error)
            status = max(status, error.exit_status)
    return begun, status


def hand_over_cut_off(settings: Settings) -> None:
    """Have the cluster go on with all that were made on Ray, and return once it has taken them up.

    Those that were made inline want a terminal of theirs: they are told of, as are those that cannot go on.
    """
    with reading(settings) as journal:
        if journal is None:
            return
        crews = PastCrews(settings)
        begun: list[tuple[RunRecord, Run]] = []
        for record in journal.orphans():
            if made_inline(record):
                notice(
                    f"run {record.run_id} of {record.crew} was cut off, and was made inline: "
                    f"{how_to_resume(record)} goes on with it"
                )
                continue
            try:
                begun.append(
                    (record, restart_run(record, crews, settings, inline=False, limits={}, watch=False))
                )
            except CallsheetError as error:
                _tell(record, error)
        for record, run in begun:
            try:
                asyncio.run(_taken_up(run, journal))
            except CallsheetError as error:
                _tell(record, error)
            else:
                notice(f"run {run.run_id} goes on here: `callsheet watch {run.run_id}`")


def _tell(record: RunRecord, error: CallsheetError) -> None:
    print_error(
        f"run {record.run_id} of {record.crew} was cut off and cannot go on: {error.message}",
        f"{error.hint}\n`callsheet cancel {record.run_id}` ends it for good.".strip(),
    )


async def _taken_up(run: Run, journal: Journal) -> None:
    """Wait until somebody works on the run, or it has ended. Raises what it was refused with, and ClusterError."""
    ending = asyncio.ensure_future(run.aresult(check=False))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not ending.done():
                record = journal.run(run.run_id)
                if record is None or record.status != "running" or journal.owner_alive(record.owner):
                    return
                await asyncio.sleep(EVERY_S)
            await ending
    except TimeoutError:
        raise ClusterError(
            f"the coordinator has not taken it up within {PATIENCE_S:g} s",
            hint=f"`callsheet resume {run.run_id}` tries again.",
        ) from None
    finally:
        ending.cancel()
