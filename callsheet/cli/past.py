"""`replay` and `fork`: a past run again, to compare it with today's code or to branch off it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callsheet.cli.choosing import check_models
from callsheet.cli.following import finish, follow
from callsheet.cli.history import past_of
from callsheet.cli.journals import reading
from callsheet.cli.logs import one_line_each
from callsheet.cli.options import Address, Home, Json, settings_of
from callsheet.cli.past_runs import PastCrews, recorded_options
from callsheet.cli.screen import console, notice, print_json, printable
from callsheet.cli.streams import answers, only_answers
from callsheet.core.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from callsheet.core.records import Envelope, RunRecord, Step
    from callsheet.crews.crew import Crew
    from callsheet.crews.launched import LaunchedCrew
    from callsheet.crews.replaying import Difference, Replay, Shown
    from callsheet.settings import Settings

LINES = 12
"""How many lines of a text are shown, unless all are wanted."""

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or the beginning of one.")]
CrewOption = Annotated[
    str | None,
    typer.Option(
        "--crew", metavar="CREW", help="Where its crew is, if not where it was: file.py[:name] and the like."
    ),
]


def replay(
    run: Run,
    crew: CrewOption = None,
    full: Annotated[bool, typer.Option("--full", help="Show each text whole, however long.")] = False,
    as_json: Json = False,
    home: Home = None,
) -> int:
    """Run a past run again from the journal, and say where today's code differs.

    No model and no tool is called, and nothing is written. Exit status: 0 if today's code does what is
    recorded, 1 if it differs, 2 wrong usage.
    """
    from callsheet.crews.replaying import replay_run

    with only_answers(), one_line_each():
        settings = settings_of(home=home)
        with reading(settings) as journal:
            past = past_of(journal, run)
        found = asyncio.run(replay_run(_definition(settings, past[0], crew), *past))
        if as_json:
            print_json(found.to_dict())
        else:
            _show(found, full)
        return 0 if found.same else 1


def fork(
    run: Run,
    at: Annotated[
        int,
        typer.Option(
            "--at",
            metavar="STEP",
            help="The number that `callsheet show` prints: it, and what follows, is done anew.",
        ),
    ],
    given: Annotated[
        str | None,
        typer.Option(
            "--input", metavar="TEXT", help="What the message STEP is to say instead (the run's input is 1)."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="PROVIDER/NAME", help="The model of every agent from there on."),
    ] = None,
    crew: CrewOption = None,
    inline: Annotated[bool, typer.Option("--inline", help="Run in this process, without Ray.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    address: Address = None,
    home: Home = None,
) -> int:
    """Branch off a past run: a new run that shares its past before STEP, and goes on from there.

    Nothing of the shared past is done or paid again; the old run stays as it is. It is shown live, and ends
    with the exit statuses of `callsheet run`. A run that was made inline is forked inline.
    """
    from callsheet.cli.conversation import Conversation
    from callsheet.crews.forking import AS_IT_WAS, fork_run
    from callsheet.models.catalogue import parse_model

    with only_answers(), one_line_each():
        settings = settings_of(address=address, home=home)
        if model is not None:
            parse_model(model)
        with reading(settings) as journal:
            past = past_of(journal, run)
            assert journal is not None
            record = past[0]
            inline = inline or recorded_options(record).get("host") == "inline"
            found = PastCrews(settings, crew).of(record, inline=inline)
            check_models(model, settings, found, inline=inline)
            instead = AS_IT_WAS if given is None else _typed(found, past, at, given)
            forked = fork_run(journal, record.run_id, at, given=instead, model=model)
            conversation = Conversation(found.name)
            conversation.remember(journal.steps(forked.run_id))
        notice(f"run {forked.run_id} is forked from {record.run_id} at {at}")
        started = found.restart(
            forked.run_id, host="inline" if inline else "ray", settings=settings, progress=notice
        )
        (result,) = follow([(started, conversation)])
        return finish(result, conversation.models, settings, as_json=as_json)


def _definition(settings: Settings, record: RunRecord, ref: str | None) -> Crew:
    """The crew's code as it is here: of one that serves on a cluster, where it was launched from."""
    from callsheet.crews.crew import Crew

    found = PastCrews(settings, ref).of(record, inline=True)
    if not isinstance(found, Crew):
        raise UsageError(f"{ref!r} is a launched crew", hint="Name the file or module that defines it.")
    return found


def _typed(
    crew: Crew | LaunchedCrew, past: tuple[RunRecord, list[Envelope], list[Step]], at: int, text: str
) -> Any:
    """The new input as its receiver takes it: text, or JSON for a flow, or in place of data, that is no text."""
    from callsheet.core.canonical import from_json
    from callsheet.core.records import Envelope
    from callsheet.crews.crew import Crew
    from callsheet.crews.loading import takes_text
    from callsheet.crews.numbering import numbered
    from callsheet.runtime.protocol import FLOW

    if not text.strip():
        raise UsageError("--input says nothing", hint='Write what the message is to say: --input "…".')
    message = next((item.record for item in numbered(*past[1:]) if item.number == at), None)
    if not isinstance(message, Envelope) or message.kind != "ask":
        return text  # which is refused, with the numbers of those that there are
    to_flow = message.receiver == FLOW and isinstance(crew, Crew)
    if (
        takes_text(crew, text)
        if isinstance(crew, Crew) and to_flow
        else isinstance(from_json(message.body).get("input"), str)
    ):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        if not to_flow:
            return text
        raise UsageError(
            f"the flow of {crew.name} does not take text, and --input is no JSON: {error}",
            hint="Write it as JSON of the type that the flow's second parameter has, in single quotes.",
        ) from None


# --- for people ------------------------------------------------------------------------------------------


def _show(replay: Replay, full: bool) -> None:
    screen = console(answers())
    over = "" if replay.status == "done" else f", as far as it goes (the run is {replay.status})"
    if replay.same:
        screen.print(f"run {replay.run_id}: today's code does what is recorded{over}", style="bold green")
        screen.print(
            f"{replay.turns} turns with {replay.steps} steps were taken again, and nothing was called."
        )
        return
    first, *others = replay.differences
    screen.print(f"run {replay.run_id}: today's code differs at {first.number}", style="bold red")
    _show_difference(screen, first, replay.crew, full)
    if others:
        screen.print()
        screen.print("Taken by themselves, these turns differ too:")
        for other in others:
            screen.print(f"{other.number:>4}  {_who(other.agent, replay.crew)}: {printable(other.why)}")


def _show_difference(screen: Console, found: Difference, crew: str, full: bool) -> None:
    screen.print(f"in the turn of {_who(found.agent, crew)} that {found.turn} began: {printable(found.why)}")
    lines = found.diff()
    _show_side(screen, "expected", found.expected, full, alone=not lines)
    if found.got is not None:
        _show_side(screen, "got", found.got, full, alone=not lines)
    for line in _cut(lines, full):
        style = {"-": "red", "+": "green"}.get(line[:1])
        screen.print(f"    {printable(line)}", style=style)


def _who(agent: str, crew: str) -> str:
    return printable(crew if agent == "flow" else agent)


def _show_side(screen: Console, title: str, shown: Shown, full: bool, *, alone: bool) -> None:
    what = f"{shown.kind} {shown.name}".strip()
    screen.print(f"  {title:<9} ", style="dim", end="")
    screen.print(printable(what))
    if alone:
        for line in _cut(shown.text.splitlines(), full):
            screen.print(f"    {printable(line)}")


def _cut(lines: list[str], full: bool) -> list[str]:
    from callsheet.cli.conversation import shortened

    return lines if full else shortened(lines, LINES)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("replay")(replay)
    app.command("fork")(fork)
