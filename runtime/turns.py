"""A durable turn: what a handler sees while it handles one message.

Everything that must not be done twice is a step. A step's result is in the journal before anything that
depends on it happens, and after a crash the handler runs again from its beginning while each recorded step
returns at once. Steps are found by content (kind, input) and their count within the turn, never by
position, so `asyncio.gather` and edited scripts are safe: what has not changed is reused.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, NoReturn

from callsheet.core.canonical import digest, from_json, to_json
from callsheet.core.errors import CallsheetError
from callsheet.core.events import MessageSent, StepRecorded, StepReserved
from callsheet.core.ids import sent_envelope_id, step_key
from callsheet.core.limits import RunUsage
from callsheet.core.records import Envelope, Step
from callsheet.runtime.dice import Dice
from callsheet.runtime.lanes import Lane
from callsheet.runtime.protocol import RunInfo
from callsheet.runtime.services import Call
from callsheet.runtime.speech import Speech
from callsheet.runtime.trace import trace_message

Outcome = tuple[Any, RunUsage | None]
"""What a step gives: a JSON-compatible result, and what it used."""


async def _at_once() -> None:
    """Nothing holds a step back."""


class Turn:
    """One turn of a participant: its message, its run, its steps, and the services at hand.

    `gate` is awaited before anything is begun that takes the outside world; `moved` is told whenever a step
    or an ask begins or ends.
    """

    def __init__(
        self,
        envelope: Envelope,
        info: RunInfo,
        lane: Lane,
        services: Mapping[str, Call],
        steps: tuple[Step, ...] = (),
        clock: Callable[[], float] = time.time,
        *,
        gate: Callable[[], Awaitable[None]] = _at_once,
        moved: Callable[[Turn], None] = lambda _: None,
    ) -> None:
        self.envelope = envelope
        self.info = info
        self.services = services
        self._lane = lane
        self._clock = clock
        self._gate, self._moved = gate, moved
        self._recorded = {step.place: step for step in steps if step.state != "intent"}
        self._intents = {step.place for step in steps if step.state == "intent" and step.kind == "tool"}
        self._counts: Counter[str] = Counter()
        self._asks: dict[tuple[str, int], asyncio.Future[tuple[bool, str]]] = {}
        self._grants: dict[
            tuple[str, int], tuple[StepRecorded | StepReserved, asyncio.Future[Step | None]]
        ] = {}
        self._reserving: dict[tuple[str, int], Step] = {}
        self._steps = 0
        self._last = 0
        self.over = False
        """Whether nobody wants it any more."""
        self.under_way = 0
        """How many steps are being done; one that is held back is not."""
        self.replayed = 0
        """How many steps came from the journal instead of being done."""

    @property
    def id(self) -> str:
        """The turn's id: that of the envelope it handles."""
        return self.envelope.id

    @property
    def pending(self) -> tuple[tuple[str, int], ...]:
        """The places of the asks that have no answer yet."""
        return tuple(place for place, future in self._asks.items() if not future.done())

    @property
    def waits_only(self) -> bool:
        """Whether it has come to no step that is not over, and some ask has no answer yet."""
        return not self._steps and bool(self.pending)

    @property
    def reserving(self) -> tuple[Step, ...]:
        """The intents of the calls that it makes, or waits to make, within the run's budget."""
        return tuple(self._reserving.values())

    def end(self) -> None:
        """Nobody wants this turn any more: whatever its code still tries, ends with a cancellation."""
        for place in list(self._reserving):
            self._give_back(place)
        self.over = True

    async def step(
        self,
        kind: Literal["llm", "tool", "now"],
        name: str,
        input_digest: str,
        run: Callable[[int], Awaitable[Outcome]],
        *,
        shown_input: Any = None,
        once: bool = False,
        on_unknown: Callable[[int], Awaitable[Outcome | None]] | None = None,
        worst: Callable[[], Awaitable[RunUsage | None]] | None = None,
    ) -> Any:
        """Do something once: `run(nth)` returns a JSON-compatible result and what it used.

        `nth` counts the steps of this kind and input within the turn, the same on every attempt.

        Returns the result, from the journal if the step was done before. `shown_input` (JSON-compatible)
        is kept for people to read; what identifies the step is `input_digest`. An exception of `run` is
        raised and not recorded, so that a later attempt tries again.

        What must happen `once` has its intent in the journal before it is begun. Where an earlier attempt
        left an intent and no result, `on_unknown(nth)` says what the result is, or None to do it after all.
        `worst` says what the step may use at most; where the run has a budget, the step waits for room in it.
        """
        self._check_open()
        key, nth = place = self._place(kind, input_digest)
        recorded = self._recorded.get(place)
        if recorded is not None:
            self.replayed += 1
            return from_json(recorded.result)
        started = self._clock()
        outcome: Outcome | None = None
        if place in self._intents and on_unknown is not None:
            outcome = await on_unknown(nth)
            self._check_open()
        self._steps += 1
        begun = 0
        try:
            await self._gate()
            begun = 1
            self.under_way += 1
            await self._lane.settled(self._last)
            text = to_json(shown_input)
            if outcome is None:
                if once or worst is not None:
                    intent = Step(
                        run_id=self.info.run_id, turn_id=self.id, key=key, nth=nth, kind=kind, name=name,
                        state="intent", input=text, started=started,
                    )  # fmt: skip
                    known = await self._granted(StepRecorded(step=intent)) if once else None
                    if worst is not None and known is None:
                        known = await self._reserve(intent, await worst())
                    if known is not None:
                        return from_json(known.result)
                self._check_open()
                started = self._clock()
                outcome = await run(nth)
            result, usage = outcome
            step = Step(
                run_id=self.info.run_id, turn_id=self.id, key=key, nth=nth, kind=kind, name=name,
                input=text, result=to_json(result), usage=usage, started=started, ended=self._clock(),
            )  # fmt: skip
            self._last = self._lane.post(StepRecorded(step=step))
            self._reserving.pop(place, None)
        finally:
            self._give_back(place)
            self._steps -= 1
            self.under_way -= begun
            self._moved(self)
        return result

    async def ask(self, receiver: str, body: Any) -> Any:
        """Send another participant a message and wait for its reply; returns the reply's body.

        Raises the error that the other's turn ended with, with its type and fields.
        """
        self._check_open()
        text = to_json(body)
        key, nth = self._place("ask", digest(receiver, text))
        step = self._recorded.get((key, nth))
        if step is not None:
            self.replayed += 1
            failed, answer = step.state == "failed", step.result
        else:
            await self._lane.settled(self._last)
            envelope = Envelope(
                id=sent_envelope_id(self.id, key, nth), run_id=self.info.run_id, kind="ask",
                sender=self.envelope.receiver, receiver=receiver, body=text, cause=self.id,
                step_key=key, step_nth=nth, at=self._clock(),
            )  # fmt: skip
            future: asyncio.Future[tuple[bool, str]] = asyncio.get_running_loop().create_future()
            self._asks[key, nth] = future
            self._lane.post(MessageSent(envelope=envelope))
            trace_message(envelope, self.info)
            self._moved(self)
            failed, answer = await future
        data = from_json(answer)
        if failed:
            raise CallsheetError.from_dict(data)
        return data

    async def now(self) -> float:
        """The time (Unix seconds), recorded: a replay sees the same."""

        async def read(_: int) -> tuple[float, None]:
            return self._clock(), None

        return float(await self.step("now", "now", "", read))

    def random(self) -> float:
        """A random number in [0, 1) that follows from the turn: a replay gets the same."""
        return self._dice.random()

    def uuid(self) -> str:
        """A new UUID that follows from the turn: a replay gets the same."""
        return self._dice.uuid()

    @functools.cached_property
    def _dice(self) -> Dice:
        return Dice(self.id, self.info.options)

    def speech(self) -> Speech:
        """For an answer in parts, to who follows the run."""
        return Speech(self._lane, self.info.run_id, self.id, self.envelope.receiver, self._clock)

    def answered(self, key: str, nth: int, kind: Literal["reply", "error"], body: str) -> None:
        """An ask of this turn is answered (the participant calls this)."""
        future = self._asks.get((key, nth))
        if future is not None and not future.done():
            future.set_result((kind == "error", body))

    def granted(self, key: str, nth: int) -> None:
        """The budget has room for the step that waits for it (the participant calls this)."""
        _, future = self._grants.get((key, nth), (None, None))
        if future is not None and not future.done():
            future.set_result(None)

    def told(self, step: Step) -> None:
        """What this turn has recorded, or another process for it (the participant calls this)."""
        if step.kind == "ask":
            self.answered(step.key, step.nth, "error" if step.state == "failed" else "reply", step.result)
            return
        _, future = self._grants.get(step.place, (None, None))
        if future is not None and not future.done() and step.state != "intent":
            future.set_result(step)

    def say_again(self) -> None:
        """Another coordinator has to know what this turn waits for (the participant calls this).

        What it reserves, the participant has said.
        """
        for event, _ in self._grants.values():
            if isinstance(event, StepRecorded):
                self._lane.post(event)

    async def _granted(self, event: StepRecorded | StepReserved) -> Step | None:
        """Wait for leave to begin a step: it comes when its intent is kept, and never for a run that is over.

        Returns the step itself, if that turns out to be recorded already.
        """
        place = event.step.place
        future: asyncio.Future[Step | None] = asyncio.get_running_loop().create_future()
        self._grants[place] = event, future
        self._lane.post(event)
        try:
            return await future
        finally:
            del self._grants[place]

    async def _reserve(self, step: Step, worst: RunUsage | None) -> Step | None:
        if worst is None:
            return None
        self._reserving[step.place] = replace(step, usage=worst)
        return await self._granted(StepReserved(step=self._reserving[step.place], since=self.info.since))

    def _give_back(self, place: tuple[str, int]) -> None:
        """What was reserved for a call that failed is for others, or for its next attempt."""
        reserved = self._reserving.pop(place, None)
        if reserved is not None:
            given_back = replace(reserved, usage=None, ended=self._clock())
            self._lane.post(StepReserved(step=given_back, since=self.info.since))

    def _check_open(self) -> None:
        if self.over:
            _cancelled()

    def _place(self, kind: str, input_digest: str) -> tuple[str, int]:
        key = step_key(kind, input_digest)
        nth = self._counts[key]
        self._counts[key] += 1
        return key, nth


def _cancelled() -> NoReturn:
    raise asyncio.CancelledError("the turn was stopped")
