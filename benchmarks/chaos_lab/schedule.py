"""Which process is killed when: a plan that follows from its seed alone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ACTORS = ("agent", "replica", "flow", "gateway", "memory", "coordinator")
"""Parts of which one process is killed, and which the cluster starts again by itself."""

KINDS = (*ACTORS, "driver", "node")

POINTS = ("before", "within", "after", "behind")
"""Where the coordinator can be ended: about one of its journal writes. See hook/sitecustomize.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One kill: `records` more in the journal, then `delay_s` later (a coordinator with a `point`: at its
    `records`th write)."""

    kind: str
    records: int
    delay_s: float
    choice: float
    """In [0, 1): which of several processes of that kind."""
    point: str = ""


def sweep(seed: int, kills: int) -> Iterator[Kill]:
    """Deaths of a driver that is all there is: at every point of every of its first journal writes, in turn."""
    rng = random.Random(f"sweep/{seed}")
    for number in range(kills):
        nth = 1 + number // len(POINTS) % 30
        yield Kill(
            kind="driver", records=nth, delay_s=0.0, choice=rng.random(), point=POINTS[number % len(POINTS)]
        )


def storm(seed: int, kills: int) -> Iterator[Kill]:
    """Kills of single actors that do not wait for one another; three in a row may hit the same one."""
    rng = random.Random(f"storm/{seed}")
    for _ in range(kills):
        yield Kill(kind=rng.choice(ACTORS), records=0, delay_s=rng.uniform(0.05, 1.5), choice=rng.random())


def plan(seed: int, kills: int, kinds: Sequence[str] = KINDS) -> Iterator[Kill]:
    """That many kills, every kind as often as the others, no two of a kind together where there are several."""
    rng = random.Random(f"chaos/{seed}")
    last = ""
    deck: list[str] = []
    for number in range(kills):
        if not deck:
            deck = list(kinds)
            rng.shuffle(deck)
            if deck[-1] == last:
                deck.reverse()
        last = deck.pop()
        # Three coordinators in four die at an exact point, the others wherever they are.
        point = (
            POINTS[(number // len(kinds)) % len(POINTS)]
            if last == "coordinator" and rng.random() < 0.75
            else ""
        )
        yield Kill(
            kind=last, records=rng.randint(1, 12) if point else rng.randint(3, 60),
            delay_s=rng.uniform(0, 0.06), choice=rng.random(), point=point,
        )  # fmt: skip
