"""A run of the past: found by the beginning of its id, with its crew, and how it stands as a result."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from callsheet.cli.choosing import check_models
from callsheet.cli.journals import reading
from callsheet.cli.screen import notice
from callsheet.core.errors import CallsheetError, RunTakenError, UsageError, WaitingError

DYING_S = 5.0
"""How long a Ray whose driver was killed may take to end (1.7 s were measured)."""

EVERY_S = 0.1

OF_RAY = "ray-"
"""How the names of owners begin that are coordinators on Ray."""

if TYPE_CHECKING:
    from callsheet.core.limits import RunUsage
    from callsheet.core.records import Envelope, RunRecord, Step
    from callsheet.crews.crew import Crew
    from callsheet.crews.launched import LaunchedCrew
    from callsheet.crews.result import Result
    from callsheet.crews.run import Run
    from callsheet.settings import Settings


def past_run(settings: Settings, wanted: str) -> tuple[RunRecord, list[Envelope], list[Step], bool]:
    """A run, its messages and steps, and whether somebody works on it. Raises UsageError."""
    from callsheet.cli.history import find_run

    with reading(settings) as journal:
        record = find_run(journal, wanted)
        assert journal is not None
        # The owner first: who lets go of the run meanwhile has left it as it is then read.
        taken = journal.owner_alive(record.owner)
        record = journal.run(record.run_id) or record
        return record, journal.envelopes(record.run_id), journal.steps(record.run_id), taken


def let_go(settings: Settings, record: RunRecord) -> bool:
    """Whether the one who works on a run lets go of it now: a Ray outlives by a moment the driver that began it."""
    if not record.owner.startswith(OF_RAY):
        return False
    until = time.monotonic() + DYING_S
    with reading(settings) as journal:
        assert journal is not None
        while journal.owner_alive(record.owner):
            if time.monotonic() > until:
                return False
            time.sleep(EVERY_S)
    return True


def past_result(
    record: RunRecord, envelopes: list[Envelope], steps: list[Step], settings: Settings
) -> Result:
    """How a run ended, or what it waits for, from the journal alone."""
    from callsheet.core.canonical import from_json
    from callsheet.crews.questions import questions_of
    from callsheet.crews.result import Result, how_to_go_on, worked_s
    from callsheet.crews.system import phoenix_endpoint, trace_url

    error = None if record.error is None else CallsheetError.from_dict(from_json(record.error))
    if error is not None and record.status == "failed":
        error = how_to_go_on(error, record.run_id)
    questions = questions_of(envelopes) if record.status == "waiting" else ()
    if questions:
        error = WaitingError(
            f"the run waits for a person: {questions[0].text}", run_id=record.run_id, hint=questions[0].how
        )
    last = max([record.started, *(envelope.at for envelope in envelopes)])
    worked = worked_s(record, last)
    links = trace_url(phoenix_endpoint(settings), settings.project, record.run_id)
    return Result(
        run_id=record.run_id, crew=record.crew, status=record.status,
        output=None if record.output is None else from_json(record.output)["output"],
        error=error, usage=usage_of(steps), elapsed_s=worked,
        session_id=record.session_id, trace_url=None if links is None else links[1], questions=questions,
    )  # fmt: skip


def usage_of(steps: Sequence[Step]) -> RunUsage:
    """What a run has used, by its recorded steps."""
    from callsheet.core.limits import RunUsage

    usage = RunUsage()
    for step in steps:
        if step.usage is not None and step.state != "intent":
            usage = usage.plus(step.usage)
    return usage


def recorded_options(record: RunRecord) -> dict[str, Any]:
    """What a run was started with: `host`, `model` and the like."""
    from callsheet.core.canonical import from_json

    found: dict[str, Any] = from_json(record.options)
    return found


def made_inline(record: RunRecord) -> bool:
    """Whether a run was started without Ray."""
    return bool(recorded_options(record).get("host") == "inline")


class PastCrews:
    """Finds the crews of past runs; what several of them need is loaded, and launched, once.

    `named` (as `callsheet run` takes it) says where the crew is, in place of what the runs have recorded.
    """

    def __init__(self, settings: Settings, named: str | None = None) -> None:
        self._settings, self._named = settings, named
        self._launches: list[str] | None = None
        self._loaded: dict[str, Crew | LaunchedCrew] = {}

    def of(self, record: RunRecord, *, inline: bool) -> Crew | LaunchedCrew:
        """The crew of a run: the launch that serves it on the cluster, if it is there, or its definition.

        Raises CrewFileError where that is not to be found, UsageError if it is another crew, and ClusterError
        where a cluster is known and cannot be reached.
        """
        if self._named is None and not inline and record.launch in self._served():
            from callsheet.crews.launched import LaunchedCrew

            return LaunchedCrew(record.launch, self._settings)
        place = self._named or record.source
        found = self._loaded.get(place)
        if found is None:
            found = self._loaded[place] = self._load(record, inline)
        return found

    def _served(self) -> list[str]:
        from callsheet.crews.loading import launched_crews

        if self._launches is None:
            self._launches = [launch["name"] for launch in launched_crews(self._settings, notice)]
        return self._launches

    def _load(self, record: RunRecord, inline: bool) -> Crew | LaunchedCrew:
        from callsheet.crews.crew import Crew
        from callsheet.crews.loading import resolve_crew
        from callsheet.crews.sources import load_source

        if self._named is None:
            try:
                return load_source(record.source)
            except CallsheetError as error:
                error.hint = f"{error.hint} `--crew file.py[:name]` says where the crew {record.crew} is now."
                raise
        found = resolve_crew(self._named, self._settings, inline=inline, progress=notice)
        if isinstance(found, Crew) and found.name != record.crew:
            raise UsageError(
                f"run {record.run_id} is one of the crew {record.crew!r}, and {self._named} is {found.name!r}",
                hint=f"Name the file or module that defines {record.crew!r}.",
            )
        return found


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a person says to a question of a run: as `Crew.resume` takes it."""

    reply: str | None = None
    approve: bool | None = None
    question: str | None = None


NO_REPLY = Reply()


def _check_free(record: RunRecord, settings: Settings) -> None:
    """Raise RunTakenError if another has taken the run up since this record was read, as one of two does."""
    with reading(settings) as journal:
        latest = None if journal is None else journal.run(record.run_id)
        if journal is None or latest is None or latest.owner in ("", record.owner):
            return
        if journal.owner_alive(latest.owner):
            raise taken(record.run_id)


def taken(run_id: str, *, reply: bool = False) -> RunTakenError:
    """That another process works on the run: told before anything is started, or said to be going on."""
    hint = f"`callsheet watch {run_id}` shows what it does."
    if reply:
        hint = f"It has other work to do yet, and takes a reply once it waits. {hint}"
    return RunTakenError(f"run {run_id} is being worked on by another process", run_id=run_id, hint=hint)


def restart_run(
    record: RunRecord,
    crews: PastCrews,
    settings: Settings,
    *,
    inline: bool,
    limits: Mapping[str, float | None],
    said: Reply = NO_REPLY,
    watch: bool = True,
) -> Run:
    """Go on with a run; `limits` take the place of those of its own that they name.

    Returns as soon as that is asked for: a refusal comes with the result. Raises as `PastCrews.of`, and
    SettingsError where the model that it was started with wants a key that is not set.
    """
    from callsheet.core.canonical import from_json
    from callsheet.core.limits import Limits
    from callsheet.models.policy import model_from_data

    found = crews.of(record, inline=inline)
    given = recorded_options(record).get("model")
    check_models(model_from_data(given) if given else None, settings, found, inline=inline)
    changes: dict[str, Any] = dict(limits)
    changed = replace(Limits.from_dict(from_json(record.limits)), **changes) if changes else None
    if inline or said == NO_REPLY:  # a coordinator on Ray takes replies while it works on the run
        _check_free(record, settings)
    notice(f"going on with run {record.run_id} of {record.crew}")
    run = found.restart(
        record.run_id, host="inline" if inline else "ray", settings=settings, progress=notice, watch=watch,
        limits=changed, reply=said.reply, approve=said.approve, question=said.question,
    )  # fmt: skip
    if run.live_url:
        notice(f"watch it live: {run.live_url}")
    return run
