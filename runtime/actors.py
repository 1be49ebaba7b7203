"""Where classes become Ray actors: their names, lifetimes, restarts and resources, and nothing else.

| actor | name | restarts | what a crash costs |
|---|---|---|---|
| coordinator | `coordinator` | always | nothing that it acknowledged: it acknowledges after the commit |
| service | the service's name | always | requests under way; their callers send them again |
| participant | `LAUNCH/NAME#i` | always | steps under way; its turns are given again with their records |

Coordinator and services stay on the head node, where the journal, the memory's files and the keys are. All
actors are detached, so that a run outlives the driver that began it, and none reserves a CPU, so that a
crew of any size fits on a laptop. Methods are never retried by Ray: the lanes do that, with numbers that
let the receiver drop what it has seen.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
import uuid
from collections.abc import Mapping
from typing import Any, Literal, cast

from callsheet import tracing
from callsheet.runtime.cluster import NAMESPACE
from callsheet.runtime.garbage import SELDOM
from callsheet.runtime.handover import Handover
from callsheet.runtime.host import HostConfig, ParticipantSpec, ServiceSpec
from callsheet.runtime.lanes import LaneDownError
from callsheet.runtime.local_calls import CallLostError, LocalConnection, LocalServer
from callsheet.runtime.participant import Participant
from callsheet.runtime.protocol import LaunchCard
from callsheet.runtime.services import Caller, Service

log = logging.getLogger(__name__)

COORDINATOR = "coordinator"
LOST_AFTER_S = 60.0

ON_THE_HEAD = {"resources": {"node:__internal_head__": 0.001}}
"""Ray's own mark of the head node."""


class ActorTransport:
    """Carries a lane's calls to an actor, also to its successors: it is found again by its name.

    On the machine of the actor they go over a socket (see `callsheet.runtime.local_calls`), else through Ray.
    """

    def __init__(self, name: str, handle: Any) -> None:
        self._name, self._handle = name, handle
        self._connection: LocalConnection | None = None
        self._asked = False
        self._connecting = asyncio.Lock()

    async def __call__(self, data: bytes) -> bytes:
        """One call. Raises LaneDownError while the actor is away, a final one when it is gone."""
        from ray.exceptions import ActorDiedError, ActorUnavailableError, RayActorError

        connection: LocalConnection | None = None
        try:
            if not self._asked:
                async with self._connecting:
                    if not self._asked:
                        self._connection = await self._connected()
                        self._asked = True
            connection = self._connection
            if connection is not None:
                return await connection.call(data)
            answer: bytes = await self._handle.exchange.remote(data)
        except (CallLostError, ActorUnavailableError) as error:
            if connection is self._connection:  # its successor listens elsewhere, unless it has been found
                self._asked, self._connection = False, None
            raise LaneDownError(f"{self._name} is away: {error}") from error
        except (ActorDiedError, RayActorError) as error:
            self._asked, self._connection = False, None
            self._handle = await asyncio.to_thread(self._find_again, error)
            raise LaneDownError(f"{self._name} has died and is there again") from error
        return answer

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()

    async def _connected(self) -> LocalConnection | None:
        import ray

        node, address = await self._handle.address.remote()
        here = ray.get_runtime_context().get_node_id()
        return await LocalConnection.open(address) if node == here else None

    def _find_again(self, error: Exception) -> Any:
        import ray

        try:
            return ray.get_actor(self._name, namespace=NAMESPACE)
        except ValueError:
            raise LaneDownError(f"{self._name} is gone: {error}", final=True) from error


class _Actor:
    """What every actor of ours can be told."""

    def __init__(self, config: HostConfig, label: str) -> None:
        self._local: LocalServer | None = None
        for name in config.hidden:
            os.environ.pop(name, None)
        if config.tracing is not None:
            tracing.configure(config.tracing)
        self._label = label
        # Messages are many, short-lived and without cycles: looking for cycles less often is 10 % faster.
        gc.freeze()
        gc.set_threshold(*SELDOM)

    async def ready(self) -> int:
        """Answers when the actor can work: its process id."""
        return os.getpid()

    async def exchange(self, data: bytes) -> bytes:
        """One call of a client's lane. Safe to repeat: the lane numbers what it carries."""
        raise NotImplementedError

    async def address(self) -> tuple[str, str]:
        """On which node of the cluster this is, and where it listens for processes of the same machine."""
        import ray

        if self._local is None:
            self._local = LocalServer(self.exchange)
        return ray.get_runtime_context().get_node_id(), await self._local.address()

    async def flush(self, timeout_s: float = 2.0) -> bool:
        """Send the spans that are still here."""
        return await asyncio.to_thread(tracing.flush, timeout_s)


class CoordinatorActor(_Actor):
    """The coordinator in a process of its own; see `Coordinator` for what survives."""

    def __init__(self, config: HostConfig) -> None:
        # Here alone: SQLAlchemy takes 0.4 s of CPU to import, and no agent needs it.
        from callsheet.runtime.coordinator import Coordinator
        from callsheet.runtime.journal import Journal

        super().__init__(config, COORDINATOR)
        synchronous = cast("Literal['normal', 'full']", config.synchronous)
        journal = Journal(config.journal, synchronous=synchronous, owner=config.owner)
        self._coordinator = Coordinator(journal, owner=config.owner, kill=_kill_to_restart)

    async def exchange(self, data: bytes) -> bytes:
        """One call of a client's lane. Safe to repeat: the lane numbers what it carries."""
        return await self._coordinator.exchange(data)

    async def close(self) -> None:
        """Write what is left and close the journal."""
        await self._coordinator.close()


def _kill_to_restart(name: str) -> None:
    """End an actor's process; Ray starts it again. In a thread, since finding it may wait for Ray."""

    def kill() -> None:
        import ray

        try:
            ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=False)
        except ValueError:
            log.info("%s is gone already", name)

    threading.Thread(target=kill, daemon=True).start()


class ServiceActor(_Actor):
    """A service in a process of its own; see `Service` for what survives."""

    def __init__(self, config: HostConfig, spec: ServiceSpec, handles: Mapping[str, Any]) -> None:
        super().__init__(config, spec.name)
        self._callers = _callers(spec.name, {name: handles[name] for name in spec.uses})
        calls = {name: caller.request for name, caller in self._callers.items()}
        component: Any = spec.factory(spec.secrets, calls)
        self._service = Service(component)
        if hasattr(component, "warm"):
            threading.Thread(target=component.warm, args=(_takes_anothers_place(),), daemon=True).start()

    async def exchange(self, data: bytes) -> bytes:
        """One call of a client's lane. Safe to repeat: the lane numbers what it carries."""
        return await self._service.exchange(data)

    async def close(self) -> None:
        """Close the component."""
        await self._service.close()


class ParticipantActor(_Actor):
    """A participant in a process of its own; see `Participant` for what survives."""

    def __init__(
        self,
        config: HostConfig,
        card: LaunchCard,
        index: int,
        spec: ParticipantSpec,
        handles: Mapping[str, Any],
    ) -> None:
        client = actor_name(card.name, spec.name, index)
        super().__init__(config, client)
        incarnation = uuid.uuid4().hex
        callers = _callers(client, {n: h for n, h in handles.items() if n != COORDINATOR}, incarnation)
        self._participant = Participant(
            card=card, name=spec.name, replica=index, replicas=spec.replicas, handler=spec.factory(),
            transport=ActorTransport(COORDINATOR, handles[COORDINATOR]),
            services={name: caller.request for name, caller in callers.items()},
            client=client, incarnation=incarnation, on_dismissed=self._end,
        )  # fmt: skip
        self._handover = Handover(self._participant)
        if spec.watch_stuck is not None:
            spec.watch_stuck(self._handover.call_stuck)
        self._participant.open()

    def _end(self) -> None:
        import ray

        tracing.flush(1.0)
        ray.kill(ray.get_runtime_context().current_actor, no_restart=True)

    async def ready(self) -> int:
        """Answers when the participant has joined its crew: its process id."""
        await self._participant.joined()
        return os.getpid()

    async def close(self) -> None:
        """Stop taking turns."""
        await self._participant.close()


def _takes_anothers_place() -> bool:
    import ray

    return bool(ray.get_runtime_context().was_current_actor_reconstructed)


def _callers(client: str, handles: Mapping[str, Any], incarnation: str = "") -> dict[str, Caller]:
    incarnation = incarnation or uuid.uuid4().hex
    return {
        name: Caller(
            name, ActorTransport(name, handle), client=client, incarnation=incarnation, give_up_s=LOST_AFTER_S
        )
        for name, handle in handles.items()
    }  # fmt: skip


def actor_name(launch: str, name: str, index: int) -> str:
    """The Ray name of a participant's actor, which is also its client name on the lanes."""
    return f"{launch}/{name}#{index}"


def create_coordinator(config: HostConfig) -> Any:
    """The cluster's coordinator, made if there is none."""
    return _create(CoordinatorActor, COORDINATOR, ON_THE_HEAD, True, config)


def create_service(config: HostConfig, spec: ServiceSpec, handles: Mapping[str, Any]) -> Any:
    """The cluster's service of that name, made if there is none."""
    return _create(ServiceActor, spec.name, ON_THE_HEAD, True, config, spec, handles)


def create_participant(
    config: HostConfig, card: LaunchCard, index: int, spec: ParticipantSpec, handles: Mapping[str, Any]
) -> Any:
    """One participant's actor."""
    name = actor_name(card.name, spec.name, index)
    return _create(ParticipantActor, name, dict(spec.resources), False, config, card, index, spec, handles)


def _create(cls: type, name: str, resources: dict[str, Any], get_if_exists: bool, *args: Any) -> Any:
    import ray

    # Without Ray's own events a lane's call costs it a quarter less; our journal and spans tell more than they do.
    options = {"num_cpus": 0, "enable_task_events": False, **resources}
    return (
        ray.remote(cls)
        .options(
            name=name, namespace=NAMESPACE, lifetime="detached", get_if_exists=get_if_exists,
            max_restarts=-1, max_task_retries=0, max_concurrency=10_000, **options,
        )
        .remote(*args)
    )  # fmt: skip
