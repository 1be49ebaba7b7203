"""A crew: agents, and the flow that says who is asked what."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from callsheet.agents import Agent
from callsheet.agents.thinking import Thinker
from callsheet.core.errors import DefinitionError
from callsheet.core.limits import Limits
from callsheet.crews.flow import Chain, FlowFunction, FlowHandler, check_flow, check_task, flow_output
from callsheet.crews.result import Result
from callsheet.crews.resuming import ResumeKeywords, ResumeOptions, go_on
from callsheet.crews.run import Run
from callsheet.crews.runnable import Runnable
from callsheet.crews.sources import source_of_caller
from callsheet.crews.starting import RunOptions, begin, check_model
from callsheet.crews.system import HostName, Progress, shared_system
from callsheet.runtime.host import ParticipantSpec
from callsheet.runtime.participant import Handler
from callsheet.runtime.protocol import FLOW
from callsheet.settings import Settings, load_settings
from callsheet.tools import on_stuck

if TYPE_CHECKING:
    from callsheet.crews.launched import LaunchedCrew
    from callsheet.crews.replaying import Replay

_NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,47}$")
F = TypeVar("F", bound=FlowFunction)


class Crew(Runnable):
    """Agents that work together. Without a flow they are a chain, in the order given.

    Among the agents may be other crews: a flow asks one as it asks an agent, and what it does is part of the
    same run, with its limits, its budget and its trace.

    Define it once; run it any number of times, inline or on Ray. `limits` hold for each run. Raises
    DefinitionError at once for what cannot work.
    """

    def __init__(
        self,
        name: str,
        agents: Sequence[Agent | Crew],
        *,
        flow: FlowFunction | None = None,
        limits: Limits | None = None,
        description: str = "",
    ) -> None:
        check_name(name)
        _check_agents(name, agents)
        names = [member.name for member in agents]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise DefinitionError(
                f"crew {name!r} has two agents called {twice[0]!r}",
                hint="Messages are addressed by name: give one of them another.",
            )
        if limits is not None and not isinstance(limits, Limits):
            raise DefinitionError(f"crew {name!r}: limits is {limits!r}", hint="Give Limits(…).")
        self.name: str = name
        self.members = tuple(agents)
        """Whom its flow can ask: agents, and crews."""
        self.limits = limits or Limits()
        self.summary = description
        self.modules: tuple[str, ...] = ()
        """Modules of the crew's author that only this process knows: on Ray they travel by value."""
        self.folder: Path | None = None
        """The folder of the crew's file, from which its code may import while it runs."""
        self.source = source_of_caller(inspect.currentframe(), self)
        """Where another process finds this crew: see `callsheet.crews.sources`."""
        self.edition = 0
        """Counts the flows it was given: with another flow it is another crew to the hosts that run it."""
        self._flow: FlowFunction = Chain(names)
        self._output: Any = agents[-1].output
        if flow is not None:
            self.flow(flow)

    def __repr__(self) -> str:
        return f"<Crew {self.name}: {', '.join(member.name for member in self.members)}>"

    @property
    def agents(self) -> tuple[Agent, ...]:
        """All its agents, those of the crews in it included."""
        return tuple(
            agent
            for member in self.members
            for agent in ((member,) if isinstance(member, Agent) else member.agents)
        )

    @property
    def output(self) -> Any:
        """The type of its answers, or None for text."""
        return self._output

    def flow(self, function: F) -> F:
        """`@crew.flow`: make this `async def name(run, input)` the crew's flow."""
        check_flow(function)
        self._flow = function
        self._output = flow_output(function)
        self.edition += 1
        return function

    # --- looking back ----------------------------------------------------------------------------------

    def replay(self, run_id: str, *, settings: Settings | None = None) -> Replay:
        """Take every turn of a past run of this crew again, from the journal: no model and no tool is called.

        Says where today's code differs. Raises UnknownNameError for a run that is not there.
        """
        from callsheet.crews.replaying import replay_past

        return replay_past(self, run_id, settings)

    def fork(
        self,
        run_id: str,
        at: int,
        *,
        given: Any = None,
        model: str | None = None,
        check: bool = True,
        **options: Unpack[ResumeKeywords],
    ) -> Result:
        """A new run that shares a past one up to step `at` (a number of `callsheet show`), and lives on from there.

        What stands before that step is kept; the step is done anew, with `given` in the place of what it was
        given (if it is a message), or with another `model`. Takes the options of `resume`.
        """
        from callsheet.crews.forking import AS_IT_WAS, fork_past

        found = fork_past(
            self, run_id, at, given=AS_IT_WAS if given is None else given, model=model, **options
        )
        return found.checked() if check else found

    # --- running and launching -------------------------------------------------------------------------

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
        if isinstance(self._flow, Chain):
            check_task(given)
        system = await shared_system(settings or load_settings(), host, progress)
        own = [agent.model for agent in self.agents]
        check_model(system, wanted, own)
        launch = await system.launched(self)
        return await begin(
            system, self.name, launch, given, self.limits, self._output, progress, wanted, self.source, own
        )

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
        system = await shared_system(settings or load_settings(), host, progress)
        launch = await system.launched(self)
        return await go_on(system, run_id, self.name, launch, self._output, wanted, self.source)

    @classmethod
    def connect(cls, name: str, *, settings: Settings | None = None) -> LaunchedCrew:
        """A crew that `callsheet launch` keeps serving on the cluster."""
        from callsheet.crews.launched import LaunchedCrew

        return LaunchedCrew(name, settings)

    def participants(self) -> list[ParticipantSpec]:
        """The crew's participants, as a host is to start them: the flow, each agent, and those of its crews.

        A crew in the crew is called by its name, and its members `crew/member`.
        """
        return self._participants(FLOW, "")

    def _participants(self, name: str, prefix: str) -> list[ParticipantSpec]:
        outputs = {member.name: member.output for member in self.members}
        found = [
            ParticipantSpec(
                name=name,
                factory=self._placed(functools.partial(FlowHandler, self._flow, outputs, prefix)),
                modules=self.modules,
            )
        ]
        for member in self.members:
            called = prefix + member.name
            if isinstance(member, Crew):
                found.extend(member._participants(called, f"{called}/"))  # noqa: SLF001 - one of us
                continue
            thinker = functools.partial(_thinker, member, self.name)
            found.append(
                ParticipantSpec(
                    name=called, factory=self._placed(thinker), replicas=member.replicas,
                    resources=member.resources, modules=self.modules, watch_stuck=on_stuck,
                )
            )  # fmt: skip
        return found

    def _placed(self, factory: Callable[[], Handler]) -> Callable[[], Handler]:
        return factory if self.folder is None else functools.partial(_made_in, str(self.folder), factory)

    def description(self) -> dict[str, Any]:
        """What `callsheet crews` shows: plain data."""
        return {
            "crew": self.name,
            "description": self.summary,
            "source": self.source,
            "limits": self.limits.to_dict(),
            "agents": [
                {"name": a.name, "role": a.role.name, "model": None if a.model is None else str(a.model),
                 "tools": [t.name for t in a.tools]}
                for a in self.agents
            ],
        }  # fmt: skip


def check_name(name: str) -> str:
    """The name, if a crew can be called that, or launched under it. Raises DefinitionError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DefinitionError(
            f"a crew cannot be called {name!r}", hint="Use lower-case letters, digits, _ or - (at most 48)."
        )
    return name


def _check_agents(crew: str, agents: Any) -> None:
    if agents is None or (isinstance(agents, Sequence) and not agents):
        raise DefinitionError(f"crew {crew!r} has no agents", hint="Give it at least one: agents=[…].")
    if isinstance(agents, str) or not isinstance(agents, Sequence):
        raise DefinitionError(
            f"crew {crew!r}: agents is {agents!r}", hint="It is a list, also of one: agents=[…]."
        )
    for agent in agents:
        if not isinstance(agent, (Agent, Crew)):
            hint = f"Agent({agent!r}) makes one." if isinstance(agent, str) else "Make it with Agent(…)."
            raise DefinitionError(f"crew {crew!r}: {agent!r} is neither an Agent nor a Crew", hint=hint)


def _made_in(folder: str, factory: Callable[[], Handler]) -> Handler:
    # Last, so that a file there cannot take the place of a module that is known already.
    if folder not in sys.path:
        sys.path.append(folder)
    return factory()


def _thinker(agent: Agent, crew: str) -> Handler:
    return Thinker(agent, crew)
