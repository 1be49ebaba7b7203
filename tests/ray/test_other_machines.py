"""Lanes between machines: where no local socket leads to an actor, its calls go through Ray."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from callsheet.core.canonical import from_json, to_json
from callsheet.core.events import EndRun
from callsheet.runtime.actors import COORDINATOR, ActorTransport
from callsheet.runtime.local_calls import LocalConnection
from tests.ray import handlers
from tests.ray.conftest import Cluster, until
from tests.ray.handlers import adds, far_away, spec

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def scattered(cluster: Cluster) -> str:
    """A crew whose flow and second agent are alone on their machines, as far as they know."""
    cluster.launch(
        "scattered", far_away("flow", handlers.relay), spec("first", adds("a")), far_away("second", adds("b")),
        spec("third", adds("c")),
    )  # fmt: skip
    return "scattered"


def ends(cluster: Cluster, run_ids: list[str]) -> list[EndRun]:
    async def all_ends() -> list[EndRun]:
        return await asyncio.gather(*(cluster.host.client.end(run_id) for run_id in run_ids))

    return cluster.portal.run(all_ends())


def test_runs_are_done_over_both_ways(cluster: Cluster, scattered: str) -> None:
    run_ids = [f"scattered-{i:03}" for i in range(50)]
    for i, run_id in enumerate(run_ids):
        cluster.start(scattered, run_id, to_json(f"{i}:"))
    found = ends(cluster, run_ids)
    assert [from_json(end.output or "")["output"] for end in found] == [f"{i}:abc" for i in range(50)]


@pytest.mark.parametrize("killed", ["second", "first"])
def test_a_killed_process_comes_back_on_either_way(cluster: Cluster, scattered: str, killed: str) -> None:
    (before,) = cluster.pids_of(scattered)[killed]
    os.kill(before, signal.SIGKILL)
    run_ids = [f"scattered-{killed}-{i}" for i in range(20)]
    for i, run_id in enumerate(run_ids):
        cluster.start(scattered, run_id, to_json(f"{i}:"))
    found = ends(cluster, run_ids)
    assert [from_json(end.output or "")["output"] for end in found] == [f"{i}:abc" for i in range(20)]
    until(lambda: cluster.pids_of(scattered)[killed] != [before], "the new process to join")


def test_only_who_is_on_the_same_machine_is_called_over_a_socket(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    from callsheet.runtime.cluster import NAMESPACE

    opened: list[str] = []

    async def open_(address: str) -> LocalConnection | None:
        opened.append(address)
        return None

    monkeypatch.setattr(LocalConnection, "open", open_)
    handle = ray.get_actor(COORDINATOR, namespace=NAMESPACE)
    elsewhere = ray.get_actor(COORDINATOR, namespace=NAMESPACE)

    async def connected(of: object) -> None:
        await ActorTransport(COORDINATOR, of)._connected()

    cluster.portal.run(connected(handle))
    assert len(opened) == 1

    class OnAnotherNode:
        class address:  # noqa: N801 - stands for an actor's method
            @staticmethod
            async def remote() -> tuple[str, str]:
                _, address = await elsewhere.address.remote()
                return "another-node", address

    cluster.portal.run(connected(OnAnotherNode()))
    assert len(opened) == 1
