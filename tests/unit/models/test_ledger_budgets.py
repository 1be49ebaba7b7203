"""Budgets by day: nothing is spent that is not there, after restarts and between gateways too."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from callsheet.core.errors import LimitError, ModelRateLimitError, ServiceError
from callsheet.models import day_budgets
from callsheet.models.ledger import Ledger
from callsheet.models.limits import parse_limits
from callsheet.models.messages import Usage

A = "openai/a"
DAY = 86400.0


def ledger(limits: dict[str, Any], path: Path | None = None, **settings: Any) -> Ledger:
    return Ledger(parse_limits(limits), path=path, **settings)


async def call(limits: Ledger, usd: float, actual: float | None = None, crew: str = "helpdesk") -> None:
    ticket = await limits.reserve(A, crew=crew, input_tokens=100, output_tokens=100, usd=usd)
    limits.settle(ticket, Usage(input_tokens=10, output_tokens=10), usd if actual is None else actual)


async def test_a_crew_with_nothing_left_is_told_what_was_spent_and_what_to_do() -> None:
    limits = ledger({"crew:helpdesk": {"usd_per_day": 1.0}})
    await call(limits, 0.9)
    with pytest.raises(LimitError, match=r"0\.9000 USD of 1\.0000 USD is spent") as caught:
        await call(limits, 0.2)
    assert (caught.value.limit, caught.value.allowed) == ("usd_per_day", 1.0)
    assert caught.value.used == pytest.approx(1.1)
    assert caught.value.exit_status == 3
    assert "crew:helpdesk" in caught.value.hint
    await call(limits, 0.1)
    await call(limits, 5.0, crew="other")


async def test_the_budget_is_spent_to_the_last_billionth() -> None:
    limits = ledger({"*": {"usd_per_day": 0.3}})
    for _ in range(3):
        await call(limits, 0.1)
    with pytest.raises(LimitError):
        await call(limits, 1e-9)


async def test_calls_side_by_side_do_not_overshoot() -> None:
    limits = ledger({"crew:helpdesk": {"usd_per_day": 1.0}})
    calls = [call(limits, 0.03) for _ in range(200)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(result is None for result in results) == 33
    assert all(result is None or isinstance(result, LimitError) for result in results)


async def test_a_call_waits_for_others_that_may_cost_less_than_they_reserved() -> None:
    limits = ledger({"crew:helpdesk": {"usd_per_day": 1.0}})
    first = await limits.reserve(A, crew="helpdesk", usd=0.8)
    second = asyncio.create_task(limits.reserve(A, crew="helpdesk", usd=0.8))
    await asyncio.sleep(0)
    assert not second.done()
    limits.settle(first, Usage(input_tokens=1), 0.1)
    ticket = await second
    assert ticket.state == "let in"
    limits.settle(ticket, Usage(input_tokens=1), 0.1)


async def test_tokens_have_a_budget_too() -> None:
    limits = ledger({"crew:helpdesk": {"tokens_per_day": 230}})
    await call(limits, 0.0)
    await call(limits, 0.0)
    with pytest.raises(LimitError, match="40 tokens of 230 tokens is spent") as caught:
        await call(limits, 0.0)
    assert caught.value.limit == "tokens_per_day"


async def test_a_call_without_a_known_price_has_no_part_in_a_budget_in_usd() -> None:
    limits = ledger({"*": {"usd_per_day": 0.5}})
    ticket = await limits.reserve(A, usd=None)
    limits.settle(ticket, Usage(input_tokens=10), None)
    await call(limits, 0.5)  # all of it is left
    with pytest.raises(LimitError):
        await call(limits, 0.01)


async def test_a_call_that_was_not_sent_or_was_refused_costs_nothing() -> None:
    limits = ledger({"*": {"usd_per_day": 0.5}})
    limits.release(await limits.reserve(A, usd=0.5))
    limits.settle(await limits.reserve(A, usd=0.5), Usage())
    await call(limits, 0.5)  # all of it is left
    with pytest.raises(LimitError):
        await call(limits, 0.01)


async def test_a_call_that_nobody_knows_the_end_of_costs_the_most() -> None:
    limits = ledger({"*": {"usd_per_day": 0.5}})
    limits.settle(await limits.reserve(A, usd=0.5), None)
    with pytest.raises(LimitError):
        await call(limits, 0.1)


async def test_a_new_day_has_a_new_budget_and_a_call_belongs_to_the_day_it_began() -> None:
    now = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC).timestamp()
    limits = ledger({"*": {"usd_per_day": 1.0}}, wall=lambda: now)
    ticket = await limits.reserve(A, usd=1.0)
    now += 2
    limits.settle(ticket, Usage(input_tokens=1), 1.0)
    await call(limits, 1.0)
    with pytest.raises(LimitError, match="midnight UTC"):
        await call(limits, 1.0)
    now += DAY
    await call(limits, 1.0)


async def test_what_was_spent_is_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.db"
    first = ledger({"crew:helpdesk": {"usd_per_day": 1.0}}, path)
    await call(first, 0.9, actual=0.7)
    await first.close()
    second = ledger({"crew:helpdesk": {"usd_per_day": 1.0}}, path)
    await call(second, 0.25)
    with pytest.raises(LimitError, match=r"0\.9500 USD of 1\.0000"):
        await call(second, 0.25)
    await second.close()


async def test_what_a_dead_gateway_had_reserved_stays_reserved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(day_budgets, "PATIENCE_S", 0.0)
    limits = {"*": {"usd_per_day": 1.0}}
    await ledger(limits, tmp_path / "ledger.db").reserve(A, usd=0.6)  # and is never heard of again
    heir = ledger(limits, tmp_path / "ledger.db")
    await call(heir, 0.4)
    with pytest.raises(LimitError, match=r"0\.6000 USD is reserved for calls under way"):
        await call(heir, 0.1)
    await heir.close()


async def test_gateways_that_share_a_file_share_its_budget(tmp_path: Path) -> None:
    limits = {"crew:helpdesk": {"usd_per_day": 1.0}}
    gateways = [ledger(limits, tmp_path / "ledger.db") for _ in range(4)]
    calls = [call(gateways[n % 4], 0.07) for n in range(100)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(result is None for result in results) == 14
    await asyncio.gather(*[gateway.close() for gateway in gateways])


async def test_room_that_another_gateway_leaves_is_found(tmp_path: Path) -> None:
    limits = {"*": {"usd_per_day": 1.0}}
    one, other = (ledger(limits, tmp_path / "ledger.db") for _ in range(2))
    ticket = await one.reserve(A, usd=0.9)
    waiting = asyncio.create_task(call(other, 0.9))
    await asyncio.sleep(0)
    assert not waiting.done()
    one.settle(ticket, Usage(input_tokens=1), 0.05)
    await asyncio.wait_for(waiting, 10)
    await one.close()
    await other.close()


async def test_a_caller_that_goes_while_its_budget_is_being_reserved_leaves_nothing_reserved(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    limits = ledger({"*": {"usd_per_day": 1.0}}, path)
    tasks = [asyncio.create_task(limits.reserve(A, usd=0.1)) for _ in range(10)]
    for steps, task in enumerate(tasks):
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    for ticket in done:
        if not isinstance(ticket, BaseException):
            limits.release(ticket)
    await limits.close()
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT held_usd, held_tokens, spent_usd FROM day_use").fetchall()
    assert set(rows) <= {(0, 0, 0)}


async def test_the_deadline_ends_a_wait_for_a_budget_as_well() -> None:
    limits = ledger({"*": {"usd_per_day": 1.0}})
    await limits.reserve(A, usd=0.8)
    with pytest.raises(ModelRateLimitError, match="usd_per_day of all calls"):
        await limits.reserve(A, usd=0.8, deadline=time.time() + 0.01)


async def test_the_minute_goes_on_after_a_restart(tmp_path: Path) -> None:
    limits = {A: {"requests_per_minute": 5, "tokens_per_minute": 1000}}
    first = ledger(limits, tmp_path / "ledger.db")
    for _ in range(3):
        first.settle(
            await first.reserve(A, input_tokens=100, output_tokens=400),
            Usage(input_tokens=50, output_tokens=50),
        )
    await first.close()
    second = ledger(limits, tmp_path / "ledger.db")
    # 300 tokens are used, and 3 requests.
    second.settle(await second.reserve(A, input_tokens=700), Usage(input_tokens=100))
    await second.reserve(A, input_tokens=1)
    with pytest.raises(ModelRateLimitError, match="requests_per_minute"):
        await second.reserve(A, deadline=time.time() + 0.01)
    await second.close()


async def test_calls_under_way_at_a_crash_count_in_the_minute_with_the_most_they_may_use(
    tmp_path: Path,
) -> None:
    limits = {A: {"tokens_per_minute": 1000}}
    first = ledger(limits, tmp_path / "ledger.db")
    await first.reserve(A, input_tokens=300, output_tokens=400)
    await first.close()
    second = ledger(limits, tmp_path / "ledger.db")
    await second.reserve(A, input_tokens=300)
    with pytest.raises(ModelRateLimitError, match="tokens_per_minute"):
        await second.reserve(A, input_tokens=1, deadline=time.time() + 0.01)
    await second.close()


async def test_an_old_minute_is_forgotten(tmp_path: Path) -> None:
    now = 5000.0
    first = ledger({A: {"requests_per_minute": 1}}, tmp_path / "ledger.db", clock=lambda: now)
    first.settle(await first.reserve(A), Usage())
    await first.close()
    now += 70
    second = ledger({A: {"requests_per_minute": 1}}, tmp_path / "ledger.db", clock=lambda: now)
    assert (await second.reserve(A, deadline=time.time() + 5)).waited_for == ""
    await second.close()


async def test_without_its_file_a_budget_lets_nothing_through_but_rates_go_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database, and long enough to be seen as none" * 40)
    broken = ledger({"crew:helpdesk": {"usd_per_day": 1.0}, A: {"requests_per_minute": 1}}, path)
    await broken.reserve(A)
    with pytest.raises(ModelRateLimitError):
        await broken.reserve(A, deadline=time.time() + 0.01)
    with pytest.raises(ServiceError, match="cannot be used") as caught:
        await broken.reserve("openai/b", crew="helpdesk", usd=0.1)
    assert str(path) in caught.value.message
    await broken.close()


async def test_a_file_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    limits = ledger({"*": {"usd_per_day": 1.0}}, path)
    with pytest.raises(ServiceError, match="version 99"):
        await call(limits, 0.1)
    await limits.close()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX permissions")
async def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    limits = ledger({"*": {"usd_per_day": 1.0}}, tmp_path / "ledger.db")
    await call(limits, 0.1)
    await limits.close()
    assert (tmp_path / "ledger.db").stat().st_mode & 0o077 == 0
