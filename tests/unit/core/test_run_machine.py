"""A run under generated events, with crashes, losses and resumptions between any two of them."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from callsheet.core.events import ENDED
from callsheet.core.limits import Limits
from callsheet.core.records import PERSON
from tests.unit.core.run_world import NAMES, Held, Place, Process, World, root


class Runs(RuleBasedStateMachine):
    """One run in its world; see `run_world` for what it may meet, and for the rules that are checked."""

    world: World

    @initialize(
        turns=st.sampled_from([4, 10, 1000]),
        messages=st.sampled_from([6, 1000]),
        budget=st.sampled_from([None, 1.0]),
    )
    def begin(self, turns: int, messages: int, budget: float | None) -> None:
        self.world = World(Limits(turns=turns, messages=messages, budget_usd=budget, model_calls_per_turn=4))
        self.world.all_arrives()  # the crew is there

    def some_turn(self, data: st.DataObject) -> tuple[Process, Held]:
        found = [(p, held) for p in self.world.processes.values() for held in p.held.values()]
        return data.draw(st.sampled_from(found))

    def some_call(self, data: st.DataObject) -> tuple[Process, Held, Place]:
        return data.draw(st.sampled_from(self.running()))

    def running(self) -> list[tuple[Process, Held, Place]]:
        return [
            (p, held, place)
            for p in self.world.processes.values()
            for held in p.held.values()
            for place, call in held.calls.items()
            if call.running
        ]

    def any_held(self) -> bool:
        return any(p.held for p in self.world.processes.values())

    # --- what turns do -------------------------------------------------------------------------------

    @precondition(any_held)
    @rule(data=st.data(), receiver=st.sampled_from(["a", "a", "flow", PERSON, PERSON]))
    def a_turn_asks(self, data: st.DataObject, receiver: str) -> None:
        self.world.asks(*self.some_turn(data), receiver)

    @precondition(any_held)
    @rule(data=st.data(), worst=st.sampled_from([0.1, 0.4, 0.7, 1.5]))
    def a_turn_wants_a_model_call(self, data: st.DataObject, worst: float) -> None:
        self.world.calls(*self.some_turn(data), worst)

    @precondition(any_held)
    @rule(data=st.data())
    def a_turn_wants_what_happens_once(self, data: st.DataObject) -> None:
        self.world.calls(*self.some_turn(data), 0.0, "tool")

    @precondition(running)
    @rule(data=st.data(), share=st.sampled_from([None, 0.0, 0.5, 1.0]))
    def a_call_ends(self, data: st.DataObject, share: float | None) -> None:
        self.world.call_ends(*self.some_call(data), share)

    @precondition(any_held)
    @rule(data=st.data(), kind=st.sampled_from(["reply", "reply", "error"]))
    def a_turn_ends(self, data: st.DataObject, kind: str) -> None:
        process, held = self.some_turn(data)
        seldom = held.turn_id == root().id, bool(held.pending), bool(held.calls)
        if data.draw(st.integers(0, 3 * sum(seldom))) == 0:
            self.world.ends(process, held, kind)  # type: ignore[arg-type]

    @rule()
    def patient_turns_park(self) -> None:
        for process in self.world.processes.values():
            for held in list(process.held.values()):
                if held.patient and held.waits_only:
                    self.world.parks(process, held)

    # --- what travels --------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, 4))
    def the_coordinator_hears(self, name: str, count: int) -> None:
        for _ in range(count):
            self.world.hear(self.world.processes[name])

    @rule()
    def the_journal_commits(self) -> None:
        self.world.commit()

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, 4), forgets=st.booleans())
    def a_process_listens(self, name: str, count: int, forgets: bool) -> None:
        for _ in range(count):
            self.world.listen(self.world.processes[name], forgets=forgets)

    @rule()
    def all_arrives(self) -> None:
        self.world.all_arrives()

    # --- what goes wrong, and what people do ---------------------------------------------------------

    @rule()
    def the_coordinator_dies(self) -> None:
        self.world.coordinator_dies()

    @rule(name=st.sampled_from(NAMES))
    def a_process_dies(self, name: str) -> None:
        self.world.process_dies(name)

    @precondition(lambda self: self.world.questions())
    @rule(data=st.data(), twice=st.booleans())
    def a_person_replies(self, data: st.DataObject, twice: bool) -> None:
        question = data.draw(st.sampled_from(self.world.questions()))
        self.world.resume(reply=question)
        if twice:
            assert not self.world.resume(reply=question)

    @rule(rarely=st.integers(0, 9), deadline=st.booleans())
    def it_is_stopped(self, rarely: int, deadline: bool) -> None:
        if rarely == 0 and deadline:
            self.world.deadline()
        elif rarely == 0:
            self.world.cancel()

    @precondition(lambda self: self.world.state is None)
    @rule(budget=st.sampled_from([None, 1.0, 3.0]), turns=st.sampled_from([10, 1000]))
    def somebody_resumes_it(self, budget: float | None, turns: int) -> None:
        status = self.world.decided.status
        limits = Limits(budget_usd=budget, turns=turns, model_calls_per_turn=9)
        resumed = self.world.resume(limits)
        assert resumed == (status in ENDED - {"done"} or status == "running")

    @invariant()
    def the_rules_hold(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
