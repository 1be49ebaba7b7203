"""What the two hosts have in common: what they are given to run, and what they offer."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from callsheet.core.canonical import to_json
from callsheet.runtime.client import Client
from callsheet.runtime.participant import Handler
from callsheet.runtime.protocol import LaunchCard
from callsheet.runtime.services import Call, Component
from callsheet.tracing import TracingConfig


@dataclass(frozen=True, kw_only=True)
class ServiceSpec:
    """A service to run; `factory(secrets, calls)` makes its component, in the process it will live in.

    `secrets` reach that process and no other. `uses` names the services that it calls itself.
    """

    name: str
    factory: Callable[[Mapping[str, str], Mapping[str, Call]], Component]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ParticipantSpec:
    """A participant of a crew; `factory` makes its handler, in the process that it will live in."""

    name: str
    factory: Callable[[], Handler]
    replicas: int = 1
    resources: Mapping[str, float] = field(default_factory=dict)
    """What Ray reserves for each replica: `num_cpus`, `num_gpus`, `memory`, or custom ones."""
    watch_stuck: Callable[[Callable[[str], None]], object] | None = None
    """Asked to call what it is given with a name, when work here cannot be stopped: then the process has to go."""
    modules: tuple[str, ...] = ()
    """Modules that only this process has loaded, as it has a crew's file: they travel by value."""


@dataclass(frozen=True, kw_only=True)
class HostConfig:
    """Where a host keeps its journal, and how it reports."""

    journal: Path | str
    synchronous: str = "normal"
    owner: str = ""
    """The coordinator's name as the one who works on runs: the same for all its successors."""
    tracing: TracingConfig | None = None
    hidden: tuple[str, ...] = ()
    """Environment variables that no participant may see: the providers' keys."""


class Host(Protocol):
    """Runs the coordinator, services and launched crews, in this process or as Ray actors."""

    @property
    def client(self) -> Client:
        """The lane to the coordinator."""

    async def open(self, services: Sequence[ServiceSpec]) -> None:
        """Start, or find, the coordinator and the services."""

    def service(self, name: str) -> Call:
        """How to call a service."""

    async def launch(
        self,
        name: str,
        participants: Sequence[ParticipantSpec],
        description: dict[str, Any],
        *,
        keep: bool = False,
    ) -> None:
        """Start a crew's participants under a launched name; returns when all have joined.

        With `keep` the crew outlives this host (where the host can).
        """

    async def stop(self, name: str) -> None:
        """End a launched crew."""

    async def close(self) -> None:
        """End what this host started, after its last spans are out."""


def launch_card(
    name: str, participants: Sequence[ParticipantSpec], description: dict[str, Any], driver: str = ""
) -> LaunchCard:
    """The card of a new launch."""
    return LaunchCard(
        name=name, id=uuid.uuid4().hex, participants=tuple(spec.name for spec in participants),
        description=to_json(description), driver=driver,
    )  # fmt: skip
