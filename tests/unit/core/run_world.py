"""One run in a small world: a coordinator, its journal, two processes and a person, with all that is on its way.

The world is faithful in what can get lost and in which order things come: each process sends its items in
order, a new coordinator gets again what its predecessor had not acknowledged, a new process begins with
nothing, and whatever was decided and not yet committed dies with its coordinator.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from callsheet.core import run_state
from callsheet.core.budget import reservation_of
from callsheet.core.canonical import digest
from callsheet.core.events import (
    ENDED,
    CancelRequested,
    CancelTurn,
    DeadlinePassed,
    Deliver,
    DeliverAgain,
    EndRun,
    Grant,
    KeepEnvelope,
    KeepStep,
    MessageSent,
    Park,
    Recall,
    Resolve,
    RunStarted,
    StepRecorded,
    StepReserved,
    TurnFinished,
    TurnParked,
    TurnTaken,
    Wait,
)
from callsheet.core.ids import root_envelope_id, sent_envelope_id, step_key
from callsheet.core.limits import Limits, RunUsage
from callsheet.core.records import PERSON, Envelope, Step, answers, ask_step, is_question
from callsheet.core.run_state import decide, start
from callsheet.core.state import RunState, failure, rebuild, without_calls

RUN = "run-000001"
Place = tuple[str, int]
NAMES = ("flow", "a")
ERROR = '{"fields":{},"message":"it broke","type":"AgentError"}'


def root(at: float = 0.0) -> Envelope:
    """The envelope that a run begins with."""
    return Envelope(
        id=root_envelope_id(RUN), run_id=RUN, kind="ask", sender=PERSON, receiver="flow", body='"q"', at=at
    )


def ask(turn: str, name: str, nth: int = 0, receiver: str = "a", at: float = 1.0) -> Envelope:
    """An ask of a turn."""
    key = step_key("ask", digest(receiver, name))
    return Envelope(
        id=sent_envelope_id(turn, key, nth), run_id=RUN, kind="ask", sender="x", receiver=receiver, body='"t"',
        cause=turn, step_key=key, step_nth=nth, at=at,
    )  # fmt: skip


def llm(turn: str, name: str, cost: float = 0.0, **fields: Any) -> Step:
    """A model call of a turn; with `state="intent"`, what it may cost at most."""
    usage = RunUsage(llm_calls=1, input_tokens=10, output_tokens=1, cost_usd=cost)
    return Step(
        run_id=RUN,
        turn_id=turn,
        key=step_key("llm", name),
        nth=0,
        kind="llm",
        name="m",
        usage=usage,
        **fields,
    )


@dataclass
class Book:
    """What the journal has of the run."""

    envelopes: dict[str, Envelope] = field(default_factory=dict)
    steps: dict[tuple[str, str, int], Step] = field(default_factory=dict)
    status: str = "running"
    limits: Limits = field(default_factory=Limits)
    since: float = 0.0

    def turn_steps(self, turn_id: str) -> tuple[Step, ...]:
        """What a turn is given with."""
        kept = [*self.envelopes.values()]
        asks = {e.id: e for e in kept if e.kind == "ask" and e.cause == turn_id}
        answered = [ask_step(asks[e.reply_to], e) for e in kept if e.reply_to in asks and answers(e)]
        return (*(s for s in self.steps.values() if s.turn_id == turn_id), *answered)

    def keep_step(self, step: Step) -> None:
        """As the journal does it: what is done stays as it is."""
        old = self.steps.get((step.turn_id, *step.place))
        if old is None or old.state == "intent":
            self.steps[step.turn_id, *step.place] = step

    def retire(self, ids: tuple[str, ...]) -> None:
        """Those replies answer nothing any more."""
        kept = [*self.envelopes.values()]
        for n, envelope in enumerate(kept):
            if envelope.id in ids:
                count = sum(e.reply_to == envelope.reply_to for e in kept)
                kept[n] = replace(envelope, id=f"{envelope.id}.{count}")
        self.envelopes = {e.id: e for e in kept}

    def state(self, *, parked: bool = False, status: Any = "running") -> RunState:
        """The run's state from this alone."""
        return rebuild(
            root(),
            self.limits,
            status,
            list(self.envelopes.values()),
            list(self.steps.values()),
            parked=parked,
        )


@dataclass
class Call:
    """A step that a process is about: it waits for leave, or is being done."""

    intent: Step
    running: bool = False


@dataclass
class Held:
    """A turn in the hands of a process."""

    turn_id: str
    since: float
    pending: set[Place] = field(default_factory=set)
    calls: dict[Place, Call] = field(default_factory=dict)
    patient: bool = False

    @property
    def waits_only(self) -> bool:
        """Whether it may be parked."""
        return not self.calls and bool(self.pending)


@dataclass
class Process:
    """A participant's process, and its lane to the coordinator."""

    name: str
    held: dict[str, Held] = field(default_factory=dict)
    finished: dict[str, float] = field(default_factory=dict)
    outbox: list[Any] = field(default_factory=list)
    taken: int = 0
    told: int = 0
    """What the coordinator has acknowledged; the process learns of it later, and sends the rest again."""
    acked: int = 0
    inbox: list[Any] = field(default_factory=list)


class World:
    """All of it. Its assertions are the rules that hold whatever happens."""

    def __init__(self, limits: Limits) -> None:
        self.durable = Book(limits=limits)
        self.decided = Book(limits=limits)
        self.state: RunState | None = None
        self.keeps: list[Callable[[Book], None]] = []
        self.effects: list[Callable[[], None]] = []
        self.processes = {name: Process(name) for name in NAMES}
        self.joined: set[str] = set()
        self.scripts: dict[str, list[Envelope | Step]] = {}
        self.begun: dict[tuple[str, str, int], int] = {}
        self.resolved: list[str] = []
        self.waited = 0
        self.used_before = 0.0
        self.count = 0
        for process in self.processes.values():
            process.outbox.append(("join", (), ()))
        self.state, commands = start(RunStarted(envelope=root(), limits=limits))
        self.perform(commands)

    # --- the coordinator -----------------------------------------------------------------------------

    def keep(self, change: Callable[[Book], None]) -> None:
        change(self.decided)
        self.keeps.append(change)

    def find(self) -> RunState | None:
        """The run, if it is going on: in memory, or left by another coordinator."""
        if self.state is None and self.decided.status == "running":
            self.state = self.decided.state()
        return self.state

    def happen(self, event: Any) -> None:
        state = self.find()
        if state is None:
            return
        frozen = repr(state)
        self.state, commands = decide(state, event)
        assert repr(state) == frozen
        if state.status != "running":
            assert (self.state, commands) == (state, ())
        self.perform(commands)

    def perform(self, commands: tuple[Any, ...]) -> None:
        for command in commands:
            match command:
                case KeepEnvelope(envelope=envelope):
                    assert envelope.id not in self.decided.envelopes, "handled twice"
                    self.keep(lambda book, e=envelope: book.envelopes.__setitem__(e.id, e))  # type: ignore[misc]
                case KeepStep(step=step):
                    self.keep(lambda book, s=step: book.keep_step(s))  # type: ignore[misc]
                case Deliver(envelope=envelope):
                    self.effects.append(lambda e=envelope: self.give(e, ()))  # type: ignore[misc]
                case DeliverAgain(turn_id=id_) | Recall(turn_id=id_):
                    self.effects.append(lambda t=id_: self.give_again(t))  # type: ignore[misc]
                case Park(turn_id=id_, receiver=receiver):
                    self.send(receiver, ("park", id_))
                case Grant(turn_id=id_, receiver=receiver, key=key, nth=nth):
                    self.send(receiver, ("granted", id_, (key, nth)))
                case Resolve(turn_id=id_, receiver=receiver, key=key, nth=nth):
                    self.send(receiver, ("answered", id_, (key, nth)))
                case CancelTurn(turn_id=id_, receiver=receiver):
                    self.send(receiver, ("stopped", id_))
                case Wait():
                    self.check_waiting()
                    self.waited += 1
                    self.let_go("waiting")
                case EndRun(status=status):
                    self.let_go(status)
                case _:
                    raise AssertionError(command)

    def let_go(self, status: str) -> None:
        self.keep(lambda book: setattr(book, "status", status))
        run = self.state

        def forget() -> None:
            self.state = None

        del run
        self.effects.append(forget)

    def send(self, receiver: str, item: Any) -> None:
        def push() -> None:
            if receiver in self.joined:
                self.processes[receiver].inbox.append(item)

        self.effects.append(push)

    def give(self, envelope: Envelope, steps: tuple[Step, ...]) -> None:
        if envelope.receiver in self.joined:
            self.processes[envelope.receiver].inbox.append(("given", envelope, self.decided.since, steps))

    def give_again(self, turn_id: str) -> None:
        turn = None if self.state is None else self.state.open.get(turn_id)
        if turn is not None and not turn.parked:
            self.give(turn.envelope, self.durable.turn_steps(turn_id))

    def commit(self) -> None:
        keeps, self.keeps = self.keeps, []
        effects, self.effects = self.effects, []
        for change in keeps:
            change(self.durable)
        for effect in effects:
            effect()

    def coordinator_dies(self) -> None:
        self.keeps.clear()
        self.effects.clear()
        self.decided = copy.deepcopy(self.durable)
        self.state = None
        self.joined.clear()
        for process in self.processes.values():
            process.inbox.clear()
            process.taken = process.told = process.acked
            held = tuple((h.turn_id, h.since) for h in process.held.values())
            reserving = tuple(
                call.intent
                for h in process.held.values()
                for call in h.calls.values()
                if call.intent.kind == "llm"
            )
            process.outbox.append(("join", held, reserving))
            for h in process.held.values():
                process.outbox.extend(
                    StepRecorded(step=call.intent)
                    for call in h.calls.values()
                    if call.intent.kind == "tool" and not call.running
                )

    def hear(self, process: Process) -> bool:
        """Take the next item of a process."""
        if process.taken == len(process.outbox):
            return False
        item = process.outbox[process.taken]
        process.taken += 1
        number = process.taken
        if isinstance(item, tuple):
            self.join(process, item[1], item[2])
        elif (
            isinstance(item, (MessageSent, StepRecorded))
            or (isinstance(item, TurnFinished) and item.kind == "reply")
            or item.since == self.decided.since
        ):
            self.happen(item)
        self.effects.append(lambda: setattr(process, "told", max(process.told, number)))
        return True

    def join(
        self, process: Process, held: tuple[tuple[str, float], ...], reserving: tuple[Step, ...]
    ) -> None:
        self.joined.add(process.name)
        state = self.find()
        for id_, turn in list(state.open.items()) if state is not None else ():
            if self.state is None or id_ not in self.state.open or turn.envelope.receiver != process.name:
                continue
            current = (id_, self.decided.since) in held
            mine = tuple(step for step in reserving if current and step.turn_id == id_)
            self.happen(TurnTaken(run_id=RUN, turn_id=id_, at=5.0, reserving=mine))
            if turn.parked or id_ not in self.state.open:
                continue
            self.effects.append(lambda t=id_: self.give_again(t))  # type: ignore[misc]
            if self.state.questions:
                self.send(process.name, ("park", id_))
        for id_, _ in held:
            if self.state is None or id_ not in self.state.open:
                self.send(process.name, ("stopped", id_))

    def resume(self, limits: Limits | None = None, reply: str | None = None) -> bool:
        """What `callsheet resume` and `callsheet reply` do; False if it is refused."""
        book = self.decided
        if self.state is not None:
            if reply is None or self.state.status != "running" or reply not in self.state.open:
                return False
            self.happen(finished(reply, at=6.0))
            return True
        waited = book.status == "waiting"
        if book.status == "done" or (waited and reply is None):
            return False
        asked = [e for e in book.envelopes.values() if is_question(e)]
        answered = {e.reply_to for e in book.envelopes.values() if answers(e)}
        if reply is not None and reply not in {e.id for e in asked} - answered:
            return False
        retired = failure(root(), book.envelopes.values()) if book.status in ENDED else ()

        def go_on(book: Book) -> None:
            book.retire(retired)
            book.status, book.limits, book.since = "running", limits or book.limits, book.since + 1

        self.keep(go_on)
        state = self.decided.state(parked=True)
        self.used_before = max(self.used_before, state.usage.cost_usd)
        self.state, given_back = without_calls(state, list(self.decided.steps.values()))
        self.perform(given_back)
        if reply is not None:
            self.happen(finished(reply, at=6.0))
        if not waited:
            self.state, again = run_state.begin_again(self.state)
            self.perform(again)
        return True

    def cancel(self) -> None:
        """What `callsheet cancel` does."""
        if self.state is None and self.decided.status == "waiting":
            self.state = self.decided.state(parked=True)
        self.happen(CancelRequested(run_id=RUN, reason="enough", at=5.0))

    def deadline(self) -> None:
        self.happen(DeadlinePassed(run_id=RUN, at=5.0))

    # --- a process -----------------------------------------------------------------------------------

    def process_dies(self, name: str) -> None:
        self.processes[name] = Process(name, outbox=[("join", (), ())])
        self.joined.discard(name)

    def listen(self, process: Process, *, forgets: bool = False) -> bool:
        """Take the next item from the coordinator. A process that `forgets` makes other calls than before."""
        process.acked = process.told
        if not process.inbox:
            return False
        kind, *what = process.inbox.pop(0)
        if kind == "given":
            self.begin(process, *what, forgets=forgets)
            return True
        held = process.held.get(what[0])
        if held is None:
            return True
        if kind == "stopped":
            self.drop(process, held)
        elif kind == "park":
            held.patient = True
        elif kind == "answered":
            held.pending.discard(what[1])
        elif kind == "granted":
            call = held.calls.get(what[1])
            if call is not None and not call.running:
                self.run_call(call)
        return True

    def begin(
        self, process: Process, envelope: Envelope, since: float, steps: tuple[Step, ...], *, forgets: bool
    ) -> None:
        held = process.held.get(envelope.id)
        if held is not None and held.since < since:
            self.drop(process, held)
            held = None
        if held is not None:
            for step in steps:
                held.pending.discard(step.place)
                call = held.calls.get(step.place)
                if call is not None and not call.running and step.state != "intent":
                    self.give_back(process, held, step.place)
            return
        if process.finished.get(envelope.id, -1.0) >= since:
            return
        held = process.held[envelope.id] = Held(envelope.id, since)
        done = {step.place for step in steps if step.state != "intent"}
        intents = {step.place for step in steps if step.state == "intent" and step.kind == "tool"}
        for past in self.scripts.get(envelope.id, []):
            if isinstance(past, Envelope):
                if (past.step_key, past.step_nth) not in done:
                    held.pending.add((past.step_key, past.step_nth))
                    process.outbox.append(MessageSent(envelope=past))
            elif past.place in done:
                continue
            elif past.place in intents:  # what became of it is not known: here, its author says it did happen
                process.outbox.append(StepRecorded(step=replace(past, state="done")))
            elif past.kind == "tool" or not forgets:
                self.want(process, held, past)

    def want(self, process: Process, held: Held, intent: Step) -> None:
        held.calls[intent.place] = Call(intent)
        once = intent.kind == "tool"
        event = StepRecorded(step=intent) if once else StepReserved(step=intent, since=held.since)
        process.outbox.append(event)

    def run_call(self, call: Call) -> None:
        """The step is really done now: only if no journal says that it was."""
        step = call.intent
        key = (step.turn_id, *step.place)
        kept = self.durable.steps.get(key)
        assert kept is not None, "begun before its intent was kept"
        assert kept.state == "intent", "a finished step is done again"
        call.running = True
        self.begun[key] = self.begun.get(key, 0) + 1
        assert step.kind == "llm" or self.begun[key] == 1, "what happens once happened twice"

    def drop(self, process: Process, held: Held) -> None:
        for place in list(held.calls):
            self.give_back(process, held, place)
        del process.held[held.turn_id]

    def give_back(self, process: Process, held: Held, place: Place) -> None:
        intent = held.calls.pop(place).intent
        if intent.kind == "llm":
            process.outbox.append(StepReserved(step=replace(intent, usage=None), since=held.since))

    def asks(self, process: Process, held: Held, receiver: str) -> None:
        self.count += 1
        envelope = replace(ask(held.turn_id, f"n{self.count}", receiver=receiver), sender=process.name)
        self.scripts.setdefault(held.turn_id, []).append(envelope)
        held.pending.add((envelope.step_key, envelope.step_nth))
        process.outbox.append(MessageSent(envelope=envelope))

    def calls(self, process: Process, held: Held, worst: float, kind: Literal["llm", "tool"] = "llm") -> None:
        self.count += 1
        intent = llm(held.turn_id, f"n{self.count}", worst, state="intent")
        if kind == "tool":
            intent = replace(intent, kind="tool", usage=None)
        self.scripts.setdefault(held.turn_id, []).append(intent)
        self.want(process, held, intent)

    def call_ends(self, process: Process, held: Held, place: Place, share: float | None) -> None:
        """A call that is being made uses that share of its worst case, or fails (None)."""
        if share is None:
            self.give_back(process, held, place)
            return
        call = held.calls.pop(place)
        usage = call.intent.usage
        if usage is not None:
            usage = replace(usage, cost_usd=usage.cost_usd * share)
        process.outbox.append(StepRecorded(step=replace(call.intent, state="done", usage=usage)))

    def ends(self, process: Process, held: Held, kind: Literal["reply", "error"]) -> None:
        for place in list(held.calls):
            self.give_back(process, held, place)
        del process.held[held.turn_id]
        process.finished[held.turn_id] = held.since
        process.outbox.append(replace(finished(held.turn_id, kind), since=held.since))

    def parks(self, process: Process, held: Held) -> None:
        del process.held[held.turn_id]
        pending = tuple(held.pending)
        process.outbox.append(TurnParked(run_id=RUN, turn_id=held.turn_id, pending=pending, since=held.since))

    # --- what holds whatever happens -----------------------------------------------------------------

    def holders(self) -> list[tuple[Process, Held]]:
        """Who works on what of the present stretch of work."""
        return [
            (process, held)
            for process in self.processes.values()
            for held in process.held.values()
            if held.since == self.decided.since
        ]

    def questions(self) -> list[str]:
        """Those of the journal that are open."""
        return [id_ for id_, turn in self.decided.state().open.items() if is_question(turn.envelope)]

    def check_waiting(self) -> None:
        """A run waits only if nothing of it can go on."""
        assert self.state is not None
        assert self.state.questions
        for id_, turn in self.state.open.items():
            assert turn.parked or is_question(turn.envelope), id_
        for _, held in self.holders():
            assert held.turn_id not in self.state.open or not held.calls, "it waits while a step is under way"

    def check(self) -> None:
        """The rules that hold between any two events."""
        book, state = self.decided, self.state
        for record in (book, self.durable):
            replies = [e.reply_to for e in record.envelopes.values() if answers(e)]
            assert len(set(replies)) == len(replies)
            assert set(replies) <= record.envelopes.keys()
        if state is None:
            return
        assert state.status == book.status
        again = book.state(status=state.status)
        assert (state.turns, state.messages) == (again.turns, again.messages)
        assert state.questions == again.questions == sum(is_question(t.envelope) for t in state.open.values())
        assert without_parked(state) == without_parked(again)
        assert state.usage.llm_calls == again.usage.llm_calls
        assert abs(state.usage.cost_usd - again.usage.cost_usd) < 1e-9
        if state.status != "running":
            assert state.status == "waiting" or not state.open
            return
        assert {r.place for r in state.reserved} <= {r.place for r in again.reserved}
        assert {r.turn_id for r in state.reserved} <= state.open.keys()
        assert not state.waiting_calls or state.reserved, "calls wait for nothing"
        assert any(not t.parked and not is_question(t.envelope) for t in state.open.values()), (
            "nobody goes on"
        )
        budget = state.limits.budget_usd
        if budget is not None and budget >= self.used_before:  # it can be resumed with less than it has used
            assert state.usage.cost_usd + sum(r.usd for r in state.reserved) <= budget + 1e-6
            running = [
                reservation_of(call.intent).usd
                for _, held in self.holders()
                for call in held.calls.values()
                if call.running and held.turn_id in state.open and call.intent.kind == "llm"
            ]
            assert state.usage.cost_usd + sum(running) <= budget + 1e-6, "overshot"

    # --- left alone, it ends -------------------------------------------------------------------------

    def settle(self) -> None:
        """Everything arrives, nobody dies any more, and whoever can go on does: the run is done in the end."""
        for _ in range(300):
            self.check()
            if self.durable.status == "done" and self.state is None:
                return
            self.round()
        raise AssertionError(f"stuck: {self.decided.status}, {self.state}, {self.processes}")

    def all_arrives(self) -> None:
        """What is on its way reaches its end."""
        for process in self.processes.values():
            while self.hear(process):
                pass
        self.commit()
        for process in self.processes.values():
            while self.listen(process):
                pass

    def round(self) -> None:
        """Everything arrives, and each turn does what it can."""
        self.all_arrives()
        for process in self.processes.values():
            for held in list(process.held.values()):
                for place, call in list(held.calls.items()):
                    if call.running:
                        self.call_ends(process, held, place, 1.0)
                if not held.calls and not held.pending:
                    self.ends(process, held, "reply")
                elif held.patient and held.waits_only:
                    self.parks(process, held)
        if self.state is None and not self.keeps:
            if self.decided.status == "waiting":
                self.resume(reply=self.questions()[0])
            elif self.decided.status in ENDED:
                self.resume(limits=Limits(turns=10_000, messages=10_000, model_calls_per_turn=1000))


def finished(turn: str, kind: Any = "reply", body: str = "", at: float = 9.0) -> TurnFinished:
    """A turn ends."""
    body = body or ('{"output": 1}' if kind == "reply" else ERROR)
    return TurnFinished(run_id=RUN, turn_id=turn, kind=kind, body=body, at=at)


def without_parked(state: RunState) -> dict[str, Any]:
    """The open turns; who of them is held is not in the journal."""
    return {id_: replace(turn, parked=False) for id_, turn in state.open.items()}
