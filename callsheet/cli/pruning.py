"""`runs prune`: take old runs out of the journal."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated

import typer

from callsheet.cli.history import listing
from callsheet.cli.journals import reading
from callsheet.cli.options import Home, Json, settings_of
from callsheet.cli.screen import notice, print_json, print_table
from callsheet.cli.words import when
from callsheet.core.errors import UsageError

if TYPE_CHECKING:
    from callsheet.core.records import RunRecord
    from callsheet.runtime.journal import Journal

ALL = 2**31 - 1

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}

_AGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw])")


def prune(
    older_than: Annotated[
        str,
        typer.Option("--older-than", metavar="AGE", help="How long ago a run ended: 90s, 45m, 12h, 30d, 8w."),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be deleted.")] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Delete the runs that ended longer ago than that, with their messages and steps, for good.

    Runs that go on or wait for a person stay, however old they are. What the memory and Phoenix have stays.
    """
    before = time.time() - age_s(older_than)
    with reading(settings_of(home=home)) as journal:
        old = _old(journal, before) if journal is not None and dry_run else []
        found = None if journal is None else journal.prune(before, dry_run=dry_run)
    runs, size = (0, 0) if found is None else (found.runs, found.bytes)
    if as_json:
        named = {"run_ids": [record.run_id for record in old]} if dry_run else {}
        print_json({"runs": runs, "bytes": size, "before": before, "dry_run": dry_run, **named})
        return
    if old:
        rows = [(record.run_id, record.crew, record.status, when(record.ended or 0.0)) for record in old]
        print_table(("run", "crew", "status", "ended"), rows, empty="")
    many = f"{runs:,} run{'' if runs == 1 else 's'} with {size:,} bytes of text"
    notice(f"{many} would be deleted." if dry_run else f"{many} deleted.")


def _old(journal: Journal, before: float) -> list[RunRecord]:
    """The runs that ended before that Unix time and that nobody works on, the newest first."""
    return [
        record
        for record in journal.runs(limit=ALL)
        if record.ended is not None and record.ended < before and not journal.owner_alive(record.owner)
    ]


def age_s(text: str) -> float:
    """Seconds in an age such as `30d`. Raises UsageError."""
    found = _AGE.fullmatch(text.strip().lower())
    if found is None:
        raise UsageError(
            f"--older-than is {text!r}",
            hint=f"Give a number and a unit ({', '.join(SECONDS)}), such as 30d or 12h.",
        )
    return float(found[1]) * SECONDS[found[2]]


def add_to(app: typer.Typer) -> None:
    """Add the command to the group `runs`."""
    listing.command("prune")(prune)
