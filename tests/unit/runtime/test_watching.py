"""A run that somebody watches who did not begin it: all of it once, and what models say while they say it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from callsheet.core.errors import RunTakenError, UnknownNameError
from callsheet.core.events import EndRun
from callsheet.core.records import Envelope, RunWaits, Step
from callsheet.runtime import audience
from callsheet.runtime.client import Client
from callsheet.runtime.journal import Journal
from callsheet.runtime.protocol import Spoken
from callsheet.runtime.turns import Turn
from tests.unit.runtime.town import BOUND_S, Town, ask_echo, ask_person, echo, output, turns, until

RUN = "run-000001"


class Guest:
    """Follows a run that another client has begun, and remembers what it is told."""

    def __init__(self, client: Client, *, tokens: bool = True) -> None:
        self.heard: list[Any] = []
        client.watch(RUN, tokens=tokens)
        self.task = asyncio.create_task(self._follow(client))

    async def _follow(self, client: Client) -> None:
        async for news in client.follow(RUN):
            self.heard.append(news)

    async def end(self) -> Any:
        async with asyncio.timeout(BOUND_S):
            await self.task
        return self.heard[-1]

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])

    @property
    def records(self) -> list[str]:
        return [news.id if isinstance(news, Envelope) else news.key for news in self.kept]

    @property
    def kept(self) -> list[Envelope | Step]:
        return [news for news in self.heard if isinstance(news, (Envelope, Step))]

    @property
    def said(self) -> dict[str, str]:
        """What each participant's model has said, as it stands on a screen."""
        found: dict[str, str] = {}
        for news in self.heard:
            if isinstance(news, Spoken):
                found[news.name] = ("" if news.anew else found.get(news.name, "")) + news.text
        return found


class Speaker:
    """A flow that takes a step, and says a word each time that it is told to go on."""

    def __init__(self, town: Town) -> None:
        self._town = town
        self._words: asyncio.Queue[str] = asyncio.Queue()
        self.turn: Turn | None = None
        self.said = 0

    async def __call__(self, turn: Turn) -> Any:
        self.turn = turn
        await self._town.step(turn, "first")
        while word := await self._words.get():
            if turn.info.listened:
                speech = turn.speech()
                speech.say(word)
                speech.end()
            self.said += 1
        await self._town.step(turn, "last")
        return {"output": "said"}

    @property
    def listened(self) -> bool:
        return self.turn is not None and self.turn.info.listened

    async def say(self, word: str) -> None:
        before = self.said
        self._words.put_nowait(word)
        await until(lambda: self.said > before)

    def stop(self) -> None:
        self._words.put_nowait("")


@pytest.fixture
async def speaker(town: Town) -> Speaker:
    """A run that has taken its first step, and goes on as it is told to."""
    made = Speaker(town)
    await town.launch(flow=made)
    town.start(watch="all")
    await until(lambda: town.journal.steps(RUN))
    return made


def journaled(town: Town) -> list[str]:
    steps = [step.key for step in town.journal.steps(RUN) if step.state != "intent"]
    return sorted([envelope.id for envelope in town.journal.envelopes(RUN)] + steps)


def watches(town: Town, client: str) -> bool:
    run = None if town.coordinator is None else town.coordinator._runs.get(RUN)
    return run is not None and client in run.watchers


async def test_a_guest_is_told_what_has_been_and_what_comes_each_once(town: Town, speaker: Speaker) -> None:
    guest = Guest(town.driver("guest"))
    await until(lambda: len(guest.kept) == 2)
    speaker.stop()
    end = await guest.end()
    assert isinstance(end, EndRun)
    assert end.status == "done"
    assert sorted(guest.records) == journaled(town)
    assert output(await town.end()) == "said"


@pytest.mark.parametrize("ticks", range(0, 60, 3))
async def test_nothing_is_missed_or_doubled_whenever_the_guest_comes(town: Town, ticks: int) -> None:
    await town.launch(flow=ask_echo, echo=echo)
    driver = town.driver("guest")
    town.start(value="hi")
    await until(lambda: town.journal.run(RUN))
    await turns(ticks)
    guest = Guest(driver)
    assert isinstance(await guest.end(), EndRun)
    assert sorted(guest.records) == journaled(town)


async def test_models_are_asked_to_speak_while_a_guest_reads_along_and_not_before_or_after(
    town: Town, speaker: Speaker
) -> None:
    await speaker.say("unheard ")
    guest = Guest(town.driver("guest"))
    await until(lambda: speaker.listened)
    await speaker.say("one ")
    await speaker.say("two")
    await until(lambda: guest.said == {"flow": "one two"})
    await guest.leave()
    await until(lambda: not speaker.listened)
    await speaker.say(" unheard")
    assert guest.said == {"flow": "one two"}
    assert speaker.said == 4  # words, of which the first and the last were told to nobody


async def test_a_guest_that_wants_no_tokens_makes_no_model_speak(town: Town, speaker: Speaker) -> None:
    quiet = Guest(town.driver("quiet"), tokens=False)
    await until(lambda: quiet.kept)
    assert not speaker.listened
    guest = Guest(town.driver("guest"))
    await until(lambda: speaker.listened)
    await speaker.say("one")
    await until(lambda: guest.said)
    speaker.stop()
    await quiet.end()
    await guest.end()
    assert quiet.said == {}


async def test_what_models_say_for_a_guest_does_not_reach_a_starter_that_did_not_want_it(
    town: Town, speaker: Speaker
) -> None:
    guest = Guest(town.driver("guest"))
    await until(lambda: speaker.listened)
    await speaker.say("one")
    await until(lambda: guest.said)
    speaker.stop()
    await guest.end()
    assert not [news async for news in town.client.follow(RUN) if isinstance(news, Spoken)]


async def test_the_turns_that_a_watched_run_begins_later_are_listened_to_as_well(town: Town) -> None:
    go, listened = asyncio.Event(), []

    async def flow(turn: Turn) -> Any:
        await town.step(turn, "first")
        await go.wait()
        return await turn.ask("work", {"input": 0})

    async def work(turn: Turn) -> Any:
        listened.append(turn.info.listened)
        return {"output": 0}

    await town.launch(flow=flow, work=work)
    town.start()
    await until(lambda: town.journal.steps(RUN))
    guest = Guest(town.driver("guest"))
    await until(lambda: guest.kept)
    go.set()
    await guest.end()
    assert listened == [True]


async def test_a_run_that_is_over_is_told_whole(town: Town) -> None:
    await town.launch(flow=ask_echo, echo=echo)
    await town.run("hi")
    guest = Guest(town.driver("guest"))
    assert (await guest.end()).status == "done"
    assert sorted(guest.records) == journaled(town)


async def test_a_run_that_waits_for_a_person_is_told_up_to_there(town: Town) -> None:
    await town.launch(flow=ask_person)
    town.start()
    await town.waiting()
    guest = Guest(town.driver("guest"))
    assert isinstance(await guest.end(), RunWaits)
    assert sorted(guest.records) == journaled(town)


async def test_a_run_that_is_not_known_is_refused(town: Town) -> None:
    with pytest.raises(UnknownNameError):
        await Guest(town.driver("guest")).end()


async def test_a_run_that_another_works_on_is_refused(town: Town, speaker: Speaker) -> None:
    other = Town(town.path, Journal(town.path, owner="b"), owner="b")
    theirs = other.driver("guest")
    record = town.record()
    assert record.status == "running"
    town.journal.write([replace(record, run_id="run-000002", owner="a")])
    theirs.watch("run-000002")
    with pytest.raises(RunTakenError):
        _ = [news async for news in theirs.follow("run-000002")]
    await other.close(alone=False)


async def test_a_guest_hears_on_from_the_next_coordinator_and_nothing_twice(
    town: Town, speaker: Speaker
) -> None:
    guest = Guest(town.driver("guest"))
    await until(lambda: speaker.listened)
    await town.restart_coordinator()
    # What is said before the guest has found the next coordinator is told to nobody; its turn knows no better.
    await until(lambda: watches(town, "guest") and speaker.listened)
    await speaker.say("still there")
    await until(lambda: guest.said == {"flow": "still there"})
    speaker.stop()
    await guest.end()
    assert sorted(guest.records) == journaled(town)


async def test_what_waits_for_a_slow_guest_is_one_part_of_each_answer_and_holds_up_nobody(town: Town) -> None:
    words, spoken = 300, []

    async def talk(turn: Turn) -> Any:
        await until(lambda: turn.info.listened)
        await until(lambda: "guest" in town.cut)
        speech = turn.speech()
        for number in range(words):
            speech.say(f"{number} ")
            speech._send()
            await asyncio.sleep(0)
        speech.end()
        await town.step(turn, turn.envelope.receiver)
        spoken.append(turn.id)
        return {"output": "done"}

    async def flow(turn: Turn) -> Any:
        await asyncio.gather(turn.ask("one", {"input": 1}), turn.ask("two", {"input": 2}))
        return {"output": "done"}

    await town.launch(flow=flow, one=talk, two=talk)
    town.start()
    await until(lambda: len(town.journal.envelopes(RUN)) == 3)
    guest = Guest(town.driver("guest"))
    await until(lambda: len(guest.kept) == 3)
    town.cut.add("guest")
    await town.end()
    assert town.coordinator is not None
    waiting = town.coordinator._lanes.ports["guest"].outbox
    assert len(waiting) < 20
    town.cut.clear()
    await guest.end()
    whole = "".join(f"{number} " for number in range(words))
    assert {name: text[-len(whole) :] for name, text in guest.said.items()} == {"one": whole, "two": whole}


async def test_a_guest_that_never_fetches_its_news_is_let_go_and_told_so(
    town: Town, speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "GONE_S", 0.0)
    guest = Guest(town.driver("guest"))
    await until(lambda: speaker.listened and guest.kept)
    town.cut.add("guest")
    async with asyncio.timeout(BOUND_S):
        while speaker.listened:
            await speaker.say("word ")
    town.cut.clear()
    with pytest.raises(RunTakenError):
        await guest.end()
    speaker.stop()
    assert output(await town.end()) == "said"


async def test_a_guest_that_comes_in_the_middle_of_an_answer_is_told_its_beginning(
    town: Town, speaker: Speaker
) -> None:
    first = Guest(town.driver("first"))
    await until(lambda: speaker.listened)
    await speaker.say("the ferry ")
    await until(lambda: first.said)
    second = Guest(town.driver("second"))
    await until(lambda: second.said)
    await speaker.say("leaves")
    await until(lambda: first.said == second.said == {"flow": "the ferry leaves"})
    speaker.stop()
    await first.end()
    await second.end()
    third = Guest(town.driver("third"))
    await third.end()
    assert third.said == {}
