"""An answer in parts, on its way to a reader: gathered, and one clean text also when it is begun again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.runtime.protocol import Spoken
from callsheet.runtime.speech import Speech


class Wire:
    """What a reader has on its screen."""

    def __init__(self) -> None:
        self.items: list[Spoken] = []

    def post(self, item: Any) -> int:
        self.items.append(item)
        return len(self.items)

    @property
    def screen(self) -> str:
        text = ""
        for item in self.items:
            text = item.text if item.anew else text + item.text
        return text


def speech(wire: Wire) -> Speech:
    return Speech(wire, "run-000001", "turn", "clerk", clock=lambda: 1.0)  # type: ignore[arg-type]


async def test_parts_that_come_together_travel_together() -> None:
    wire = Wire()
    said = speech(wire)
    for part in ("a", "", "b", "c"):
        said.say(part)
    said.end()
    assert [item.text for item in wire.items] == ["abc"]


async def test_an_answer_that_begins_again_in_the_same_words_goes_on_where_it_was() -> None:
    wire = Wire()
    said = speech(wire)
    said.say("the ferry ")
    said._send()
    for part in (None, "the ", "fer", "ry leaves", " at nine"):
        said.say(part)
    said.end()
    assert wire.screen == "the ferry leaves at nine"
    assert not any(item.anew for item in wire.items)


async def test_an_answer_that_begins_again_in_other_words_takes_the_place_of_the_first() -> None:
    wire = Wire()
    said = speech(wire)
    said.say("the ferry ")
    said._send()
    for part in (None, "the ", "boat leaves"):
        said.say(part)
    said.end()
    assert wire.screen == "the boat leaves"
    assert [item.anew for item in wire.items] == [False, True]


@pytest.mark.parametrize("flush", [False, True])
@given(attempts=st.lists(st.lists(st.text("ab", max_size=3), max_size=6), min_size=1, max_size=4))
async def test_the_reader_ends_with_the_last_attempt(flush: bool, attempts: list[list[str]]) -> None:
    wire = Wire()
    said = speech(wire)
    for number, parts in enumerate(attempts):
        if number:
            said.say(None)
        for part in parts:
            said.say(part)
            if flush:
                said._send()
    said.end()
    assert wire.screen == "".join(attempts[-1])
