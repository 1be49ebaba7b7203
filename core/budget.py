"""A run's budget: reserved before each model call, settled after it, never overshot by calls side by side."""

from __future__ import annotations

from callsheet.core.events import Command, Grant, KeepStep, TurnTaken
from callsheet.core.records import Step
from callsheet.core.state import OpenTurn, Reservation, RunState, reservation_of
from callsheet.core.stopping import ROUNDING_USD, limited

Decision = tuple[RunState, tuple[Command, ...]]


def reserve(state: RunState, turn: OpenTurn, step: Step) -> Decision:
    """Grant the call if there is room, let it wait for others to be settled, or stop the run at its budget.

    First come, first served: a small call does not overtake a large one that waits for room.
    """
    wanted = reservation_of(step)
    if any(pair[0].place == wanted.place for pair in state.waiting_calls):
        return state, ()
    # A turn that is taken again after a crash makes its call again, in place of the one it lost.
    others = tuple(r for r in state.reserved if r.place != wanted.place)
    had_room = len(others) < len(state.reserved)
    state = state.after(state.open, reserved=others)
    short = _short_of(state, wanted)
    if short is None and (had_room or not state.waiting_calls):
        return _granted(state, turn, wanted, step)
    state = state.after(state.open, waiting_calls=(*state.waiting_calls, (wanted, step)))
    return let_in(state, step.started)


def release(state: RunState, turn_id: str, place: tuple[str, int]) -> RunState:
    """A call is over, or was not made after all: what it had reserved, or waited for, is nobody's any more."""
    key = (turn_id, *place)
    return state.after(
        state.open,
        reserved=tuple(r for r in state.reserved if r.place != key),
        waiting_calls=tuple(pair for pair in state.waiting_calls if pair[0].place != key),
    )


def taken(state: RunState, event: TurnTaken) -> Decision:
    """Reserve for an open turn what the process reserves that has it now, and nothing else."""
    turn = state.open[event.turn_id]
    wanted = [step for step in event.reserving if step.usage is not None and step.place not in turn.done]
    places = {step.place for step in wanted}

    def lost(reservation: Reservation) -> bool:
        return reservation.turn_id == event.turn_id and (reservation.key, reservation.nth) not in places

    state = state.after(
        state.open,
        reserved=tuple(r for r in state.reserved if not lost(r)),
        waiting_calls=tuple(pair for pair in state.waiting_calls if not lost(pair[0])),
    )
    commands: list[Command] = []
    for step in wanted:
        state, more = reserve(state, turn, step)
        commands.extend(more)
        if not state.open:  # the run is stopped
            return state, tuple(commands)
    state, granted = let_in(state, event.at)
    return state, (*commands, *granted)


def let_in(state: RunState, at: float) -> Decision:
    """Grant what waits and now has room; stop the run if none is under way any more that could make room."""
    commands: list[Command] = []
    while state.waiting_calls:
        (wanted, step), *rest = state.waiting_calls
        short = _short_of(state, wanted)
        if short is not None and state.reserved:
            break
        if short is not None:
            name, allowed, used, more = short
            return limited(state, name, allowed, used, at, wanted=more)
        state, granted = _granted(
            state.after(state.open, waiting_calls=tuple(rest)), state.open[wanted.turn_id], wanted, step
        )
        commands.extend(granted)
    return state, tuple(commands)


def _granted(state: RunState, turn: OpenTurn, wanted: Reservation, step: Step) -> Decision:
    after = state.after(state.open, reserved=(*state.reserved, wanted))
    grant = Grant(
        turn_id=wanted.turn_id, receiver=turn.envelope.receiver, key=wanted.key, nth=wanted.nth
    )  # fmt: skip
    return after, (KeepStep(step=step), grant)


def _short_of(state: RunState, wanted: Reservation) -> tuple[str, float, float, float] | None:
    """The limit that has no room for it, what that allows, what is used and reserved of it, and what is wanted."""
    limits = state.limits
    if limits.budget_usd is not None:
        usd = state.usage.cost_usd + sum(r.usd for r in state.reserved)
        if usd + wanted.usd > limits.budget_usd + ROUNDING_USD:
            return "budget_usd", limits.budget_usd, usd, wanted.usd
    if limits.budget_tokens is not None:
        tokens = state.usage.tokens + sum(r.tokens for r in state.reserved)
        if tokens + wanted.tokens > limits.budget_tokens:
            return "budget_tokens", limits.budget_tokens, tokens, wanted.tokens
    return None
