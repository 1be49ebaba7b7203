"""A system: a host with the gateway and the memory open on it, and the crews that run there."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import platform
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from callsheet.core.canonical import digest, to_json
from callsheet.core.errors import CallsheetError, SettingsError, TracingError
from callsheet.core.limits import Limits
from callsheet.core.records import RunRecord
from callsheet.crews.portal import portal
from callsheet.crews.stand_in import stand_in, with_stand_in
from callsheet.models.catalogue import OFFLINE, ModelInfo, default_model, expected_provider, parse_model
from callsheet.models.config import GatewayConfig
from callsheet.models.secrets import KEY_FILES, KEYS, provider_environ
from callsheet.runtime.host import Host, HostConfig, ServiceSpec
from callsheet.runtime.services import Call, Component
from callsheet.settings import Settings
from callsheet.tracing import SpanPlace, TracingConfig

if TYPE_CHECKING:
    from callsheet.crews.crew import Crew
    from callsheet.models.kept import Exchanges

HostName = Literal["ray", "inline"]
Progress = Callable[[str], None]

HIDDEN = (*KEYS, *KEY_FILES)
"""Environment variables that no process but the gateway's is given."""

GATEWAY_TIMEOUT_S = 30.0
"""How long a cluster's gateway, which may have to be started, is given to say what models it has."""


class System:
    """One host, opened once a process for the same settings, and the crews that are launched on it."""

    def __init__(
        self, settings: Settings, host: HostName, progress: Progress, place: Exchanges | None = None
    ) -> None:
        self.settings = settings
        self.stand_in = place
        """What answers in the place of all models, in tests."""
        self.host_name: HostName = host
        self.endpoint = phoenix_endpoint(settings)
        config = HostConfig(
            journal=settings.journal_url, synchronous=settings.journal_sync, hidden=HIDDEN,
            tracing=tracing_config(settings, self.endpoint),
        )  # fmt: skip
        self.host: Host
        address: str | None = None
        if host == "inline":
            from callsheet.runtime.inline_host import InlineHost

            self.host = InlineHost(config)
        elif host == "ray":
            from callsheet.runtime.ray_host import RayHost

            address = ray_address(settings)
            token_path = ray_token(settings, address)
            self.host = RayHost(config, address=address, token_path=token_path, progress=progress)
        else:
            raise SettingsError(f"there is no host {host!r}", hint="It is `ray` or `inline`.")
        self._joins = address is not None
        self._default = settings.model or default_model(model_environ(settings))
        self._launched: dict[tuple[int, int], tuple[Crew, str]] = {}
        self._launching = asyncio.Lock()

    async def open(self) -> None:
        """Open the host with its services."""
        specs = service_specs(self.settings)
        await self.host.open(specs if self.stand_in is None else with_stand_in(specs, self.stand_in))
        if self._joins and self.settings.model is None:
            # The cluster's gateway has the keys that it was started with, and not this process's.
            with contextlib.suppress(TimeoutError, CallsheetError):  # the run's first call tells
                found = await asyncio.wait_for(self.models(), GATEWAY_TIMEOUT_S)
                self._default = next((info.example for info in found if info.default), OFFLINE)

    async def models(self) -> tuple[ModelInfo, ...]:
        """What the gateway has keys and addresses for. Raises ServiceError."""
        from callsheet.models.gateway import ListModels

        found: tuple[ModelInfo, ...] = await self.host.service("gateway")(ListModels())
        return found

    async def close(self) -> None:
        """Close the host, and end what it started."""
        await self.host.close()

    async def launched(self, crew: Crew) -> str:
        """The name under which this crew runs here, launching it first where needed."""
        async with self._launching:
            known = self._launched.get((id(crew), crew.edition))
            if known is not None:
                return known[1]
            name = f"{crew.name}-{uuid.uuid4().hex[:6]}"
            await self.host.launch(name, crew.participants(), crew.description())
            # With the crew itself, so that its id stays its own.
            self._launched[id(crew), crew.edition] = (crew, name)
            return name

    async def add_documents(self, paths: tuple[str, ...], notices: list[str]) -> str:
        """Load the documents into the memory; returns the collection that holds just them.

        The same paths of the same folder are the same collection again: only what changed is read in.
        """
        from callsheet.memory.documents import load_documents
        from callsheet.memory.service import AddDocuments

        documents = await asyncio.to_thread(load_documents, paths, notices=notices)
        # Sources are relative, and others on the cluster may have files of the same names.
        place = (platform.node(), str(Path.cwd()))
        collection = "docs-" + digest(*place, *sorted(document.source for document in documents))[:16]
        await self.host.service("memory")(
            AddDocuments(documents=tuple(documents), collection=collection, exactly=True)
        )
        return collection

    def record(
        self,
        crew: str,
        launch: str,
        given: Any,
        *,
        limits: Limits,
        session: str,
        options: Mapping[str, Any],
        source: str,
        run_id: str | None = None,
    ) -> RunRecord:
        """The record of a new run, under an id of its own if none is given."""
        run_id = run_id or time.strftime("%m%d-%H%M%S-", time.gmtime()) + uuid.uuid4().hex[:8]
        return RunRecord(
            run_id=run_id, crew=crew, status="running", input=to_json({"input": given}),
            session_id=session or run_id,
            limits=to_json(limits.to_dict()), launch=launch, options=to_json(dict(options)),
            started=time.time(), source=source,
        )  # fmt: skip

    def default_model(self) -> str:
        """The model of agents that name none: as set, else what the gateway has a key for, else `offline`."""
        return self._default


_systems: dict[tuple[Any, ...], asyncio.Task[System]] = {}


async def shared_system(settings: Settings, host: HostName, progress: Progress) -> System:
    """The process's system for these settings, opened on first use (in the portal's loop)."""
    place = stand_in(host)
    key = (host, settings.model_dump_json(), id(place))
    task = _systems.get(key)
    if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):

        async def begin() -> System:
            system = System(settings, host, progress, place)
            try:
                await system.open()
            except BaseException:
                await system.close()
                raise
            return system

        task = _systems[key] = asyncio.get_running_loop().create_task(begin())
        portal().at_close(functools.partial(_forget, key))
    return await asyncio.shield(task)


async def close_stood_in(place: Exchanges) -> None:
    """Close what was opened while `place` stood in for models (in the portal's loop)."""
    for key in [key for key in _systems if key[2] == id(place)]:
        await _forget(key)


async def _forget(key: tuple[Any, ...]) -> None:
    task = _systems.pop(key, None)
    if task is None:
        return
    if not task.done():
        task.cancel()  # still opening: it closes what it has opened
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is None:
        await task.result().close()


# --- how settings become parts ---------------------------------------------------------------------------


def service_specs(settings: Settings) -> list[ServiceSpec]:
    """The gateway and the memory, as the host is to start them. Keys travel to the gateway alone."""
    secrets = model_environ(settings)
    expected = parse_model(settings.model).provider if settings.model else expected_provider(secrets)
    gateway = GatewayConfig(
        trace_content=settings.trace_content, expects=expected,
        models=settings.models, limits=settings.limits,
        cache_path=str(settings.home / "responses.db") if settings.response_cache else "",
        ledger_path=str(settings.home / "ledger.db") if settings.limits else "",
    )  # fmt: skip
    memory = functools.partial(_memory, settings.home / "memory", settings.embedder)
    return [
        ServiceSpec(name="gateway", factory=functools.partial(_gateway, gateway), secrets=secrets),
        ServiceSpec(name="memory", factory=memory, uses=("gateway",)),
    ]


def model_environ(settings: Settings) -> dict[str, str]:
    """Providers' keys and addresses: of the environment, else of `.env` in the working folder or in the home.

    Raises SettingsError for a file that cannot be read. No key goes into `os.environ`.
    """
    return provider_environ(os.environ, (Path.cwd(), settings.home))


def _gateway(
    config: GatewayConfig,
    secrets: Mapping[str, str],
    calls: Mapping[str, Call],
    exchanges: Sequence[Exchanges] = (),
) -> Component:
    from callsheet.models.gateway import Gateway

    return Gateway(config, environ=secrets, exchanges=exchanges)


def _memory(path: Any, embedder: str, secrets: Mapping[str, str], calls: Mapping[str, Call]) -> Component:
    from callsheet.memory.service import Memory
    from callsheet.models.embeddings import EmbedRequest

    async def embed(texts: list[str], places: tuple[SpanPlace, ...]) -> list[list[float]]:
        request = EmbedRequest(model=embedder, texts=tuple(texts), places=places)
        vectors: list[list[float]] = await calls["gateway"](request)
        return vectors

    return Memory(path, embedder, embed=embed)


def tracing_config(settings: Settings, endpoint: str | None) -> TracingConfig | None:
    """Where spans go; without a Phoenix they wait in the spool. None if tracing is off."""
    if settings.phoenix == "off":
        return None
    return TracingConfig(
        spool_dir=settings.home / "spool", endpoint=endpoint, project=settings.project,
        content=settings.trace_content,
    )  # fmt: skip


def phoenix_endpoint(settings: Settings) -> str | None:
    """Phoenix's address: as set, else of the one that `callsheet up` started."""
    if settings.phoenix is not None:
        return None if settings.phoenix == "off" else settings.phoenix
    from callsheet.tracing.phoenix.server import running_phoenix

    running = running_phoenix(settings.home)
    return None if running is None else running.url


def ray_address(settings: Settings) -> str | None:
    """The cluster to join: as set, else RAY_ADDRESS, else what `callsheet up` started, else None."""
    from callsheet.runtime.head import running_head

    if settings.address is not None:
        return settings.address
    if os.environ.get("RAY_ADDRESS"):
        return os.environ["RAY_ADDRESS"]
    head = running_head(settings.home)
    return None if head is None else head.address


def ray_token(settings: Settings, address: str | None) -> str | None:
    """Where the token lies that the head at that address asks for, if `callsheet up` started it."""
    from callsheet.runtime.head import running_head

    head = None if address is None else running_head(settings.home)
    return head.token_path if head is not None and head.address == address else None


def trace_url(endpoint: str | None, project: str, run_id: str) -> tuple[str, str] | None:
    """(live, trace) links to a run in Phoenix, or None where there is none that answers."""
    if endpoint is None:
        return None
    from callsheet.tracing.phoenix.client import run_links

    try:
        links = run_links(endpoint, project, run_id)
    except TracingError:
        return None
    return links.live, links.trace
