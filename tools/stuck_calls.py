"""The calls of tools that were stopped and did not end: only the end of their process ends them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

OnStuck = Callable[[str], None]
"""Is told what is stuck; called in whatever thread noticed it."""


class StuckCalls:
    """Which stopped calls go on nevertheless. Thread-safe; nothing of it survives its process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._still_runs: list[Callable[[], bool]] = []
        self._listeners: list[OnStuck] = []

    def add(self, what: str, still_runs: Callable[[], bool]) -> None:
        """A call of the tool `what` did not end; `still_runs` says whether that is still so."""
        self.count()
        with self._lock:
            self._still_runs.append(still_runs)
            listeners = list(self._listeners)
        log.warning("a call of %s was stopped, and does not end", what)
        for listener in listeners:
            try:
                listener(what)
            except Exception:
                log.exception("nobody could be told that a call of %s is stuck", what)

    def count(self) -> int:
        """How many stopped calls are still running. Forgets those that have ended meanwhile."""
        with self._lock:
            self._still_runs = [still_runs for still_runs in self._still_runs if still_runs()]
            return len(self._still_runs)

    def listen(self, callback: OnStuck) -> Callable[[], None]:
        """Call this for every call that gets stuck from now on; returns what ends that."""
        with self._lock:
            self._listeners.append(callback)

        def end() -> None:
            with self._lock:
                if callback in self._listeners:
                    self._listeners.remove(callback)

        return end


_calls = StuckCalls()


def stuck_calls() -> StuckCalls:
    """The stuck calls of this process."""
    return _calls


def stuck() -> int:
    """How many calls of tools in this process were stopped and are still running."""
    return _calls.count()


def on_stuck(callback: OnStuck) -> Callable[[], None]:
    """Be told the tool's name of every call that gets stuck; returns what ends that.

    The callback runs in a thread of ours or on a loop, and must not block.
    """
    return _calls.listen(callback)
