"""The circuit breaker: when it opens, who probes, and what closes it."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from callsheet.models.breaker import Breaker, Pass


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def made(clock: Clock, failures: int = 3) -> Breaker:
    return Breaker(failures=failures, pause_s=10, max_pause_s=40, clock=clock)


def leave(breaker: Breaker) -> Pass:
    given_ = breaker.admit()
    assert given_ is not None
    return given_


def opened(clock: Clock) -> Breaker:
    breaker = made(clock)
    for _ in range(3):
        breaker.failed(leave(breaker))
    return breaker


def test_it_opens_after_failures_in_a_row_and_a_success_between_starts_the_count_anew() -> None:
    breaker = made(Clock())
    for _ in range(5):
        breaker.failed(leave(breaker))
        breaker.failed(leave(breaker))
        breaker.succeeded(leave(breaker))
    assert breaker.state == "closed"
    for _ in range(3):
        breaker.failed(leave(breaker))
    assert (breaker.state, breaker.admit(), breaker.opens_in_s) == ("open", None, 10)


def test_after_the_pause_one_call_probes_and_the_others_wait_for_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 10
    assert breaker.state == "half-open"
    probe = leave(breaker)
    assert probe == "probe"
    assert breaker.admit() is None
    breaker.succeeded(probe)
    assert (breaker.state, breaker.admit()) == ("closed", "call")


def test_a_probe_that_fails_doubles_the_pause_up_to_a_bound() -> None:
    clock = Clock()
    breaker = opened(clock)
    for pause in (20, 40, 40):
        clock.now += breaker.opens_in_s
        breaker.failed(leave(breaker))
        assert breaker.opens_in_s == pause


def test_a_probe_that_was_given_up_lets_another_probe() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 10
    breaker.unsure(leave(breaker))
    assert breaker.admit() == "probe"


def test_what_was_sent_before_it_opened_neither_closes_nor_lengthens() -> None:
    clock = Clock()
    breaker = made(clock, failures=1)
    first, second, third = leave(breaker), leave(breaker), leave(breaker)
    breaker.failed(first)
    clock.now += 4
    breaker.failed(second)
    breaker.succeeded(third)
    assert (breaker.state, breaker.opens_in_s) == ("open", 6)


async def test_who_waits_is_told_when_the_probe_has_ended() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 10
    probe = leave(breaker)
    waiter = asyncio.create_task(breaker.changed(60))
    await asyncio.sleep(0)
    breaker.succeeded(probe)
    await asyncio.wait_for(waiter, 5)
    assert breaker.admit() == "call"


@given(st.lists(st.sampled_from(["admit", "succeeded", "failed", "unsure", "time"]), max_size=60))
def test_never_two_probes_and_never_stuck(events: list[str]) -> None:
    clock = Clock()
    breaker = made(clock)
    out: list[Pass] = []
    for event in events:
        if event == "time":
            clock.now += 7
        elif event == "admit":
            given_ = breaker.admit()
            if given_ is not None:
                out.append(given_)
        elif out:
            getattr(breaker, event)(out.pop(0))
        assert out.count("probe") <= 1
    for given_ in out:
        breaker.unsure(given_)
    clock.now += breaker.opens_in_s
    assert breaker.admit() is not None
