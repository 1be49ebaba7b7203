"""What happened on a call's way: which models were chosen and why, failed attempts, waits. For its span."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from callsheet.core.errors import CallsheetError


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An attempt that failed; times in Unix seconds. `wait_s`: how long it was waited before the next one."""

    model: str
    cause: str
    started: float
    ended: float
    wait_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A wait before an attempt, and for what; times in Unix seconds."""

    model: str
    reason: str
    started: float
    ended: float


@dataclass(slots=True, kw_only=True)
class CallLog:
    """Of one call, in the order in which it happened."""

    policy: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    """Models that would do, best first, each with the reason."""
    failures: list[Failure] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    attempts: int = 0
    kept: str = ""
    """Where the answer came from, if not from a model: a cassette, the cache."""

    def data(self, *, content: bool = True) -> dict[str, Any]:
        """For the span's metadata: only what there is to tell. Without `content`, causes are told by their kind."""
        told: dict[str, Any] = {}
        if self.policy:
            told["policy"] = self.policy
            told["choices"] = [f"{model}: {why}" for model, why in self.choices]
        if self.failures:
            told["failed_attempts"] = [
                {
                    "model": failure.model,
                    "cause": failure.cause if content else failure.cause.partition(":")[0],
                    "took_s": round(failure.ended - failure.started, 3),
                    **({} if failure.wait_s is None else {"then_waited_s": round(failure.wait_s, 3)}),
                }
                for failure in self.failures
            ]
        if self.waits:
            told["waits"] = [
                {"for": wait.reason, "seconds": round(wait.ended - wait.started, 3)} for wait in self.waits
            ]
        if self.kept:
            told["answered_from"] = self.kept
        return told


def cause_of(error: CallsheetError) -> str:
    """An error in a line."""
    status = getattr(error, "status", None)
    shown = f" (status {status})" if status is not None else ""
    return f"{type(error).__name__}{shown}: {error.message[:300]}"
