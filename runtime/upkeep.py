"""What a coordinator looks after now and then: orders left in the journal, and crews whose driver is gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection

from callsheet.core.errors import JournalError
from callsheet.runtime.group_commit import GroupCommit
from callsheet.runtime.journal import Journal
from callsheet.runtime.lane_server import LaneServer
from callsheet.runtime.members import Members

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""How often: an order in the journal is carried out within about this time."""

DEAF_S = 8.0
"""How long a participant that is told to stop a turn may say nothing at all before its process is killed."""

SILENT_S = 60.0
"""How long a driver may be silent before the crew that it did not mean to keep is dismissed."""


class Upkeep:
    """Runs while there is a run or a launch. Holds nothing that would have to survive."""

    def __init__(
        self,
        journal: Journal,
        commits: GroupCommit,
        members: Members,
        lanes: LaneServer,
        *,
        cancel: Callable[[str, str], None],
        busy: Callable[[], Collection[str]],
        dismiss: Callable[[str], None],
        kill: Callable[[str], None] | None = None,
    ) -> None:
        self._journal, self._commits, self._members, self._lanes = journal, commits, members, lanes
        self._cancel, self._busy, self._dismiss, self._kill = cancel, busy, dismiss, kill
        self._told: dict[str, float] = {}
        self._born = time.monotonic()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Look now and then, from now on."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._look())

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _look(self) -> None:
        while self._commits.broken is None:
            await asyncio.sleep(LOOK_S)
            try:
                for run_id, reason in await self._commits.read(self._orders):
                    self._cancel(run_id, reason)
            except JournalError as error:  # the next write will say so to all
                log.warning("orders cannot be read: %s", error.message)
            with contextlib.suppress(RuntimeError):  # a launch came while we looked
                self.dismiss_left_crews(time.monotonic())
            self.kill_deaf(time.monotonic())

    def _orders(self) -> list[tuple[str, str]]:
        if not self._journal.changed():
            return []
        return [(order.run_id, order.reason) for order in self._journal.orders()]

    def told_to_stop(self, client: str) -> None:
        """A participant is told to stop a turn: it has to be heard of soon."""
        if self._kill is not None:
            self._told.setdefault(client, time.monotonic())

    def kill_deaf(self, now: float) -> None:
        """Kill those whose event loop is blocked: code that does not yield cannot be told to stop.

        What yields takes the order at once and calls again. The killed one's other turns are given to its
        successor; they could not have gone on either.
        """
        for client, told in list(self._told.items()):
            port = self._lanes.ports.get(client)
            if port is None or port.seen > told:
                del self._told[client]
            elif now - told > DEAF_S and self._kill is not None:
                del self._told[client]
                log.warning("%s does not yield: its process is killed, and started again", client)
                self._kill(client)

    def dismiss_left_crews(self, now: float) -> None:
        """Dismiss the crews whose driver has been silent for long, and that have no run."""
        busy = self._busy()
        for name, launch in list(self._members.launches.items()):
            driver = launch.card.driver
            if not driver or name in busy:
                continue
            port = self._lanes.ports.get(driver)
            heard = self._born if port is None else max(port.seen, self._born)
            if now - heard > SILENT_S:
                log.info("the driver of crew %s is gone", name)
                self._dismiss(name)
