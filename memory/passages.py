"""Passages: a document cut into pieces small enough to be found and cited."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

from callsheet.core.canonical import digest
from callsheet.memory.blocks import Block, blocks_of, pieces_of, weight
from callsheet.memory.documents import PAGE_BREAK, Document

TARGET_WORDS = 200
OVERLAP_WORDS = 30
MAX_HEADING = 200
"""Characters of a title or heading that its passages carry: each has a copy."""
# A paragraph a little over the target is worth more whole than cut.
_TOLERANCE = 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of a document: consecutive text, without the blank ends.

    `id` follows from collection, source and text, so that the same piece keeps it when the rest of the
    document changes. `title` is the document's title and the headings above. `locator` is `L10-L24`
    (lines of the file, from 1), `p3` (page of a PDF, from 1), or "" where the text is not the file's own.
    """

    id: str
    source: str
    title: str
    text: str
    locator: str = ""
    metadata: tuple[tuple[str, str], ...] = ()

    @property
    def cite(self) -> str:
        """What a citation names: `source#locator`, or the source alone."""
        return f"{self.source}#{self.locator}" if self.locator else self.source


def cut(document: Document, collection: str = "default") -> list[Passage]:
    """The document's passages in reading order; together they hold all of its text.

    A heading starts a new passage; below it, paragraphs are joined up to about 200 words. A longer
    paragraph is cut between sentences, with the last one or two repeated in the next passage.
    """
    found: list[Passage] = []
    seen: dict[str, int] = {}
    lines = _LineNumbers(document.text)
    paged = document.media_type == "application/pdf"
    pages = document.text.split(PAGE_BREAK) if paged else [document.text]
    markdown = document.media_type in ("text/markdown", "text/html")
    for number, page in enumerate(pages, 1):
        for start, end, headings in _spans(page, markdown):
            text = page[start:end].strip()
            nth = seen.get(text, 0)
            seen[text] = nth + 1
            again = (str(nth),) if nth else ()
            if paged:
                locator = f"p{number}"
            elif document.media_type == "text/html":
                locator = ""  # the lines are those of the extracted text, which nobody can look up
            else:
                lead = len(page[start:end]) - len(page[start:end].lstrip())
                first = lines.at(start + lead)
                locator = f"L{first}-L{lines.at(start + lead + len(text) - 1)}"
            found.append(
                Passage(
                    id=digest("passage", collection, document.source, text, *again),
                    source=document.source,
                    title=_title(document.title, headings),
                    text=text,
                    locator=locator,
                    metadata=document.metadata,
                )
            )
    return found


def _title(title: str, headings: tuple[str, ...]) -> str:
    # The first heading often is the title already.
    path = [title, *headings] if not headings or headings[0] != title else list(headings)
    return " › ".join(
        part if len(part) <= MAX_HEADING else part[: MAX_HEADING - 1] + "…" for part in path if part
    )


def _spans(text: str, markdown: bool) -> list[tuple[int, int, tuple[str, ...]]]:
    """(start, end, headings above) of each passage."""
    spans: list[tuple[int, int, tuple[str, ...]]] = []
    open_: list[Block] = []

    def close() -> None:
        if open_:
            spans.append((open_[0].start, open_[-1].end, open_[-1].headings))
            open_.clear()

    for block in blocks_of(text, markdown):
        if block.is_heading and any(not b.is_heading for b in open_):
            close()
        joined = weight(text[open_[0].start : block.end]) if open_ else 0
        if weight(text[block.start : block.end]) > TARGET_WORDS * _TOLERANCE:
            # Headings stay with the first piece of what they head.
            lead = open_[0].start if open_ and all(b.is_heading for b in open_) else None
            if lead is None:
                close()
            open_.clear()
            for i, (start, end) in enumerate(_pack(text, block)):
                spans.append((lead if i == 0 and lead is not None else start, end, block.headings))
            continue
        if joined > TARGET_WORDS * _TOLERANCE and any(not b.is_heading for b in open_):
            close()
        open_.append(block)
    close()
    return spans


def _pack(text: str, block: Block) -> list[tuple[int, int]]:
    """A long block's pieces packed up to the target, each pack starting with the end of the one before."""
    pieces = pieces_of(text, block, TARGET_WORDS)
    weights = [weight(text[start:end]) for start, end in pieces]
    packs: list[tuple[int, int]] = []
    first, total = 0, 0
    for i, heavy in enumerate(weights):
        if i > first and total + heavy > TARGET_WORDS:
            packs.append((pieces[first][0], pieces[i - 1][1]))
            first, total, repeated = i, 0, 0
            while first > 0 and first - 1 < i and repeated + weights[first - 1] <= OVERLAP_WORDS:
                first -= 1
                repeated += weights[first]
            total = repeated
        total += heavy
    packs.append((pieces[first][0], pieces[-1][1]))
    return packs


class _LineNumbers:
    def __init__(self, text: str) -> None:
        self._starts = [0]
        at = text.find("\n")
        while at >= 0:
            self._starts.append(at + 1)
            at = text.find("\n", at + 1)

    def at(self, offset: int) -> int:
        return bisect.bisect_right(self._starts, offset)
