"""A turn whose steps only return what is recorded: nothing is called, sent or written."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, NoReturn, cast

from callsheet.core.canonical import digest, from_json, to_json
from callsheet.core.errors import CallsheetError
from callsheet.core.records import Envelope, Step
from callsheet.crews.differences import Shown, shown_ask, shown_call
from callsheet.models.messages import ModelRequest
from callsheet.runtime.lanes import Lane
from callsheet.runtime.protocol import RunInfo
from callsheet.runtime.turns import Turn

Place = tuple[str, int]


class _Captured(Exception):  # noqa: N818 - it is no error: the request is known, and goes nowhere
    pass


class ReplayedTurn(Turn):
    """What a handler sees while a past turn is taken again.

    Steps with a recorded result wait until `give_next` hands them over, in the order in which the results
    came then: so code that takes the first of several answers takes the same one. A step that is not
    recorded is noted in `unknown` and never returns.
    """

    def __init__(
        self,
        envelope: Envelope,
        info: RunInfo,
        recorded: Sequence[Step],
        unanswered: frozenset[Place],
        *,
        any_model: bool,
    ) -> None:
        super().__init__(envelope, info, cast("Lane", None), {"gateway": self._capture})
        self._order = {step.place: number for number, step in enumerate(recorded)}
        self._kept = {step.place: step for step in recorded}
        self._unanswered = unanswered
        self._calls: defaultdict[str, list[Step]] = defaultdict(list)
        if any_model:
            for step in recorded:
                if step.kind == "llm":
                    self._calls[from_json(step.input)["conversation"]].append(step)
        self._waiting: list[tuple[int, Step, asyncio.Future[None]]] = []
        self._stirred: asyncio.Future[None] | None = None
        self._request: ModelRequest | None = None
        self.asked: set[Place] = set()
        """The places that today's code asked for, of those that are recorded in some way."""
        self.taken: list[Step] = []
        """What was handed over."""
        self.unknown: list[Shown] = []
        """What today's code asks for, and is not recorded."""
        self.cut_off = False
        """Whether it has come to a step that was begun, and has no result."""

    async def step(
        self,
        kind: Literal["llm", "tool", "now"],
        name: str,
        input_digest: str,
        run: Callable[[int], Awaitable[Any]],
        *,
        shown_input: Any = None,
        **_: Any,
    ) -> Any:
        """The recorded result; never returns for a step that has none. `run` calls no model and no tool."""
        self._check_wanted()
        place = self._place(kind, input_digest)
        step = self._kept.get(place) or self._by_conversation(kind, shown_input)
        if step is not None:
            return from_json((await self._handed(step)).result)
        self.cut_off = self.cut_off or place in self._unanswered
        if kind == "llm" and place not in self._unanswered:
            with contextlib.suppress(Exception):  # what it would ask for is only shown
                await run(place[1])
        return await self._never(place, shown_call(kind, name, shown_input, self._request))

    async def ask(self, receiver: str, body: Any) -> Any:
        """The recorded answer; never returns where there is none. Raises the error that is recorded."""
        self._check_wanted()
        text = to_json(body)
        place = self._place("ask", digest(receiver, text))
        step = self._kept.get(place)
        if step is None:
            return await self._never(place, shown_ask(receiver, text))
        data = from_json((await self._handed(step)).result)
        if step.state == "failed":
            raise CallsheetError.from_dict(data)
        return data

    def give_next(self) -> bool:
        """Hand over what is waited for and came first then; False if nothing is."""
        if not self._waiting:
            return False
        first = min(self._waiting, key=lambda waiting: waiting[0])
        self._waiting.remove(first)
        self.taken.append(first[1])
        if not first[2].done():
            first[2].set_result(None)
        return True

    def stirred(self) -> asyncio.Future[None]:
        """Done when the turn asks for something again."""
        if self._stirred is None or self._stirred.done():
            self._stirred = asyncio.get_running_loop().create_future()
        return self._stirred

    def _by_conversation(self, kind: str, shown: Any) -> Step | None:
        """The recorded call with the same messages, whatever model it was made with."""
        if kind != "llm" or not isinstance(shown, dict):
            return None
        calls = self._calls.get(shown.get("conversation", ""), ())
        return next((call for call in calls if call.place not in self.asked), None)

    async def _handed(self, step: Step) -> Step:
        self.asked.add(step.place)
        self._stir()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._order[step.place], step, future))
        await future
        return step

    async def _never(self, place: Place, shown: Shown) -> NoReturn:
        if place in self._unanswered:
            self.asked.add(place)
        else:
            self.unknown.append(shown)
        self._stir()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody answers this")

    async def _capture(self, request: ModelRequest, *_: Any) -> NoReturn:
        self._request = request
        raise _Captured

    def _check_wanted(self) -> None:
        if self.over:
            raise asyncio.CancelledError("the turn is over")

    def _stir(self) -> None:
        if self._stirred is not None and not self._stirred.done():
            self._stirred.set_result(None)
