"""`runs` and `show`: what the journal tells of past and present runs."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callsheet.cli.journals import reading
from callsheet.cli.options import Home, Json, settings_of
from callsheet.cli.screen import console, notice, one_line, print_json, print_table, printable
from callsheet.core.errors import UsageError

if TYPE_CHECKING:
    from callsheet.core.records import Envelope, RunRecord, Step
    from callsheet.runtime.journal import Journal

STATUSES = ("running", "waiting", "done", "failed", "limited", "cancelled")


def runs(
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
    if status is not None and status not in STATUSES:
        raise UsageError(f"there is no status {status!r}", hint=f"It is one of {', '.join(STATUSES)}.")
    with reading(settings_of(home=home)) as journal:
        found = [] if journal is None else journal.runs(limit=limit, status=status, crew=crew)
    listed = [run_data(record) for record in found]
    if as_json:
        print_json(listed)
        return
    rows = [
        (
            run["run_id"], run["crew"], run["status"], _when(run["started"]), _seconds(run["elapsed_s"]),
            _cost(run["usage"]), one_line(_text(run["input"]), 60),
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
    """Show one run: its messages and steps, with tokens, cost and time. Long texts are cut."""
    with reading(settings_of(home=home)) as journal:
        record = _find(journal, run)
        assert journal is not None
        envelopes, steps = journal.envelopes(record.run_id), journal.steps(record.run_id)
    holders = {envelope.id: envelope.receiver for envelope in envelopes if envelope.kind == "ask"}
    if as_json:
        print_json(
            {
                **run_data(record),
                "messages": [_message_data(envelope) for envelope in envelopes],
                "steps": [_step_data(step, holders.get(step.turn_id, "")) for step in steps],
            }
        )
        return
    _show(record, envelopes, steps, full)


def _find(journal: Journal | None, wanted: str) -> RunRecord:
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
    from callsheet.core.ids import trace_id

    output = None if record.output is None else from_json(record.output)
    error = None if record.error is None else from_json(record.error)
    if error is not None:
        hint = error.get("fields", {}).get("hint", "")
        error = {"type": error.get("type"), "message": error.get("message"), "hint": hint}
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
        "elapsed_s": None if record.ended is None else round(record.ended - record.started, 3),
        "session_id": record.session_id,
        "trace_id": trace_id(record.run_id),
        "limits": from_json(record.limits),
        "options": from_json(record.options),
    }


def _message_data(envelope: Envelope) -> dict[str, Any]:
    from callsheet.core.canonical import from_json
    from callsheet.core.records import record_to_dict

    return {**record_to_dict(envelope), "body": from_json(envelope.body)}


def _step_data(step: Step, agent: str) -> dict[str, Any]:
    from callsheet.core.canonical import from_json
    from callsheet.core.records import record_to_dict

    data = record_to_dict(step)
    usage = step.usage.to_dict() if step.usage is not None else None
    return {
        **data,
        "agent": agent,
        "input": from_json(step.input),
        "result": from_json(step.result),
        "usage": usage,
    }


# --- for people ------------------------------------------------------------------------------------------


def _show(record: RunRecord, envelopes: list[Envelope], steps: list[Step], full: bool) -> None:
    from callsheet.cli.conversation import ANSWER_LINES, Conversation, shortened
    from callsheet.crews.result import EventReader

    data = run_data(record)
    usage = data["usage"]
    screen = console(sys.stdout)
    for title, value in (
        ("run", record.run_id),
        ("crew", record.crew),
        ("status", record.status),
        ("started", _when(record.started)),
        ("took", _seconds(data["elapsed_s"])),
        ("model calls", usage.get("llm_calls", "")),
        ("tool calls", usage.get("tool_calls", "")),
        ("tokens", f"{usage.get('input_tokens', 0):,} in, {usage.get('output_tokens', 0):,} out"),
        ("cost", _cost(usage)),
        ("session", record.session_id),
        ("trace", data["trace_id"]),
    ):
        if value != "":
            screen.print(f"{title:<12}", style="dim", end="")
            screen.print(printable(str(value)))
    screen.print()
    talk, reader = Conversation(record.crew, screen, told=True, full=full), EventReader()
    events = [reader.read(envelope) for envelope in envelopes] + [reader.read(step) for step in steps]
    for event in sorted(events, key=lambda event: event.at):
        talk.show(event)
    if data["error"] is not None:
        screen.print()
        screen.print("error: ", style="bold red", end="")
        told = printable(data["error"]["message"]).splitlines()
        shown = told if full else shortened(told, ANSWER_LINES)
        screen.print("\n".join(shown))
        talk.shortened = talk.shortened or shown != told
        if data["error"]["hint"]:
            screen.print(f"  {printable(data['error']['hint'])}")
    if talk.shortened:
        notice("Long texts are cut here: --full shows them whole.")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _seconds(elapsed_s: float | None) -> str:
    return "" if elapsed_s is None else f"{elapsed_s:.1f} s"


def _cost(usage: dict[str, Any]) -> str:
    if not usage:
        return ""
    from callsheet.cli.conversation import cost_text

    return cost_text(usage.get("cost_usd")).removeprefix("cost ")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("runs")(runs)
    app.command("show")(show)
