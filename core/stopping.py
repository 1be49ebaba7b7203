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


def limited(state: RunState, limit: str, allowed: float, used: float, at: float) -> Decision:
    """Stop a run that has come to a limit."""
    error = LimitError(
        f"the run stopped at its limit {limit} = {allowed:g}",
        run_id=state.run_id,
        limit=limit,
        allowed=allowed,
        used=used,
        hint=more(state.run_id, limit, allowed, used),
    )
    return stop(state, "limited", error, at)


def more(run_id: str, limit: str, allowed: float, used: float) -> str:
    """How to go on with more of a limit; what was finished is not done again."""
    wanted = max(2 * allowed, used)
    if limit == "budget_usd":
        option = f"--budget {math.ceil(wanted * 100) / 100:g}"
    elif limit == "deadline_s":
        option = f"--deadline {math.ceil(2 * allowed):g}"
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
