"""Going on with a run that was cut off, stopped, failed, or waits for a person."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypedDict

from callsheet.core.canonical import from_json, to_json
from callsheet.core.errors import DefinitionError, UsageError, unknown_name
from callsheet.core.limits import Limits
from callsheet.core.records import RunRecord
from callsheet.crews.questions import find_question, questions_of, reply_body
from callsheet.crews.run import Run
from callsheet.crews.starting import changed_limits
from callsheet.crews.system import HostName, Progress, System, trace_url
from callsheet.runtime.protocol import ResumeRun, Watch
from callsheet.settings import Settings


class ResumeKeywords(TypedDict, total=False):
    """The options of `Crew.resume`, which says what each is."""

    host: HostName
    reply: str | None
    approve: bool | None
    question: str | None
    budget_usd: float | None
    budget_tokens: int | None
    deadline_s: float | None
    limits: Limits | None
    settings: Settings | None
    progress: Progress


class RestartKeywords(ResumeKeywords, total=False):
    """The options of `Crew.restart`."""

    watch: bool


@dataclass(frozen=True, kw_only=True)
class ResumeOptions:
    """Those of them that say how the run is to go on, checked."""

    reply: str | None = None
    approve: bool | None = None
    question: str | None = None
    budget_usd: float | None = None
    budget_tokens: int | None = None
    deadline_s: float | None = None
    limits: Limits | None = None
    watch: bool = True

    @staticmethod
    def of(given: Mapping[str, Any]) -> ResumeOptions:
        """The options, if they make sense. Raises UnknownNameError or DefinitionError."""
        known = [field.name for field in fields(ResumeOptions)]
        for name in given:
            if name not in known:
                raise unknown_name("option of a resumed run", name, (*known, "host", "settings", "progress"))
        options = ResumeOptions(**given)
        for name, kind in (("reply", str), ("question", str), ("approve", bool), ("limits", Limits)):
            value = getattr(options, name)
            if value is not None and not isinstance(value, kind):
                raise DefinitionError(
                    f"{name} is {value!r}", hint=f"Give a {kind.__name__}, or leave it out."
                )
        options.limits_of(Limits())
        return options

    def limits_of(self, before: Limits) -> Limits:
        """The run's limits from now on. Raises DefinitionError for what can be none."""
        return changed_limits(
            self.limits or before, budget_usd=self.budget_usd, budget_tokens=self.budget_tokens,
            deadline_s=self.deadline_s,
        )  # fmt: skip


async def go_on(
    system: System, run_id: str, crew: str, launch: str, output: Any, options: ResumeOptions, source: str
) -> Run:
    """Go on with a run of that crew, which is launched on the system."""
    client = system.host.client
    record, envelopes, _ = await client.query("run", run_id=run_id)
    if record is None:
        raise unknown_name("run", run_id, (), hint="`callsheet runs` lists them.")
    _check_crew(record, crew)
    reply = None
    if options.reply is not None or options.approve is not None:
        question = find_question(questions_of(envelopes), run_id, options.question)
        reply = question.id, reply_body(question, options.reply, options.approve)
    before = Limits.from_dict(from_json(record.limits))
    limits = options.limits_of(before)
    links = await asyncio.to_thread(trace_url, system.endpoint, system.settings.project, run_id)
    watched: Watch = "tokens" if from_json(record.options).get("stream") else "all"
    client.resume(
        ResumeRun(
            run_id=run_id, launch=launch, reply=reply, source=source, watch=watched if options.watch else "end",
            limits="" if limits == before else to_json(limits.to_dict()), since=record.since,
        )
    )  # fmt: skip
    return Run(client, record, output, links, past=envelopes)


def _check_crew(record: RunRecord, crew: str) -> None:
    if record.crew != crew:
        raise UsageError(
            f"run {record.run_id} is one of the crew {record.crew!r}, and this is {crew!r}",
            hint=f"`callsheet resume {record.run_id}` finds its crew by itself.",
        )
