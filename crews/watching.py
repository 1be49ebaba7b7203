"""Following a run of a cluster from a process that did not begin it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue

from callsheet.core.errors import CallsheetError, RunTakenError
from callsheet.crews.portal import portal
from callsheet.crews.system import HIDDEN, ray_address, ray_token
from callsheet.runtime.client import News
from callsheet.runtime.host import HostConfig
from callsheet.settings import Settings


class Live:
    """What a cluster's coordinator tells of a run, and what its models say meanwhile, for a thread of its own.

    Nothing comes of a cluster that cannot be reached, or that does not work on the run: `error` says why, and
    the journal has what is kept in any case. Joining a cluster takes some seconds, and nobody waits for it.
    """

    def __init__(self, settings: Settings, run_id: str) -> None:
        self._settings, self._run_id = settings, run_id
        self._news: queue.SimpleQueue[News | None] = queue.SimpleQueue()
        self.joined = False
        """Whether news come from the cluster by now: then they are all that there are."""
        self.over = False
        """Whether nothing more will come."""
        self.error: CallsheetError | None = None
        self._task: concurrent.futures.Future[None] = portal().submit(self._follow())

    def get(self, timeout_s: float) -> News | None:
        """The next news; None if there is none within that time, or when nothing more comes (`over`)."""
        try:
            news = self._news.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if news is None:
            self.joined, self.over = False, True
        return news

    def close(self) -> None:
        """Follow the run no longer."""
        self._task.cancel()

    async def _follow(self) -> None:
        from callsheet.runtime.ray_host import RayHost

        address = ray_address(self._settings)
        host = RayHost(
            HostConfig(journal=self._settings.journal_url, hidden=HIDDEN), address=address,
            token_path=ray_token(self._settings, address),
        )  # fmt: skip
        try:
            await host.open(())
            host.client.watch(self._run_id)
            self.joined = True
            async for news in host.client.follow(self._run_id):
                self._news.put(news)
        except CallsheetError as error:
            if not isinstance(error, RunTakenError):  # another Ray works on it, and its journal tells of it
                self.error = error
        finally:
            self._news.put(None)
            await asyncio.shield(host.close())


def can_be_live(settings: Settings, owner: str) -> bool:
    """Whether a run that this owner works on may be followed on a cluster that is known here."""
    return owner.startswith("ray-") and ray_address(settings) is not None
