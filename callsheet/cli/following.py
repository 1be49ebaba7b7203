"""A run that is followed on the screen until it ends or waits, and how that is told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from callsheet.cli.screen import (
    as_text,
    console,
    notice,
    one_line,
    print_answer,
    print_error,
    print_json,
    printable,
)
from callsheet.cli.streams import answers
from callsheet.core.errors import CancelledError

if TYPE_CHECKING:
    from callsheet.crews.questions import Question
    from callsheet.crews.result import Result, RunEvent
    from callsheet.crews.run import Run
    from callsheet.settings import Settings

STATUS = {"done": 0, "failed": 1, "limited": 3, "waiting": 4, "cancelled": 130}
"""Exit statuses by what a run ended as, where no error says it more exactly."""

STOP_PATIENCE_S = 5.0
"""How long an interrupted run is given to stop in order."""

ARGUMENTS_WIDTH = 1_000
"""How much is shown of the arguments that a person is to approve, before they are cut."""


class Shows(Protocol):
    """What shows the events of a run."""

    def show(self, event: RunEvent) -> None:
        """Show one event."""


def follow(runs: Sequence[tuple[Run, Shows]]) -> list[Result]:
    """Show runs, one after the other, until each has ended or waits.

    An interrupt cancels them all, and a second one leaves at once. Raises CancelledError if they do not
    say in time that they have stopped.
    """

    async def watch() -> list[Result]:
        found = []
        for run, conversation in runs:
            async for event in run.events():
                conversation.show(event)
            found.append(await run.aresult(check=False))
        return found

    async def stopped() -> list[Result]:
        return await asyncio.gather(*(run.aresult(check=False) for run, _ in runs))

    try:
        return asyncio.run(watch())
    except KeyboardInterrupt:
        for run, _ in runs:
            notice(f"stopping run {run.run_id}")
            run.cancel("interrupted (Ctrl-C)")
        try:
            return asyncio.run(asyncio.wait_for(stopped(), STOP_PATIENCE_S))
        except TimeoutError:
            names = ", ".join(run.run_id for run, _ in runs)
            raise CancelledError(
                f"run {names} did not say within {STOP_PATIENCE_S:g} s that it has stopped",
                hint="It stops on its own once this process has ended, or its cluster has heard of it; "
                "`callsheet resume RUN` goes on where it was.",
            ) from None


def finish(result: Result, models: list[str], settings: Settings, *, as_json: bool = False) -> int:
    """Print how a run ended: its answer, or its error, or what it asks. Returns the exit status."""
    from callsheet.cli.conversation import summary

    if as_json:
        print_json(result.to_dict())
    elif result.output is not None:
        print_answer(as_text(result.to_dict()["output"]))
    answers().flush()
    if result.questions:
        print_questions(result.questions, result.crew)
    elif result.error is not None:
        print_error(result.error.message, result.error.hint)
    notice(summary(result, models, trace_text(result, settings)))
    return exit_status(result)


def exit_status(result: Result) -> int:
    """The exit status that says how a run ended."""
    return STATUS.get(result.status, 1) if result.error is None else result.error.exit_status


def print_questions(questions: Sequence[Question], crew: str) -> None:
    """What a waiting run asks, and how it is replied to, on standard error."""
    screen = console()
    for question in questions:
        screen.print("waiting: ", style="bold yellow", end="")
        lines = printable(question.text).strip().splitlines() or [""]
        who = crew if question.agent == "flow" else question.agent
        screen.print(f"{printable(who)} asks: {lines[0]}")
        for line in lines[1:]:
            screen.print(f"    {line}")
        if question.choices:
            screen.print(f"  choices: {printable(', '.join(question.choices))}")
        if question.tool:
            arguments = one_line(question.arguments or "", ARGUMENTS_WIDTH)
            screen.print(f"  the call: {printable(question.tool)} {arguments}")
        screen.print(f"  {printable(question.how)}")


def trace_text(result: Result, settings: Settings) -> str:
    """Where the run's trace is, or why there is none."""
    if result.trace_url is not None:
        return result.trace_url
    if settings.phoenix == "off":
        return "tracing is off"
    if settings.phoenix is not None:
        return f"no Phoenix answers at {settings.phoenix}, and the spans wait for it"
    return "no Phoenix: `callsheet up` starts one, and the spans wait for it"
