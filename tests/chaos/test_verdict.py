"""The verdict notices what must not be: a campaign that could not fail would prove nothing."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.chaos_lab.actors import Killed
from benchmarks.chaos_lab.campaign import Log
from benchmarks.chaos_lab.models import Sighting
from benchmarks.chaos_lab.people import decide
from benchmarks.chaos_lab.records import Journal
from benchmarks.chaos_lab.schedule import KINDS, plan
from benchmarks.chaos_lab.verdict import Verdict, judge
from callsheet.core.records import Envelope, RunRecord, Step
from callsheet.runtime.journal import Journal as RealJournal

RUN, JOB, TURN = "run-000001", "j00001", "t" * 32
CALM = "paid j99999"


class Evidence:
    """The traces of one run with one model call and one payment each way, as they are when all went well."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.db"
        self.log = Log(jobs={JOB: RUN})
        self.sightings = [Sighting(f"payer {JOB}/4", 0, "d", 10.0, 10.1)]
        self.ledger = [self.line("a", 20.0), self.line("b", 30.0)]
        journal = RealJournal(self.path)
        ask = Envelope(
            id=TURN, run_id=RUN, kind="ask", sender="flow", receiver="payer", cause="f" * 32,
            body=json.dumps({"input": f"[payer {JOB}/4] Pay."}),
        )  # fmt: skip
        reply = Envelope(
            id=f"{TURN}-reply", run_id=RUN, kind="reply", sender="payer", receiver="flow", body="{}",
            cause=TURN, reply_to=TURN,
        )  # fmt: skip
        llm = Step(run_id=RUN, turn_id=TURN, key="llm-1", nth=0, kind="llm", name="m", started=10, ended=10.2)
        journal.write(
            [
                RunRecord(
                    run_id=RUN, crew="chaos", status="done", input=json.dumps({"input": JOB}), started=1,
                    output=json.dumps({"output": CALM.replace("j99999", JOB)}), ended=40,
                ),
                ask, llm, self.paid("a", 20.1), self.paid("b", 30.1), reply,
            ]
        )  # fmt: skip
        journal.close()

    def line(self, part: str, at: float, key: str = "") -> dict[str, Any]:
        """A payment in the ledger."""
        return {
            "tool": "pay", "arguments": {"order": f"{JOB}-{part}"}, "key": key or f"key-{part}", "run": RUN,
            "turn": TURN, "pid": 7, "at": at,
        }  # fmt: skip

    def paid(self, part: str, ended: float) -> Step:
        """Its step."""
        arguments = json.dumps({"order": f"{JOB}-{part}"})
        return Step(
            run_id=RUN, turn_id=TURN, key=f"tool-{part}", nth=0, kind="tool", name="pay",
            input=json.dumps({"tool": "pay", "arguments": arguments}), started=ended - 0.2, ended=ended,
        )  # fmt: skip

    def change(self, sql: str) -> None:
        """Something is not as it should be."""
        with sqlite3.connect(self.path) as db:
            db.execute(sql)
        db.close()

    def verdict(self) -> Verdict:
        """What is made of it."""
        journal = Journal(self.path)
        try:
            return judge(journal, self.ledger, self.sightings, self.log, CALM)
        finally:
            journal.close()


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return Evidence(tmp_path)


def killed(kind: str, at: float) -> Killed:
    return Killed(kind=kind, label=kind, pids=(7,), at=at)


def test_what_went_well_is_well(evidence: Evidence) -> None:
    verdict = evidence.verdict()
    assert verdict.wrong == []
    assert (verdict.done, verdict.model_calls, verdict.tool_calls) == (1, 1, 2)


def test_a_run_that_did_not_end_or_was_never_kept_is_lost(evidence: Evidence) -> None:
    evidence.change("UPDATE runs SET status = 'failed'")
    assert len(evidence.verdict().lost_runs) == 1
    evidence.change("DELETE FROM runs")
    assert len(evidence.verdict().lost_runs) == 1


def test_another_answer_is_wrong(evidence: Evidence) -> None:
    evidence.change("""UPDATE runs SET output = '{"output": "paid j00002"}'""")
    assert len(evidence.verdict().wrong_answers) == 1


def test_a_payment_made_twice_is_told_whatever_was_killed(evidence: Evidence) -> None:
    evidence.ledger.append(evidence.line("a", 20.05))
    evidence.log.kills.append(killed("agent", 20.02))
    assert len(evidence.verdict().repeated_once_effects) == 1


def test_a_payment_that_was_never_made_is_told(evidence: Evidence) -> None:
    del evidence.ledger[1]
    assert evidence.verdict().missing_effects


def test_attempts_with_different_keys_are_told(evidence: Evidence) -> None:
    evidence.ledger.append(evidence.line("a", 20.05, key="another"))
    assert len(evidence.verdict().unstable_keys) == 1


def test_a_model_call_may_be_made_again_only_for_a_kill_that_can_have_cost_it(evidence: Evidence) -> None:
    evidence.sightings.append(Sighting(f"payer {JOB}/4", 0, "d", 10.15, 10.18))
    assert len(evidence.verdict().repeated_model_calls) == 1
    evidence.log.kills.append(killed("coordinator", 10.1))
    assert len(evidence.verdict().repeated_model_calls) == 1
    evidence.log.kills.append(killed("gateway", 10.1))
    verdict = evidence.verdict()
    assert verdict.repeated_model_calls == []
    assert verdict.in_flight_again == {"llm": 1}


def test_a_model_call_that_the_dead_had_sent_may_arrive_before_the_successor_is_up(
    evidence: Evidence,
) -> None:
    evidence.sightings.append(Sighting(f"payer {JOB}/4", 0, "d", 10.15, 10.18))
    evidence.log.kills.append(replace(killed("agent", 9.9), up=9.95))
    assert len(evidence.verdict().repeated_model_calls) == 1
    evidence.log.kills.append(replace(killed("agent", 9.9), up=10.05))
    assert evidence.verdict().repeated_model_calls == []


def test_a_model_call_answered_long_before_the_kill_was_finished(evidence: Evidence) -> None:
    evidence.sightings[0] = Sighting(f"payer {JOB}/4", 0, "d", 5.0, 5.1)
    evidence.sightings.append(Sighting(f"payer {JOB}/4", 0, "d", 10.15, 10.18))
    evidence.log.kills.append(killed("agent", 8.0))
    assert len(evidence.verdict().repeated_model_calls) == 1
    # But nothing can be kept while there is no coordinator.
    evidence.log.kills.insert(0, replace(killed("coordinator", 5.05), up=7.0))
    assert evidence.verdict().repeated_model_calls == []


def test_a_model_call_after_its_reply_was_kept_is_told_whatever_was_killed(evidence: Evidence) -> None:
    evidence.sightings.append(Sighting(f"payer {JOB}/4", 0, "d", 10.3, 10.4))
    evidence.log.kills.append(killed("gateway", 10.25))
    assert len(evidence.verdict().repeated_model_calls) == 1


def test_a_plan_follows_from_its_seed_and_takes_every_kind_equally() -> None:
    kills = list(plan(5, 80))
    assert kills == list(plan(5, 80))
    assert kills != list(plan(6, 80))
    assert {kind: sum(kill.kind == kind for kill in kills) for kind in KINDS} == dict.fromkeys(KINDS, 10)


def test_the_operator_looks_into_the_ledger_before_deciding(evidence: Evidence) -> None:
    body = {"kind": "unknown", "tool": "pay", "arguments": json.dumps({"order": f"{JOB}-a"})}
    question = {"id": "q", "run_id": RUN, "body": body}
    assert decide(question, evidence.ledger) == {"question": "q", "reply": f"receipt-{JOB}-a"}
    assert decide(question, []) == {"question": "q", "approve": True}
