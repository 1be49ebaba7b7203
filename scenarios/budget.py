"""A bench's budget: each run gets a share of what nobody has spent or been given, and gives back the rest."""

from __future__ import annotations

import asyncio
import math

from callsheet.core.errors import DefinitionError

ROUNDING_USD = 1e-9
"""What a sum of costs may be off by."""


def check_budget(budget_usd: float | None) -> None:
    """Raises DefinitionError for what can be no budget."""
    if budget_usd is not None and not (
        isinstance(budget_usd, (int, float)) and 0 < budget_usd < float("inf")
    ):
        raise DefinitionError(f"budget_usd is {budget_usd!r}", hint="Give a number above 0, or leave it out.")


class BudgetSpentError(Exception):
    """What is left of the budget is not enough for the run that asks, and no other run could give any back."""


class BudgetPool:
    """The money of one bench, shared by as many runs at once as it has `hands`.

    A run may spend what it was given and no more, so that all together never spend more than the budget. One that
    its share has stopped asks again, for more than that (`above`) and for what its next call may `need`: it gets it
    once others have given back what they did not use. First come, first served. For one event loop.
    """

    def __init__(self, budget_usd: float | None, spent_usd: float = 0.0, hands: int = 1) -> None:
        self.budget_usd = budget_usd
        self.spent_usd = spent_usd
        self._hands = hands
        self._given: list[float] = []
        self._guessed = 0.0
        self.call_usd = 0.0
        """The most that a model call was known to need of those that a share had no room for."""
        self._queue = asyncio.Lock()
        self._changed = asyncio.Event()

    @property
    def left_usd(self) -> float:
        """What is neither spent nor given to a run; infinite without a budget."""
        if self.budget_usd is None:
            return float("inf")
        return self.budget_usd - self.spent_usd - sum(self._given)

    def enough_usd(self, done: int, planned: int) -> float:
        """A budget that the whole bench may be expected to get by with, in whole cents.

        It has room for what the rest costs, going by what is done, and beside it for a call in each run under way.
        """
        left = planned - done
        rest = self.spent_usd / done * left if done else 0.0
        calls = max(self.call_usd * min(self._hands, left), 2 * self._guessed)
        wanted = max(2 * (self.budget_usd or 0.0), self.spent_usd + 1.2 * rest + calls)
        return math.ceil(wanted * 100 - ROUNDING_USD) / 100

    async def take(
        self, above_usd: float = 0.0, most_usd: float = float("inf"), need_usd: float = 0.0
    ) -> float | None:
        """USD that a run may spend, more than `above_usd` and at most `most_usd`; None without a budget.

        `need_usd` is what the run's next call may cost, if that is known: no less is given, but for `most_usd`.
        Waits while there is not so much and others may give some back. Raises BudgetSpentError when nobody can.
        """
        if self.budget_usd is None:
            return None
        need_usd = min(need_usd, most_usd)
        # What a run's next call needs those of others may need too.
        if need_usd > above_usd:
            self.call_usd = max(self.call_usd, need_usd)
        elif above_usd > 0:
            self._guessed = max(self._guessed, 2 * above_usd)
        async with self._queue:
            while (share := self._share(above_usd, most_usd, need_usd)) is None:
                if not self._given:
                    raise BudgetSpentError
                self._changed.clear()
                await self._changed.wait()
            self._given.append(share)
            return share

    def give_back(self, share_usd: float | None, used_usd: float) -> None:
        """The run is over, or stopped, and has spent so much of its share."""
        self.spent_usd += used_usd
        if share_usd is not None:
            self._given.remove(share_usd)
            self._changed.set()

    def _share(self, above: float, most: float, need: float) -> float | None:
        left = self.left_usd
        if min(left, most) <= above + ROUNDING_USD or left + ROUNDING_USD / 2 < need:
            return None
        free = max(1, self._hands - len(self._given))
        asked = need if need > above else 2 * above
        wanted = min(most, max(left / free, self.call_usd, self._guessed, asked))
        if wanted <= left + ROUNDING_USD:
            return min(wanted, left)
        # Alone it may have all that there is.
        return None if self._given else left
