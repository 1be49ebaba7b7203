"""One of every kind of record, for the fixtures of the journal's versions in tests/data/journals.

`python -m tests.journal_fixture tests/data/journals` writes the fixture of today's code: the journal as SQL text,
and what it must be read as. A later version adds its own and leaves the older ones as they are.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from callsheet.core.canonical import digest, to_json
from callsheet.core.events import EndRun
from callsheet.core.limits import RunUsage
from callsheet.core.records import Envelope, RunRecord, RunResumed, RunWaits, RunWoken, Step, record_to_dict
from callsheet.runtime.journal import Journal
from callsheet.runtime.schema import SCHEMA_VERSION

LARGE = to_json({"output": "a long report, line by line\n" * 2500})
ODD = to_json({"input": "ü 漢字 🙂 '; -- \0 \ud83d %s ?"})


def run_of(n: int, **changes: Any) -> RunRecord:
    made = RunRecord(
        run_id=f"1122-120000-0000000{n}", crew="helpdesk", status="running", input=to_json({"input": f"question {n}"}),
        session_id=f"s-{n}", limits=to_json({"turns": 200, "deadline_s": 1800.0}), usage="{}", launch="helpdesk-1",
        options=to_json({"model": "offline", "folder": "/srv/helpdesk"}), started=1.7e9 + n + 0.25,
        owner="coordinator-1", since=1.7e9 + n + 0.25, source=to_json({"file": "/srv/helpdesk/crew.py", "crew": "c"}),
    )  # fmt: skip
    return replace(made, **changes)


def everything(journal: Journal) -> dict[str, Any]:
    """Write one of every kind of record; returns what must be read back, as JSON."""
    used = RunUsage(llm_calls=2, input_tokens=70, output_tokens=30, cost_usd=0.0125, tool_calls=1)
    partly = RunUsage(llm_calls=1, unpriced_calls=1)
    wanted = [run_of(n) for n in range(6)]
    wanted[5] = replace(wanted[5], input=ODD)
    ask, question = [], []
    for run in wanted:
        flow = Envelope(
            id=f"flow{run.run_id[-1]}", run_id=run.run_id, kind="ask", sender="person", receiver="flow",
            body=run.input, at=run.started,
        )  # fmt: skip
        ask.append(flow)
        question.append(replace(
            flow, id=f"ask{run.run_id[-1]}", sender="flow", receiver="clerk", cause=flow.id, step_key="ask-1",
            step_nth=1,
        ))  # fmt: skip
    steps = [
        Step(
            run_id=run.run_id, turn_id=f"ask{n}", key=f"{kind}-{n}", nth=n % 2, kind=kind, name="m", state=state,
            input=ODD, result=LARGE if n == 2 else '"r"', usage=(None, used, partly)[n % 3],
            started=run.started + 1, ended=run.started + 2,
        )
        for n, run in enumerate(wanted)
        for kind, state in (("llm", "done"), ("tool", "intent" if n == 4 else "failed"), ("now", "done"))
    ]  # fmt: skip
    journal.write([*wanted, *ask, *question, *steps])
    at = [run.started for run in wanted]
    error = {"type": "RunError", "message": "ü \0 \ud83d", "fields": {"hint": "try again"}}
    failed = Envelope(
        id="ask2-reply", run_id=wanted[2].run_id, kind="error", sender="clerk", receiver="flow", body=to_json(error),
        cause="ask2", reply_to="ask2", at=at[2] + 4,
    )  # fmt: skip
    ids = [run.run_id for run in wanted]
    journal.write([
        EndRun(run_id=ids[0], status="done", output=LARGE, error=None, usage=used, at=at[0] + 3),
        EndRun(run_id=ids[1], status="limited", output=None, error=error, usage=partly, at=at[1] + 3),
        failed, EndRun(run_id=ids[2], status="failed", output=None, error=error, usage=used, at=at[2] + 4),
        RunWaits(run_id=ids[3], usage=used, at=at[3] + 5),
        RunWaits(run_id=ids[4], usage=used, at=at[4] + 5),
        RunWoken(run_id=ids[4], launch="helpdesk-2", owner="coordinator-2", at=at[4] + 90),
    ])  # fmt: skip
    journal.write([RunResumed(
        run_id=ids[2], launch="helpdesk-3", limits='{"turns":400}', options="{}", owner="coordinator-3", at=at[2] + 99,
        source='{"ready":"research"}', retired=("ask2-reply",),
    )])  # fmt: skip
    again = EndRun(run_id=ids[5], status="failed", output=None, error=error, usage=used, at=at[5] + 1)
    journal.write([again])
    journal.order_cancel(ids[4], "enough", at[4] + 100)
    used_, partly_ = to_json(used.to_dict()), to_json(partly.to_dict())
    ended = {"owner": "", "error": to_json(error)}
    expected = [
        replace(wanted[0], status="done", output=LARGE, usage=used_, owner="", spent_s=3.0, ended=at[0] + 3),
        replace(wanted[1], status="limited", usage=partly_, spent_s=3.0, ended=at[1] + 3, **ended),
        replace(
            wanted[2], launch="helpdesk-3", limits='{"turns":400}', options="{}", owner="coordinator-3",
            since=at[2] + 99, usage=used_, source='{"ready":"research"}',
        ),
        replace(wanted[3], status="waiting", usage=used_, owner="", spent_s=5.0),
        replace(
            wanted[4], launch="helpdesk-2", owner="coordinator-2", since=at[4] + 90, spent_s=5.0, usage=used_
        ),
        replace(wanted[5], status="failed", usage=used_, spent_s=1.0, ended=at[5] + 1, **ended),
    ]  # fmt: skip
    retired = replace(failed, id="ask2-reply.1")
    return {
        "runs": [record_to_dict(run) for run in expected],  # type: ignore[arg-type]
        "envelopes": [record_to_dict(envelope) for envelope in [*ask, *question, retired]],
        "steps": [record_to_dict(step) for step in steps],
        "orders": [{"run_id": ids[4], "reason": "enough", "at": at[4] + 100}],
    }


def read_back(journal: Journal, names: Callable[[str], set[str]]) -> dict[str, Any]:
    """All that is in a journal, in the form of `everything`; of each kind of record the named fields."""

    def only(kind: str, data: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in data.items() if name in names(kind)}

    runs = sorted(journal.runs(), key=lambda run: run.run_id)
    envelopes = [e for run in runs for e in journal.envelopes(run.run_id)]
    steps = [s for run in runs for s in journal.steps(run.run_id)]
    return {
        "runs": [only("runs", record_to_dict(run)) for run in runs],  # type: ignore[arg-type]
        "envelopes": [only("envelopes", record_to_dict(e)) for e in envelopes],
        "steps": [only("steps", record_to_dict(s)) for s in steps],
        "orders": [{"run_id": o.run_id, "reason": o.reason, "at": o.at} for o in journal.orders()],
    }


def in_order(found: dict[str, Any]) -> dict[str, Any]:
    """Run by run, and with large texts by their digest."""
    short = {
        kind: [{name: _short(value) for name, value in record.items()} for record in records]
        for kind, records in found.items()
    }
    return {kind: sorted(records, key=lambda r: r["run_id"]) for kind, records in short.items()}


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > 1000:
        return f"{len(value)} characters with the digest {digest(value)}"
    return value


def make(folder: Path) -> None:
    """Write the fixture of today's code."""
    path = folder / "journal.db"
    journal = Journal(path)
    expected = everything(journal)
    journal.close()
    name = f"v{SCHEMA_VERSION}"
    with closing(sqlite3.connect(path)) as made:
        dump = "\n".join("\n".join(made.iterdump()).splitlines())
    (folder / f"{name}.sql").write_text(dump + "\n", encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(in_order(expected), indent=1) + "\n", encoding="utf-8")
    path.unlink()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
