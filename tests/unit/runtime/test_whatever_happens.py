"""Runs with everything in them, while calls are lost and processes die: each ends as it would have ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as given_by
from hypothesis import strategies as st

from callsheet.core.canonical import from_json, to_json
from callsheet.core.errors import WaitingError
from callsheet.core.events import EndRun
from callsheet.core.limits import Limits, RunUsage
from callsheet.core.records import PERSON
from callsheet.runtime import lanes
from callsheet.runtime.turns import Turn
from tests.unit.runtime import town as town_module
from tests.unit.runtime.town import Town, given, output, turns


class Crew:
    """Asks, questions to a person, model calls within a budget, and one mail that must go out once."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.mails: list[str] = []
        self.doubts: list[str] = []

    async def flow(self, turn: Turn) -> Any:
        name = given(turn)
        first = await turn.ask("work", {"input": f"{name}a"})
        second, leave = await asyncio.gather(
            turn.ask("work", {"input": f"{name}b"}), turn.ask(PERSON, {"question": f"may {name} send?"})
        )
        mail = await self.send(turn, name)
        return {"output": [first["output"], second["output"], leave["output"], mail]}

    async def work(self, turn: Turn) -> Any:
        async def worst() -> RunUsage:
            return RunUsage(llm_calls=1, cost_usd=0.6)

        said = [await self.town.step(turn, f"{given(turn)}{n}", n, worst=worst) for n in range(2)]
        return {"output": [given(turn), *said]}

    async def send(self, turn: Turn, name: str) -> Any:
        async def work(nth: int) -> tuple[Any, None]:
            self.mails.append(name)
            await turns(2)
            return "sent", None

        async def unknown(nth: int) -> tuple[Any, None]:
            self.doubts.append(name)
            return (await turn.ask(PERSON, {"question": f"did {name} send?"}))["output"], None

        return await turn.step("tool", "send", name, work, once=True, on_unknown=unknown)

    @property
    def handlers(self) -> dict[str, town_module.Handler]:
        return {"flow": self.flow, "work": self.work}


async def see_through(town: Town, run_id: str) -> EndRun:
    """Wait for the end, and answer what the run asks on the way."""
    while True:
        try:
            return await town.end(run_id)
        except WaitingError:
            question = town.question(run_id)
            asked = from_json(question.body)["question"]
            answer = "yes" if asked.startswith("may") else "sent"
            town.resume(run_id, reply=(question.id, to_json({"output": answer})))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given_by(
    fates=st.lists(st.sampled_from(["ok", "ok", "ok", "lost on the way", "answer lost"]), max_size=60),
    deaths=st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from(["coordinator", "flow", "work"])), max_size=3
    ),
)
def test_whatever_is_lost_or_dies_each_run_ends_as_it_would_have_ended(
    tmp_path_factory: pytest.TempPathFactory, fates: list[str], deaths: list[tuple[int, str]]
) -> None:
    async def live() -> None:
        town = Town(tmp_path_factory.mktemp("town") / "journal.db")
        crew = Crew(town)
        await town.launch(**crew.handlers)
        runs = [f"run-{n:06}" for n in range(2)]
        for n, run_id in enumerate(runs):
            town.start(run_id, str(n), limits=Limits(budget_usd=1.0))
        town.fates = list(fates)
        ends = asyncio.gather(*(see_through(town, run_id) for run_id in runs))
        for after, victim in deaths:
            await turns(after)
            if victim == "coordinator":
                await town.restart_coordinator()
            else:
                await town.kill(victim)
                town.join(victim, crew.handlers[victim])
        async with asyncio.timeout(2 * town_module.BOUND_S):
            await ends
        for n, (run_id, end) in enumerate(zip(runs, ends.result(), strict=True)):
            name = str(n)
            assert output(end) == [[f"{n}a", 0, 1], [f"{n}b", 0, 1], "yes", "sent"]
            assert crew.mails.count(name) == 1 or (crew.mails.count(name) == 0 and name in crew.doubts)
            assert end.usage.llm_calls == 4
            replies = [e.reply_to for e in town.journal.envelopes(run_id) if e.kind != "ask"]
            assert len(replies) == len(set(replies))
            assert town.record(run_id).owner == ""
        killed = sum(victim == "work" for _, victim in deaths)
        assert all(count <= 1 + killed for count in town.done.values())
        assert killed or not any(count > 1 for count in town.done.values())
        assert town.held() == []
        await town.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "PAUSE_S", (0.0, 0.0))
        patch.setattr("callsheet.runtime.participant.QUIET_S", 0.0)
        asyncio.run(live())
