"""The crews that built-in suites bring along: simple on purpose, to be beaten."""

from __future__ import annotations

from callsheet.core.canonical import to_json
from callsheet.crews import Crew


def findable(crew: Crew, module: str) -> Crew:
    """The crew, made known as a variable of that module, so that another process can resume its runs."""
    crew.source = to_json({"module": module, "crew": crew.name})
    return crew
