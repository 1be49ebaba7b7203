"""The ledger of model calls: who waits, for what, in which turn, and what ends a wait."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.core.errors import ModelRateLimitError
from callsheet.models.admission import Admission
from callsheet.models.ledger import Ledger
from callsheet.models.limits import parse_limits
from callsheet.models.messages import Usage
from callsheet.models.rate_windows import RateWindow
from callsheet.models.tickets import Ticket, actual_use

A, B = "openai/a", "openai/b"


def ledger(limits: dict[str, Any], **settings: Any) -> Ledger:
    return Ledger(parse_limits(limits), **settings)


async def settled() -> None:
    """All that can go on has gone on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_call_without_limits_goes_at_once_and_waited_for_nothing() -> None:
    limits = ledger({})
    ticket = await limits.reserve(A, run_id="r")
    assert (ticket.waited_s, ticket.waited_for) == (0.0, "")
    limits.settle(ticket, Usage(input_tokens=5))


async def test_a_call_waits_while_too_many_are_in_flight_and_says_for_what() -> None:
    limits = ledger({A: {"in_flight": 1}})
    first = await limits.reserve(A, run_id="r")
    second = asyncio.create_task(limits.reserve(A, run_id="s"))
    await settled()
    assert not second.done()
    limits.settle(first, Usage())
    ticket = await second
    assert ticket.waited_for == f"in_flight of {A}"
    assert ticket.waited_s > 0


async def test_a_full_window_lets_the_next_call_in_when_it_has_moved_on() -> None:
    limits = ledger({A: {"requests_per_minute": 2}}, window_s=0.05)
    began = time.monotonic()
    for run in range(5):
        ticket = await limits.reserve(A, run_id=str(run))
        limits.settle(ticket, Usage())
    assert time.monotonic() - began >= 2 * 0.05  # the fifth is in the third window
    assert ticket.waited_for == f"requests_per_minute of {A}"


async def test_a_model_that_is_full_does_not_hold_up_another() -> None:
    limits = ledger({A: {"requests_per_minute": 1}, "openai/*": {"in_flight": 2}})
    await limits.reserve(A, run_id="r")
    waiting = [asyncio.create_task(limits.reserve(A, run_id="r")) for _ in range(5)]
    await settled()
    assert (await limits.reserve(B, run_id="r", deadline=time.time() + 5)).waited_for == ""
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()


async def test_runs_take_turns_whatever_the_number_of_their_calls() -> None:
    limits = ledger({A: {"in_flight": 1}})
    first = await limits.reserve(A, run_id="large")
    order: list[str] = []

    async def call(run: str) -> None:
        ticket = await limits.reserve(A, run_id=run)
        order.append(run)
        limits.settle(ticket, Usage())

    tasks = [asyncio.create_task(call("large")) for _ in range(100)]
    await settled()
    tasks += [asyncio.create_task(call(run)) for run in ("small", "other", "small")]
    await settled()
    limits.settle(first, Usage())
    await asyncio.gather(*tasks)
    assert order[:6] == ["large", "small", "other", "large", "small", "large"]
    assert len(order) == 103


async def test_runs_take_turns_across_models_that_share_a_limit() -> None:
    limits = ledger({"*": {"in_flight": 1}})
    first = await limits.reserve(A)
    order: list[str] = []

    async def call(run: str, model: str) -> None:
        ticket = await limits.reserve(model, run_id=run)
        order.append(run)
        limits.settle(ticket, Usage())

    tasks = [asyncio.create_task(call("one", A)) for _ in range(3)]
    tasks.append(asyncio.create_task(call("other", B)))
    await settled()
    limits.settle(first, Usage())
    await asyncio.gather(*tasks)
    assert order == ["one", "other", "one", "one"]


@given(at=st.floats(0, 1e9), part=st.floats(0, 0.9999), margin_s=st.floats(0, 5))
def test_a_use_counts_for_its_whole_window_and_margin_and_hardly_longer(
    at: float, part: float, margin_s: float
) -> None:
    window = RateWindow(1, 60.0, margin_s)
    window.use(window.slice_of(at), 1)
    assert window.room(at + part * (60.0 + margin_s)) == 0
    free_at = window.room_at(1, at)
    assert free_at is not None
    assert at + 60.0 + margin_s - 1e-6 <= free_at <= at + 60.0 + margin_s + window.slice_s + 1e-6
    assert window.room(free_at) == 1


async def test_what_was_reserved_and_not_used_goes_to_the_next() -> None:
    limits = ledger({A: {"tokens_per_minute": 1000}})
    ticket = await limits.reserve(A, input_tokens=500, output_tokens=500)
    waiting = asyncio.create_task(limits.reserve(A, input_tokens=800))
    await settled()
    assert not waiting.done()
    limits.settle(ticket, Usage(input_tokens=100, output_tokens=100))
    assert (await waiting).waited_for == f"tokens_per_minute of {A}"


async def test_a_call_that_was_not_sent_leaves_all_its_room() -> None:
    limits = ledger({A: {"requests_per_minute": 1}})
    limits.release(await limits.reserve(A))
    assert (await limits.reserve(A, deadline=time.time() + 5)).waited_for == ""


async def test_a_failed_call_counts_as_a_request_but_its_tokens_do_not() -> None:
    limits = ledger({A: {"requests_per_minute": 2, "tokens_per_minute": 100}})
    limits.settle(await limits.reserve(A, input_tokens=100), Usage())
    limits.settle(await limits.reserve(A, input_tokens=100), Usage())
    with pytest.raises(ModelRateLimitError, match="requests_per_minute"):
        await limits.reserve(A, input_tokens=1, deadline=time.time() + 0.01)


async def test_a_call_nobody_knows_the_use_of_counts_as_the_most_it_may_have_used() -> None:
    limits = ledger({A: {"tokens_per_minute": 100}})
    limits.settle(await limits.reserve(A, input_tokens=50, output_tokens=40), None)
    await limits.reserve(A, input_tokens=10)
    with pytest.raises(ModelRateLimitError, match="tokens_per_minute"):
        await limits.reserve(A, input_tokens=1, deadline=time.time() + 0.01)


async def test_a_call_larger_than_the_whole_limit_goes_alone() -> None:
    limits = ledger({A: {"tokens_per_minute": 100}}, window_s=0.05)
    limits.settle(await limits.reserve(A, input_tokens=10), Usage(input_tokens=10))
    large = await limits.reserve(A, input_tokens=5000, output_tokens=5000)
    assert large.waited_for == f"tokens_per_minute of {A}"


async def test_the_deadline_ends_a_wait_with_an_error_that_says_for_what() -> None:
    limits = ledger({"crew:helpdesk": {"in_flight": 1}})
    await limits.reserve(A, crew="helpdesk")
    with pytest.raises(ModelRateLimitError, match="in_flight of crew:helpdesk") as caught:
        await limits.reserve(B, run_id="r1", crew="helpdesk", deadline=time.time() + 0.01)
    assert (caught.value.model, caught.value.provider, caught.value.run_id) == (B, "openai", "r1")
    assert "deadline" in caught.value.hint
    await limits.reserve(B, crew="other")


async def test_callers_that_go_leave_no_trace() -> None:
    limits = ledger({A: {"in_flight": 1}})
    first = await limits.reserve(A)
    waiting = [asyncio.create_task(limits.reserve(A, run_id=str(n))) for n in range(20)]
    await settled()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    limits.settle(first, Usage())
    assert (await limits.reserve(A, deadline=time.time() + 5)).waited_for == ""


async def test_a_caller_that_goes_in_the_moment_it_is_let_in_gives_its_room_to_the_next() -> None:
    limits = ledger({A: {"in_flight": 1}})
    first = await limits.reserve(A)
    unlucky = asyncio.create_task(limits.reserve(A, run_id="unlucky"))
    lucky = asyncio.create_task(limits.reserve(A, run_id="lucky"))
    await settled()
    limits.settle(first, Usage())
    unlucky.cancel()
    await asyncio.wait_for(lucky, 5)
    assert unlucky.cancelled()


async def test_a_large_call_is_not_passed_by_small_ones_of_other_models() -> None:
    limits = ledger({"*": {"tokens_per_minute": 100, "in_flight": 50}}, window_s=0.1)
    limits.settle(await limits.reserve(B, input_tokens=60), Usage(input_tokens=60))
    large = asyncio.create_task(limits.reserve(A, run_id="large", input_tokens=90))
    await settled()
    small = [asyncio.create_task(limits.reserve(B, run_id=f"s{n}", input_tokens=20)) for n in range(20)]
    done, _ = await asyncio.wait([large, *small], return_when=asyncio.FIRST_COMPLETED)
    assert large in done
    for task in small:
        task.cancel()


async def test_a_pause_is_for_everybody_who_calls_that_model() -> None:
    limits = ledger({})
    limits.pause(A, 0.05)
    assert limits.paused_s(A) > 0
    tickets = await asyncio.gather(*[limits.reserve(A, run_id=str(n)) for n in range(3)])
    assert all(ticket.waited_for == f"pause of {A} (the provider asked for it)" for ticket in tickets)
    assert limits.paused_s(A) == 0
    assert limits.paused_s(B) == 0


async def test_a_pause_longer_than_anybody_waits_fails_the_calls_that_wait_and_those_that_come() -> None:
    limits = ledger({A: {"in_flight": 1}}, max_pause_s=60)
    await limits.reserve(A)
    waiting = asyncio.create_task(limits.reserve(A))
    await settled()
    limits.pause(A, 600)
    with pytest.raises(ModelRateLimitError, match="is paused for another 600 s") as caught:
        await waiting
    assert caught.value.retry_after_s == pytest.approx(600, abs=1)
    with pytest.raises(ModelRateLimitError):
        await limits.reserve(A)
    await limits.reserve(B)


async def test_a_pause_beyond_the_deadline_fails_at_once() -> None:
    limits = ledger({})
    limits.pause(A, 50)
    with pytest.raises(ModelRateLimitError, match="paused"):
        await asyncio.wait_for(limits.reserve(A, deadline=time.time() + 40), 5)


async def test_a_lower_limit_in_headers_holds_from_then_on() -> None:
    limits = ledger({A: {"requests_per_minute": 100}})
    headers = {"x-ratelimit-limit-requests": "3", "x-ratelimit-remaining-requests": "2"}
    limits.settle(await limits.reserve(A), Usage(), headers=headers)
    for _ in range(2):
        await limits.reserve(A)
    with pytest.raises(ModelRateLimitError, match="requests_per_minute"):
        await limits.reserve(A, deadline=time.time() + 0.01)


async def test_a_higher_limit_in_headers_does_not_raise_ours() -> None:
    limits = ledger({A: {"requests_per_minute": 1}})
    limits.learn(A, {"x-ratelimit-limit-requests": "1000"})
    await limits.reserve(A)
    with pytest.raises(ModelRateLimitError):
        await limits.reserve(A, deadline=time.time() + 0.01)


async def test_nothing_remaining_pauses_the_model_until_the_reset() -> None:
    limits = ledger({})
    headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "12s"}
    limits.settle(await limits.reserve(A), Usage(), headers=headers)
    assert limits.paused_s(A) == pytest.approx(12, abs=1)


async def test_nothing_remaining_of_what_we_have_used_up_ourselves_pauses_nothing() -> None:
    limits = ledger({A: {"requests_per_minute": 2}}, window_s=0.05)
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "50s"}
    limits.settle(await limits.reserve(A), Usage())
    limits.settle(await limits.reserve(A), Usage(), headers=headers)
    assert limits.paused_s(A) == 0
    await limits.reserve(A, deadline=time.time() + 5)


async def test_retry_after_with_an_answer_that_succeeded_pauses_nobody() -> None:
    limits = ledger({})
    limits.settle(await limits.reserve(A), Usage(output_tokens=1), headers={"retry-after": "24"})
    assert limits.paused_s(A) == 0


async def test_a_call_sent_late_counts_from_its_sending() -> None:
    now = 1000.0
    limits = ledger({A: {"requests_per_minute": 1}}, clock=lambda: now, window_s=60, margin_s=0)
    ticket = await limits.reserve(A)
    now += 50
    limits.sent(ticket)
    limits.settle(ticket, Usage())
    now += 20
    with pytest.raises(ModelRateLimitError):
        await limits.reserve(A, deadline=time.time() + 0.01)
    now += 41
    await limits.reserve(A, deadline=time.time() + 5)


async def test_a_ticket_is_settled_once() -> None:
    limits = ledger({A: {"in_flight": 1}})
    ticket = await limits.reserve(A)
    limits.settle(ticket, Usage())
    await limits.reserve(A)
    limits.settle(ticket, Usage())
    limits.release(ticket)
    with pytest.raises(ModelRateLimitError):
        await limits.reserve(A, deadline=time.time() + 0.01)


@pytest.mark.parametrize("latency_s", [0.2, 2.0, 15.0])
def test_two_hundred_runs_use_at_least_nine_tenths_of_the_limit_and_never_more(latency_s: float) -> None:
    """Simulated: ten minutes in which 200 runs want more than there is; a server that sees calls delayed."""
    limit, minutes, draw = 300, 10, random.Random(7)
    admission = Admission(parse_limits({A: {"requests_per_minute": limit, "in_flight": 120}}))
    arrived: list[float] = []
    numbers = itertools.count()
    ends: list[tuple[float, int, Ticket]] = []
    turns: dict[str, int] = {}
    now = 0.0

    def begin(ticket: Ticket) -> None:
        turns[ticket.run_id] = turns.get(ticket.run_id, 0) + 1
        arrived.append(now + draw.uniform(0, 2.0))
        heapq.heappush(ends, (now + 2.0 + draw.uniform(0.5, 1.5) * latency_s, next(numbers), ticket))

    def ask(run: str) -> None:
        ticket = Ticket(model=A, run_id=run)
        admission.place(ticket)
        if admission.ask(ticket, now):
            begin(ticket)

    for run in range(200):
        ask(str(run))
    while now < 60 * minutes:
        admitted, wake = admission.pump(now)
        for ticket in admitted:
            begin(ticket)
        now = min(time_ for time_ in (wake, ends[0][0] if ends else None) if time_ is not None)
        while ends and ends[0][0] <= now:
            _, _, ticket = heapq.heappop(ends)
            admission.settle(ticket, actual_use(Usage()), now)
            ask(ticket.run_id)
    arrived.sort()
    first = 0
    for last, at in enumerate(arrived):
        while arrived[first] <= at - 60:
            first += 1
        assert last - first + 1 <= limit
    in_whole_minutes = sum(at < 60 * minutes for at in arrived)
    assert in_whole_minutes >= 0.9 * limit * minutes
    assert min(turns.values()) >= 0.7 * max(turns.values())
