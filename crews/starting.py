"""Starting a run: its options, checked before anything is done, and what begins it."""

from __future__ import annotations

import asyncio
import functools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypedDict

from callsheet.agents.data import data_of, storable
from callsheet.core.errors import DefinitionError, UsageError, unknown_name
from callsheet.core.ids import RUN_ID
from callsheet.core.limits import Limits
from callsheet.crews.cassettes import cassette_options, check_cassettes
from callsheet.crews.run import Run
from callsheet.crews.system import HostName, Progress, System, trace_url
from callsheet.models.catalogue import OFFLINE, PROVIDERS
from callsheet.models.policy import AgentModel, model_to_data
from callsheet.runtime.protocol import Watch
from callsheet.settings import Settings


class RunKeywords(TypedDict, total=False):
    """The options of `Crew.run`, which says what each is."""

    host: HostName
    run_id: str | None
    model: AgentModel | None
    session: str
    docs: Sequence[str | Path] | str | Path
    collection: str
    folder: str | Path | None
    budget_usd: float | None
    budget_tokens: int | None
    deadline_s: float | None
    limits: Limits | None
    settings: Settings | None
    progress: Progress
    notices: list[str] | None
    record: str | Path | None
    replay: str | Path | None


class StartKeywords(RunKeywords, total=False):
    """The options of `Crew.start`."""

    watch: bool
    stream: bool


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Those of them that say how one run is to be done, checked."""

    run_id: str | None = None
    model: AgentModel | None = None
    session: str = ""
    docs: Sequence[str | Path] | str | Path = ()
    collection: str = ""
    folder: str | Path | None = None
    budget_usd: float | None = None
    budget_tokens: int | None = None
    deadline_s: float | None = None
    limits: Limits | None = None
    watch: bool = True
    stream: bool = False
    notices: list[str] | None = None
    """Given where the starter shows them itself; then nothing is warned of."""
    record: str | Path | None = None
    replay: str | Path | None = None

    @staticmethod
    def of(given: Mapping[str, Any]) -> RunOptions:
        """The options, if they make sense. Raises UnknownNameError or DefinitionError."""
        known = [field.name for field in fields(RunOptions)]
        for name in given:
            if name == "inline":
                raise unknown_name("option of a run", name, ("host",), 'Write host="inline".')
            if name not in known:
                raise unknown_name("option of a run", name, (*known, "host", "settings", "progress"))
        options = RunOptions(**given)
        if options.model is not None:
            model_to_data(options.model)
        if options.limits is not None and not isinstance(options.limits, Limits):
            raise DefinitionError(f"limits is {options.limits!r}", hint="Give Limits(…).")
        options.limits_of(Limits())
        _check_names(options)
        check_cassettes(options.record, options.replay)
        return options

    def limits_of(self, crew: Limits) -> Limits:
        """The run's limits: the crew's own, unless it was started with others."""
        return changed_limits(
            self.limits or crew, budget_usd=self.budget_usd, budget_tokens=self.budget_tokens,
            deadline_s=self.deadline_s,
        )  # fmt: skip

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths in `docs`; one alone is a list of one."""
        docs = (self.docs,) if isinstance(self.docs, (str, Path)) else self.docs
        return tuple(str(path) for path in docs)


def _check_names(options: RunOptions) -> None:
    run_id = options.run_id
    if run_id is not None and (not isinstance(run_id, str) or not RUN_ID.match(run_id)):
        raise DefinitionError(
            f"a run's id cannot be {run_id!r}",
            hint="It has 6 to 64 lower-case letters, digits and dashes, and begins with no dash.",
        )
    if options.collection and options.paths:
        raise DefinitionError("docs and a collection are both given", hint="Give one of them.")


def changed_limits(limits: Limits, **changes: float | None) -> Limits:
    """The limits with these in place of their own, where given. Raises DefinitionError for what can be none."""
    given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    return replace(limits, **given)


class OfflineWarning(UserWarning):
    """The offline engine answers, because no model is named and no key is set."""


def check_model(system: System, options: RunOptions, own: Iterable[AgentModel | None]) -> None:
    """Warn, once a process, where the offline engine answers that nobody asked for.

    `own` are the models that the crew's agents name.
    """
    if options.model is not None or system.settings.model is not None or options.notices is not None:
        return
    if options.replay is not None or system.stand_in is not None:
        return
    if system.default_model() == OFFLINE and not all(own):
        _warn_of_offline()


@functools.cache
def _warn_of_offline() -> None:
    anthropic, openai = PROVIDERS["anthropic"], PROVIDERS["openai"]
    warnings.warn(
        "No model is named and no key is set, so the built-in `offline` engine answers. It is no language "
        "model: it only quotes what its tools find. "
        f"For a real one: model={anthropic.example!r} with {anthropic.key_env} set, model={openai.example!r} "
        f"with {openai.key_env}, or model={PROVIDERS['ollama'].example!r} with Ollama running; "
        'model="offline" if you mean it.',
        OfflineWarning,
        stacklevel=2,
    )


async def begin(
    system: System,
    crew: str,
    launch: str,
    given: Any,
    limits: Limits,
    output: Any,
    progress: Progress,
    options: RunOptions,
    source: str,
    own: Iterable[AgentModel | None] = (),
) -> Run:
    """Begin a run of a crew that is launched on the system; `own` are the models that its agents name.

    Raises UsageError for an input without JSON form, an id that a run has already, and a cassette that cannot be
    used.
    """
    task = data_of(given)
    if options.run_id is not None:
        await _check_new(system, options.run_id)
    told: dict[str, Any] = {
        "model": None if options.model is None else model_to_data(options.model),
        "default_model": system.default_model(),
        "folder": str(options.folder or Path.cwd()),
        "host": system.host_name,
    }
    if options.stream:
        told["stream"] = True
    if options.record is not None or options.replay is not None:
        told |= await cassette_options(system, options.record, options.replay, own)
    if options.paths:
        progress("reading the documents")
        said = options.notices if options.notices is not None else []
        told["collection"] = await system.add_documents(options.paths, said)
    elif options.collection:
        told["collection"] = storable(options.collection)
    limits = options.limits_of(limits)
    record = system.record(
        crew, launch, task, limits=limits, session=storable(options.session), options=storable(told),
        source=source, run_id=options.run_id,
    )  # fmt: skip
    links = await asyncio.to_thread(trace_url, system.endpoint, system.settings.project, record.run_id)
    watched: Watch = "tokens" if options.stream else "all"
    system.host.client.start(record, limits, watch=watched if options.watch else "end")
    return Run(system.host.client, record, output, links)


async def _check_new(system: System, run_id: str) -> None:
    """Raises UsageError if there is such a run: its journal would be another's."""
    record, _, _ = await system.host.client.query("run", run_id=run_id)
    if record is not None:
        raise UsageError(
            f"there is a run {run_id} already, and it is {record.status}",
            hint="`resume` goes on with it; a new run wants another id.",
        )
