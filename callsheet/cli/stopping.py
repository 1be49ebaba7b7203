"""`cancel`: stop a run, whoever works on it."""

from __future__ import annotations

import os
import time
import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from callsheet.cli.journals import reading
from callsheet.cli.options import Home, settings_of
from callsheet.cli.past_runs import usage_of
from callsheet.cli.resuming import RunId
from callsheet.cli.screen import notice
from callsheet.core.errors import CancelledError, InfrastructureError, RunTakenError, UsageError

if TYPE_CHECKING:
    from callsheet.core.events import EndRun
    from callsheet.core.records import RunRecord
    from callsheet.runtime.journal import Journal
    from callsheet.settings import Settings

PATIENCE_S = 15.0
"""How long whoever works on the run is given to end it."""

EVERY_S = 0.1

FLUSH_S = 2.0
"""How long the run's last span may take to Phoenix; it is in the spool by then, where there is none."""


def cancel(
    run: RunId,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why: it stands in the run's error.")
    ] = "",
    home: Home = None,
) -> None:
    """Stop a run, whichever process or machine works on it, and wait until it has stopped.

    What it has done stays in the journal, and `callsheet resume RUN` goes on from there.
    """
    from callsheet.cli.history import find_run

    settings = settings_of(home=home)
    with reading(settings) as journal:
        record = find_run(journal, run)
        assert journal is not None
        if record.ended is not None:
            raise UsageError(
                f"run {record.run_id} has ended already: it is {record.status}",
                hint=f"`callsheet show {record.run_id}` shows what it did.",
            )
        record = _stop(journal, record, reason or "cancelled from the command line", settings)
    if record.status != "cancelled":
        notice(f"run {record.run_id} ended before it could be stopped: it is {record.status}.")
        return
    notice(
        f"run {record.run_id} is cancelled. `callsheet resume {record.run_id}` goes on where it was stopped."
    )


def _stop(journal: Journal, record: RunRecord, reason: str, settings: Settings) -> RunRecord:
    """Have the run ended by whoever works on it, or end it where nobody does; its record then."""
    run_id, until, ordered = record.run_id, time.monotonic() + PATIENCE_S, False
    while record.ended is None:
        if not journal.owner_alive(record.owner):
            _end(settings, run_id, reason)
        elif not ordered:
            ordered = journal.order_cancel(run_id, reason, time.time())
            notice(f"stopping run {run_id}, which another process works on")
        elif time.monotonic() > until:
            raise InfrastructureError(
                f"run {run_id} has not ended within {PATIENCE_S:g} s",
                hint="The order stays, and whoever works on the run carries it out once it can. "
                f"`callsheet watch {run_id}` shows whether it has.",
            )
        else:
            time.sleep(EVERY_S)
        record = journal.run(run_id) or record
    return record


def _end(settings: Settings, run_id: str, reason: str) -> None:
    """End a run on which nobody works. Somebody who takes it up at this moment is left to it."""
    from callsheet.core.events import EndRun
    from callsheet.runtime.journal import Journal

    owner = f"cancel-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    journal = Journal(settings.journal_url, owner=owner)
    try:
        record = journal.claim(run_id, owner)
        usage = usage_of(journal.steps(run_id))
        error = CancelledError(
            reason, run_id=run_id, hint=f"`callsheet resume {run_id}` goes on where it was stopped."
        )
        end = EndRun(
            run_id=run_id, status="cancelled", output=None, error=error.to_dict(), usage=usage, at=time.time()
        )
        journal.write([end])
    except RunTakenError:
        return  # it is ordered to stop instead
    finally:
        journal.close()
    _trace(settings, record, end)


def _trace(settings: Settings, record: RunRecord, end: EndRun) -> None:
    """The root of the run's trace, which nobody else sends."""
    from callsheet import tracing
    from callsheet.crews.system import phoenix_endpoint, tracing_config
    from callsheet.runtime.trace import trace_run

    config = tracing_config(settings, phoenix_endpoint(settings))
    if config is not None:
        tracing.configure(config)
        trace_run(record, end)
        tracing.flush(FLUSH_S)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("cancel")(cancel)
