"""Reading the journal where there is one; looking never makes one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from callsheet.runtime.journal import Journal
    from callsheet.settings import Settings


def journal_path(settings: Settings) -> Path | None:
    """The journal's file; None if it is on a database server."""
    url = settings.journal_url
    if isinstance(url, Path):
        return url
    if "://" not in url:
        return Path(url)
    scheme, _, place = url.partition("://")
    if scheme.partition("+")[0] != "sqlite":
        return None
    return Path(unquote(place.removeprefix("/").partition("?")[0]))


@contextlib.contextmanager
def reading(settings: Settings) -> Iterator[Journal | None]:
    """The journal, open; None if there is none yet. Raises JournalError if it cannot be read."""
    from callsheet.runtime.journal import Journal

    path = journal_path(settings)
    if path is not None and not path.exists():
        yield None
        return
    journal = Journal(settings.journal_url)
    try:
        yield journal
    finally:
        journal.close()
