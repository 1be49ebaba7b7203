"""One local Ray for all of these tests, with a provider's key planted in the driver's environment."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from callsheet.core.limits import Limits
from callsheet.core.records import RunRecord
from callsheet.crews.portal import Portal, close_portal, portal
from callsheet.crews.system import System, shared_system
from callsheet.runtime.host import ParticipantSpec
from callsheet.runtime.journal import Journal
from callsheet.runtime.ray_host import RayHost
from callsheet.settings import Settings, load_settings

KEY = "sk-planted-0123456789abcdef"
WAIT_S = 60.0


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a state of other processes, which nothing tells us of."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {WAIT_S:g} s for {what}"
        time.sleep(0.02)


@dataclass
class Cluster:
    """The Ray of these tests, and its coordinator, gateway and memory."""

    system: System
    settings: Settings
    pids: dict[str, int]

    @property
    def host(self) -> RayHost:
        assert isinstance(self.system.host, RayHost)
        return self.system.host

    @property
    def portal(self) -> Portal:
        return portal()

    def launch(self, name: str, *participants: ParticipantSpec) -> dict[str, list[int]]:
        """Launch plain handlers as a crew; the process ids by participant."""
        self.portal.run(self.host.launch(name, participants, {"crew": name}))
        return self.pids_of(name)

    def pids_of(self, name: str) -> dict[str, list[int]]:
        launches = self.portal.run(self.host.client.query("launches"))
        found: dict[str, list[int]] = next(x["participants"] for x in launches if x["name"] == name)
        return found

    def start(self, launch: str, run_id: str, given: str = "null", limits: Limits | None = None) -> None:
        record = RunRecord(
            run_id=run_id, crew=launch, status="running", input='{"input":' + given + "}", launch=launch,
            started=time.time(),
        )  # fmt: skip

        async def start() -> None:
            self.host.client.start(record, limits or Limits())

        self.portal.run(start())

    def journal(self) -> Journal:
        return Journal(self.settings.journal_url)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home: Path = tmp_path_factory.mktemp("home")
    settings = load_settings(home=home, model="offline", phoenix="off")
    os.environ["OPENAI_API_KEY"] = KEY
    try:
        system = portal().run(shared_system(settings, "ray", print))
        assert isinstance(system.host, RayHost)
        pids = portal().run(system.host.wait_ready())
    finally:
        # What Ray's processes were to get they have; the other tests of the session have no key.
        del os.environ["OPENAI_API_KEY"]
    yield Cluster(system, settings, pids)
    close_portal()
