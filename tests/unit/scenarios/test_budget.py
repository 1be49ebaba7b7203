"""A bench's budget: together the runs never spend more than it holds, and none waits for money nobody can give."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.scenarios.budget import BudgetPool, BudgetSpentError

COSTS = st.lists(
    st.tuples(st.floats(0.001, 1.0), st.integers(1, 4)).map(lambda pair: [pair[0]] * pair[1]), max_size=20
)


async def work(pool: BudgetPool, calls: list[float]) -> bool:
    """A run of several model calls, each of which wants room for all it may cost; False: stopped for good."""
    done = 0
    short = 0.0
    while done < len(calls):
        try:
            share = await pool.take(short)
        except BudgetSpentError:
            return False
        used = 0.0
        assert share is not None
        while done < len(calls) and used + calls[done] <= share + 1e-12:
            used += calls[done]
            done += 1
            await asyncio.sleep(0)
        pool.give_back(share, used)
        short = share - used
    return True


@given(runs=COSTS, budget=st.floats(0.01, 10.0), hands=st.integers(1, 8))
def test_never_more_is_spent_than_there_is_and_everyone_comes_to_an_end(
    runs: list[list[float]], budget: float, hands: int
) -> None:
    async def all_of_them() -> tuple[list[bool], BudgetPool]:
        pool = BudgetPool(budget, hands=hands)
        waiting, ended = iter(runs), list[bool]()

        async def hand() -> None:
            for calls in waiting:
                ended.append(await work(pool, calls))

        async with asyncio.timeout(30):
            await asyncio.gather(*(hand() for _ in range(hands)))
        return ended, pool

    ended, pool = asyncio.run(all_of_them())
    assert pool.spent_usd <= budget + 1e-6
    assert pool.left_usd == pytest.approx(budget - pool.spent_usd)
    assert len(ended) == len(runs)
    if sum(map(sum, runs)) + max((max(calls) for calls in runs), default=0) <= budget:
        assert all(ended)


async def test_money_is_shared_among_all_hands_and_the_last_gets_what_is_left() -> None:
    pool = BudgetPool(8.0, hands=4)
    shares = [await pool.take() for _ in range(4)]
    assert shares == [2.0] * 4
    pool.give_back(2.0, 0.5)
    assert await pool.take() == 1.5


async def test_a_run_that_was_stopped_short_waits_for_what_others_give_back() -> None:
    pool = BudgetPool(2.0, hands=2)
    first, second = await pool.take(), await pool.take()
    pool.give_back(first, 0.0)
    more = asyncio.create_task(pool.take(above_usd=1.0))
    await asyncio.sleep(0)
    assert not more.done()
    pool.give_back(second, 0.25)
    assert await more == 1.75


async def test_a_run_that_all_there_is_was_not_enough_for_ends_the_bench() -> None:
    pool = BudgetPool(1.0, hands=1)
    share = await pool.take()
    pool.give_back(share, 0.2)
    with pytest.raises(BudgetSpentError):
        await pool.take(above_usd=0.8)


async def test_the_budget_that_is_proposed_is_enough_for_the_rest_and_for_the_call_that_had_no_room() -> None:
    pool = BudgetPool(1.0, hands=1)
    pool.give_back(await pool.take(), 1.0)
    assert pool.enough_usd(done=1, planned=10) == pytest.approx(1.0 + 1.2 * 9)
    pool = BudgetPool(1.0, hands=1)
    pool.give_back(await pool.take(), 0.0)
    with pytest.raises(BudgetSpentError):
        await pool.take(above_usd=1.0)
    assert pool.enough_usd(done=0, planned=10) == 4.0


async def test_a_run_that_knows_what_its_next_call_needs_is_given_no_less() -> None:
    pool = BudgetPool(1.0, hands=4)
    share = await pool.take()
    pool.give_back(share, 0.0)
    needs_more = await pool.take(above_usd=0.25, need_usd=0.9)
    assert needs_more == pytest.approx(0.9)
    pool.give_back(needs_more, 0.2)
    with pytest.raises(BudgetSpentError):
        await pool.take(above_usd=0.7, need_usd=0.9)


async def test_the_budget_that_is_proposed_has_room_for_a_call_in_each_run_under_way() -> None:
    pool = BudgetPool(0.1, hands=4)
    pool.give_back(await pool.take(), 0.0)
    with pytest.raises(BudgetSpentError):
        await pool.take(above_usd=0.025, need_usd=0.4321)
    assert pool.call_usd == 0.4321
    assert pool.enough_usd(done=0, planned=10) == 1.73
    assert pool.enough_usd(done=8, planned=10) == 0.87


async def test_a_call_that_needs_more_than_the_runs_own_limit_is_that_limits_matter() -> None:
    pool = BudgetPool(1.0, hands=2)
    assert await pool.take(above_usd=0.1, most_usd=0.3, need_usd=5.0) == pytest.approx(0.3)
    assert pool.call_usd == 0.3


async def test_nobody_is_given_less_than_runs_are_known_to_need_while_others_may_give_some_back() -> None:
    pool = BudgetPool(1.0, hands=4)
    share = await pool.take()
    pool.give_back(share, 0.0)
    needs_more = await pool.take(above_usd=0.35)
    assert needs_more == 0.7
    late = asyncio.create_task(pool.take())
    await asyncio.sleep(0)
    assert not late.done()
    pool.give_back(needs_more, 0.4)
    assert await late == pytest.approx(0.6)


async def test_what_was_spent_before_counts() -> None:
    with pytest.raises(BudgetSpentError):
        await BudgetPool(1.0, spent_usd=1.0).take()


async def test_no_run_gets_more_than_its_own_limit() -> None:
    pool = BudgetPool(10.0, hands=1)
    assert await pool.take(most_usd=0.5) == 0.5
    assert pool.left_usd == 9.5


async def test_without_a_budget_nothing_is_asked_for_and_spending_is_counted_all_the_same() -> None:
    pool = BudgetPool(None)
    assert await pool.take() is None
    pool.give_back(None, 3.0)
    assert pool.spent_usd == 3.0
