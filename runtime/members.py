"""Who is there to take turns: launched crews, their participants, and whose turn is whose."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from callsheet.core.canonical import from_json
from callsheet.core.errors import DefinitionError
from callsheet.core.records import Envelope
from callsheet.runtime.protocol import Join, LaunchCard

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Launch:
    """One launched crew, and who of it is there: name → replica → the client on its lane."""

    card: LaunchCard
    clients: dict[str, dict[int, str]] = field(default_factory=dict)
    replicas: dict[str, int] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)

    @property
    def description(self) -> dict[str, object]:
        """What `callsheet crews` shows of it."""
        found: dict[str, object] = from_json(self.card.description)
        return found


class Members:
    """Launched crews by name. Nothing of this has to survive: participants say who they are when they join.

    Which replica takes a turn follows from the turn's id, so that a turn stays with its replica whatever
    is restarted, and nobody has to remember who has it.
    """

    def __init__(self) -> None:
        self.launches: dict[str, Launch] = {}

    def add_launch(self, card: LaunchCard) -> None:
        """A crew is being launched. Raises DefinitionError if another has that name."""
        known = self.launches.get(card.name)
        if known is None:
            self.launches[card.name] = Launch(card=card)
        elif known.card.id != card.id:
            raise DefinitionError(
                f"a crew is launched as {card.name!r} already",
                hint=f"`callsheet stop {card.name}` ends it; `--name` launches another under its own name.",
            )

    def remove_launch(self, name: str) -> None:
        """A crew is stopped."""
        self.launches.pop(name, None)

    def has_died(self, item: Join, client: str) -> bool:
        """Whether the one who joins takes the place of a process that is dead."""
        known = self.launches.get(item.card.name)
        before = None if known is None or known.card.id != item.card.id else known.pids.get(client)
        return before is not None and before != item.pid

    def leave(self, card: LaunchCard, client: str) -> None:
        """A participant's process goes by its own will: its end is no death."""
        known = self.launches.get(card.name)
        if known is not None and known.card.id == card.id:
            known.pids.pop(client, None)

    def clients_of(self, launch: str) -> list[str]:
        """All participants of a launch that are there."""
        known = self.launches.get(launch)
        return [] if known is None else [c for clients in known.clients.values() for c in clients.values()]

    def join(self, item: Join, client: str) -> bool:
        """A participant is there; True if it is the first of its launch that this coordinator hears of."""
        known = self.launches.setdefault(item.card.name, Launch(card=item.card))
        if known.card.id != item.card.id:
            log.warning("%s is of an earlier launch of %s: it gets no turns", client, item.card.name)
            return False
        first = not known.clients
        known.clients.setdefault(item.name, {})[item.replica] = client
        known.replicas[item.name] = item.replicas
        known.pids[client] = item.pid
        return first

    def taker(self, launch: str, name: str, turn_id: str) -> str | None:
        """The client whose turn it is, or None while it is not there."""
        known = self.launches.get(launch)
        replicas = 0 if known is None else known.replicas.get(name, 0)
        if known is None or not replicas:
            return None
        return known.clients[name].get(0 if replicas == 1 else int(turn_id[:8], 16) % replicas)

    def takes(self, client: str, launch: str, envelope: Envelope) -> bool:
        """Whether the turn of that envelope is this client's."""
        return self.taker(launch, envelope.receiver, envelope.id) == client
