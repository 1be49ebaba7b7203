"""Flows: the scripts of crews. A flow is a plain `async def` that asks agents, branches, loops, gathers."""

from __future__ import annotations

import inspect
import typing
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from callsheet.agents import Agent
from callsheet.agents.bodies import as_text, ask_body
from callsheet.agents.output import OutputFormatError, OutputType, data_of, output_type
from callsheet.agents.thinking import REPAIRS
from callsheet.core.canonical import from_json
from callsheet.core.errors import DefinitionError, OutputError, UsageError, unknown_name
from callsheet.models.messages import OutputSpec
from callsheet.runtime.turns import Turn

FlowFunction = Callable[..., Awaitable[Any]]


class FlowRun:
    """What a flow sees of its run: the agents to ask, and a clock and dice that a replay repeats.

    Between its steps a flow must follow from its input and what it asked: after a crash it runs again from
    the beginning, and each ask that was answered returns at once.
    """

    def __init__(self, turn: Turn, agents: Mapping[str, Any]) -> None:
        self._turn = turn
        self._outputs = agents
        self._asked: Counter[str] = Counter()

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._turn.info.run_id

    @property
    def session_id(self) -> str:
        """The session that the run belongs to, or ""."""
        return self._turn.info.session_id

    @property
    def rounds(self) -> int:
        """How often the most asked agent has been asked so far: the rounds of a loop."""
        return max(self._asked.values(), default=0)

    async def ask(
        self, agent: Agent | str, task: Any, *, given: Mapping[str, Any] | None = None, output: Any = None
    ) -> Any:
        """Ask an agent of the crew and wait for its answer.

        `task` is text, or data that travels as JSON. `given` is the work of others by their name, which
        the agent reads as material and not as instructions. With `output` the answer is of that type,
        else of the agent's own output type, else text. Raises UnknownNameError for an agent that is not
        in the crew, OutputError for an answer that does not fit after two corrections, and the error
        that the agent's turn ended with.
        """
        name = agent.name if isinstance(agent, Agent) else str(agent)
        if name not in self._outputs:
            raise unknown_name(
                "agent of this crew", name, tuple(self._outputs),
                hint="A flow can only ask the agents that its Crew was given.",
            )  # fmt: skip
        self._asked[name] += 1
        material = {who: data_of(value) for who, value in (given or {}).items()}
        if output is None:
            reply = await self._turn.ask(name, ask_body(data_of(task), given=material))
            own = self._outputs[name]
            return reply["output"] if own is None else output_type(own).value(reply["output"])
        return await self._ask_for(name, data_of(task), material, output_type(output))

    async def now(self) -> float:
        """The time (Unix seconds); a replay sees the same."""
        return await self._turn.now()

    def random(self) -> float:
        """A random number in [0, 1); a replay gets the same."""
        return self._turn.random()

    def uuid(self) -> str:
        """A new UUID; a replay gets the same."""
        return self._turn.uuid()

    async def _ask_for(self, name: str, task: Any, material: Mapping[str, Any], wanted: OutputType) -> Any:
        spec = OutputSpec(name=wanted.name, schema=wanted.schema, description=wanted.description)
        repair: tuple[tuple[str, str], ...] = ()
        while True:
            body = ask_body(task, given=material, output=spec, repair=repair)
            answer = as_text((await self._turn.ask(name, body))["output"])
            try:
                return wanted.value(wanted.read(answer))
            except OutputFormatError as fault:
                if len(repair) == REPAIRS:
                    raise OutputError(
                        f"{name}'s answer does not fit {wanted.name} after {REPAIRS} corrections:\n{fault}",
                        agent=name, run_id=self.run_id, partial=answer,
                        hint="Loosen the output type, or use a model that keeps to a format.",
                    ) from None  # fmt: skip
                repair = (*repair, (answer, str(fault)))


class FlowHandler:
    """Handles the message that starts a run, by running the crew's script."""

    def __init__(self, flow: FlowFunction, outputs: Mapping[str, Any]) -> None:
        self._flow = flow
        self._outputs = outputs
        self._input = _input_adapter(flow)

    async def __call__(self, turn: Turn) -> dict[str, Any]:
        """One run: the reply's body, `{"output": …}`."""
        data = from_json(turn.envelope.body)["input"]
        if self._input is not None:
            try:
                data = self._input.validate_python(data)
            except ValidationError as error:
                fault = error.errors()[0]
                raise UsageError(
                    f"the crew's input does not fit its flow: {fault['msg']} (got {str(data)[:120]!r})",
                    hint="Give an input of the type that the flow's second parameter has.",
                ) from error
        return {"output": data_of(await self._flow(FlowRun(turn, self._outputs), data))}


class Chain:
    """The flow of a crew that was given none: each agent in turn, with the task and the work before it."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)

    async def __call__(self, run: FlowRun, task: Any) -> Any:
        """Ask the first agent, hand its work to the next, and so on; the last one's answer is the crew's."""
        given: dict[str, Any] = {}
        answer: Any = None
        for name in self._names:
            answer = await run.ask(name, task, given=given)
            given = {name: answer}
        return answer


def check_flow(flow: Any) -> None:
    """Raises DefinitionError for what cannot be a flow."""
    if not inspect.iscoroutinefunction(flow):
        raise DefinitionError(
            f"the flow {getattr(flow, '__name__', flow)!r} is not an `async def`",
            hint="A flow is `async def name(run, input): …`, with `await run.ask(agent, …)` in it.",
        )
    parameters = list(inspect.signature(flow).parameters.values())
    if len(parameters) < 2 or any(p.default is p.empty for p in parameters[2:]):
        raise DefinitionError(
            f"the flow {flow.__name__!r} must take two arguments",
            hint=f"async def {flow.__name__}(run, input): …",
        )


def flow_output(flow: Any) -> Any:
    """The type that a flow says it returns, or None."""
    hints = _hints(flow)
    wanted = hints.get("return")
    return None if wanted in (None, type(None), Any, str) else wanted


def _input_adapter(flow: Any) -> TypeAdapter[Any] | None:
    if isinstance(flow, Chain):
        return None
    name = list(inspect.signature(flow).parameters)[1]
    hint = _hints(flow).get(name)
    return None if hint in (None, Any) else TypeAdapter(hint)


def _hints(flow: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(flow)
    except (NameError, TypeError):
        return {}  # names known to type checkers only: nothing to check with
