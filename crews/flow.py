"""Flows: the scripts of crews. A flow is a plain `async def` that asks agents, branches, loops, gathers."""

from __future__ import annotations

import inspect
import logging
import traceback
import typing
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from pydantic import ValidationError

from callsheet.agents import Agent
from callsheet.agents.bodies import as_text, ask_body
from callsheet.agents.data import FORGOTTEN_AWAIT, check_awaited, data_of, storable
from callsheet.agents.functions import functions_data
from callsheet.agents.output import OutputFormatError, OutputType, output_type
from callsheet.agents.thinking import REPAIRS
from callsheet.core.canonical import from_json
from callsheet.core.errors import (
    CallsheetError,
    DefinitionError,
    OutputError,
    RunError,
    UsageError,
    unknown_name,
)
from callsheet.core.records import PERSON
from callsheet.crews.questions import ask_body as question_body
from callsheet.models.messages import OutputSpec
from callsheet.runtime.turns import Turn

log = logging.getLogger(__name__)

FlowFunction = Callable[..., Awaitable[Any]]


class Named(Protocol):
    """A member of a crew: an agent, or a crew."""

    name: str


class FlowRun:
    """What a flow sees of its run: the agents to ask, and a clock and dice that a replay repeats.

    Between its steps a flow must follow from its input and what it asked: after a crash it runs again from
    the beginning, and each ask that was answered returns at once.
    """

    def __init__(
        self, turn: Turn, agents: Mapping[str, Any], prefix: str = "", given: Mapping[str, str] | None = None
    ) -> None:
        self._turn = turn
        self._outputs = agents
        self._prefix = prefix
        self.given = dict(given or {})
        """The work of others by their name, where this crew works in another one; else empty."""
        self._asked: Counter[str] = Counter()

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._turn.info.run_id

    @property
    def session_id(self) -> str:
        """The session that the run belongs to: the one it was started with, else its own id."""
        return self._turn.info.session_id

    @property
    def rounds(self) -> int:
        """How often the most asked agent has been asked so far: the rounds of a loop."""
        return max(self._asked.values(), default=0)

    async def ask(
        self,
        agent: Agent | Named | str,
        task: Any,
        *,
        given: Mapping[str, Any] | None = None,
        output: Any = None,
        functions: Sequence[Mapping[str, Any]] | None = None,
    ) -> Any:
        """Ask an agent of the crew, or a crew that is in it, and wait for the answer.

        `task` is text, or data that travels as JSON. `given` is the work of others by their name, which
        the agent reads as material and not as instructions. With `output` the answer is of that type,
        else of the agent's own output type, else text. `functions` (`{"name", "description", "parameters"}`, the
        last a JSON Schema) are offered to the model beside the agent's tools; nobody carries them out: when it
        calls any, the answer is the list of its calls, `{"name", "arguments"}`. Raises UnknownNameError for an
        agent that is not in the crew, OutputError for an answer that does not fit after two corrections, and
        the error that the agent's turn ended with.
        """
        name = agent if isinstance(agent, str) else agent.name
        if name not in self._outputs:
            raise unknown_name(
                "agent of this crew", name, tuple(self._outputs),
                hint=f"Add {name} to the crew's agents=[…]." if not isinstance(agent, str)
                else "A flow can only ask the agents that its Crew was given.",
            )  # fmt: skip
        material = _material(given)
        self._asked[name] += 1
        offered = functions_data(functions, output) if functions else ()
        if output is None:
            body = ask_body(data_of(task), given=material, functions=offered)
            reply = await self._turn.ask(self._prefix + name, body)
            own = None if "called" in reply else self._outputs[name]
            return reply["output"] if own is None else output_type(own).value(reply["output"])
        return await self._ask_for(name, data_of(task), material, output_type(output))

    async def ask_person(self, question: str, choices: Sequence[str] | None = None) -> str:
        """Ask a person, and wait for the reply: for days, if it takes so long.

        While nothing else of the run can go on, it waits without any process; `callsheet reply RUN TEXT`, or
        `crew.resume(run_id, reply=…)`, goes on with it. With `choices` the reply is one of them.
        """
        reply = await self._turn.ask(PERSON, question_body(question, choices))
        return as_text(reply["output"])

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
            answer = as_text((await self._turn.ask(self._prefix + name, body))["output"])
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

    def __init__(self, flow: FlowFunction, outputs: Mapping[str, Any], prefix: str = "") -> None:
        self._flow, self._prefix = flow, prefix
        self._outputs = outputs
        self._input = flow_input(flow)
        declared = flow_output(flow)
        self._output = None if declared is None else output_type(declared)

    async def __call__(self, turn: Turn) -> dict[str, Any]:
        """One run: the reply's body, `{"output": …}`."""
        body = from_json(turn.envelope.body)
        if "functions" in body:
            raise UsageError("functions are offered to a crew", hint="Offer them to an agent.")
        data = body["input"]
        given = {part["agent"]: part["text"] for part in body.get("from", ())}
        if self._input is not None:
            try:
                data = self._input.value(data)
            except ValidationError as error:
                raise UsageError(
                    f"the crew's input does not fit its flow: {_fault(error)} (got {str(data)[:120]!r})",
                    hint="Give an input of the type that the flow's second parameter has.",
                ) from error
        try:
            returned = await self._flow(FlowRun(turn, self._outputs, self._prefix, given), data)
        except CallsheetError:
            raise
        except Exception as error:
            # A fault of the script: people look for its line, which a library's below it would hide.
            log.exception("the flow of %s failed in run %s", turn.info.crew, turn.info.run_id)
            raise RunError(
                f"the flow failed: {type(error).__name__}: {storable(str(error))}{_line_of(self._flow, error)}",
                run_id=turn.info.run_id, hint=FORGOTTEN_AWAIT if "'coroutine' object" in str(error) else "",
            ) from error  # fmt: skip
        return {"output": self._data_of(returned)}

    def _data_of(self, returned: Any) -> Any:
        if self._output is None:
            return data_of(returned)
        try:
            return self._output.data(returned)
        except ValidationError as error:
            check_awaited(returned)
            raise OutputError(
                f"the flow returned what does not fit the {self._output.name} that it declares: {_fault(error)}",
                partial=_shown(returned), hint="Return that type, or change what stands after `->`.",
            ) from error  # fmt: skip


def _material(given: Any) -> dict[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        check_awaited(given)
        raise UsageError(
            f"given is a {type(given).__name__}", hint='It is work by name, such as given={"draft": draft}.'
        )
    return {who: data_of(value) for who, value in (given or {}).items()}


def _fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg']}" if place else str(fault["msg"])


def _shown(value: Any) -> Any:
    try:
        return data_of(value)
    except UsageError:
        return repr(value)[:1000]


def _line_of(flow: Any, error: BaseException) -> str:
    """Where it happened: the innermost line in the flow's own file, or the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    code = getattr(inspect.unwrap(flow), "__code__", None)
    own = [f for f in frames if code is not None and f.filename == code.co_filename]
    return f" ({(own or frames)[-1].filename}:{(own or frames)[-1].lineno})" if frames else ""


class Chain:
    """The flow of a crew that was given none: each agent in turn, with the task and the work before it."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)

    async def __call__(self, run: FlowRun, task: Any) -> Any:
        """Ask the first agent, hand its work to the next, and so on; the last one's answer is the crew's."""
        given: dict[str, Any] = dict(run.given)
        answer: Any = None
        for name in self._names:
            answer = await run.ask(name, task, given=given)
            given = {name: answer}
        return answer


def check_task(task: Any) -> None:
    """Raises UsageError for a task that says nothing. A flow of one's own may take what it likes."""
    if task is None or (isinstance(task, str) and not task.strip()):
        raise UsageError(
            f"the input is {task!r}: what shall the crew do?", hint='Give it a task: crew.run("…").'
        )


def check_flow(flow: Any) -> None:
    """Raises DefinitionError for what cannot be a flow."""
    name = getattr(flow, "__name__", repr(flow))
    if not inspect.iscoroutinefunction(flow):
        raise DefinitionError(
            f"the flow {name!r} is not an `async def`",
            hint="A flow is `async def name(run, input): …`, with `await run.ask(agent, …)` in it.",
        )
    try:
        inspect.signature(flow).bind(None, None)
    except TypeError:
        raise DefinitionError(
            f"the flow {name!r} must take two arguments", hint=f"async def {name}(run, input): …"
        ) from None
    for what, check in (("input", flow_input), ("output", lambda f: output_type(flow_output(f) or str))):
        try:
            check(flow)
        except DefinitionError as error:
            raise DefinitionError(f"the flow {name!r}: {what}: {error.message}", hint=error.hint) from error


def flow_output(flow: Any) -> Any:
    """The type that a flow says it returns, or None."""
    wanted = _hints(flow).get("return")
    return None if wanted in (None, type(None), Any, str) else wanted


def flow_input(flow: Any) -> OutputType | None:
    """The type that a flow says it is given, or None. Raises DefinitionError for one that JSON cannot carry."""
    if isinstance(flow, Chain):
        return None
    parameters = list(inspect.signature(flow).parameters.values())
    hint = None if len(parameters) < 2 else _hints(flow).get(parameters[1].name)
    return None if hint in (None, Any) else output_type(hint)


def _hints(flow: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(flow, include_extras=True)
    except (NameError, TypeError):
        return {}  # names known to type checkers only: nothing to check with
