"""What the coordinator can be asked: launched crews and their processes, and runs from the journal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from callsheet.core.errors import UsageError
from callsheet.runtime.journal import Journal
from callsheet.runtime.members import Members
from callsheet.runtime.protocol import LaunchCard

Read = Callable[[Callable[[], Any]], Awaitable[Any]]


class Queries:
    """Answers by verb; an unknown verb, or a question about what is not there, raises UsageError."""

    def __init__(
        self, journal: Journal, members: Members, read: Read, stop_runs: Callable[[str], None]
    ) -> None:
        self._journal, self._members, self._read = journal, members, read
        self._stop_runs = stop_runs
        self._verbs: dict[str, Callable[..., Awaitable[Any]]] = {
            "launch": self._launch, "unlaunch": self._unlaunch, "launches": self._launches,
            "joined": self._joined, "runs": self._runs, "run": self._run,
        }  # fmt: skip

    async def answer(self, verb: str, args: dict[str, Any]) -> Any:
        """The answer to a query, as plain data."""
        found = self._verbs.get(verb)
        if found is None:
            raise UsageError(f"the coordinator does not know how to answer {verb!r}")
        return await found(**args)

    async def _launch(self, card: LaunchCard) -> None:
        self._members.add_launch(card)

    async def _unlaunch(self, name: str) -> None:
        self._stop_runs(name)
        self._members.remove_launch(name)

    async def _launches(self) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                **launch.description,
                "participants": {
                    participant: [launch.pids.get(clients[replica], 0) for replica in sorted(clients)]
                    for participant, clients in launch.clients.items()
                },
            }
            for name, launch in self._members.launches.items()
        ]

    async def _joined(self, name: str) -> list[str]:
        launch = self._members.launches.get(name)
        return [] if launch is None else [n for n, clients in launch.clients.items() if clients]

    async def _runs(self, **criteria: Any) -> list[Any]:
        found: list[Any] = await self._read(lambda: self._journal.runs(**criteria))
        return found

    async def _run(self, run_id: str) -> Any:
        def read() -> Any:
            return self._journal.run(run_id), self._journal.envelopes(run_id), self._journal.steps(run_id)

        return await self._read(read)
