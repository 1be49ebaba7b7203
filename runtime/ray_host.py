"""The Ray host: coordinator, services and participants as actors, on this machine or a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from callsheet import tracing
from callsheet.core.errors import ClusterError, DefinitionError, UsageError
from callsheet.runtime.actors import (
    COORDINATOR,
    ActorTransport,
    actor_name,
    create_coordinator,
    create_participant,
    create_service,
)
from callsheet.runtime.client import Client
from callsheet.runtime.cluster import (
    NAMESPACE,
    connect,
    disconnect,
    has_ended,
    ship_by_value,
    until_ray_ends,
    within,
)
from callsheet.runtime.host import HostConfig, ParticipantSpec, ServiceSpec, launch_card
from callsheet.runtime.protocol import FLOW
from callsheet.runtime.services import Call, Caller
from callsheet.runtime.worker_output import OUTPUT

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 5.0


class RayHost:
    """Runs crews on Ray. Joins the cluster at `address`, or starts a Ray that ends with this process."""

    def __init__(
        self,
        config: HostConfig,
        *,
        address: str | None = None,
        token_path: str | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._address, self._token_path = address, token_path
        self._progress = progress
        self._id = f"driver-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._handles: dict[str, Any] = {}
        self._calls: dict[str, Caller] = {}
        self._launched: dict[str, list[Any]] = {}
        self._client: Client | None = None
        self._owns_ray = False
        self._watch: asyncio.Task[None] | None = None

    @property
    def client(self) -> Client:
        """The lane to the coordinator."""
        if self._client is None:
            raise DefinitionError("the host is not open")
        return self._client

    async def open(self, services: Sequence[ServiceSpec]) -> None:
        """Connect to Ray; find the coordinator and the services there, or start them."""
        self._owns_ray = await asyncio.to_thread(
            connect, self._address, token_path=self._token_path, hidden=self._config.hidden,
            progress=self._progress,
        )  # fmt: skip
        if self._config.tracing is not None:
            tracing.configure(self._config.tracing)
        self._handles[COORDINATOR] = create_coordinator(
            replace(self._config, owner=f"ray-{uuid.uuid4().hex[:12]}")
        )
        for spec in services:
            self._handles[spec.name] = create_service(self._config, spec, dict(self._handles))
        coordinator = ActorTransport(COORDINATOR, self._handles[COORDINATOR])
        self._client = Client(coordinator, client=self._id)
        self._watch = asyncio.get_running_loop().create_task(self._watch_ray())
        for spec in services:
            transport = ActorTransport(spec.name, self._handles[spec.name])
            self._calls[spec.name] = Caller(spec.name, transport, client=self._id, incarnation="0")

    async def wait_ready(self) -> dict[str, int]:
        """Wait until coordinator and services can work: their process ids by name."""
        pids = await self._all_ready(list(self._handles.values()), "the coordinator and the services")
        return dict(zip(self._handles, pids, strict=True))

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
        """Start one actor for each participant and replica. Raises DefinitionError if the name is taken."""
        card = launch_card(name, participants, description, driver="" if keep else self._id)
        if not keep:
            self.client.keep_alive()
        for spec in participants:
            ship_by_value(spec.modules)
        agents = [spec for spec in participants if spec.name != FLOW]
        self._progress(f"starting {len(agents)} agent{'s' if len(agents) > 1 else ''}")
        announced = asyncio.ensure_future(self.client.query("launch", card=card))
        if keep:
            await announced  # the name may be taken: what serves under it must not be touched
        creating: list[Any] = []
        self._launched[name] = creating
        try:
            creating.extend(
                create_participant(self._config, card, i, spec, self._handles)
                for spec in participants
                for i in range(spec.replicas)
            )
            await announced
            pids = await self._all_ready(creating, f"the agents of {name}")
        except BaseException as error:
            refused = (await asyncio.gather(announced, return_exceptions=True))[0]
            if refused is None:
                await self.stop(name)
                raise
            # Another crew serves under that name: all that is ours is what was just created.
            self._launched.pop(name)
            await self._end(creating)
            if isinstance(error, Exception):
                raise refused from None
            raise
        whose = [spec.name for spec in participants for _ in range(spec.replicas)]
        for pid, participant in zip(pids, whose, strict=True):
            OUTPUT.name(pid, description.get("crew", name) if participant == FLOW else participant)
        if keep:
            self._launched.pop(name)

    async def stop(self, name: str) -> None:
        """End a launched crew, also one that another driver launched. Raises UsageError if there is none."""
        actors = self._launched.pop(name, None)
        if actors is None:
            actors = await self._find(name)
        await self._end(actors)
        await self.client.query("unlaunch", name=name)

    async def close(self) -> None:
        """End the crews that this host launched without `keep`, and the Ray that it started."""
        if self._watch is not None:
            self._watch.cancel()
        if has_ended():
            await self._let_go()
            return
        for name in list(self._launched):
            with contextlib.suppress(ClusterError):
                await self.stop(name)
        if self._owns_ray:
            await self._flush(list(self._handles.values()))
        for caller in self._calls.values():
            await caller.close()
        if self._client is not None:
            await self._client.close()
        if self._owns_ray:
            with contextlib.suppress(Exception):  # it ends with Ray in any case
                await within(self._handles[COORDINATOR].close.remote(), STOP_TIMEOUT_S)
            await asyncio.to_thread(disconnect)
        if self._config.tracing is not None:
            await asyncio.to_thread(tracing.flush, 2.0)

    async def _let_go(self) -> None:
        """Ray has ended under us: there is nobody to tell, and whatever is asked of it would hang."""
        for caller in self._calls.values():
            await caller.close()
        if self._client is not None:
            await self._client.close()
        # In a thread that nobody waits for; without it Ray would end this process in a minute.
        threading.Thread(target=disconnect, daemon=True).start()
        if self._config.tracing is not None:
            await asyncio.to_thread(tracing.flush, 2.0)

    async def _watch_ray(self) -> None:
        await until_ray_ends()
        self.client.lose("Ray has ended")

    async def leave(self) -> None:
        """Close, and let the crews that this host launched go on with their runs.

        Each is dismissed once its runs are over and this driver has been silent for long enough (see
        `callsheet.runtime.upkeep`). Raises DefinitionError for a host whose Ray would end with it.
        """
        if self._owns_ray:
            raise DefinitionError("a Ray that this process started ends with it, and so do its crews")
        self._launched.clear()
        await self.close()

    # --- helpers -------------------------------------------------------------------------------------

    async def _all_ready(self, actors: list[Any], what: str) -> list[int]:
        from ray.exceptions import RayError, RayTaskError

        try:
            pids: list[int] = await asyncio.gather(
                *(within(_ready(actor), START_TIMEOUT_S) for actor in actors)
            )
        except TimeoutError:
            raise ClusterError(
                f"{what} did not start within {START_TIMEOUT_S:g} s",
                hint="`ray status` shows whether the cluster has what they ask for.",
            ) from None
        except RayTaskError as error:
            raise error.as_instanceof_cause() from None
        except RayError as error:
            raise ClusterError(f"{what} could not be started: {error}") from error
        return pids

    async def _find(self, name: str) -> list[Any]:
        import ray

        launches = {launch["name"]: launch for launch in await self.client.query("launches")}
        if name not in launches:
            raise UsageError(
                f"no crew is launched as {name!r}", hint="`callsheet crews` lists those that are."
            )
        found = []
        for participant, pids in launches[name]["participants"].items():
            for i in range(len(pids)):
                with contextlib.suppress(ValueError):  # it has died already
                    found.append(
                        await asyncio.to_thread(
                            ray.get_actor, actor_name(name, participant, i), namespace=NAMESPACE
                        )
                    )
        return found

    async def _flush(self, actors: list[Any]) -> None:
        # ray.kill and ray.shutdown give a process no chance to send its last spans.
        refs = [actor.flush.remote() for actor in actors]
        await asyncio.gather(*(within(ref, STOP_TIMEOUT_S) for ref in refs), return_exceptions=True)

    async def _end(self, actors: list[Any]) -> None:
        import ray

        refs = [actor.close.remote() for actor in actors]
        await asyncio.gather(*(within(ref, STOP_TIMEOUT_S) for ref in refs), return_exceptions=True)
        await self._flush(actors)
        for actor in actors:
            ray.kill(actor, no_restart=True)


async def _ready(actor: Any) -> int:
    from ray.exceptions import ActorUnavailableError

    while True:
        try:
            pid: int = await actor.ready.remote()
        except ActorUnavailableError:  # Ray is starting it again
            await asyncio.sleep(0.1)
        else:
            return pid
