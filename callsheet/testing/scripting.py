"""`scripted` and `own_home`: what a test of a crew runs in."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from callsheet.core.errors import CallsheetError
from callsheet.crews.portal import portal
from callsheet.crews.stand_in import standing_in
from callsheet.crews.system import close_stood_in
from callsheet.models.scripted import Replies, Script

_OWN = ("CALLSHEET_HOME", "CALLSHEET_PHOENIX", "CALLSHEET_JOURNAL")


@contextlib.contextmanager
def scripted(replies: Replies) -> Iterator[Script]:
    """While this holds, models answer from a script in all runs of this process that are `host="inline"`.

    `replies`: a list, in the order of asking; a dictionary with a list for each agent, which is what crews need
    whose agents work at the same time; or a function of the `ModelRequest`, which may be `async`. A reply is
    text, `call(…)` or a list of calls, data (given as JSON, for agents with an output type), `reply(…)`, or an
    error, which is raised.

    Gives the `Script`, with the requests so far. Runs are kept in a home of their own (see `own_home`). A run
    that asks for more than there is ends with ModelRequestError, which says who asked what. What a function
    raises, such as a failed `assert`, is raised again at the end. Raises UsageError for runs on Ray, and
    DefinitionError for what is no script.
    """
    script = Script(replies)
    with own_home(), standing_in(script):
        try:
            yield script
        except CallsheetError as error:
            if script.fault is not None:
                raise script.fault from error
            raise
        finally:
            portal().run(close_stood_in(script))
    if script.fault is not None:
        raise script.fault


@contextlib.contextmanager
def own_home() -> Iterator[Path]:
    """A home for the runs of a test: an empty folder that is removed at the end, and no spans are sent.

    Where CALLSHEET_HOME is set it is left as it is, and not removed. Settings that are given to a run come first.
    """
    given = os.environ.get("CALLSHEET_HOME")
    if given:
        yield Path(given)
        return
    before = {name: os.environ.get(name) for name in _OWN}
    with tempfile.TemporaryDirectory(prefix="callsheet-", ignore_cleanup_errors=True) as folder:
        # An empty journal is the one of the home, whatever pyproject.toml says.
        os.environ.update(zip(_OWN, (folder, "off", ""), strict=True))
        try:
            yield Path(folder)
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
