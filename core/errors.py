"""Every error callsheet raises, in one tree.

CallsheetError
├── UsageError                     what was asked for is wrong; nothing was run (exit status 2)
│   ├── UnknownNameError           no crew, agent, role, tool or model has that name
│   ├── CrewFileError              a crew file cannot be read, does not parse, or holds no crew
│   ├── DefinitionError            an agent, crew, tool or flow is put together wrongly
│   ├── DocumentError              a document cannot be read
│   ├── SuiteError                 a suite of cases cannot be read, or is put together wrongly
│   ├── RunTakenError              somebody works on the run already
│   └── SettingsError              a setting or environment variable is wrong
├── RunError                       a run, or a part of it, failed (exit status 1)
│   ├── AgentError                 an agent could not finish its turn
│   ├── ToolError                  a tool failed in a way the model cannot mend
│   ├── OutputError                the model's answer does not fit the declared output
│   ├── ModelError                 a model call failed
│   │   ├── ModelAuthError         the provider refuses the key, or there is none
│   │   ├── ModelRequestError      the provider refuses the request; sending it again will not help
│   │   ├── ModelRateLimitError    the provider says: too many requests
│   │   ├── ModelUnavailableError  the server is not there, overloaded or broken
│   │   └── ModelReplyError        the reply is not what the protocol promises
│   ├── LimitError                 a limit stopped the run (exit status 3)
│   ├── WaitingError               the run waits for a person (exit status 4)
│   └── CancelledError             the run was cancelled (exit status 130)
└── InfrastructureError            something beneath the run is broken (exit status 1)
    ├── JournalError               the journal cannot be written or read
    ├── ClusterError               Ray cannot be started or reached
    ├── ServiceError               a service (gateway, memory) failed or is not there
    └── TracingError               Phoenix or the span spool is not usable

Errors survive pickle (Ray drops the type of those that do not) and JSON (the journal keeps them).
"""

from __future__ import annotations

from typing import Any, ClassVar


class CallsheetError(Exception):
    """Root of the tree: a message for people, a hint that says what to do, and typed fields for code.

    Subclasses declare their fields as annotated class attributes with defaults; the constructor takes
    them by keyword and refuses others.
    """

    exit_status: ClassVar[int] = 1

    hint: str = ""

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        for name, value in fields.items():
            if name == "exit_status" or not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
            setattr(self, name, value)

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self._set_fields())

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible form: `{"type", "message", "fields"}`."""
        return {"type": type(self).__name__, "message": self.message, "fields": self._set_fields()}

    def _set_fields(self) -> dict[str, Any]:
        """The fields that differ from the class's own, whether the constructor set them or somebody later."""
        return {name: value for name, value in vars(self).items() if hasattr(type(self), name)}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> CallsheetError:
        """Rebuild from `to_dict`; an unknown type becomes the nearest thing, a plain RunError."""
        cls = _error_types().get(data.get("type", ""), RunError)
        given, fields = data.get("fields") or {}, {}
        for name in _field_names(cls) & given.keys():
            value = given[name]
            # JSON has made lists of what was declared as a tuple.
            fields[name] = tuple(value) if isinstance(value, list) and getattr(cls, name) == () else value
        return cls(str(data.get("message", "")), **fields)


def _rebuild(cls: type[CallsheetError], message: str, fields: dict[str, Any]) -> CallsheetError:
    return cls(message, **fields)


def _field_names(cls: type[CallsheetError]) -> set[str]:
    return {name for c in cls.__mro__ for name in vars(c).get("__annotations__", ())} - {"exit_status"}


def _error_types() -> dict[str, type[CallsheetError]]:
    found: dict[str, type[CallsheetError]] = {}
    pending: list[type[CallsheetError]] = [CallsheetError]
    while pending:
        cls = pending.pop()
        found[cls.__name__] = cls
        pending.extend(cls.__subclasses__())
    return found


class UsageError(CallsheetError):
    """What was asked for is wrong; nothing was run."""

    exit_status = 2


class UnknownNameError(UsageError):
    """No crew, agent, role, tool or model has that name."""

    kind: str = ""
    name: str = ""
    known: tuple[str, ...] = ()


class CrewFileError(UsageError):
    """A crew file cannot be read, does not parse, or holds no crew."""

    path: str = ""


class DefinitionError(UsageError):
    """An agent, crew, tool or flow is put together wrongly."""


class DocumentError(UsageError):
    """A document cannot be read."""

    path: str = ""


class SuiteError(UsageError):
    """A suite of cases cannot be read, or is put together wrongly."""

    path: str = ""


class RunTakenError(UsageError):
    """Somebody works on the run already, so nobody else may."""

    run_id: str = ""


class SettingsError(UsageError):
    """A setting or environment variable is wrong."""


class RunError(CallsheetError):
    """A run, or a part of it, failed."""

    run_id: str = ""
    partial: Any = None


class AgentError(RunError):
    """An agent could not finish its turn."""

    agent: str = ""


class ToolError(RunError):
    """A tool failed in a way the model cannot mend."""

    tool: str = ""


class OutputError(RunError):
    """The model's answer does not fit the declared output, also after it was told what is wrong."""

    agent: str = ""


class ModelError(RunError):
    """A model call failed; `retryable` says whether the same request may succeed later."""

    model: str = ""
    provider: str = ""
    status: int | None = None
    retryable: bool = False
    retry_after_s: float | None = None


class ModelAuthError(ModelError):
    """The provider refuses the key, or there is none."""


class ModelRequestError(ModelError):
    """The provider refuses the request; sending it again will not help."""


class ModelRateLimitError(ModelError):
    """The provider says: too many requests."""

    retryable = True


class ModelUnavailableError(ModelError):
    """The server is not there, overloaded or broken."""

    retryable = True


class ModelReplyError(ModelError):
    """The reply is not what the protocol promises."""

    retryable = True


class LimitError(RunError):
    """A limit stopped the run; `partial` has what was done.

    `allowed`, `used` and `wanted` are in the limit's unit: USD, tokens, seconds, or how many. `wanted` is what the
    step that found no room needed; 0 where the limit was reached without one.
    """

    exit_status = 3
    limit: str = ""
    allowed: float = 0
    used: float = 0
    wanted: float = 0


class WaitingError(RunError):
    """The run waits for a person."""

    exit_status = 4


class CancelledError(RunError):
    """The run was cancelled."""

    exit_status = 130


class InfrastructureError(CallsheetError):
    """Something beneath the run is broken."""


class JournalError(InfrastructureError):
    """The journal cannot be written or read."""


class ClusterError(InfrastructureError):
    """Ray cannot be started or reached."""


class ServiceError(InfrastructureError):
    """A service (model gateway, memory) failed or is not there."""

    service: str = ""


class TracingError(InfrastructureError):
    """Phoenix or the span spool is not usable."""


def unknown_name(
    kind: str, name: str, known: list[str] | tuple[str, ...], hint: str = ""
) -> UnknownNameError:
    """An `UnknownNameError` that names the nearest known names, so that a slip is mended at a glance."""
    import difflib

    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        advice = f"Did you mean {' or '.join(near)}?"
    elif known:
        advice = f"There is: {', '.join(sorted(known)[:20])}."
    else:
        advice = ""
    return UnknownNameError(
        f"no {kind} is called {name!r}",
        kind=kind,
        name=name,
        known=tuple(known),
        hint=" ".join(part for part in (advice, hint) if part),
    )
