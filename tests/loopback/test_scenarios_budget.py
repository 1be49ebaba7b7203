"""A bench's budget with real reservations: each call wants room for the most that it may cost."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.core.errors import LimitError
from callsheet.crews import Crew
from callsheet.crews.portal import close_portal
from callsheet.scenarios import Case, Suite
from callsheet.scenarios.budget import BudgetPool
from callsheet.scenarios.running import abench
from callsheet.settings import Settings, load_settings
from tests.loopback.models_server import Answer, ModelServer, serving

MODEL = "openai-compatible/some/model"
COST = 110 * 10 / 1_000_000
"""What a call costs here, in USD; before it, 0.04 and more are reserved."""


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    close_portal()
    monkeypatch.setenv("OPENAI_COMPATIBLE_API_KEY", "sk-test")
    yield load_settings(models={MODEL: {"input_usd": 10.0, "output_usd": 10.0}})
    close_portal()


@pytest.fixture
def shares(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float | None]]:
    """Each share of the budget: above what, and how much."""
    found: list[tuple[float, float | None]] = []
    take = BudgetPool.take

    async def noted(self: BudgetPool, above_usd: float = 0.0, *limits: float) -> float | None:
        share = await take(self, above_usd, *limits)
        found.append((above_usd, share))
        return share

    monkeypatch.setattr(BudgetPool, "take", noted)
    return found


def answer() -> Answer:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return Answer(200, {"id": "c-1", "model": "some/model", "choices": [choice], "usage": usage})


def bench_of(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> tuple[Suite, Crew]:
    monkeypatch.setenv("OPENAI_COMPATIBLE_BASE_URL", server.url)
    cases = [Case(id=f"case-{n}", input=f"Is it {n}?", expected="yes") for n in range(12)]
    return Suite("small", cases), Crew("solver", agents=[Agent("clerk", role="You answer.", max_tokens=4000)])


async def test_a_share_too_small_for_a_call_grows_once_others_give_back_theirs(
    settings: Settings, shares: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(answer()) as server:
        suite, crew = bench_of(server, monkeypatch)
        result = await abench(
            suite, crew, models=[MODEL], host="inline", at_once=4, budget_usd=0.1, settings=settings
        )
        assert len(server.asked) == 12
    assert {trial.status for trial in result.trials} == {"done"}
    assert sum(trial.cost_usd or 0.0 for trial in result.trials) == pytest.approx(12 * COST)
    assert shares[0] == (0.0, pytest.approx(0.025))
    assert any(above > 0 for above, _ in shares)
    assert max(share for _, share in shares) <= 0.1


async def test_what_is_left_and_not_enough_ends_the_bench_and_more_goes_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(answer()) as server:
        suite, crew = bench_of(server, monkeypatch)
        with pytest.raises(LimitError) as caught:
            await abench(
                suite, crew, models=[MODEL], host="inline", at_once=4, budget_usd=0.046, settings=settings
            )
        stopped = caught.value
        asked = len(server.asked)
        assert 0 < asked < 12
        assert stopped.used == pytest.approx(asked * COST)
        assert len(stopped.partial.trials) == asked
        bench_id = stopped.partial.info.bench_id
        result = await abench(suite, crew, resume=bench_id, budget_usd=1.0, settings=settings)
        assert len(server.asked) == 12
    assert result.complete
    assert {trial.scores["exact"].value for trial in result.trials} == {1.0}


async def test_the_budget_that_is_proposed_suffices_though_nothing_could_be_begun_before(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(answer()) as server:
        suite, crew = bench_of(server, monkeypatch)
        with pytest.raises(LimitError, match=r"a model call may need up to 0\.04") as caught:
            await abench(
                suite, crew, models=[MODEL], host="inline", at_once=4, budget_usd=0.01, settings=settings
            )
        assert len(server.asked) == 0
        stopped = caught.value
        assert stopped.wanted > 0.04
        proposed = re.search(r"--budget ([0-9.]+)`", stopped.hint)
        assert proposed is not None
        assert float(proposed[1]) >= 4 * stopped.wanted
        bench_id = stopped.partial.info.bench_id
        result = await abench(suite, crew, resume=bench_id, budget_usd=float(proposed[1]), settings=settings)
    assert result.complete
    assert {trial.status for trial in result.trials} == {"done"}
