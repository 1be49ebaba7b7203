"""The memory's process on a real Ray: killed under searches, it costs no run and loses no document."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from callsheet import Agent, Crew
from tests.ray.conftest import Cluster

pytestmark = pytest.mark.timeout(240)


def test_a_killed_memory_costs_no_run_and_no_document(cluster: Cluster, tmp_path: Path) -> None:
    guide = tmp_path / "guide.md"
    guide.write_text("# Guide\n\nThe ferry to the island leaves at nine from the northern pier.\n")
    crew = Crew("readers", agents=[Agent("reader", role="You answer.", tools=["search_documents"])])
    options = {"settings": cluster.settings, "docs": [guide]}
    assert "nine" in crew.run("When does the ferry leave?", **options).output
    pid = cluster.portal.run(cluster.host.wait_ready())["memory"]
    runs = [crew.start("When does the ferry leave?", **options) for _ in range(5)]
    os.kill(pid, signal.SIGKILL)
    for run in runs:
        result = run.result()
        assert "nine" in result.output
        assert result.usage.llm_calls == 2
    assert cluster.portal.run(cluster.host.wait_ready())["memory"] != pid
    assert "nine" in crew.run("When does the ferry leave?", **options).output
