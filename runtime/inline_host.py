"""The inline host: the same classes as on Ray, journal included, in the current process and event loop.

For tests, notebooks and debuggers: it starts at once. Nothing survives the process but the journal.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Sequence
from typing import Any, Literal, cast

from callsheet import tracing
from callsheet.core.errors import DefinitionError, InfrastructureError
from callsheet.runtime.client import Client
from callsheet.runtime.coordinator import Coordinator
from callsheet.runtime.garbage import collect_as_before, collect_seldom
from callsheet.runtime.host import HostConfig, ParticipantSpec, ServiceSpec, launch_card
from callsheet.runtime.journal import Journal
from callsheet.runtime.participant import Participant
from callsheet.runtime.services import Call, Caller, Service


class InlineHost:
    """Runs everything here. One event loop; lanes are plain calls that carry pickled bytes as on Ray."""

    def __init__(self, config: HostConfig) -> None:
        self._config = config
        self._id = uuid.uuid4().hex[:8]
        self._services: dict[str, Service] = {}
        self._calls: dict[str, Caller] = {}
        self._launched: dict[str, list[Participant]] = {}
        self._coordinator: Coordinator | None = None
        self._client: Client | None = None
        self._collects_seldom = False

    @property
    def client(self) -> Client:
        """The lane to the coordinator."""
        if self._client is None:
            raise DefinitionError("the host is not open")
        return self._client

    async def open(self, services: Sequence[ServiceSpec]) -> None:
        """Start the coordinator and the services."""
        self._collects_seldom = True
        collect_seldom()
        if self._config.tracing is not None:
            tracing.configure(self._config.tracing)
        synchronous = cast("Literal['normal', 'full']", self._config.synchronous)
        owner = f"inline-{os.getpid()}-{self._id}"
        journal = Journal(self._config.journal, synchronous=synchronous, owner=owner)
        self._coordinator = Coordinator(journal, owner=owner)
        self._client = Client(self._coordinator.exchange, client=f"inline-{self._id}")
        for spec in services:
            service = self._services[spec.name] = Service(
                spec.factory(spec.secrets, {name: self._calls[name].request for name in spec.uses})
            )
            self._calls[spec.name] = Caller(
                spec.name, service.exchange, client=f"inline-{self._id}", incarnation="0"
            )

    def service(self, name: str) -> Call:
        """How to call a service."""
        return self._calls[name].request

    async def launch(
        self,
        name: str,
        participants: Sequence[ParticipantSpec],
        description: dict[str, Any],
        *,
        keep: bool = False,
    ) -> None:
        """Make the participants here. Raises DefinitionError for `keep`: nothing here can outlive us."""
        if keep:
            raise DefinitionError(
                "a crew cannot be kept serving inline",
                hint="Launch it on Ray: host='ray', or `callsheet launch`.",
            )
        if self._coordinator is None:
            raise DefinitionError("the host is not open")
        card = launch_card(name, participants, description)
        await self.client.query("launch", card=card)
        calls = {service: caller.request for service, caller in self._calls.items()}
        made = self._launched[name] = [
            Participant(
                card=card, name=spec.name, replica=i, replicas=spec.replicas, handler=spec.factory(),
                transport=self._coordinator.exchange,
                services=calls, client=f"{name}/{spec.name}#{i}", incarnation=self._id,
            )
            for spec in participants
            for i in range(spec.replicas)
        ]  # fmt: skip
        for participant in made:
            participant.open()

    async def stop(self, name: str) -> None:
        """End a launched crew."""
        for participant in self._launched.pop(name, []):
            await participant.close()
        await self.client.query("unlaunch", name=name)

    async def close(self) -> None:
        """End everything; the journal stays."""
        if self._collects_seldom:
            self._collects_seldom = False
            collect_as_before()
        for name in list(self._launched):
            with contextlib.suppress(InfrastructureError):  # whose journal is broken has been told so
                await self.stop(name)
        for caller in self._calls.values():
            await caller.close()
        for service in self._services.values():
            await service.close()
        if self._client is not None:
            await self._client.close()
        if self._coordinator is not None:
            await self._coordinator.close()
        if self._config.tracing is not None:
            tracing.flush(2.0)
