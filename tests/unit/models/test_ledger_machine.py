"""Whatever comes in whatever order: no limit is overshot, nobody is lost, nobody is passed by."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from callsheet.models.admission import Admission
from callsheet.models.limits import parse_limits
from callsheet.models.messages import Usage
from callsheet.models.tickets import Ticket, actual_use

WINDOW_S = 60.0
MARGIN_S = 2.0

LIMITS = parse_limits(
    {
        "openai/a": {"requests_per_minute": 5, "tokens_per_minute": 100, "in_flight": 3},
        "openai/b": {"input_tokens_per_minute": 60, "output_tokens_per_minute": 40},
        "openai/*": {"requests_per_minute": 7},
        "crew:x": {"in_flight": 2, "tokens_per_minute": 150},
        "*": {"tokens_per_minute": 200, "in_flight": 6},
    }
)
MODELS = ("openai/a", "openai/b", "anthropic/c")
SUBJECTS = {
    "requests_per_minute": "requests",
    "tokens_per_minute": "tokens",
    "input_tokens_per_minute": "input_tokens",
    "output_tokens_per_minute": "output_tokens",
}


def falls_under(ticket: Ticket, key: str) -> bool:
    """Said here once more, in other words than the ledger's."""
    if key.startswith("crew:"):
        return key == f"crew:{ticket.crew}"
    return key in ("*", ticket.model) or (key.endswith("/*") and ticket.model.startswith(key[:-1]))


@dataclass
class Seen:
    """What a server counted of one call: when, and how much."""

    ticket: Ticket
    arrived: float
    ended: float = 0.0
    usage: Usage = field(default_factory=Usage)

    def amounts(self, subject: str) -> list[tuple[float, int]]:
        input_, output = (self.arrived, self.usage.input_tokens), (self.ended, self.usage.output_tokens)
        if subject == "requests":
            return [(self.arrived, 1)]
        return {"tokens": [input_, output], "input_tokens": [input_], "output_tokens": [output]}[subject]


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000.0
        self.admission = Admission(LIMITS, window_s=WINDOW_S, margin_s=MARGIN_S)
        self.waiting: list[Ticket] = []
        self.flying: list[Ticket] = []
        self.seen: dict[Ticket, Seen] = {}
        self.delay = 0.0
        self.passed: dict[Ticket, defaultdict[str, int]] = {}
        """For each waiting call of which no earlier one of its run waits: who was let in since, how often."""

    def let_in(self, ticket: Ticket) -> None:
        self.flying.append(ticket)
        self.seen[ticket] = Seen(ticket, self.now + self.delay)
        for other, passed in self.passed.items():
            if other.line == ticket.line and other.run_id != ticket.run_id:
                passed[ticket.run_id] += 1
                # One that came before it may have been next in its run already: once more is its turn.
                assert passed[ticket.run_id] <= 1, (
                    f"{ticket.run_id} had two turns while {other.run_id} waited"
                )

    def pump(self) -> None:
        admitted, wake = self.admission.pump(self.now)
        for ticket in admitted:
            self.waiting.remove(ticket)
            self.passed.pop(ticket, None)
            self.let_in(ticket)
            self.first_of_each_run()
        assert wake is None or wake > self.now

    def first_of_each_run(self) -> None:
        firsts: dict[tuple[object, str], Ticket] = {}
        for ticket in self.waiting:
            firsts.setdefault((ticket.line, ticket.run_id), ticket)
        self.passed = {t: self.passed.get(t, defaultdict(int)) for t in firsts.values()}

    @rule(
        model=st.sampled_from(MODELS), run=st.integers(0, 4), crew=st.sampled_from(["", "x", "y"]),
        input_=st.integers(0, 60), output=st.integers(0, 40), times=st.integers(1, 6),
    )  # fmt: skip
    def ask(self, model: str, run: int, crew: str, input_: int, output: int, times: int) -> None:
        for _ in range(times):
            # A run belongs to one crew.
            ticket = Ticket(
                model=model, run_id=f"{run}{crew}", crew=crew, input_tokens=input_, output_tokens=output
            )
            self.admission.place(ticket)
            if self.admission.ask(ticket, self.now):
                self.let_in(ticket)
            else:
                self.waiting.append(ticket)
                self.first_of_each_run()
                self.pump()

    @rule(
        seconds=st.one_of(
            st.sampled_from([0.0, 0.001, 0.3, 1.0, MARGIN_S, WINDOW_S / 2, WINDOW_S, WINDOW_S + MARGIN_S]),
            st.floats(0, 2 * WINDOW_S),
        ),
        delay=st.floats(0, MARGIN_S),
    )
    def time_passes(self, seconds: float, delay: float) -> None:
        self.now += seconds
        self.delay = delay
        self.pump()

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), part=st.floats(0, 1))
    def a_call_ends(self, data: st.DataObject, part: float) -> None:
        ticket = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        used = Usage(
            input_tokens=int(ticket.input_tokens * part), output_tokens=int(ticket.output_tokens * part)
        )
        # No answer comes before the question has arrived.
        self.now = max(self.now, self.seen[ticket].arrived)
        self.seen[ticket].ended, self.seen[ticket].usage = self.now, used
        self.admission.settle(ticket, actual_use(used), self.now)
        self.pump()

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def a_call_is_lost(self, data: st.DataObject) -> None:
        ticket = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        self.now = max(self.now, self.seen[ticket].arrived)
        self.seen[ticket].ended = self.now
        self.seen[ticket].usage = Usage(input_tokens=ticket.input_tokens, output_tokens=ticket.output_tokens)
        self.admission.settle(ticket, None, self.now)
        self.pump()

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def a_call_is_not_sent(self, data: st.DataObject) -> None:
        ticket = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
        del self.seen[ticket]
        self.admission.release(ticket)
        self.pump()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def a_caller_goes(self, data: st.DataObject) -> None:
        ticket = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        self.admission.leave(ticket)
        self.first_of_each_run()
        self.pump()

    @rule(model=st.sampled_from(MODELS), seconds=st.floats(0.1, 90))
    def a_provider_asks_for_a_pause(self, model: str, seconds: float) -> None:
        self.admission.pause(model, self.now + seconds, "asked")

    @invariant()
    def no_more_in_flight_than_allowed(self) -> None:
        for key, limits in LIMITS.items():
            if limits.in_flight is not None:
                assert sum(falls_under(t, key) for t in self.flying) <= limits.in_flight, key

    @invariant()
    def nobody_is_lost(self) -> None:
        assert len(self.admission.queue) == len(self.waiting)
        assert all(ticket.is_in for ticket in self.flying)

    def teardown(self) -> None:
        # Everybody who waits gets in, if time passes and calls end: a call may take a whole limit for the time
        # of four of these rounds, one until it is settled and three until its minute has passed.
        for _ in range(5 * (len(self.waiting) + len(self.flying)) + 10):
            self.all_calls_end()
            self.pump()
            self.now += WINDOW_S / 2
            self.delay = 0.0
        assert not self.waiting, "somebody starves"
        self.all_calls_end()
        self.no_window_saw_more_than_its_limit()
        self.now += 2 * WINDOW_S + MARGIN_S
        for key in (*LIMITS, *MODELS):
            pool = self.admission.pool(key)
            assert pool.in_flight == 0
            for window in pool.windows.values():
                assert window.room(self.now) == window.limit, f"{key} has kept a trace"

    def all_calls_end(self) -> None:
        for ticket in self.flying:
            used = Usage(input_tokens=ticket.input_tokens, output_tokens=ticket.output_tokens)
            self.now = max(self.now, self.seen[ticket].arrived)
            self.seen[ticket].ended, self.seen[ticket].usage = self.now, used
            self.admission.settle(ticket, actual_use(used), self.now)
        self.flying.clear()

    def no_window_saw_more_than_its_limit(self) -> None:
        for key, limits in LIMITS.items():
            for name, subject in SUBJECTS.items():
                limit = getattr(limits, name)
                if limit is None:
                    continue
                counted = sorted(
                    pair
                    for seen in self.seen.values()
                    if falls_under(seen.ticket, key)
                    for pair in seen.amounts(subject)
                )
                for end, _ in counted:
                    total = sum(amount for at, amount in counted if end - WINDOW_S < at <= end)
                    assert total <= limit, f"{name} of {key}: {total} in the window that ends at {end}"


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=100, stateful_step_count=40)
