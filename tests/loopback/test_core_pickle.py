"""What travels is the same in another process, both ways."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

from callsheet.core.errors import CallsheetError, ModelError
from callsheet.core.events import EndRun, MessageSent
from callsheet.core.ids import sent_envelope_id, trace_id
from callsheet.core.limits import Limits, RunUsage
from callsheet.core.records import Envelope, Step
from callsheet.runtime.lanes import LaneDownError
from callsheet.runtime.protocol import RunInfo, TurnGiven

OTHER = """
import pickle, sys
from callsheet.core.ids import sent_envelope_id, trace_id
things = pickle.load(sys.stdin.buffer)
pickle.dump((things, [repr(t) for t in things], trace_id("r"), sent_envelope_id("t", "k", 1)), sys.stdout.buffer)
"""


def test_records_errors_and_ids_are_the_same_in_another_process() -> None:
    envelope = Envelope(id="e", run_id="r", kind="ask", sender="a", receiver="b", body='"ü \\ud800"')
    step = Step(run_id="r", turn_id="t", key="k", nth=0, kind="llm", name="m", usage=RunUsage(llm_calls=1))
    info = RunInfo(
        run_id="r", crew="c", launch="l", session_id="", options="{}", limits=Limits(), deadline=None
    )
    things = [
        envelope, step, MessageSent(envelope=envelope), TurnGiven(envelope=envelope, info=info, steps=(step,)),
        EndRun(run_id="r", status="done", output="1", error=None, usage=RunUsage(), at=1.0),
    ]  # fmt: skip
    error = ModelError("no", model="m", status=500, hint="h")
    done = subprocess.run(
        [sys.executable, "-c", OTHER], input=pickle.dumps([*things, error, LaneDownError("x", final=True)]),
        stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    again, shown, trace, sent = pickle.loads(done.stdout)
    assert again[: len(things)] == things
    assert shown[: len(things)] == [repr(thing) for thing in things]
    assert isinstance(again[-2], ModelError)
    assert CallsheetError.to_dict(again[-2]) == error.to_dict()
    assert again[-1].final
    assert (trace, sent) == (trace_id("r"), sent_envelope_id("t", "k", 1))
