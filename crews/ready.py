"""The ready-made crews by name."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from callsheet.core.errors import unknown_name
from callsheet.crews.crew import Crew
from callsheet.crews.research import research

_READY: MappingProxyType[str, Callable[[], Crew]] = MappingProxyType({"research": research})


def ready_crews() -> dict[str, Crew]:
    """All ready-made crews by name."""
    return {name: make() for name, make in _READY.items()}


def find_crew(name: str) -> Crew:
    """The ready-made crew of that name. Raises UnknownNameError, which names the nearest."""
    make = _READY.get(name)
    if make is None:
        raise unknown_name(
            "crew",
            name,
            tuple(_READY),
            hint="Your own is given as file.py, file.py:name or package.module:name.",
        )
    return make()
