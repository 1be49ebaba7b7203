"""A text's blocks (headings, paragraphs, fenced code), as spans of characters."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*$")
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
        elif markdown and (match := _HEADING.match(line)):
            if start >= 0:
                yield Block(start, end, path())
                start = -1
            level = len(match[1])
            headings = [(above, title) for above, title in headings if above < level]
            headings.append((level, match[2].strip()))
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
    while weight(body[start:end]) > limit_words:
        reach = start + limit_words * _CHARS_PER_WORD
        window = body[start : min(reach, end)]
        words = list(re.finditer(r"\s+", window))
        at = words[min(limit_words, len(words)) - 1].end() if words else len(window)
        yield start, start + at
        start += at
    if start < end:
        yield start, end
