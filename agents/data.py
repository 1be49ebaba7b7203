"""Values as JSON-compatible data: what agents and flows are given, answer and return."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from callsheet.core.errors import UsageError

_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def data_of(value: Any) -> Any:
    """A value as data that can be sent and kept: pydantic models, dataclasses and plain types.

    NaN and infinities become null, lone surrogates question marks. Raises UsageError for what has no
    JSON form.
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return storable(value)
    try:
        return storable(_ANY.dump_python(value, mode="json", by_alias=True))
    except (PydanticSerializationError, ValueError) as error:
        check_awaited(value)
        raise UsageError(
            f"a {type(value).__name__} cannot be sent: {str(error).splitlines()[0]}",
            hint="What agents and crews are given and return is text, plain data, or a pydantic model.",
        ) from error


FORGOTTEN_AWAIT = "Did you forget `await` before run.ask(…)?"


def check_awaited(value: Any) -> None:
    """Raises UsageError for what was not awaited, also inside lists, tuples and dictionaries.

    Closes the coroutines among it: they cannot run any more, so Python need not warn of them.
    """
    found = _unawaited(value)
    for item in found:
        if inspect.iscoroutine(item):
            item.close()
    if found:
        raise UsageError(
            f"a {type(found[0]).__name__} cannot be sent: it was not awaited", hint=FORGOTTEN_AWAIT
        )


def _unawaited(value: Any) -> list[Any]:
    found: list[Any] = []
    pending, seen = [value], set()
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if inspect.isawaitable(item):
            found.append(item)
        elif isinstance(item, dict):
            pending += item.values()
        elif isinstance(item, (list, tuple)):
            pending += item
    return found


def storable(data: Any) -> Any:
    """JSON-compatible data with each lone surrogate, which no database or network takes, as a question mark.

    Models and strangers write them; Python's JSON reader lets them in.
    """
    if isinstance(data, str):
        return data if data.isascii() else data.encode("utf-8", "replace").decode()
    if isinstance(data, dict):
        return {storable(key): storable(value) for key, value in data.items()}
    if isinstance(data, list):
        return [storable(item) for item in data]
    return data
