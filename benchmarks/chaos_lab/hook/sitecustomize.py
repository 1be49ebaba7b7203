"""Imported by every Python of a chaos campaign, through PYTHONPATH: says which process is what, and dies on order.

Nothing of this is in the product. It waits for the modules below to be imported, wraps what they define, and
does nothing in a process that has no CHAOS_FOLDER.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

FOLDER = os.environ.get("CHAOS_FOLDER", "")


def write(name: str, **line: Any) -> None:
    """Add a line to a file of the campaign."""
    line = {**line, "pid": os.getpid(), "at": time.time()}
    file = os.open(f"{FOLDER}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, json.dumps(line).encode() + b"\n")
    os.close(file)


def tell_births(actors: ModuleType) -> None:
    """Write down each actor of ours when it has been made."""
    for name in ("CoordinatorActor", "ServiceActor", "ParticipantActor"):
        cls = getattr(actors, name)
        cls.__init__ = _told(cls.__init__)


def _told(made: Callable[..., None]) -> Callable[..., None]:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        write("births.jsonl", label=self._label)

    init.__wrapped__ = made  # type: ignore[attr-defined]
    return init


class Order:
    """An order to die at a write: it lies in a file, and whoever reads it first takes it away."""

    def __init__(self) -> None:
        self.point = ""
        self.left = 0

    def next_write(self) -> str:
        """The point at which this write is to end the process, or nothing."""
        if not self.point:
            try:
                with open(f"{FOLDER}/order.json") as file:  # noqa: PTH123 - pathlib is not imported yet everywhere
                    order = json.load(file)
                os.unlink(f"{FOLDER}/order.json")  # noqa: PTH108
            except (FileNotFoundError, ValueError):
                return ""
            self.point, self.left = order["point"], order["nth"]
        self.left -= 1
        return self.point if self.left <= 0 else ""


ORDER = Order()
committing = threading.local()


def die(point: str) -> None:
    """End this process as a crash would."""
    write("own_kills.jsonl", point=point)
    os.kill(os.getpid(), signal.SIGKILL)


def obey_orders(journals: ModuleType) -> None:
    """Let a process that writes a journal be ended before, within, after or behind one of its writes.

    `before`: nothing is written. `within`: all is written and nothing committed. `after`: all is committed,
    and nobody was told. `behind`: a moment later, while others are being told.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    original = journals.Journal.write

    def ordered(self: Any, records: Sequence[Any]) -> None:
        point = ORDER.next_write()
        if point == "before":
            die(point)
        committing.point = point
        original(self, records)
        committing.point = ""
        if point == "after":
            die(point)
        if point == "behind":
            threading.Timer(0.001, die, [point]).start()

    def on_commit(_: Any) -> None:
        if getattr(committing, "point", "") == "within":
            die("within")

    journals.Journal.write = ordered
    event.listen(Engine, "commit", on_commit)


WRAPPED = {"callsheet.runtime.actors": tell_births, "callsheet.runtime.journal": obey_orders}


class Wrapping(importlib.abc.MetaPathFinder):
    """Finds the modules above as everybody does, and wraps them once they are loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's own spec, with a loader that wraps."""
        wrap = WRAPPED.pop(name, None)
        if wrap is None:
            return None
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        loaded = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            loaded(module)
            wrap(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if FOLDER:
    sys.meta_path.insert(0, Wrapping())
