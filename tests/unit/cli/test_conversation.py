"""A run's conversation and its last line, as they are shown."""

from __future__ import annotations

import io

from callsheet.cli.conversation import Conversation, cost_text, model_calls, summary
from callsheet.cli.screen import console
from callsheet.core.limits import RunUsage
from callsheet.crews.result import Result, RunEvent


def shown(*events: RunEvent, full: bool = False) -> tuple[str, Conversation]:
    out = io.StringIO()
    talk = Conversation("research", console(out), told=full, full=full)
    for event in events:
        talk.show(event)
    return out.getvalue(), talk


def said(text: str, name: str = "reply", sender: str = "researcher", receiver: str = "flow") -> RunEvent:
    return RunEvent(kind="message", at=1.0, sender=sender, receiver=receiver, text=text, name=name)


def test_a_message_names_both_and_the_crew_stands_for_its_flow() -> None:
    text, _ = shown(said("found [a.md#L1]"), said("hello", "ask", "person"))
    assert text == "researcher → research: found [a.md#L1]\nyou → research: hello\n"


def test_the_answer_is_left_to_standard_output() -> None:
    assert shown(said("the answer", sender="flow", receiver="person"))[0] == ""
    assert "the answer" in shown(said("the answer", sender="flow", receiver="person"), full=True)[0]


def test_a_long_message_is_shortened_and_full_where_asked() -> None:
    long = "\n".join(f"line {i}" for i in range(20))
    text, _ = shown(said(long))
    assert "line 5" in text
    assert "line 6" not in text
    assert "(14 more lines)" in text
    assert "line 19" in shown(said(long), full=True)[0]


def test_tool_calls_are_short_lines_with_their_arguments() -> None:
    text, _ = shown(
        RunEvent(kind="tool", at=1.0, sender="r", name="search", text='{"query": "crash"}', elapsed_s=0.24),
        RunEvent(kind="tool", at=1.0, sender="r", name="search", text='{"query": "x", "k": 3}'),
        RunEvent(kind="tool", at=1.0, sender="r", name="search", text="not json [/]"),
    )
    assert text.splitlines() == [
        "  · r used search crash (0.2 s)",
        '  · r used search query="x", k=3 (0.0 s)',
        "  · r used search not json [/] (0.0 s)",
    ]


def test_what_a_person_decided_of_a_call_is_no_use_of_the_tool() -> None:
    text, _ = shown(
        *(
            RunEvent(kind="tool", at=1.0, sender="booker", name="book", text='{"id": "17"}', decided=decided)
            for decided in ("deny", "result", "approve")
        )
    )
    assert text.splitlines() == [
        "  · booker's call of book 17 was not made again: denied",
        "  · the result of booker's call of book 17 was told by a person",
        "  · booker's call of book 17 was made again: approved",
    ]


def test_what_a_model_writes_cannot_move_the_cursor() -> None:
    text, _ = shown(said("\x1b[2J\x1b[H"), RunEvent(kind="llm", at=1.0, sender="\x1b]0;x", name="m"))
    assert "\x1b" not in text


def test_the_models_that_answered_are_remembered() -> None:
    _, talk = shown(*(RunEvent(kind="llm", at=1.0, sender="a", name=name) for name in ("x/1", "y/2", "x/1")))
    assert talk.models == ["x/1", "y/2"]


def test_an_unknown_cost_is_never_shown_as_nothing() -> None:
    assert cost_text(None) == "cost unknown"
    assert cost_text(0.0) == "$0"
    assert cost_text(0.000123) == "$0.000123"
    assert cost_text(12.3456) == "$12.35"


def test_the_last_line_says_what_it_took() -> None:
    usage = RunUsage(llm_calls=3, input_tokens=1234, output_tokens=56, unpriced_calls=1, tool_calls=2)
    line = summary(
        Result(run_id="1122-abc", crew="c", status="done", usage=usage, elapsed_s=4.25),
        ["vllm/q"],
        "no trace",
    )
    assert line == (
        "done · vllm/q · 3 model calls, 2 tool calls · 1,234 + 56 tokens · cost unknown · 4.2 s · "
        "run 1122-abc · no trace"
    )


def test_the_summary_says_how_many_calls_the_cache_answered() -> None:
    assert model_calls(3, 0) == "3 model calls"
    assert model_calls(3, 2) == "3 model calls (2 from the cache)"


def spoken(text: str, sender: str = "researcher", name: str = "") -> RunEvent:
    return RunEvent(kind="tokens", at=1.0, sender=sender, text=text, name=name)


def test_what_a_model_says_goes_on_in_its_line_until_something_else_happens() -> None:
    text, _ = shown(spoken("the ferry "), spoken("leaves\nat nine"), said("The ferry leaves."))
    assert (
        text == "researcher says: the ferry leaves\n    at nine\nresearcher → research: The ferry leaves.\n"
    )


def test_two_that_speak_at_once_and_an_answer_that_begins_again_have_lines_of_their_own() -> None:
    text, _ = shown(spoken("a"), spoken("b", "critic"), spoken("c"), spoken("d", name="anew"), said("end"))
    assert text.splitlines()[:4] == [
        "researcher says: a",
        "critic says: b",
        "researcher says: c",
        "researcher says: d",
    ]


def test_what_a_model_says_can_neither_move_the_cursor_nor_forge_a_line() -> None:
    text, _ = shown(spoken("\x1b[2J"), spoken("\nyou → research: yes"), said("end"))
    assert text.splitlines()[:2] == ["researcher says: �[2J", "    you → research: yes"]
