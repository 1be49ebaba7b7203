"""A text's blocks (headings, paragraphs, fenced code), as spans of characters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]|$)")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])")
# Lists, tables and code are cut between lines, not at full stops.
_LINE_LIKE = re.compile(r"^\s*(?:[-*+•|>]|\d+[.)]|`{3}|~{3}|\{|\"|[\w.]+\s*=)")
_CHARS_PER_WORD = 12


@dataclass(frozen=True, slots=True)
class Block:
    """Characters [start, end) of a text, and the headings it stands under (its own included)."""

    start: int
    end: int
    headings: tuple[str, ...]
    is_heading: bool = False


def heading_of(line: str) -> tuple[int, str] | None:
    """A Markdown heading's level and title (CommonMark 4.2, ATX headings); None for any other line."""
    match = _HEADING.match(line)
    if not match:
        return None
    title = line[match.end() :].strip()
    bare = title.rstrip("#")
    # The closing #s count as such only behind a space: `# About C#` keeps its own.
    if not bare or bare[-1] in " \t":
        title = bare.strip()
    return len(match[1]), title


def weight(text: str) -> int:
    """The text's length in words; scripts and data without spaces count a word every 12 characters."""
    return max(len(text.split()), len(text) // _CHARS_PER_WORD)


def blocks_of(text: str, markdown: bool) -> Iterator[Block]:
    """The text's blocks in order; what lies between them is blank."""
    headings: list[tuple[int, str]] = []
    start = end = -1  # the open paragraph or fence
    fence = ""
    offset = 0

    def path() -> tuple[str, ...]:
        return tuple(title for _, title in headings if title)

    for line in text.split("\n"):
        line_end = offset + len(line)
        if fence:
            end = line_end
            closing = line.strip()
            if closing.startswith(fence) and not closing.strip(fence[0]):
                yield Block(start, end, path())
                start, fence = -1, ""
        elif markdown and (match := _FENCE.match(line)):
            if start >= 0:
                yield Block(start, end, path())
            start, end, fence = offset, line_end, match[1]
        elif markdown and (heading := heading_of(line)):
            if start >= 0:
                yield Block(start, end, path())
                start = -1
            headings = [(above, title) for above, title in headings if above < heading[0]]
            headings.append(heading)
            yield Block(offset, line_end, path(), is_heading=True)
        elif not line.strip():
            if start >= 0:
                yield Block(start, end, path())
                start = -1
        else:
            start = offset if start < 0 else start
            end = line_end
        offset = line_end + 1
    if start >= 0:
        yield Block(start, end, path())


def pieces_of(text: str, block: Block, limit_words: int) -> list[tuple[int, int]]:
    """The block as consecutive spans within the limit: sentences or lines, else words, else characters."""
    body = text[block.start : block.end]
    lines = body.split("\n")
    line_like = sum(1 for line in lines if _LINE_LIKE.match(line)) * 2 > len(lines)
    ends = [m.end() for m in (re.finditer(r"\n", body) if line_like else _SENTENCE_END.finditer(body))]
    pieces: list[tuple[int, int]] = []
    for start, end in zip([0, *ends], [*ends, len(body)], strict=True):
        if start < end:
            pieces.extend(_within(body, start, end, limit_words))
    return [(block.start + start, block.start + end) for start, end in pieces]


def _within(body: str, start: int, end: int, limit_words: int) -> Iterator[tuple[int, int]]:
    reach = limit_words * _CHARS_PER_WORD
    # What is longer than the reach is too heavy whatever it holds: weighing all the rest, piece after piece,
    # would take time with the square of a long line's length.
    while end - start >= reach + _CHARS_PER_WORD or weight(body[start:end]) > limit_words:
        window = body[start : min(start + reach, end)]
        words = list(re.finditer(r"\s+", window))
        at = words[min(limit_words, len(words)) - 1].end() if words else len(window)
        yield start, start + at
        start += at
    if start < end:
        yield start, end
