"""`resume`, `reply`, `approve`, `deny`: go on with a run that was cut off, stopped, failed, or waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callsheet.cli.cut_off import restart_cut_off
from callsheet.cli.following import exit_status, finish, follow
from callsheet.cli.journals import reading
from callsheet.cli.limits import limits_of
from callsheet.cli.logs import one_line_each
from callsheet.cli.options import Address, Home, settings_of
from callsheet.cli.past_runs import (
    NO_REPLY,
    PastCrews,
    Reply,
    let_go,
    made_inline,
    past_result,
    past_run,
    restart_run,
    taken,
)
from callsheet.cli.screen import notice, print_json
from callsheet.cli.streams import only_answers
from callsheet.core.errors import UsageError

if TYPE_CHECKING:
    from callsheet.core.records import Envelope, RunRecord
    from callsheet.settings import Settings

RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or the beginning of it.")]
QuestionId = Annotated[
    str | None,
    typer.Option(
        "--question", metavar="ID", help="Which question, where there are several: its id, or the beginning."
    ),
]
CrewPlace = Annotated[
    str | None,
    typer.Option(
        "--crew",
        metavar="CREW",
        help="Where the run's crew is now, if not where it was: file.py[:name], package.module:name.",
    ),
]
Inline = Annotated[bool, typer.Option("--inline", help="Go on in this process, without Ray.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def resume(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="The run's id, or the beginning of it.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All runs that are marked as running and that no process works on.")
    ] = False,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="USD", help="What the whole run may cost from now on.")
    ] = None,
    budget_tokens: Annotated[
        int | None,
        typer.Option(
            "--budget-tokens", metavar="N", help="How many tokens, in and out, the whole run may use."
        ),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option("--deadline", metavar="S", help="Seconds, from now, after which it is stopped."),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit",
            metavar="NAME=VALUE",
            help="Another limit: turns=400, messages=2000, … May be repeated.",
        ),
    ] = None,
    crew: CrewPlace = None,
    inline: Inline = False,
    as_json: AsJson = False,
    address: Address = None,
    home: Home = None,
) -> int:
    """Go on with a run: one that was cut off, failed, was cancelled, or was stopped by a limit.

    What is finished is not done again. The run goes on as it was started, on Ray or inline. Exit status as
    of `run`; 2 if another process works on it.
    """
    settings = settings_of(address=address, home=home)
    changes = limits_of(
        limit or (), budget_usd=("--budget", budget), budget_tokens=("--budget-tokens", budget_tokens),
        deadline_s=("--deadline", deadline),
    )  # fmt: skip
    if everything == (run is not None):
        raise UsageError(
            "which run is to go on?" if run is None else "RUN and --all are both given",
            hint="`callsheet resume RUN` takes one, `callsheet resume --all` all that were cut off.",
        )
    with only_answers(), one_line_each():
        if run is None:
            return _resume_all(settings, changes, crew, inline, as_json)
        return _go_on(
            run, settings, changes, None, crew=crew, inline=_is_inline(inline, address), as_json=as_json
        )


def reply(
    run: RunId,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="The answer, one of the choices, or what the call returned.")
    ],
    question: QuestionId = None,
    crew: CrewPlace = None,
    inline: Inline = False,
    as_json: AsJson = False,
    address: Address = None,
    home: Home = None,
) -> int:
    """Answer a question that a run asked a person; the run goes on with it.

    Where it is unknown whether a tool call took effect, this says that it did, and TEXT is what it returned.
    """
    return _answer(run, question, crew, inline, as_json, address, home, reply=text)


def approve(
    run: RunId,
    note: Annotated[str, typer.Argument(metavar="[NOTE]", help="A word about it, for the record.")] = "",
    question: QuestionId = None,
    crew: CrewPlace = None,
    inline: Inline = False,
    as_json: AsJson = False,
    address: Address = None,
    home: Home = None,
) -> int:
    """Let a run make the tool call that it asks about; the run goes on with it."""
    return _answer(run, question, crew, inline, as_json, address, home, reply=note, approve=True)


def deny(
    run: RunId,
    reason: Annotated[
        str, typer.Argument(metavar="[REASON]", help="Why not: the model is told, and can do better.")
    ] = "",
    question: QuestionId = None,
    crew: CrewPlace = None,
    inline: Inline = False,
    as_json: AsJson = False,
    address: Address = None,
    home: Home = None,
) -> int:
    """Forbid a run the tool call that it asks about; the run goes on without it."""
    return _answer(run, question, crew, inline, as_json, address, home, reply=reason, approve=False)


def _answer(
    run: str,
    question: str | None,
    crew: str | None,
    inline: bool,
    as_json: bool,
    address: str | None,
    home: Any,
    *,
    reply: str,
    approve: bool | None = None,
) -> int:
    settings = settings_of(address=address, home=home)
    said = Reply(reply=reply, approve=approve, question=question)
    with only_answers(), one_line_each():
        return _go_on(run, settings, {}, said, crew=crew, inline=_is_inline(inline, address), as_json=as_json)


# --- one run ---------------------------------------------------------------------------------------------


def _go_on(
    wanted: str,
    settings: Settings,
    limits: Mapping[str, float | None],
    said: Reply | None,
    *,
    crew: str | None,
    inline: bool | None,
    as_json: bool,
) -> int:
    from callsheet.cli.conversation import Conversation
    from callsheet.crews.system import ray_address

    record, envelopes, steps, held = past_run(settings, wanted)
    conversation = Conversation(record.crew)
    conversation.remember(steps)
    here = made_inline(record) if inline is None else inline
    if said is not None:
        said = _checked(said, record, envelopes)
    elif record.status in ("done", "waiting"):
        notice(
            f"run {record.run_id} is done already; this is its answer" if record.status == "done"
            else f"run {record.run_id} waits for a person, and goes on with a reply"
        )  # fmt: skip
        past = past_result(record, envelopes, steps, settings)
        return finish(past, conversation.models, settings, as_json=as_json)
    # On a cluster its coordinator knows best; elsewhere nobody needs to start anything to be refused.
    if held and (here or ray_address(settings) is None) and not let_go(settings, record):
        raise taken(record.run_id, reply=said is not None)
    run = restart_run(
        record, PastCrews(settings, crew), settings, inline=here, limits=limits, said=said or NO_REPLY
    )
    (result,) = follow([(run, conversation)])
    return finish(result, conversation.models, settings, as_json=as_json)


def _checked(said: Reply, record: RunRecord, envelopes: list[Envelope]) -> Reply:
    """The reply, to a question that is there; what is wrong with it is told before anything is started."""
    from callsheet.crews.questions import find_question, questions_of, reply_body

    question = find_question(questions_of(envelopes), record.run_id, said.question)
    reply_body(question, said.reply, said.approve)
    return replace(said, question=question.id)


def _is_inline(inline: bool, address: str | None) -> bool | None:
    """Where the run goes on: as asked for, or None for as it was started."""
    if inline:
        return True
    return None if address is None else False


# --- all that were cut off -------------------------------------------------------------------------------


def _resume_all(
    settings: Settings, limits: Mapping[str, float | None], crew: str | None, inline: bool, as_json: bool
) -> int:
    from callsheet.cli.conversation import Conversation

    begun, status = restart_cut_off(settings, limits, crew=crew, inline=inline)
    if not begun and not status:
        notice("No run was cut off: somebody works on each that is marked as running.")
    runs = [(run, Conversation(record.crew)) for record, run in begun]
    with reading(settings) as journal:
        for run, conversation in runs:
            conversation.remember(() if journal is None else journal.steps(run.run_id))
    results = follow(runs)
    if as_json:
        print_json([result.to_dict() for result in results])
    for result, (_, conversation) in zip(results, runs, strict=True):
        if not as_json:
            notice(f"run {result.run_id} of {result.crew}:")
            finish(result, conversation.models, settings)
        status = max(status, exit_status(result))
    return status


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (resume, reply, approve, deny):
        app.command(command.__name__)(command)
