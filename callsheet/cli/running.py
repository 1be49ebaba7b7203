"""`run`: one run of a crew, shown live."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from callsheet.cli.arguments import spread_docs
from callsheet.cli.choosing import check_models, tell_model
from callsheet.cli.event_lines import EventLines
from callsheet.cli.following import exit_status, finish, follow
from callsheet.cli.limits import above_zero
from callsheet.cli.logs import one_line_each
from callsheet.cli.options import Address, Home, settings_of
from callsheet.cli.screen import Notices, notice
from callsheet.cli.streams import only_answers
from callsheet.core.errors import DocumentError, UsageError

if TYPE_CHECKING:
    from callsheet.crews.crew import Crew
    from callsheet.crews.launched import LaunchedCrew

SEARCH = "search_documents"
"""The built-in tool that looks into the documents of `--docs`."""


class _RunCommand(TyperCommand):
    """Lets `--docs` take several paths."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        with_value = {
            name
            for param in self.params
            if param.param_type_name == "option" and not getattr(param, "is_flag", False)
            for name in param.opts
        }
        spread = spread_docs(args, with_value=with_value, positionals=2, exists=exists)
        return super().parse_args(ctx, spread)


def run(
    crew: Annotated[
        str,
        typer.Argument(
            metavar="CREW",
            help="file.py[:name], package.module:name, or the name of a ready-made or launched crew.",
        ),
    ],
    given: Annotated[
        str | None,
        typer.Argument(
            metavar="[INPUT]",
            help="The task, as text (as JSON for a flow that takes no text); read from standard input if it "
            "is - or left out.",
        ),
    ] = None,
    docs: Annotated[
        list[str] | None,
        typer.Option(
            "--docs",
            metavar="PATH…",
            help="Files and folders that the agents may search. All words up to the next option are paths; "
            "if no INPUT is given elsewhere, the last one is the INPUT, unless it is an existing file.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="The model of every agent: PROVIDER/NAME (see `callsheet models`), or fast, balanced or "
            "frontier: the cheapest of that tier that can do the step (see `callsheet models --for TIER`).",
        ),
    ] = None,
    session: Annotated[
        str, typer.Option("--session", metavar="NAME", help="The session that the run belongs to.")
    ] = "",
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="USD", help="What the run may cost at most.")
    ] = None,
    budget_tokens: Annotated[
        int | None,
        typer.Option("--budget-tokens", metavar="N", help="How many tokens, in and out, the run may use."),
    ] = None,
    deadline: Annotated[
        float | None, typer.Option("--deadline", metavar="S", help="Seconds after which the run is stopped.")
    ] = None,
    inline: Annotated[bool, typer.Option("--inline", help="Run in this process, without Ray.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    json_lines: Annotated[
        bool,
        typer.Option(
            "--json-lines",
            help="Print each event as one line of JSON, also what the models say while they say it.",
        ),
    ] = False,
    record: Annotated[
        str | None,
        typer.Option("--record", metavar="FILE", help="Add every exchange with a model to this cassette."),
    ] = None,
    replay: Annotated[
        str | None,
        typer.Option("--replay", metavar="FILE", help="Let this cassette answer, and no model."),
    ] = None,
    address: Address = None,
    home: Home = None,
) -> int:
    """Run a crew once, and show it live.

    The conversation goes to standard error, the answer to standard output. Exit status: 0 done, 1 the run
    failed, 2 wrong usage, 3 a limit stopped it, 4 it waits for a person, 130 interrupted.
    """  # fmt: skip
    from callsheet.cli.conversation import Conversation
    from callsheet.crews.loading import resolve_crew
    from callsheet.models.policy import model_of

    with only_answers(), one_line_each():
        settings = settings_of(address=address, home=home)
        text = _task(given)
        wanted = None if model is None else model_of(model)
        _check(docs or ())
        for option, value in (
            ("--budget", budget), ("--budget-tokens", budget_tokens), ("--deadline", deadline)
        ):  # fmt: skip
            above_zero(option, value)
        _check_outputs(as_json=as_json, json_lines=json_lines, record=record, replay=replay)
        found = resolve_crew(crew, settings, inline=inline, progress=notice)
        task = _typed(found, text)
        if replay is None:
            check_models(wanted, settings, found, inline=inline)
            tell_model(wanted, settings, found, inline=inline)
        _tell_docs(docs or (), found)
        started = found.start(
            task, host="inline" if inline else "ray", model=wanted, session=session, docs=tuple(docs or ()),
            budget_usd=budget, budget_tokens=budget_tokens, deadline_s=deadline,
            settings=settings, progress=notice, notices=Notices(), record=record, replay=replay, stream=json_lines,
        )  # fmt: skip
        if started.live_url:
            notice(f"watch it live: {started.live_url}")
        if json_lines:
            lines = EventLines()
            (result,) = follow([(started, lines)])
            lines.end(result)
            return exit_status(result)
        conversation = Conversation(found.name)
        (result,) = follow([(started, conversation)])
        return finish(result, conversation.models, settings, as_json=as_json)


def _task(given: str | None) -> str:
    if given in (None, "-"):
        if given is None and sys.stdin.isatty():
            raise UsageError(
                "the INPUT is missing: what shall the crew do?",
                hint='Write it after the crew: callsheet run CREW "…", or pipe it in.',
            )
        given = sys.stdin.read()
    if not given or not given.strip():
        raise UsageError(
            "the INPUT is missing: what shall the crew do?",
            hint='Write it after the crew: callsheet run CREW "…", or pipe it in.',
        )
    return given.strip()


def _typed(crew: Crew | LaunchedCrew, text: str) -> Any:
    """The INPUT as the crew's flow takes it: text, or for a type that takes no text, JSON."""
    from callsheet.crews.crew import Crew
    from callsheet.crews.loading import takes_text

    if not isinstance(crew, Crew) or takes_text(crew, text):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"the flow of {crew.name} does not take text, and the INPUT is no JSON: {error}",
            hint="Write the INPUT as JSON of the type that the flow's second parameter has, in single quotes: "
            """'["one", "two"]', '{"name": "value"}'.""",
        ) from None


def _check(docs: Sequence[str]) -> None:
    """Find what is wrong before anything is started for it."""
    for path in docs:
        if not exists(path):
            raise DocumentError(
                f"{path} does not exist", path=path,
                hint=f"Check its spelling; relative paths start at {Path.cwd()}.",
            )  # fmt: skip


def _check_outputs(*, as_json: bool, json_lines: bool, record: str | None, replay: str | None) -> None:
    for one, other, both in (
        ("--json", "--json-lines", as_json and json_lines),
        ("--record", "--replay", record is not None and replay is not None),
    ):
        if both:
            raise UsageError(f"{one} and {other} do not go together", hint="Give one of them.")


def exists(path: str) -> bool:
    """Whether there is a file or folder of that name; False for what cannot be a name."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _tell_docs(docs: Sequence[str], crew: Crew | LaunchedCrew) -> None:
    """Say so where documents are given that no agent can look into."""
    from callsheet.crews.crew import Crew

    if not docs or not isinstance(crew, Crew):
        return
    if not any(tool.name == SEARCH for agent in crew.agents for tool in agent.tools):
        notice(
            f"warning: --docs gives documents, but no agent of {crew.name} has the tool `{SEARCH}`, so none "
            f'can look into them. Give it to one: Agent(…, tools=["{SEARCH}"]).'
        )


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", cls=_RunCommand)(run)
