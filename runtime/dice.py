"""Random numbers and ids of a turn: the same on every attempt, and in a fork those that its kept steps have seen."""

from __future__ import annotations

import random
import uuid

from callsheet.core.canonical import from_json


class Dice:
    """Follows from the turn's id; in a fork, from that of the turn it was copied from."""

    def __init__(self, turn_id: str, options: str) -> None:
        forked = from_json(options).get("forked_from") or {}
        self._seed = str(forked.get("seeds", {}).get(turn_id, turn_id))
        self._random = random.Random(self._seed)  # noqa: S311
        self._uuids = 0

    def random(self) -> float:
        """A random number in [0, 1)."""
        return self._random.random()

    def uuid(self) -> str:
        """A new UUID."""
        self._uuids += 1
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self._seed}/{self._uuids}"))
