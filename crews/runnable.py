"""What can be given work: how a run is begun, waited for, and gone on with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Unpack

from callsheet.crews.portal import portal
from callsheet.crews.result import Result
from callsheet.crews.resuming import RestartKeywords, ResumeKeywords
from callsheet.crews.run import Run
from callsheet.crews.starting import RunKeywords, StartKeywords


class Runnable(ABC):
    """What can be given work: a crew defined here, or one that a cluster serves."""

    def run(self, input: Any, *, check: bool = True, **options: Unpack[RunKeywords]) -> Result:  # noqa: A002
        """Run the crew and wait for its result.

        Raises the error that ended the run; with `check=False` the result carries it instead. An
        interrupt (Ctrl-C) cancels the run. The options:

        - `host`: "ray" (the default), or "inline": in this process, without Ray.
        - `run_id`: the id of the new run, for callers that must be able to find it again. Raises UsageError if
          there is such a run already.
        - `model`: `provider/name`, a `ModelPolicy`, or a `Cascade` without `accept`: for every agent, whatever
          it names.
        - `session`: a name that groups runs.
        - `docs`: paths of files and folders that the agents may search.
        - `collection`: documents that are in the memory already, in the place of `docs`.
        - `folder`: what `read_file` may read; default the working folder.
        - `budget_usd`, `budget_tokens`: what the run may cost at most, and how many tokens it may use.
        - `deadline_s`: how many seconds it may take.
        - `limits`: a `Limits` in place of the crew's.
        - `settings`: see `load_settings`.
        - `progress`: a function that is told what is being started.
        - `notices`: a list that gets a line for each document that was left out.
        - `record`: a file that all exchanges with models are added to, a line each.
        - `replay`: such a file, which answers in the place of the models: see docs/testing.md.
        """
        found = portal().run(self._whole(input, **options))
        return found.checked() if check else found

    async def arun(
        self,
        input: Any,  # noqa: A002
        *,
        check: bool = True,
        **options: Unpack[RunKeywords],
    ) -> Result:
        """As `run`, with its options, in the caller's event loop. Cancelling this cancels the run."""
        found = await portal().arun(self._whole(input, **options))
        return found.checked() if check else found

    def start(self, input: Any, **options: Unpack[StartKeywords]) -> Run:  # noqa: A002
        """Begin a run.

        Takes the options of `run`, and `watch`: whether `run.events()` tells of everything (the default) or
        of the end alone; and `stream`: whether it also tells what the models say while they say it.
        """
        return portal().run(self._start(input, **options))

    async def astart(self, input: Any, **options: Unpack[StartKeywords]) -> Run:  # noqa: A002
        """As `start`, with its options, in the caller's event loop."""
        return await portal().arun(self._start(input, **options))

    def resume(self, run_id: str, *, check: bool = True, **options: Unpack[ResumeKeywords]) -> Result:
        """Go on with a run of this crew and wait for its result; nothing that is finished is done again.

        A run that was cut off goes on where it was; one that failed takes the turns that failed again; one
        that a limit stopped goes on with more; one that waits for a person goes on with the reply. Raises
        RunTakenError for a run that somebody works on, UsageError for one that is done or that the reply
        does not fit, and WaitingError for one that waits and gets no reply; then as `run`. The options:

        - `reply`: the answer to the question that the run asks a person, or what is to be said to a decision.
        - `approve`: True or False, where it asks whether a tool call may be made (again).
        - `question`: the id of the question, where there are several.
        - `budget_usd`, `budget_tokens`, `deadline_s`, `limits`: in place of those it had. Its seconds count
          from now on.
        - `host`, `settings`, `progress`: as in `run`.
        """
        found = portal().run(self._resumed(run_id, **options))
        return found.checked() if check else found

    async def aresume(self, run_id: str, *, check: bool = True, **options: Unpack[ResumeKeywords]) -> Result:
        """As `resume`, in the caller's event loop. Cancelling this cancels the run."""
        found = await portal().arun(self._resumed(run_id, **options))
        return found.checked() if check else found

    def restart(self, run_id: str, **options: Unpack[RestartKeywords]) -> Run:
        """As `resume`, but returns as soon as the run goes on: follow it with `events`, wait with `result`."""
        return portal().run(self._resume(run_id, **options))

    async def _resumed(self, run_id: str, **options: Any) -> Result:
        return await (await self._resume(run_id, **{**options, "watch": False})).outcome()

    async def _whole(self, given: Any, **options: Any) -> Result:
        return await (await self._start(given, **{**options, "watch": False})).outcome()

    @abstractmethod
    async def _start(self, given: Any, **options: Any) -> Run:
        """Begin a run; called in the portal's loop."""

    @abstractmethod
    async def _resume(self, run_id: str, **options: Any) -> Run:
        """Go on with a run; called in the portal's loop."""
