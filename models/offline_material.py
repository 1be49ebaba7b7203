"""What the offline engine is asked, and what it may quote: read out of a request's messages.

The task is the text of the last user message outside `<from agent="…">…</from>` blocks. Material is what
stands in those blocks and in tool results. A tool's text may hold passages: a line
`[source: SOURCE] title`, then the passage, up to the next such line. Text of earlier agents has its
citations at the end of each sentence, `[SOURCE]`, and keeps them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from callsheet.models.messages import Image, Message, ModelRequest, Text, ToolCall, ToolResult
from callsheet.models.offline_text import sentences

_OPEN = '<from agent="'
_CLOSE = "</from>"
_SOURCE_LINE = re.compile(r"^\[source:[ \t]*([^\]\n]{1,500})\][ \t]*(.*)$", re.IGNORECASE)
_CITATIONS = re.compile(r"\s*((?:\[[^\[\]]{1,500}\]\s*)+)([.!?…]?)$")
_CITATION = re.compile(r"\[([^\[\]]{1,500})\]")
_BULLET = re.compile(r"^\s{0,8}(?:[-*+•]|\d{1,3}[.)])\s+")

# How tools say that they have nothing; it is no answer, and another tool may have one.
_NOTHING = re.compile(
    r"^\W*(?:no|nothing|none|not|0)\b[^.\n]{0,200}?\b(?:passages?|results?|match(?:es)?|documents?|pages?|hits?|found|fits?)\b",
    re.IGNORECASE,
)

SHORT = 600
"""Characters up to which a result without sources is an answer in itself."""

MAX_SENTENCES = 20_000
"""More than this is not read: an answer needs a few of them."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence that may be quoted, with where it comes from.

    `passage` numbers the passage it stands in, in the order in which the tool gave them; `direct` marks
    a tool's own short answer, which answers the call even where it shares no word with the question.
    """

    text: str
    sources: tuple[str, ...]
    passage: int
    title: str = ""
    direct: bool = False


@dataclass(slots=True)
class Material:
    """What a request holds for the offline engine."""

    task: str = ""
    system: str = ""
    statements: list[Statement] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    """Calls since the last user message."""
    results: list[ToolResult] = field(default_factory=list)
    """Results since the last user message."""
    agents: list[str] = field(default_factory=list)
    """Whose work is in the message."""
    pictures: bool = False
    """Whether there are pictures, of which it can quote nothing."""


def read_material(request: ModelRequest) -> Material:
    """The task and the material of a request. Raises on no text, however strange."""
    found = Material()
    passage = 0
    last_user = max((i for i, m in enumerate(request.messages) if m.role == "user"), default=-1)
    for position, message in enumerate(request.messages):
        if message.role == "system":
            found.system = f"{found.system}\n{message.text}".strip()
        elif message.role == "user":
            own, blocks = split_blocks(message.text)
            if position == last_user:
                found.task = own
                found.agents = [agent for agent, _ in blocks]
                for _, text in blocks:
                    passage = _read_text(text, found.statements, passage)
        for part in message.parts:
            if isinstance(part, Image):
                found.pictures = True
            elif isinstance(part, ToolResult):
                if position > last_user:
                    found.results.append(part)
                if not part.is_error:
                    fresh = position > last_user
                    passage = _read_result(part.content, found.statements, passage, fresh=fresh)
        if position > last_user:
            found.calls.extend(message.tool_calls)
    return found


def split_blocks(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The text outside of the blocks, and (agent, text) of each block."""
    outside: list[str] = []
    blocks: list[tuple[str, str]] = []
    position = 0
    while (begin := text.find(_OPEN, position)) >= 0:
        quote = text.find('">', begin + len(_OPEN))
        end = text.find(_CLOSE, quote) if quote >= 0 else -1
        if end < 0:
            break
        outside.append(text[position:begin])
        blocks.append((text[begin + len(_OPEN) : quote], text[quote + 2 : end].strip()))
        position = end + len(_CLOSE)
    outside.append(text[position:])
    return "\n".join(part.strip() for part in outside if part.strip()), blocks


def _read_result(content: str, statements: list[Statement], passage: int, *, fresh: bool) -> int:
    if len(content) <= SHORT and _NOTHING.match(content):
        return passage
    if "[source:" not in content[:2000].casefold() and content.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(content)
            items = (value if isinstance(value, list) else [value])[:MAX_SENTENCES]
            texts = [_flat(item) for item in items] if isinstance(value, dict | list) and value else []
        except (ValueError, RecursionError):
            texts = []
        for text in texts:
            if len(statements) < MAX_SENTENCES:
                statements.append(Statement(text=text, sources=(), passage=passage, direct=fresh))
                passage += 1
        if texts:
            return passage
    return _read_text(content, statements, passage, direct=fresh and len(content) <= SHORT)


def _flat(value: Any, depth: int = 0) -> str:
    if isinstance(value, dict) and depth < 4:
        return "; ".join(f"{str(k).replace('_', ' ')}: {_flat(v, depth + 1)}" for k, v in value.items())
    if isinstance(value, list) and depth < 4:
        return ", ".join(_flat(item, depth + 1) for item in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _read_text(text: str, statements: list[Statement], passage: int, *, direct: bool = False) -> int:
    source, title = "", ""
    paragraph: list[str] = []

    def flush() -> None:
        if paragraph and len(statements) < MAX_SENTENCES:
            for sentence in sentences(" ".join(paragraph).replace("**", "")):  # Markdown's emphasis
                bare, cited = split_citations(sentence)
                if bare:
                    sources = tuple(dict.fromkeys((*cited, *((source,) if source else ()))))
                    plain = direct and not source
                    statements.append(
                        Statement(text=bare, sources=sources, passage=passage, title=title, direct=plain)
                    )
        paragraph.clear()

    fenced = False
    for line in text.splitlines():
        if match := _SOURCE_LINE.match(line):
            flush()
            passage += 1
            source, title, fenced = match.group(1).strip(), match.group(2).strip(), False
            continue
        bare = line.strip()
        if bare.startswith("```"):
            flush()
            fenced = not fenced
        elif fenced or not bare or bare.startswith(("#", "|")) or not any(c.isalnum() for c in bare):
            flush()  # headings, tables, rules and code are no sentences
        elif _BULLET.match(line):
            flush()
            paragraph.append(_BULLET.sub("", line).strip())
        else:
            paragraph.append(bare)
    flush()
    return passage + 1


def split_citations(sentence: str) -> tuple[str, tuple[str, ...]]:
    """The sentence without the citations at its end, and those."""
    if not sentence.endswith(("]", "].", "]!", "]?")):
        return sentence, ()
    match = _CITATIONS.search(sentence, max(0, len(sentence) - 2000))
    if not match:
        return sentence, ()
    bare = sentence[: match.start()].rstrip() + match.group(2)
    cited = tuple(item.strip().removeprefix("source:").strip() for item in _CITATION.findall(match.group(1)))
    return bare, tuple(item for item in cited if item)


def texts_of(message: Message) -> str:
    """All text in a message, results and arguments too, for counting."""
    pieces = []
    for part in message.parts:
        if isinstance(part, Text):
            pieces.append(part.text)
        elif isinstance(part, ToolResult):
            pieces.append(part.content)
        elif isinstance(part, ToolCall):
            pieces.append(f"{part.name} {part.arguments}")
    return "\n".join(pieces)
