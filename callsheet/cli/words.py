"""Times, durations, costs and values as people read them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callsheet.core.records import RunRecord


def shown_text(value: Any) -> str:
    """Text as it is, anything else as JSON on one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def when(at: float) -> str:
    """A Unix time as a local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def seconds(elapsed_s: float | None) -> str:
    """A duration; "" for one that is not over."""
    return "" if elapsed_s is None else f"{elapsed_s:.1f} s"


def cost_of(usage: dict[str, Any]) -> str:
    """The cost of a usage in its JSON form; "" where nothing is known of it."""
    if not usage:
        return ""
    from callsheet.cli.conversation import cost_text

    return cost_text(usage.get("cost_usd")).removeprefix("cost ")


def bench_of(record: RunRecord) -> str:
    """The id of the bench that a run is of; "" for a run of no bench."""
    session = record.session_id
    return session if session.startswith("bench-") and record.run_id.startswith(f"{session}-") else ""


def how_to_resume(record: RunRecord) -> str:
    """The command that goes on with a run; one of a bench goes on with its bench, which keeps the result."""
    bench = bench_of(record)
    if not bench:
        return f"`callsheet resume {record.run_id}`"
    again = " --retry-failed" if record.status in ("failed", "limited") else ""
    return f"`callsheet bench --resume {bench}{again}`"
