"""A run's budget: reserved before each model call, settled after it, never overshot by calls side by side."""

from __future__ import annotations

from callsheet.core.events import Command, Grant, KeepStep
from callsheet.core.records import Step
from callsheet.core.state import OpenTurn, Reservation, RunState, reservation_of
from callsheet.core.stopping import limited

Decision = tuple[RunState, tuple[Command, ...]]


def reserve(state: RunState, turn: OpenTurn, step: Step) -> Decision:
    """Grant the call if there is room, let it wait for others to be settled, or stop the run at its budget."""
    wanted = reservation_of(step)
    # A turn that is taken again after a crash makes its call again, in place of the one it lost.
    held = tuple(r for r in state.reserved if r.place != wanted.place)
    if any(pair[0].place == wanted.place for pair in state.waiting_calls):
        return state, ()
    state = state.after(state.open, reserved=held)
    short = _short_of(state, wanted)
    if short is None:
        return _granted(state, turn, wanted, step)
    if held:
        return state.after(state.open, waiting_calls=(*state.waiting_calls, (wanted, step))), ()
    return limited(state, *short, step.started)


def settle(state: RunState, turn_id: str, place: tuple[str, int]) -> Decision:
    """A call's real use is known: let those in that now have room, first come, first served."""
    held = tuple(r for r in state.reserved if r.place != (turn_id, *place))
    return _let_in(state.after(state.open, reserved=held))


def room_for_waiting(state: RunState, at: float) -> Decision | None:
    """Stops the run if calls wait for room, and none is under way any more that could make any."""
    if not state.waiting_calls or state.reserved:
        return None
    state, commands = _let_in(state)
    if commands:
        return state, commands
    short = _short_of(state, state.waiting_calls[0][0])
    assert short is not None
    return limited(state, *short, at)


def _let_in(state: RunState) -> Decision:
    commands: list[Command] = []
    while state.waiting_calls:
        (wanted, step), *rest = state.waiting_calls
        turn = state.open.get(wanted.turn_id)
        if turn is not None and _short_of(state, wanted) is not None:
            break
        state = state.after(state.open, waiting_calls=tuple(rest))
        if turn is not None:
            state, granted = _granted(state, turn, wanted, step)
            commands.extend(granted)
    return state, tuple(commands)


def _granted(state: RunState, turn: OpenTurn, wanted: Reservation, step: Step) -> Decision:
    after = state.after(state.open, reserved=(*state.reserved, wanted))
    grant = Grant(
        turn_id=wanted.turn_id, receiver=turn.envelope.receiver, key=wanted.key, nth=wanted.nth
    )  # fmt: skip
    return after, (KeepStep(step=step), grant)


def _short_of(state: RunState, wanted: Reservation) -> tuple[str, float, float] | None:
    """The limit that has no room for it, what it allows, and what there would be with it."""
    limits = state.limits
    if limits.budget_usd is not None:
        usd = state.usage.cost_usd + sum(r.usd for r in state.reserved) + wanted.usd
        if usd > limits.budget_usd:
            return "budget_usd", limits.budget_usd, usd
    if limits.budget_tokens is not None:
        tokens = state.usage.tokens + sum(r.tokens for r in state.reserved) + wanted.tokens
        if tokens > limits.budget_tokens:
            return "budget_tokens", limits.budget_tokens, tokens
    return None
