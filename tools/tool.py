"""`@tool`: a plain function, with its schema for the model and what may be done with it after a crash."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any, Literal, overload

from callsheet.core.errors import CallsheetError, DefinitionError, ToolError
from callsheet.tools.context import ToolContext
from callsheet.tools.docstrings import read_docstring
from callsheet.tools.failures import ToolFailure, ToolInputError
from callsheet.tools.parameters import Arguments, read_parameters
from callsheet.tools.results import RESULT_CHARS, result_text
from callsheet.tools.threads import in_thread

__all__ = ["Effect", "Tool", "ToolFailure", "ToolInputError", "tool"]

Effect = Literal["none", "idempotent", "once"]
"""What a call changes: `none`, it only reads; `idempotent`, it may be repeated with the same
`ToolContext.idempotency_key`; `once`, it must never be repeated."""

_EFFECTS = ("none", "idempotent", "once")
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
    approval: bool
    timeout_s: float | None

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        effect: Effect = "none",
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
        parameters, self._context = read_parameters(function, described, self.name)
        self._arguments = Arguments(self.name, parameters)
        self.schema = self._arguments.schema
        functools.update_wrapper(self, function, updated=())

    def _check_definition(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DefinitionError(
                f"a tool cannot be called {self.name!r}",
                hint="Use 1 to 64 letters, digits, _ or -; @tool(name=…) gives it another name.",
            )
        if not self.description.strip():
            raise DefinitionError(
                f"tool {self.name!r} has no description, so no model can know when to use it",
                hint="Start its docstring with a sentence that says what it does, or pass description=….",
            )
        if self.effect not in _EFFECTS:
            raise DefinitionError(
                f"tool {self.name!r}: effect is {self.effect!r}", hint=f"It is one of {', '.join(_EFFECTS)}."
            )
        if self.timeout_s is not None and self.timeout_s <= 0:
            raise DefinitionError(
                f"tool {self.name!r}: timeout_s is {self.timeout_s}", hint="Give seconds above 0, or None."
            )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Tool {self.name}>"

    async def call(self, arguments: str, context: ToolContext) -> str:
        """Run the tool on the JSON text a model sent, and return its result as text.

        Synchronous functions run in a thread, with the caller's context variables. Raises ToolInputError
        (arguments, not run), ToolFailure (the tool's message to the model, or its time was up) or
        ToolError (the function raised, or returned what has no JSON form). When `timeout_s` is up, an
        asynchronous function is cancelled; a synchronous one cannot be, and its thread runs on unheard.
        """
        given = self._arguments.read(arguments)
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
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            # A tool that calls sys.exit() must not end the agent.
            raise self._error(error) from error
        return result_text(value, self.name, self._result_chars)

    async def _run(self, given: dict[str, Any]) -> Any:
        if inspect.iscoroutinefunction(self._function):
            return await self._function(**given)
        value = await in_thread(self._function, **given)
        return await value if inspect.isawaitable(value) else value

    def _late(self) -> str:
        unsure = (
            ""
            if self.effect == "none"
            else " Whether it took effect is not known; find out before repeating it."
        )
        return f"{self.name} was stopped: it took longer than {self.timeout_s:g} s.{unsure}"

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
    - `approval`: a person decides on each call before it is made.
    - `timeout_s`: seconds after which the model is told that the call was stopped.
    - `result_chars`: how many characters of a result the model is given; the rest is cut, with a notice.

    Raises DefinitionError for a function a model cannot be told about: no description, a parameter
    without a type, `*args`.
    """
    if function is None:
        return lambda decorated: Tool(decorated, **options)
    return Tool(function)
