"""Every kind of process of a working crew is killed on a cluster, and nothing of any run is lost or done again.

A short, seeded part of `python -m benchmarks.chaos`, which says how it is done and judged.
"""

from __future__ import annotations

import pytest

from benchmarks.chaos_lab.campaign import Campaign
from benchmarks.chaos_lab.models import ModelServer
from benchmarks.chaos_lab.schedule import ACTORS, KINDS, Kill, plan
from benchmarks.chaos_lab.stage import Stage
from benchmarks.chaos_lab.verdict import Verdict, judge, undisturbed

pytestmark = pytest.mark.timeout(240)

SEED = 5
KILLS = 7


@pytest.fixture(scope="module")
def verdict(stage: Stage, server: ModelServer) -> Verdict:
    """What eight kills have shown: one of each kind of actor, one of the driver, and the whole node at last."""
    calm = undisturbed(stage, server)
    campaign = Campaign(stage, server, in_flight=6)
    campaign.open()
    node = Kill(kind="node", records=20, delay_s=0.0, choice=0.0)
    campaign.run([*plan(SEED, KILLS, (*ACTORS, "driver")), node])
    campaign.save()
    return judge(stage.journal, stage.ledger(), server.sightings, campaign.log, calm)


def test_every_kind_of_process_was_killed_while_runs_were_going_on(verdict: Verdict) -> None:
    assert verdict.by_kind == dict.fromkeys(KINDS, 1)
    assert verdict.runs >= KILLS
    assert not verdict.faults


def test_no_run_is_lost(verdict: Verdict) -> None:
    assert not verdict.lost_runs
    assert verdict.done == verdict.runs


def test_every_answer_is_that_of_an_undisturbed_run(verdict: Verdict) -> None:
    assert not verdict.wrong_answers
    assert not verdict.handled_twice


def test_no_finished_model_call_is_made_again(verdict: Verdict) -> None:
    assert not verdict.repeated_model_calls
    assert verdict.model_calls >= 10 * verdict.runs


def test_no_finished_tool_call_is_made_again_and_every_attempt_has_the_same_key(verdict: Verdict) -> None:
    assert not verdict.repeated_tool_calls
    assert not verdict.unstable_keys


def test_what_must_happen_once_has_happened_exactly_once(verdict: Verdict) -> None:
    assert not verdict.repeated_once_effects
    assert not verdict.missing_effects


def test_the_runs_of_every_actor_that_was_killed_moved_again(verdict: Verdict) -> None:
    # How fast is a figure of the benchmark's: this only says that there is something to measure.
    assert verdict.recovery_s["one actor"]["n"] >= len(ACTORS) - 2  # some may have had nothing to do
    assert verdict.recovery_s["node, cluster"]["n"] == 1
