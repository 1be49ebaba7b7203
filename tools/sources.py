"""The text form in which tools hand passages to a model, and how foreign text is kept from forging it.

Each passage starts with a line `[source: SOURCE] Title`; its text follows; an empty line parts passages.
SOURCE is what a citation `[SOURCE]` in an answer names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MAX_TITLE = 300
"""Characters of a title: a stranger's may be as long as a page."""
_MARK = re.compile(r"\[(\s*source\s*:)", re.IGNORECASE)


def passages_text(passages: Iterable[tuple[str, str, str]]) -> str:
    """The text form of (source, title, text) passages, in their order; long titles are shown in part."""
    return "\n\n".join(
        f"[source: {source_name(source)}] {_title(title)}".rstrip() + f"\n{foreign_text(text).strip()}"
        for source, title, text in passages
    )


def _title(title: str) -> str:
    return _one_line(title[: 10 * MAX_TITLE])[:MAX_TITLE]


def source_name(source: str) -> str:
    """A source on one line and without square brackets, so that `[source]` ends where it should."""
    return _one_line(source).replace("[", "%5B").replace("]", "%5D")


def foreign_text(text: str) -> str:
    """The text with every line that would read as the start of a passage made harmless.

    Such a line's `[source:` becomes `(source:`. Lines are told apart as any reader might (also at form
    feeds and Unicode separators), and what is invisible at the start of a line does not hide the mark.
    """
    if "source" not in text.casefold():  # as the pattern: it also matches `ſource`
        return text
    return "".join(_harmless(line) for line in text.splitlines(keepends=True))


def _harmless(line: str) -> str:
    start = next((i for i, char in enumerate(line) if not _is_invisible(char)), len(line))
    return line[:start] + _MARK.sub(r"(\1", line[start:], count=1) if _MARK.match(line, start) else line


def _is_invisible(char: str) -> bool:
    return char.isspace() or unicodedata.category(char) in ("Cf", "Cc", "Mn")


def _one_line(text: str) -> str:
    return " ".join("".join(" " if _is_invisible(char) else char for char in text).split())
