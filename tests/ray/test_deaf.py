"""Code that does not yield, on a real Ray: its process is killed when its run is stopped, and serves again."""

from __future__ import annotations

from pathlib import Path

import pytest

from callsheet.core.canonical import from_json, to_json
from tests.ray import handlers
from tests.ray.conftest import Cluster, until
from tests.ray.handlers import spec

pytestmark = pytest.mark.timeout(240)


def test_a_flow_that_never_yields_is_killed_and_others_go_on(cluster: Cluster, tmp_path: Path) -> None:
    pid = cluster.launch("deaf", spec("flow", handlers.never_yields))["flow"][0]
    cluster.start("deaf", "run-deaf-01", to_json(str(tmp_path / "pid")))
    until((tmp_path / "pid").exists, "the flow that blocks")
    assert int((tmp_path / "pid").read_text()) == pid
    cluster.start("deaf", "run-deaf-02")  # cannot be taken before the loop is free

    async def ends() -> list[str]:
        cluster.host.client.cancel("run-deaf-01", "enough")
        first = await cluster.host.client.end("run-deaf-01")
        second = await cluster.host.client.end("run-deaf-02")
        return [first.status, second.status, second.output or ""]

    first, second, output = cluster.portal.run(ends())
    assert (first, second) == ("cancelled", "done")
    assert from_json(output)["output"] != pid
