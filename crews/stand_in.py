"""What answers in the place of models in this process, for tests; see callsheet/testing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from callsheet.core.errors import UsageError
from callsheet.runtime.host import ServiceSpec

if TYPE_CHECKING:
    from callsheet.models.kept import Exchanges

_standing: list[Exchanges] = []


@contextlib.contextmanager
def standing_in(place: Exchanges) -> Iterator[None]:
    """While this holds, runs that begin inline in this process ask `place`, and no model."""
    _standing.append(place)
    try:
        yield
    finally:
        _standing.remove(place)


def stand_in(host: str) -> Exchanges | None:
    """What stands in for models just now. Raises UsageError for a run on Ray: it is of this process alone."""
    if not _standing:
        return None
    if host != "inline":
        raise UsageError(
            "scripted replies answer only runs in this process, and this run would be on Ray",
            hint='Run the crew with host="inline" there, or replay a cassette: replay="FILE".',
        )
    return _standing[-1]


def with_stand_in(specs: Sequence[ServiceSpec], place: Exchanges) -> list[ServiceSpec]:
    """The services, with the gateway asking `place` before all else."""
    found = []
    for spec in specs:
        if spec.name == "gateway":
            factory: Any = spec.factory
            spec = replace(spec, factory=partial(factory, exchanges=(place,)))
        found.append(spec)
    return found
