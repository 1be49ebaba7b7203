"""`runs` and `show`: what the journal tells of past and present runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from callsheet.cli.journals import reading
from callsheet.cli.options import Home, Json, settings_of
from callsheet.cli.screen import one_line, print_json, print_table
from callsheet.cli.words import cost_of, seconds, shown_text, when
from callsheet.core.errors import UsageError

if TYPE_CHECKING:
    from callsheet.core.records import Envelope, RunRecord, Step
    from callsheet.runtime.journal import Journal

listing = typer.Typer(rich_markup_mode=None)
"""`runs`: a listing, and the commands that concern many runs."""

STATUSES = ("running", "waiting", "done", "failed", "limited", "cancelled")


@listing.callback(invoke_without_command=True)
def runs(
    context: typer.Context,
    limit: Annotated[
        int, typer.Option("--limit", min=1, metavar="N", help="How many, the newest first.")
    ] = 20,
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATUS", help=f"Only these: {', '.join(STATUSES)}.")
    ] = None,
    crew: Annotated[
        str | None, typer.Option("--crew", metavar="CREW", help="Only runs of that crew.")
    ] = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """List runs, the newest first."""
    if context.invoked_subcommand is not None:
        return
    if status is not None and status not in STATUSES:
        raise UsageError(f"there is no status {status!r}", hint=f"It is one of {', '.join(STATUSES)}.")
    with reading(settings_of(home=home)) as journal:
        found = [] if journal is None else journal.runs(limit=limit, status=status, crew=crew)
        left = set() if journal is None else {record.run_id for record in found if is_left(journal, record)}
    listed = [{**run_data(record), "cut_off": record.run_id in left} for record in found]
    if as_json:
        print_json(listed)
        return
    rows = [
        (
            run["run_id"], run["crew"], "cut off" if run["cut_off"] else run["status"],
            when(run["started"]), seconds(run["elapsed_s"]), cost_of(run["usage"]),
            one_line(shown_text(run["input"]), 60),
        )
        for run in listed
    ]  # fmt: skip
    titles = ("run", "crew", "status", "started", "took", "cost", "input")
    print_table(titles, rows, empty="There are no such runs yet.")


def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or the beginning of one.")],
    full: Annotated[bool, typer.Option("--full", help="Show each text whole, however long.")] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Show one run: its messages and steps with their numbers, tokens, cost and time. Long texts are cut.

    Of a run that waits for a person it tells what it asks, and how to reply. `callsheet replay` and
    `callsheet fork` speak of the numbers.
    """
    from callsheet.cli.showing import show_data, show_run

    with reading(settings_of(home=home)) as journal:
        record, envelopes, steps = past_of(journal, run)
        assert journal is not None
        left = is_left(journal, record)
    if as_json:
        print_json(show_data({**run_data(record), "cut_off": left}, envelopes, steps))
    else:
        show_run(record, run_data(record), envelopes, steps, full=full, left=left)


def past_of(journal: Journal | None, wanted: str) -> tuple[RunRecord, list[Envelope], list[Step]]:
    """All that is recorded of the run that a person names: its record, messages and steps. Raises UsageError."""
    record = find_run(journal, wanted)
    assert journal is not None
    # In this order, so that the steps that led to a message are there too.
    return record, journal.envelopes(record.run_id), journal.steps(record.run_id)


def is_left(journal: Journal, record: RunRecord) -> bool:
    """Whether the run was cut off: it goes on by its status, and no process works on it."""
    if record.status != "running" or journal.owner_alive(record.owner):
        return False
    # Whoever works on it may have ended it, or another taken it up, since the record was read.
    latest = journal.run(record.run_id)
    return latest is not None and (latest.status, latest.owner) == (record.status, record.owner)


def find_run(journal: Journal | None, wanted: str) -> RunRecord:
    """The run of that id, or whose id begins so. Raises UnknownNameError or UsageError."""
    from callsheet.core.errors import unknown_name

    if journal is None or not wanted:
        raise unknown_name("run", wanted, (), hint="There are no runs yet." if journal is None else "")
    exact = journal.run(wanted)
    if exact is not None:
        return exact
    found = journal.runs(limit=6, prefix=wanted)
    if len(found) > 1:
        ids = ", ".join(record.run_id for record in found[:5])
        raise UsageError(
            f"more than one run begins with {wanted!r}",
            hint=f"Write more of the id: {ids}{', …' if len(found) > 5 else ''}.",
        )
    if not found:
        raise unknown_name(
            "run",
            wanted,
            [record.run_id for record in journal.runs(limit=200)],
            hint="`callsheet runs` lists them.",
        )
    return found[0]


def run_data(record: RunRecord) -> dict[str, Any]:
    """A run as `--json` shows it; times are Unix seconds."""
    from callsheet.core.canonical import from_json
    from callsheet.core.errors import CallsheetError
    from callsheet.core.ids import trace_id
    from callsheet.crews.result import how_to_go_on, worked_s

    options = from_json(record.options)
    origin = options.pop("forked_from", None)
    output = None if record.output is None else from_json(record.output)
    error = None if record.error is None else from_json(record.error)
    if error is not None:
        told = CallsheetError.from_dict(error)
        if record.status == "failed":
            told = how_to_go_on(told, record.run_id)
        error = {"type": error.get("type"), "message": error.get("message"), "hint": told.hint}
    return {
        "run_id": record.run_id,
        "crew": record.crew,
        "status": record.status,
        "input": from_json(record.input).get("input"),
        "output": output.get("output") if isinstance(output, dict) else output,
        "error": error,
        "usage": from_json(record.usage),
        "started": record.started,
        "ended": record.ended,
        "elapsed_s": None if record.status == "running" else round(worked_s(record), 3),
        "session_id": record.session_id,
        "trace_id": trace_id(record.run_id),
        "limits": from_json(record.limits),
        "options": options,
        "forked_from": None if origin is None else {"run": origin["run"], "at": origin["at"]},
    }


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(listing, name="runs")
    app.command("show")(show)
