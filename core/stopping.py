"""How a run is stopped before its end: by a limit, or by somebody."""

from __future__ import annotations

import math

from callsheet.core.errors import CallsheetError, LimitError
from callsheet.core.events import CancelTurn, Command, EndRun, RunStatus
from callsheet.core.records import is_question
from callsheet.core.state import RunState

ROUNDING_USD = 1e-9
"""What a sum of costs may be off by: three calls of 0.1 USD fit in a budget of 0.3."""

Decision = tuple[RunState, tuple[Command, ...]]


CALLS_MORE = 5
"""How many calls of the size of the one that had no room a suggested budget has room for."""


def limited(
    state: RunState, limit: str, allowed: float, used: float, at: float, *, wanted: float | None = None
) -> Decision:
    """Stop a run that has come to a limit; `wanted` is what the next model call would reserve of a budget."""
    message = f"the run stopped at its limit {limit} = {allowed:g}"
    if wanted is not None:
        message += f": it has used {used:.6g}, and its next model call may need up to {wanted:.6g}"
    error = LimitError(
        message,
        run_id=state.run_id,
        limit=limit,
        allowed=allowed,
        used=used,
        wanted=wanted or 0,
        hint=more(state.run_id, limit, max(2 * allowed, used + CALLS_MORE * (wanted or 0.0))),
    )
    return stop(state, "limited", error, at)


def more(run_id: str, limit: str, wanted: float) -> str:
    """How to go on with so much of a limit; what was finished is not done again."""
    if limit == "budget_usd":
        option = f"--budget {math.ceil(wanted * 100) / 100:g}"
    elif limit == "budget_tokens":
        digits = 10 ** max(0, len(str(math.ceil(wanted))) - 2)
        option = f"--budget-tokens {math.ceil(wanted / digits) * digits:d}"
    elif limit == "deadline_s":
        option = f"--deadline {math.ceil(wanted):g}"
    else:
        option = f"--limit {limit}={math.ceil(wanted):d}"
    return f"What was finished is kept: `callsheet resume {run_id} {option}` goes on from there with more."


def over_budget(state: RunState, at: float) -> Decision | None:
    """Stop a run that has used more than it may: a call that cost more than it was thought to at most."""
    limits, usage = state.limits, state.usage
    if limits.budget_usd is not None and usage.cost_usd > limits.budget_usd + ROUNDING_USD:
        return limited(state, "budget_usd", limits.budget_usd, usage.cost_usd, at)
    if limits.budget_tokens is not None and usage.tokens > limits.budget_tokens:
        return limited(state, "budget_tokens", limits.budget_tokens, usage.tokens, at)
    return None


def stop(state: RunState, status: RunStatus, error: CallsheetError, at: float) -> Decision:
    """End all the run's work, and the run."""
    cancels = tuple(
        CancelTurn(turn_id=id_, receiver=turn.envelope.receiver, reason=error.message)
        for id_, turn in state.open.items()
        if not is_question(turn.envelope)
    )
    after = state.after({}, status=status, questions=0, reserved=(), waiting_calls=())
    end = EndRun(
        run_id=state.run_id, status=status, output=None, error=error.to_dict(), usage=state.usage, at=at
    )  # fmt: skip
    return after, (*cancels, end)
