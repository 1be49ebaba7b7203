"""The runtime on a real Ray: processes, messages, load, and agents that are killed."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from callsheet.core.canonical import from_json, to_json
from callsheet.core.errors import DefinitionError
from callsheet.core.events import EndRun
from callsheet.core.ids import reply_envelope_id, root_envelope_id, sent_envelope_id
from tests.ray import handlers
from tests.ray.conftest import Cluster, until
from tests.ray.handlers import adds, spec

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def relay(cluster: Cluster) -> str:
    cluster.launch(
        "relay", spec("flow", handlers.relay), spec("first", adds("a")), spec("second", adds("b"), replicas=2),
        spec("third", adds("c")),
    )  # fmt: skip
    return "relay"


def ends(cluster: Cluster, run_ids: list[str]) -> list[EndRun]:
    async def all_ends() -> list[EndRun]:
        return await asyncio.gather(*(cluster.host.client.end(run_id) for run_id in run_ids))

    return cluster.portal.run(all_ends())


def test_every_participant_is_a_process_of_its_own(cluster: Cluster, relay: str) -> None:
    pids = [pid for of_name in cluster.pids_of(relay).values() for pid in of_name]
    assert len(pids) == 5
    everyone = [*pids, *cluster.pids.values(), os.getpid()]
    assert set(cluster.pids) == {"coordinator", "gateway", "memory"}
    assert len(set(everyone)) == len(everyone)


def test_two_hundred_runs_at_once_each_get_their_own_answer(cluster: Cluster, relay: str) -> None:
    run_ids = [f"relay-many-{i:03}" for i in range(200)]
    for i, run_id in enumerate(run_ids):
        cluster.start(relay, run_id, to_json(f"{i}:"))
    found = ends(cluster, run_ids)
    assert [from_json(end.output or "")["output"] for end in found] == [f"{i}:abc" for i in range(200)]
    assert {end.usage.llm_calls for end in found} == {3}


def test_every_message_of_a_run_passed_the_coordinator(cluster: Cluster, relay: str) -> None:
    run_id = "relay-chain"
    cluster.start(relay, run_id, '"x"')
    assert ends(cluster, [run_id])[0].status == "done"
    journal = cluster.journal()
    kept = {envelope.id: envelope for envelope in journal.envelopes(run_id)}
    steps = journal.steps(run_id)
    record = journal.run(run_id)
    journal.close()
    asks = [e for e in kept.values() if e.kind == "ask"]
    assert [(e.sender, e.receiver) for e in asks] == [
        ("person", "flow"), ("flow", "first"), ("flow", "second"), ("flow", "third"),
    ]  # fmt: skip
    assert asks[0].id == root_envelope_id(run_id)
    for ask in asks[1:]:
        assert ask.id == sent_envelope_id(ask.cause, ask.step_key, ask.step_nth)
        assert kept[ask.cause].receiver == ask.sender
    for ask in asks:
        reply = kept[reply_envelope_id(ask.id)]
        assert (reply.sender, reply.receiver, reply.cause) == (ask.receiver, ask.sender, ask.id)
        assert reply.kind == "reply"
    assert len(kept) == 2 * len(asks)
    assert {step.turn_id for step in steps} == {ask.id for ask in asks[1:]}
    assert record is not None
    assert (record.status, record.output) == ("done", '{"output":"xabc"}')


def test_a_run_of_a_crew_that_is_not_launched_is_refused(cluster: Cluster) -> None:
    cluster.start("nobody", "run-nobody")

    async def follow() -> Any:
        return await cluster.host.client.end("run-nobody")

    with pytest.raises(DefinitionError, match="no crew is launched as 'nobody'"):
        cluster.portal.run(follow())


@pytest.mark.parametrize("killed", ["worker", "flow"])
def test_a_killed_process_costs_no_finished_step(cluster: Cluster, tmp_path: Path, killed: str) -> None:
    launch = f"steps-{killed}"
    pids = cluster.launch(launch, spec("flow", handlers.asks_worker), spec("worker", handlers.works_in_steps))
    cluster.start(launch, f"run-{launch}", to_json(str(tmp_path)))
    until((tmp_path / "second").exists, "the second step to begin")
    os.kill(pids[killed][0], signal.SIGKILL)
    until(lambda: cluster.pids_of(launch)[killed] != pids[killed], "the killed process to be there again")
    (tmp_path / "go").touch()
    end = ends(cluster, [f"run-{launch}"])[0]
    assert end.status == "done"
    output = from_json(end.output or "")["output"]
    first, second = ((tmp_path / name).read_text().split() for name in ("first", "second"))
    worker = pids["worker"][0]
    assert first == [str(worker)]
    assert output["first"] == worker
    assert output["waited"]
    if killed == "worker":
        assert second[0] == str(worker)
        assert len(second) == 2
        assert output["second"] == int(second[1]) != worker
    else:
        assert second == [str(worker)]
        assert output["flow_pid"] != pids["flow"][0]
    assert end.usage.llm_calls == 1
    journal = cluster.journal()
    assert len([s for s in journal.steps(f"run-{launch}") if s.kind in ("llm", "tool")]) == 2
    asks = [e for e in journal.envelopes(f"run-{launch}") if e.kind == "ask"]
    journal.close()
    assert len(asks) == 2
    cluster.portal.run(cluster.host.stop(launch))


def test_a_killed_coordinator_is_replaced_and_costs_nothing(cluster: Cluster, tmp_path: Path) -> None:
    launch = "headless"
    pids = cluster.launch(launch, spec("flow", handlers.asks_worker), spec("worker", handlers.works_in_steps))
    cluster.start(launch, f"run-{launch}", to_json(str(tmp_path)))
    until((tmp_path / "second").exists, "the second step to begin")
    os.kill(cluster.pids["coordinator"], signal.SIGKILL)
    (tmp_path / "go").touch()
    end = ends(cluster, [f"run-{launch}"])[0]
    assert end.status == "done"
    assert end.usage.llm_calls == 1
    worker = pids["worker"][0]
    assert [(tmp_path / name).read_text().split() for name in ("first", "second")] == [[str(worker)]] * 2
    after = cluster.portal.run(cluster.host.wait_ready())
    assert after["coordinator"] != cluster.pids["coordinator"]
    cluster.pids.update(after)
    # Its successor knows the crew from its participants, and gives it new work.
    assert cluster.pids_of(launch) == pids
    cluster.start(launch, f"again-{launch}", to_json(str(tmp_path)))
    assert ends(cluster, [f"again-{launch}"])[0].status == "done"
    cluster.portal.run(cluster.host.stop(launch))


def test_many_runs_survive_the_death_of_the_coordinator(cluster: Cluster, relay: str) -> None:
    before = cluster.pids["coordinator"]
    run_ids = [f"relay-kept-{i:03}" for i in range(200)]
    for i, run_id in enumerate(run_ids):
        cluster.start(relay, run_id, to_json(f"{i}:"))
    os.kill(before, signal.SIGKILL)
    found = ends(cluster, run_ids)
    assert [from_json(end.output or "")["output"] for end in found] == [f"{i}:abc" for i in range(200)]
    assert {end.usage.llm_calls for end in found} == {3}
    cluster.pids.update(cluster.portal.run(cluster.host.wait_ready()))
    assert cluster.pids["coordinator"] != before


def test_a_turn_that_no_process_survives_fails_its_run_and_the_agent_serves_on(cluster: Cluster) -> None:
    launch = "deadly"
    cluster.launch(
        launch, spec("flow", handlers.asks_worker_plainly), spec("worker", handlers.ends_its_process)
    )
    cluster.start(launch, "run-deadly", to_json("die"))
    end = ends(cluster, ["run-deadly"])[0]
    assert end.status == "failed"
    assert end.error is not None
    assert end.error["type"] == "AgentError"
    assert "the process of worker died 3 times" in end.error["message"]
    cluster.start(launch, "run-harmless", to_json("live"))
    assert ends(cluster, ["run-harmless"])[0].status == "done"
    cluster.portal.run(cluster.host.stop(launch))


def test_many_runs_survive_the_death_of_a_replica(cluster: Cluster, relay: str) -> None:
    run_ids = [f"relay-killed-{i:03}" for i in range(200)]
    before = cluster.pids_of(relay)
    for i, run_id in enumerate(run_ids):
        cluster.start(relay, run_id, to_json(f"{i}:"))
    os.kill(before["second"][0], signal.SIGKILL)
    found = ends(cluster, run_ids)
    assert [from_json(end.output or "")["output"] for end in found] == [f"{i}:abc" for i in range(200)]
    assert {end.usage.llm_calls for end in found} == {3}
    until(lambda: cluster.pids_of(relay)["second"][0] != before["second"][0], "the replica to be there again")


def test_stopping_a_crew_ends_its_runs(cluster: Cluster, tmp_path: Path) -> None:
    cluster.launch("stopped", spec("flow", handlers.asks_worker), spec("worker", handlers.works_in_steps))
    cluster.start("stopped", "run-stopped", to_json(str(tmp_path)))
    until((tmp_path / "second").exists, "the run to be under way")
    cluster.portal.run(cluster.host.stop("stopped"))
    end = ends(cluster, ["run-stopped"])[0]
    assert end.status == "cancelled"
    assert "stopped" in (end.error or {})["message"]


def test_a_name_that_is_taken_is_refused_and_the_crew_there_serves_on(cluster: Cluster, relay: str) -> None:
    before = cluster.pids_of(relay)
    with pytest.raises(DefinitionError, match="launched as 'relay' already"):
        cluster.launch(relay, spec("flow", handlers.relay))
    assert cluster.pids_of(relay) == before
    cluster.start(relay, "relay-after", '"y"')
    assert ends(cluster, ["relay-after"])[0].output == '{"output":"yabc"}'
