"""One run from the journal, for people and as data: `callsheet show`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from callsheet.cli.screen import console, notice, one_line, printable
from callsheet.cli.words import bench_of, cost_of, how_to_resume, seconds, when

if TYPE_CHECKING:
    from rich.console import Console

    from callsheet.cli.conversation import Conversation
    from callsheet.core.records import Envelope, RunRecord, Step
    from callsheet.crews.numbering import Numbered
    from callsheet.crews.questions import Question

EARLIER = "an earlier attempt"
UNKNOWN = "it has no result: whether it took effect is not known"
NO_ANSWER = "it has no answer"


def show_data(run: dict[str, Any], envelopes: Sequence[Envelope], steps: Sequence[Step]) -> dict[str, Any]:
    """What `show --json` prints: the run, with its open questions, and its messages and steps with their numbers."""
    from callsheet.core.canonical import from_json
    from callsheet.core.records import Envelope, answers, record_to_dict
    from callsheet.crews.numbering import numbered

    messages: list[dict[str, Any]] = []
    done: list[dict[str, Any]] = []
    for item in numbered(envelopes, steps):
        record = item.record
        data = {"number": item.number, **record_to_dict(record)}
        if isinstance(record, Envelope):
            retired = record.kind != "ask" and not answers(record)
            messages.append({**data, "body": from_json(record.body), "retired": retired})
        else:
            texts = {"input": from_json(record.input), "result": from_json(record.result)}
            usage = None if record.usage is None else record.usage.to_dict()
            done.append({**data, "agent": item.agent, **texts, "usage": usage})
    asked = [question.to_dict() for question in _open_questions(run["status"], envelopes)]
    return {**run, "questions": asked, "messages": messages, "steps": done}


def show_run(
    record: RunRecord,
    run: dict[str, Any],
    envelopes: Sequence[Envelope],
    steps: Sequence[Step],
    *,
    full: bool,
    left: bool,
) -> None:
    """Print a run: what it is, what it did, what it asks, and how it ended. `left`: nobody works on it any more."""
    from callsheet.cli.conversation import ANSWER_LINES, Conversation, shortened
    from callsheet.crews.numbering import numbered
    from callsheet.crews.result import EventReader

    screen = console(sys.stdout)
    _show_facts(screen, record, run, left)
    talk, reader = Conversation(record.crew, screen, told=True, full=full), EventReader()
    for item in numbered(envelopes, steps):
        _show_item(talk, reader, item)
    for question in _open_questions(record.status, envelopes):
        _show_question(screen, question, record.crew)
    if run["error"] is not None:
        screen.print()
        screen.print("error: ", style="bold red", end="")
        told = printable(run["error"]["message"]).splitlines()
        lines = told if full else shortened(told, ANSWER_LINES)
        screen.print("\n".join(lines))
        talk.shortened = talk.shortened or lines != told
        for line in printable(_hint(run, record)).splitlines():
            screen.print(f"  {line}")
    if left or (record.status in ("failed", "limited", "cancelled") and "resume" not in _hint(run, record)):
        screen.print()
        screen.print(f"{how_to_resume(record)} goes on with it.")
    if talk.shortened:
        notice("Long texts are cut here: --full shows them whole.")


def _show_facts(screen: Console, record: RunRecord, run: dict[str, Any], left: bool) -> None:
    usage, origin = run["usage"], run["forked_from"]
    for title, value in (
        ("run", record.run_id),
        ("crew", record.crew),
        ("forked from", "" if origin is None else f"{origin['run']} at {origin['at']}"),
        ("status", f"{record.status}{', but nobody works on it any more' if left else ''}"),
        ("started", when(record.started)),
        ("took", seconds(run["elapsed_s"])),
        ("model calls", _calls(usage)),
        ("tool calls", usage.get("tool_calls", "")),
        ("tokens", f"{usage.get('input_tokens', 0):,} in, {usage.get('output_tokens', 0):,} out"),
        ("cost", cost_of(usage)),
        ("session", record.session_id),
        ("trace", run["trace_id"]),
    ):
        if value != "":
            screen.print(f"{title:<12}", style="dim", end="")
            screen.print(printable(str(value)))
    screen.print()


def _calls(usage: dict[str, Any]) -> str:
    cached = usage.get("cached_calls", 0)  # what an older callsheet has kept does not say
    return f"{usage.get('llm_calls', '')}{f' ({cached} from the cache)' if cached else ''}"


def _show_item(talk: Conversation, reader: Any, item: Numbered) -> None:
    from callsheet.core.records import PERSON, Envelope, is_question
    from callsheet.crews.numbering import is_retired

    record = item.record
    event = reader.read(record)
    note = ""
    if isinstance(record, Envelope):
        if is_question(record):
            event = replace(event, text=_question_text(record.body))
        elif record.sender == PERSON and record.kind != "ask":
            event = replace(event, text=_decision_text(record.body, event.text))
        note = EARLIER if is_retired(record) else ""
    elif record.state == "intent":
        note = NO_ANSWER if record.kind == "llm" else UNKNOWN
    talk.show(event, item.number, note)


def _open_questions(status: str, envelopes: Sequence[Envelope]) -> tuple[Question, ...]:
    from callsheet.crews.questions import questions_of

    return questions_of(envelopes) if status in ("running", "waiting") else ()


def _question_text(body: str) -> str:
    from callsheet.core.canonical import from_json

    data = from_json(body)
    call = "" if data.get("tool") is None else f"\n{data['tool']} {data.get('arguments') or ''}"
    choices = "".join(f"\n- {choice}" for choice in data.get("choices") or ())
    return f"{data.get('question', '')}{call}{choices}"


def _decision_text(body: str, text: str) -> str:
    """A person's reply: what was decided, where it is about a tool call."""
    from callsheet.core.canonical import from_json

    output = from_json(body).get("output")
    if not isinstance(output, dict) or "decision" not in output:
        return text
    return f"{output['decision']}{': ' if output.get('text') else ''}{output.get('text') or ''}"


def _show_question(screen: Console, question: Question, crew: str) -> None:
    who = crew if question.agent == "flow" else question.agent
    screen.print()
    screen.print(
        f"{printable(who)} asks ({question.id[:8]}, {when(question.at)}): ", style="bold yellow", end=""
    )
    screen.print(printable(question.text))
    if question.tool is not None:
        screen.print(f"  {one_line(f'{question.tool} {question.arguments or str()}', 300)}")
    for choice in question.choices:
        screen.print(f"  - {one_line(choice, 200)}")
    screen.print(f"  {question.how}")


def _hint(run: dict[str, Any], record: RunRecord) -> str:
    """What the run's error says to do, but for going on with a run that its bench goes on with."""
    lines = [] if run["error"] is None else str(run["error"]["hint"]).splitlines()
    return "\n".join(line for line in lines if "`callsheet resume " not in line or not bench_of(record))
