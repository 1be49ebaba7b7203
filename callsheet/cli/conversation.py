"""A run's conversation as it happens, on standard error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from callsheet.cli.screen import console, one_line, printable

if TYPE_CHECKING:
    from callsheet.crews.result import Result, RunEvent

SHOWN_LINES = 6
SHOWN_WIDTH = 160
SHORT_WIDTH = 110


class Conversation:
    """Shows events, and remembers which models answered. `crew` is shown in the place of its flow."""

    def __init__(self, crew: str) -> None:
        self._names = {"flow": crew, "person": "you"}
        self._screen = console()
        self.models: list[str] = []

    def show(self, event: RunEvent) -> None:
        """Show one event."""
        who = self._name(event.sender)
        match event.kind:
            case "message":
                self._message(event)
            case "llm":
                if event.name not in self.models:
                    self.models.append(event.name)
                self._aside(f"{who} thought with {event.name} ({_spent(event)})")
            case "tool":
                self._aside(f"{who} used {event.name} {_arguments(event.text)} ({event.elapsed_s:.1f} s)")
            case _:
                pass  # the clock, and the end, which the summary tells

    def _message(self, event: RunEvent) -> None:
        screen = self._screen
        screen.print(
            f"{self._name(event.sender)} → {self._name(event.receiver)}: ", style="bold cyan", end=""
        )
        lines = [line.rstrip() for line in printable(event.text).strip().splitlines() if line.strip()]
        if event.name == "ask":
            lines = lines[:1] + (["…"] if len(lines) > 1 else [])
        shown = lines[:SHOWN_LINES]
        if len(lines) > SHOWN_LINES:
            shown.append(f"… ({len(lines) - SHOWN_LINES} more lines)")
        style = "red" if event.name == "error" else None
        for i, line in enumerate(shown or [""]):
            text = line if len(line) <= SHOWN_WIDTH else line[: SHOWN_WIDTH - 1].rstrip() + "…"
            screen.print(("" if i == 0 else "    ") + text, style=style)

    def _aside(self, text: str) -> None:
        self._screen.print(f"  · {one_line(text, SHORT_WIDTH)}", style="dim")

    def _name(self, participant: str) -> str:
        return printable(self._names.get(participant, participant))


def _spent(event: RunEvent) -> str:
    tokens = (
        "" if event.usage is None else f"{event.usage.input_tokens + event.usage.output_tokens:,} tokens, "
    )
    return f"{tokens}{event.elapsed_s:.1f} s"


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


def cost_text(cost_usd: float | None, models: list[str]) -> str:
    """A cost as people read it: unknown where a price is, and nothing for the offline engine."""
    if cost_usd is None:
        return "cost unknown"
    if cost_usd == 0 and models == ["offline"]:
        return "$0 (offline)"
    return f"${cost_usd:.2f}" if cost_usd >= 1 or cost_usd == 0 else f"${cost_usd:.4g}"


def summary(result: Result, models: list[str], trace: str) -> str:
    """The line that ends a run: how it went, what it took, and where to look."""
    usage = result.usage
    parts = [
        result.status,
        ", ".join(models) or "no model called",
        f"{usage.llm_calls} model calls, {usage.tool_calls} tool calls",
        f"{usage.input_tokens:,} + {usage.output_tokens:,} tokens",
        cost_text(usage.to_dict()["cost_usd"], models),
        f"{result.elapsed_s:.1f} s",
        f"run {result.run_id}",
        trace,
    ]
    return " · ".join(parts)
