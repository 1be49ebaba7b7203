"""A run's conversation as it happens, on standard error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from callsheet.cli.screen import console, one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from callsheet.core.records import Step
    from callsheet.crews.result import Result, RunEvent

SHOWN_LINES = 6
ANSWER_LINES = 40
SHOWN_WIDTH = 300
LINE_AT_MOST = 4_000
SHORT_WIDTH = 110


class Conversation:
    """Shows events, and remembers which models answered. `crew` is shown in the place of its flow.

    On standard error, if no other screen is given. `told` shows what the person is told too. Texts are
    shortened, and `shortened` is true once one was, unless they are wanted in `full`.
    """

    def __init__(
        self, crew: str, screen: Console | None = None, *, told: bool = False, full: bool = False
    ) -> None:
        self._names = {"flow": crew, "person": "you"}
        self._screen = screen or console()
        self._told, self._full = told, full
        self.shortened = False
        self.models: list[str] = []
        self._speaking: str | None = None

    def remember(self, steps: Iterable[Step]) -> None:
        """Models that have answered before what is shown, by a run's recorded steps."""
        for step in steps:
            if step.kind == "llm" and step.state != "intent":
                self._remember(step.name)

    def _remember(self, model: str) -> None:
        if model not in self.models:
            self.models.append(model)

    def show(self, event: RunEvent, number: int | None = None, note: str = "") -> None:
        """Show one event, with its number where it has one, and what else is to be said of it."""
        if event.kind == "tokens":
            self._speak(event)
            return
        self._hush()
        who = self._name(event.sender)
        match event.kind:
            case "message":
                self._message(event, number, note)
            case "llm":
                self._remember(event.name)
                said = f"began to think with {event.name}" if note else f"thought with {event.name}"
                self._aside(f"{who} {said} ({note or _spent(event)})", number)
            case "tool" if event.decided:
                self._aside(_told_of(who, event), number)
            case "tool":
                said = "began to use" if note else "used"
                took = note or f"{event.elapsed_s:.1f} s"
                self._aside(f"{who} {said} {event.name} {_arguments(event.text)} ({took})", number)
            case "now" if number is not None:
                self._aside(f"{who} read the clock", number)
            case _:
                pass  # the end, which the summary tells

    def _speak(self, event: RunEvent) -> None:
        """A part of what a model says: it goes on in its line, unless another has spoken, or it begins again."""
        if event.name == "anew" or event.sender != self._speaking:
            self._hush()
            self._screen.print(f"{self._name(event.sender)} says: ", style="dim", end="")
            self._speaking = event.sender
        self._screen.print(printable(event.text).replace("\n", "\n    "), end="")

    def _hush(self) -> None:
        if self._speaking is not None:
            self._screen.print()
            self._speaking = None

    def _message(self, event: RunEvent, number: int | None, note: str) -> None:
        if event.receiver == "person" and not self._told:
            return  # the answer, the error or a question, which the command prints as such
        screen = self._screen
        screen.print(_prefix(number), style="dim", end="")
        screen.print(
            f"{self._name(event.sender)} → {self._name(event.receiver)}{f' ({note})' if note else ''}: ",
            style="dim" if note else "bold cyan", end="",
        )  # fmt: skip
        lines = self._lines(event)
        style = "red" if event.name == "error" else None
        for i, line in enumerate(lines or [""]):
            screen.print(("" if i == 0 else " " * (len(_prefix(number)) + 4)) + line, style=style)

    def _lines(self, event: RunEvent) -> list[str]:
        most = SHOWN_LINES if self._told or event.name != "ask" else 1
        if event.receiver == "person":
            most = ANSWER_LINES
        # What is shown of a text of any length costs no more than a long one.
        text = event.text if self._full else event.text.lstrip()[: most * LINE_AT_MOST]
        lines = [line.rstrip() for line in printable(text).strip().splitlines() if line.strip()]
        if self._full:
            return lines
        shown = shortened(lines, most)
        if len(text) < len(event.text.strip()) and shown == lines:
            shown = [*shown, "…"]
        self.shortened = self.shortened or shown != lines
        return shown

    def _aside(self, text: str, number: int | None = None) -> None:
        self._screen.print(f"{_prefix(number)}  · {one_line(text, SHORT_WIDTH)}", style="dim")

    def _name(self, participant: str) -> str:
        return printable(self._names.get(participant, participant))


def _prefix(number: int | None) -> str:
    return "" if number is None else f"{number:>4}  "


def shortened(lines: list[str], most: int) -> list[str]:
    """The lines, as many and as much of each as is shown where not all is wanted."""
    shown = [
        line if len(line) <= SHOWN_WIDTH else line[: SHOWN_WIDTH - 1].rstrip() + "…" for line in lines[:most]
    ]
    return shown if len(lines) <= most else [*shown, f"… ({len(lines) - most} more lines)"]


def _spent(event: RunEvent) -> str:
    tokens = (
        "" if event.usage is None else f"{event.usage.input_tokens + event.usage.output_tokens:,} tokens, "
    )
    return f"{tokens}{event.elapsed_s:.1f} s"


def _told_of(who: str, event: RunEvent) -> str:
    """A call of which a person decided what it came to, in words."""
    call = f"call of {event.name} {_arguments(event.text)}".rstrip()
    match event.decided:
        case "deny":
            return f"{who}'s {call} was not made again: denied"
        case "result":
            return f"the result of {who}'s {call} was told by a person"
        case _:
            return f"{who}'s {call} was made again: approved"


def _arguments(text: str) -> str:
    """A call's arguments, as short as they can be read."""
    try:
        given = json.loads(text)
    except ValueError:
        return text
    if not isinstance(given, dict):
        return text
    return ", ".join(
        value
        if isinstance(value, str) and len(given) == 1
        else f"{key}={json.dumps(value, ensure_ascii=False)}"
        for key, value in given.items()
    )


def model_calls(calls: int, cached: int) -> str:
    """How many model calls there were, and how many of them the response cache answered, if any."""
    return f"{calls} model calls" + (f" ({cached} from the cache)" if cached else "")


def cost_text(cost_usd: float | None) -> str:
    """A cost as people read it: unknown where the price of a part is."""
    if cost_usd is None:
        return "cost unknown"
    return f"${cost_usd:.2f}" if cost_usd >= 1 else f"${cost_usd:.4g}"


def summary(result: Result, models: list[str], trace: str) -> str:
    """The line that ends a run: how it went, what it took, and where to look."""
    usage = result.usage
    parts = [
        result.status,
        ", ".join(models) or "no model called",
        f"{model_calls(usage.llm_calls, usage.cached_calls)}, {usage.tool_calls} tool calls",
        f"{usage.input_tokens:,} + {usage.output_tokens:,} tokens",
        cost_text(usage.to_dict()["cost_usd"]),
        f"{result.elapsed_s:.1f} s",
        f"run {result.run_id}",
        trace,
    ]
    return " · ".join(parts)
