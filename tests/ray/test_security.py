"""What a Ray of ours shows to others: no key, and nothing beyond loopback."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from callsheet.core.canonical import from_json
from callsheet.runtime.cluster import ship_by_value
from callsheet.runtime.host import HostConfig, ServiceSpec
from callsheet.runtime.ray_host import RayHost
from callsheet.runtime.services import Call
from tests.ray import handlers, processes
from tests.ray.conftest import KEY, Cluster
from tests.ray.handlers import spec

pytestmark = pytest.mark.timeout(240)


class Vault:
    """Shows what its process was given."""

    def __init__(self, secrets: Mapping[str, str], calls: Mapping[str, Call]) -> None:
        self.secrets = dict(secrets)

    async def handle(self, request: Any) -> Any:
        return self.secrets, dict(os.environ)


def test_no_process_has_the_key_in_its_environment(cluster: Cluster) -> None:
    cluster.launch("env", spec("flow", handlers.asks_for_environment), spec("agent", handlers.environment))
    cluster.start("env", "run-environment")
    end = cluster.portal.run(cluster.host.client.end("run-environment"))
    seen = from_json(end.output or "")["output"]
    assert set(seen) == {"flow", "agent"}
    for environment in seen.values():
        assert "PATH" in environment
        assert KEY not in str(environment)
    pids = processes.descendants()
    ours = {pid for of_name in cluster.pids_of("env").values() for pid in of_name} | set(
        cluster.pids.values()
    )
    assert ours <= pids
    assert any("gcs_server" in processes.command(pid) for pid in pids)
    assert all(processes.environment(pid) for pid in ours)
    assert [processes.command(pid) for pid in pids if KEY in processes.environment(pid)] == []


def test_a_secret_reaches_the_service_that_it_is_for(cluster: Cluster, tmp_path: Path) -> None:
    host = RayHost(HostConfig(journal=tmp_path / "unused.db", hidden=("OPENAI_API_KEY",)))

    ship_by_value([__name__])
    vault = ServiceSpec(name="vault", factory=Vault, secrets={"OPENAI_API_KEY": KEY})

    async def ask() -> Any:
        await host.open([vault])
        try:
            return await host.service("vault")({})
        finally:
            await host.close()

    secrets, environment = cluster.portal.run(ask())
    assert secrets == {"OPENAI_API_KEY": KEY}
    assert KEY not in str(environment)
    assert KEY not in repr(vault)


def test_everything_ray_listens_on_is_loopback(cluster: Cluster) -> None:
    listening = processes.listening(processes.descendants() | {os.getpid()})
    assert len(listening) > 5
    loopback = ("0100007F:", "00000000000000000000000001000000:", "0000000000000000FFFF00000100007F:")
    beyond = {a: processes.command(pid) for a, pid in listening.items() if not a.startswith(loopback)}
    assert beyond == {}


def test_the_key_is_in_nothing_that_is_kept(cluster: Cluster) -> None:
    import ray

    logs = Path(ray._private.worker._global_node.get_session_dir_path())
    kept = [
        p
        for folder in (cluster.settings.home, logs)
        for p in folder.rglob("*")
        if p.is_file() and not p.is_symlink()
    ]
    assert cluster.settings.home / "journal.db" in kept
    assert [path for path in kept if KEY.encode() in path.read_bytes()] == []
