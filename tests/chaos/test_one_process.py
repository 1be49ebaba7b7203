"""A driver that is all there is, killed: its runs go on in the next one, from the journal alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.chaos_lab.campaign import Campaign
from benchmarks.chaos_lab.models import ModelServer
from benchmarks.chaos_lab.people import decide
from benchmarks.chaos_lab.schedule import POINTS, sweep
from benchmarks.chaos_lab.stage import Driver, Stage, until
from benchmarks.chaos_lab.verdict import judge, undisturbed

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def stage(server: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """As the module's, but for each test."""
    stage = Stage(tmp_path_factory.mktemp("chaos"), server.url)
    yield stage
    stage.close()


def begun(stage: Stage, driver: Driver, job: str = "j00001") -> str:
    """Begin a run; its id, once it is in the journal."""
    driver.send(job=job)
    return str(until(lambda: [run["run_id"] for run in stage.journal.runs()], "a run")[0])


def end_of(driver: Driver, run: str) -> dict[str, Any]:
    """What the driver says of how its resuming of a run, or the run, ended."""

    def told() -> list[dict[str, Any]]:
        return [x for x in driver.told if x.get("run") == run and ("ended" in x or "refused" in x)]

    found: dict[str, Any] = until(told, f"an end of {run}")[-1]
    return found


def test_a_death_at_any_journal_write_costs_nothing(stage: Stage, server: ModelServer) -> None:
    calm = undisturbed(stage, server)
    campaign = Campaign(stage, server, mode="inline", in_flight=2)
    campaign.open()
    # At each of the points of the first two writes of eight drivers: the runs go on, so all sorts are hit.
    campaign.run(sweep(seed=1, kills=2 * len(POINTS)))
    verdict = judge(stage.journal, stage.ledger(), server.sightings, campaign.log, calm)
    assert verdict.wrong == []
    assert verdict.kills == 2 * len(POINTS)
    assert verdict.runs >= 2


@pytest.mark.parametrize(("gate", "effects", "reply"), [("before", 0, "approve"), ("after", 1, "reply")])
def test_a_payment_cut_off_is_asked_about_and_made_once(
    stage: Stage, gate: str, effects: int, reply: str
) -> None:
    with stage.shut(gate):
        first = stage.driver("inline")
        run = begun(stage, first)
        until(lambda: stage.journal.begun_payments(), "a payment under way")
        until(lambda: len(paid(stage)) == effects, "its effect")
        first.kill()
    second = stage.driver("inline")
    second.send(run=run)
    assert end_of(second, run)["ended"] == "waiting"
    second.kill()  # what waits needs no process
    assert stage.journal.status(run) == "waiting"
    assert len(paid(stage)) == effects
    (question,) = stage.journal.questions(run)
    assert question["body"]["tool"] == "pay"
    options = decide(question, stage.ledger())
    assert reply in options
    third = stage.driver("inline")
    third.send(run=run, options=options)
    end = end_of(third, run)
    assert end["ended"] == "done", end
    assert [line["arguments"]["order"] for line in paid(stage)] == ["j00001-a", "j00001-b"]
    assert end["output"].endswith("receipt-j00001-a; j00001-bill is on shelf 11; receipt-j00001-b")


def test_of_two_drivers_that_resume_a_run_at_once_one_is_told_that_it_is_taken(stage: Stage) -> None:
    with stage.shut("before"):
        first = stage.driver("inline")
        run = begun(stage, first)
        until(lambda: stage.journal.count() > 8, "some records")
        first.kill()
        rivals = [stage.driver("inline"), stage.driver("inline")]
        for rival in rivals:
            rival.send(run=run)
        until(lambda: any("refused" in line for rival in rivals for line in rival.told), "a refusal")
    (loser,) = (rival for rival in rivals if any("refused" in line for line in rival.told))
    (winner,) = (rival for rival in rivals if rival is not loser)
    refusal = end_of(loser, run)
    assert refusal["refused"] == "RunTakenError"
    assert f"callsheet watch {run}" in refusal["message"]
    end = end_of(winner, run)
    assert end["ended"] == "done", end
    assert len(paid(stage)) == 2
    assert json.loads(stage.journal.runs()[0]["output"])["output"] == end["output"]


def paid(stage: Stage) -> list[dict[str, Any]]:
    return [line for line in stage.ledger() if line["tool"] == "pay"]
