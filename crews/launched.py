"""A crew that a cluster serves, as a driver sees it."""

from __future__ import annotations

from typing import Any

from callsheet.core.errors import DefinitionError
from callsheet.core.limits import Limits
from callsheet.crews.resuming import ResumeOptions, go_on
from callsheet.crews.run import Run
from callsheet.crews.runnable import Runnable
from callsheet.crews.starting import RunOptions, begin, check_model
from callsheet.crews.system import HostName, Progress, System, shared_system
from callsheet.settings import Settings, load_settings


class LaunchedCrew(Runnable):
    """A crew that serves on a cluster, started by `callsheet launch`; this process only sends it work."""

    def __init__(self, name: str, settings: Settings | None = None) -> None:
        self.name = name
        self._settings = settings

    async def _start(
        self,
        given: Any,
        *,
        host: HostName = "ray",
        settings: Settings | None = None,
        progress: Progress = lambda _: None,
        **options: Any,
    ) -> Run:
        wanted = RunOptions.of(options)
        system, description = await self._found(host, settings, progress)
        own = [agent.get("model") for agent in description.get("agents", ())]
        check_model(system, wanted, own)
        limits = Limits.from_dict(description.get("limits", {}))
        crew = description.get("crew", self.name)
        source = description.get("source", "")
        return await begin(system, crew, self.name, given, limits, None, progress, wanted, source, own)

    async def _resume(
        self,
        run_id: str,
        *,
        host: HostName = "ray",
        settings: Settings | None = None,
        progress: Progress = lambda _: None,
        **options: Any,
    ) -> Run:
        wanted = ResumeOptions.of(options)
        system, description = await self._found(host, settings, progress)
        crew, source = description.get("crew", self.name), description.get("source", "")
        return await go_on(system, run_id, crew, self.name, None, wanted, source)

    async def _found(
        self, host: HostName, settings: Settings | None, progress: Progress
    ) -> tuple[System, dict[str, Any]]:
        if host != "ray":
            raise DefinitionError(
                f"{self.name!r} serves on a cluster, so it cannot run {host}", hint="Leave the host out."
            )
        system = await shared_system(settings or self._settings or load_settings(), "ray", progress)
        known = {launch["name"]: launch for launch in await system.host.client.query("launches")}
        if self.name not in known:
            raise DefinitionError(
                f"no crew is launched as {self.name!r}",
                hint=f"There is: {', '.join(known)}." if known else "`callsheet launch CREW` launches one.",
            )
        return system, known[self.name]
