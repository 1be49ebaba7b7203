"""`watch`: follow a run from any terminal, by its cluster where that can be reached, else by its journal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from callsheet.cli.event_lines import EventLines
from callsheet.cli.following import exit_status, finish
from callsheet.cli.journals import reading
from callsheet.cli.options import Home, settings_of
from callsheet.cli.past_runs import past_result
from callsheet.cli.resuming import RunId
from callsheet.cli.screen import notice
from callsheet.cli.words import how_to_resume
from callsheet.core.errors import InfrastructureError

if TYPE_CHECKING:
    from callsheet.core.records import Envelope, RunRecord, Step
    from callsheet.crews.watching import Live
    from callsheet.runtime.client import News
    from callsheet.runtime.journal import Journal
    from callsheet.settings import Settings

EVERY_S = 0.2
"""How often it is asked whether the journal has changed, which is cheap."""

LEFT_AFTER_S = 10.0
"""How long nobody may work on a run before it counts as left: a coordinator's successor takes less."""


def watch(
    run: RunId,
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="Print each event as one line of JSON on standard output.")
    ] = False,
    home: Home = None,
) -> int:
    """Follow a run live: what has been so far, then what comes, until it ends or waits.

    The run may be anybody's. What its models say is shown while they say it only of a run on a cluster: that of
    `callsheet up`, or one joined with --address or CALLSHEET_ADDRESS. Of any other, also on the Ray that a `run`
    starts for itself, messages and steps are shown as they end, from the journal. Ctrl-C ends the watching and not
    the run. Exit status as of `run`.
    """
    from callsheet.cli.conversation import Conversation
    from callsheet.cli.history import find_run
    from callsheet.crews.result import EventReader

    settings = settings_of(home=home)
    with reading(settings) as journal:
        record = find_run(journal, run)
        assert journal is not None
        conversation, lines, reader = Conversation(record.crew), EventLines(), EventReader()
        follower = Follower(journal, record, _live(journal, record, settings))
        try:
            for news in follower.news():
                event = reader.read(news)
                (lines if json_lines else conversation).show(event)
        except KeyboardInterrupt:
            notice(f"run {record.run_id} goes on; `callsheet cancel {record.run_id}` stops it.")
            raise
        finally:
            follower.close()
        result = past_result(follower.record, follower.envelopes, follower.steps, settings)
    if json_lines:
        lines.end(result, follower.record.ended)
        return exit_status(result)
    return finish(result, conversation.models, settings)


def _live(journal: Journal, record: RunRecord, settings: Settings) -> Live | None:
    from callsheet.crews.watching import Live, can_be_live

    if record.status != "running" or not can_be_live(settings, record.owner):
        return None
    return Live(settings, record.run_id) if journal.owner_alive(record.owner) else None


class Follower:
    """What is kept of a run, as it comes: from its journal, until the cluster that works on it tells by itself.

    At the end `record`, `envelopes` and `steps` are what the journal has of it.
    """

    def __init__(self, journal: Journal, record: RunRecord, live: Live | None = None) -> None:
        self.record = record
        self.envelopes: list[Envelope] = []
        self.steps: list[Step] = []
        self._journal, self._live = journal, live
        self._seen: set[tuple[object, ...]] = set()
        self._alone_since: float | None = None

    def close(self) -> None:
        """Follow the run no longer."""
        if self._live is not None:
            self._live.close()

    def news(self) -> Iterator[News]:
        """Each message and finished step once, and on a cluster what models say, until the run ends or waits.

        Raises InfrastructureError for a run that goes on by its status, though nobody works on it.
        """
        while True:
            if self._journal.changed():
                yield from self._read()
            if self.record.status != "running":
                return
            if self._live is None:
                self._check_owner()
                time.sleep(EVERY_S)
            else:
                yield from self._told(self._live)

    def _told(self, live: Live) -> Iterator[News]:
        """What the cluster tells, up to its last word if it is joined by now; else of a moment."""
        while True:
            news = live.get(EVERY_S)
            if news is not None:
                if self._is_news(news):
                    yield news
            elif live.over:
                self._live = None
                if live.error is not None:
                    notice(f"the run is followed by its journal alone: {live.error.message}")
                yield from self._read()
                return
            elif not live.joined:
                return

    def _is_news(self, news: News) -> bool:
        from callsheet.core.records import Envelope, Step
        from callsheet.runtime.protocol import Spoken

        match news:
            case Envelope():
                return self._is_new_envelope(news)
            case Step():
                return self._is_new(news.turn_id, news.key, news.nth)
            case _:
                return isinstance(news, Spoken)  # how it ended, its record tells

    def _read(self) -> list[Envelope | Step]:
        # The record first: what belongs to a run that has ended is all there by then.
        self.record = self._journal.run(self.record.run_id) or self.record
        self.envelopes = self._journal.envelopes(self.record.run_id)
        self.steps = self._journal.steps(self.record.run_id)
        found: list[Envelope | Step] = [
            envelope for envelope in self.envelopes if self._is_new_envelope(envelope)
        ]
        found += [
            step
            for step in self.steps
            if step.state != "intent" and self._is_new(step.turn_id, step.key, step.nth)
        ]
        return sorted(found, key=_time)

    def _is_new_envelope(self, envelope: Envelope) -> bool:
        # An answer that a resumed run has retired has another id from then on, and the same time.
        return self._is_new(envelope.id.partition(".")[0], envelope.at)

    def _is_new(self, *key: object) -> bool:
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _check_owner(self) -> None:
        now = time.monotonic()
        if self._journal.owner_alive(self.record.owner):
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since > LEFT_AFTER_S:
            run_id = self.record.run_id
            raise InfrastructureError(
                f"no process works on run {run_id} any more: it was cut off",
                hint=f"{how_to_resume(self.record)} goes on where it was.",
            )


def _time(record: Envelope | Step) -> float:
    from callsheet.core.records import Envelope

    return record.at if isinstance(record, Envelope) else record.ended


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("watch")(watch)
