"""A run's cassette: checked with the gateway, in whose process it is read or written, before the run begins."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callsheet.core.errors import DefinitionError
from callsheet.models.cassette import CassetteFacts, OpenCassette
from callsheet.models.policy import AgentModel, levels_of, text_of

if TYPE_CHECKING:
    from callsheet.crews.system import System

CASSETTES = ("record", "replay")
"""The options that name one."""


def check_cassettes(record: object, replay: object) -> None:
    """Raises DefinitionError for what can be no cassettes."""
    for name, path in (("record", record), ("replay", replay)):
        if path is not None and (not isinstance(path, (str, Path)) or not str(path)):
            raise DefinitionError(f"{name} is {path!r}", hint="It is the path of a file.")
    if record is not None and replay is not None:
        raise DefinitionError(
            "a run cannot record and replay at once", hint="Record first; replay what was recorded then."
        )


async def cassette_options(
    system: System, record: str | Path | None, replay: str | Path | None, own: Iterable[AgentModel | None]
) -> dict[str, Any]:
    """What a run that records or replays is told of it. Raises UsageError for a file that cannot be used.

    Agents that name no model ask the one that they asked when it was recorded, whatever the default is now:
    the first in the cassette that no agent (`own`) names, or else the first.
    """
    gateway = system.host.service("gateway")
    if record is not None:
        path = _absolute(record)
        await gateway(OpenCassette(path=path, mode="record"))
        return {"record": path}
    assert replay is not None
    path = _absolute(replay)
    facts: CassetteFacts = await gateway(OpenCassette(path=path, mode="replay"))
    told: dict[str, Any] = {"replay": path}
    if system.settings.model is None:
        named = {text_of(level) for model in own if model is not None for level in levels_of(model)}
        others = [model for model in facts.models if model not in named] or facts.models
        if others:
            told["default_model"] = others[0]
    return told


def _absolute(path: str | Path) -> str:
    return str(Path(path).expanduser().absolute())
