"""`@tool`: a plain function, with its schema for the model and what may be done with it after a crash."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import math
import re
from collections.abc import Callable
from typing import Any, Literal, overload

from callsheet.core.errors import CallsheetError, DefinitionError, ToolError
from callsheet.tools.context import ToolContext
from callsheet.tools.docstrings import read_docstring
from callsheet.tools.failures import ToolFailure, ToolInputError
from callsheet.tools.parameters import Arguments, read_parameters
from callsheet.tools.results import RESULT_CHARS, result_text
from callsheet.tools.tasks import in_task
from callsheet.tools.threads import CallStopped, in_thread

__all__ = ["Effect", "OnUnknown", "Tool", "ToolFailure", "ToolInputError", "tool"]

Effect = Literal["none", "idempotent", "once"]
"""What a call changes: `none`, it only reads; `idempotent`, it may be repeated with the same
`ToolContext.idempotency_key`; `once`, it must never be repeated."""

OnUnknown = Literal["ask", "retry", "fail"]
"""What is done when a `once` call was begun and a crash left no result: `ask` a person, `retry` it with the
same idempotency key, or `fail` the run."""

_EFFECTS = ("none", "idempotent", "once")
_ON_UNKNOWN = ("ask", "retry", "fail")
# What all providers accept as a function's name.
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Tool:
    """A function that a model may call; still callable as the plain function it was.

    `schema` is the JSON Schema text of its arguments (an object), the same in every process. A Tool
    survives Ray's pickle with its function by value, also from `__main__` or a closure; the check of the
    arguments is compiled at decoration, and once more in each process that receives it.
    """

    name: str
    description: str
    schema: str
    effect: Effect
    on_unknown: OnUnknown
    approval: bool
    timeout_s: float | None

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        effect: Effect = "none",
        on_unknown: OnUnknown | None = None,
        approval: bool = False,
        timeout_s: float | None = None,
        result_chars: int = RESULT_CHARS,
    ) -> None:
        if not (inspect.isfunction(function) or inspect.ismethod(function)):
            raise DefinitionError(
                f"{function!r} is not a function, so it cannot be a tool",
                hint="Write a function with typed parameters and a docstring, and put @tool above it.",
            )
        self.name = name if name is not None else function.__name__
        summary, described = read_docstring(function.__doc__)
        self.description = description if description is not None else summary
        self.effect, self.approval, self.timeout_s = effect, approval, timeout_s
        self._result_chars = result_chars
        self._function = function
        self._check_definition()
        self._check_options(on_unknown)
        self.on_unknown = on_unknown or "ask"
        parameters, self._context = read_parameters(function, described, self.name)
        self._arguments = Arguments(self.name, parameters)
        self.schema = self._arguments.schema
        functools.update_wrapper(self, function, updated=())

    def _check_definition(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise DefinitionError(
                f"a tool cannot be called {self.name!r}",
                hint="Use 1 to 64 letters, digits, _ or -; @tool(name=…) gives it another name.",
            )
        if not isinstance(self.description, str) or not self.description.strip():
            raise DefinitionError(
                f"tool {self.name!r} has no description, so no model can know when to use it",
                hint="Start its docstring with a sentence that says what it does, or pass description=….",
            )

    def _check_options(self, on_unknown: Any) -> None:
        limit, chars = self.timeout_s, self._result_chars
        for what, value, fits, hint in (
            ("effect", self.effect, self.effect in _EFFECTS, f"It is one of {', '.join(_EFFECTS)}."),
            (
                "on_unknown", on_unknown, on_unknown is None or on_unknown in _ON_UNKNOWN,
                f"It is one of {', '.join(_ON_UNKNOWN)}.",
            ),
            (
                "on_unknown", on_unknown, on_unknown is None or self.effect == "once",
                'It is for effect="once" alone: other calls are simply made again. Leave it out.',
            ),
            ("approval", self.approval, isinstance(self.approval, bool), "It is True or False."),
            (
                "timeout_s", limit, limit is None or (_is_number(limit) and 0 < limit < math.inf),
                "Give seconds above 0, or None.",
            ),
            (
                "result_chars", chars, isinstance(chars, int) and _is_number(chars) and chars > 0,
                "Give a whole number, 1 or more.",
            ),
        ):  # fmt: skip
            if not fits:
                raise DefinitionError(f"tool {self.name!r}: {what} is {value!r}", hint=hint)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Tool {self.name}>"

    def read(self, arguments: str) -> dict[str, Any]:
        """The keyword arguments in the JSON text a model sent; raises ToolInputError for what does not fit."""
        return self._arguments.read(arguments)

    async def call(self, arguments: str, context: ToolContext) -> str:
        """Run the tool on the JSON text a model sent, and return its result as text.

        Synchronous functions run in a thread, with the caller's context variables. Raises ToolInputError
        (arguments, not run), ToolFailure (the tool's message to the model, or its time was up) or
        ToolError (the function raised, or returned what has no JSON form).

        When `timeout_s` is up, or this is cancelled, the function is stopped and waited for: an asynchronous
        one is cancelled, in a synchronous one `CallStopped` is raised. What does not end so is left behind
        after a second (three, for an asynchronous one), and counts as stuck.
        """
        given = self.read(arguments)
        if self._context:
            given[self._context] = context
        limit = asyncio.timeout(self.timeout_s)
        try:
            async with limit:
                value = await self._run(given)
        except (ToolFailure, ToolInputError, ToolError):
            raise
        except TimeoutError as error:
            if limit.expired():
                raise ToolFailure(self._late()) from error
            raise self._error(error) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise self._error(error) from error  # nobody cancelled the call: the tool let it out
        except (Exception, SystemExit, KeyboardInterrupt, CallStopped) as error:
            # A tool that calls sys.exit() must not end the agent.
            raise self._error(error) from error
        return result_text(value, self.name, self._result_chars)

    async def _run(self, given: dict[str, Any]) -> Any:
        if inspect.iscoroutinefunction(self._function):
            return await in_task(self._function(**given), self.name)
        value = await in_thread(self._function, **given)
        return await in_task(value, self.name) if inspect.isawaitable(value) else value

    def _late(self) -> str:
        unsure = (
            ""
            if self.effect == "none"
            else " Whether it took effect is not known; find out before repeating it."
        )
        return f"{self.name} was given up: it took longer than {self.timeout_s:g} s.{unsure}"

    def _error(self, error: BaseException) -> ToolError:
        reason = error.message if isinstance(error, CallsheetError) else str(error)
        return ToolError(
            f"tool {self.name!r} failed: {type(error).__name__}: {reason}",
            tool=self.name,
            hint="Mend the tool, or let it raise ToolFailure with a message that helps the model.",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Our own tools are importable everywhere. A user's are sent by value: their module may exist
        # only where the crew was defined. The tool is made before its state is filled, so that a
        # function may refer to its own tool.
        if (self.__module__ or "").startswith("callsheet.") and _named(self.__module__, self.name) is self:
            return _named, (self.__module__, self.name)
        return _empty, (), self.__dict__


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _named(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name, None)


def _empty() -> Tool:
    return Tool.__new__(Tool)


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    effect: Effect = "none",
    on_unknown: OnUnknown | None = None,
    approval: bool = False,
    timeout_s: float | None = None,
    result_chars: int = RESULT_CHARS,
) -> Callable[[Callable[..., Any]], Tool]: ...


def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a tool: `@tool`, or `@tool(effect="once", approval=True, …)`.

    The schema comes from its type hints, the description from the docstring's first paragraph, the
    parameters' descriptions from the docstring (Google, NumPy or `:param` style).

    - `effect`: what a call changes (see `Effect`). The default is `none`: the call only reads, so it is
      simply repeated after a crash. Say `once` for whatever must not happen twice, such as a payment.
    - `on_unknown`: what is done with a `once` call that was begun and has no result, since its process died
      (see `OnUnknown`). The default is `ask`: the run waits for a person's decision.
    - `approval`: a person decides on each call before it is made.
    - `timeout_s`: seconds after which the call is stopped and the model told so.
    - `result_chars`: how many characters of a result the model is given; the rest is cut, with a notice.

    Raises DefinitionError for a function a model cannot be told about: no description, a parameter
    without a type, `*args`; and for options that there are none of or that contradict each other.
    """
    known = inspect.signature(Tool).parameters.keys() - {"function"}
    wrong = next((name for name in options if name not in known), None)
    if wrong is not None:
        raise DefinitionError(f"@tool has no option {wrong!r}", hint=f"There is: {', '.join(sorted(known))}.")
    if function is None:
        return lambda decorated: Tool(decorated, **options)
    return Tool(function)
