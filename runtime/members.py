"""Who is there to take turns: launched crews, their participants, and who holds which turn."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from callsheet.core.records import Envelope


@dataclass(slots=True)
class Launch:
    """One launched crew. `description` is what `callsheet crews` shows of it (JSON-compatible).

    Without `names` it is not launched yet: a participant was faster than who launches it.
    """

    name: str
    description: dict[str, Any]
    names: tuple[str, ...]
    clients: dict[str, list[str]] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, list[Envelope]] = field(default_factory=dict)


class Members:
    """Participants by launched crew and name. Replicas share a name; a turn stays with who began it."""

    def __init__(self) -> None:
        self.launches: dict[str, Launch] = {}
        self._held: dict[str, tuple[str, str]] = {}
        self._turns_of: dict[str, dict[str, str]] = {}
        self._load: Counter[str] = Counter()

    def has_launch(self, name: str) -> bool:
        """Whether a crew is launched under that name."""
        known = self.launches.get(name)
        return known is not None and bool(known.names)

    def add_launch(self, name: str, names: tuple[str, ...], description: dict[str, Any]) -> None:
        """A crew is about to be launched; its participants join one by one."""
        known = self.launches.get(name)
        launch = Launch(name=name, description=description, names=names)
        if known is not None:
            launch.clients, launch.pids, launch.waiting = known.clients, known.pids, known.waiting
        self.launches[name] = launch

    def remove_launch(self, name: str) -> None:
        """A crew is stopped."""
        self.launches.pop(name, None)

    def join(
        self, launch: str, name: str, client: str, pid: int
    ) -> tuple[list[tuple[str, str]], list[Envelope]]:
        """A participant is there: the (turn, run) pairs it held, and the envelopes that waited for it."""
        known = self.launches.setdefault(launch, Launch(name=launch, description={}, names=()))
        clients = known.clients.setdefault(name, [])
        if client not in clients:
            clients.append(client)
        known.pids[client] = pid
        return list(self._turns_of.get(client, {}).items()), known.waiting.pop(name, [])

    def assign(self, launch: str, envelope: Envelope) -> str | None:
        """Who takes this turn: its holder, else the least busy of its name; None if it waits for one."""
        held = self._held.get(envelope.id)
        if held is not None:
            return held[0]
        known = self.launches.get(launch)
        if known is None:
            return None
        clients = known.clients.get(envelope.receiver)
        if not clients:
            known.waiting.setdefault(envelope.receiver, []).append(envelope)
            return None
        client = clients[0] if len(clients) == 1 else min(clients, key=lambda c: self._load[c])
        self._held[envelope.id] = (client, envelope.run_id)
        self._turns_of.setdefault(client, {})[envelope.id] = envelope.run_id
        self._load[client] += 1
        return client

    def holder(self, turn_id: str) -> str | None:
        """Who holds that turn."""
        held = self._held.get(turn_id)
        return None if held is None else held[0]

    def release(self, turn_id: str) -> None:
        """That turn is over."""
        held = self._held.pop(turn_id, None)
        if held is not None:
            self._turns_of[held[0]].pop(turn_id, None)
            self._load[held[0]] -= 1
