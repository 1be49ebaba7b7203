"""The fenced blocks of README and docs: what the tests of this folder run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_BLOCK = re.compile(
    r"(?:^<!-- no test: (?P<reason>.+?) -->\n|^<!-- file: (?P<file>.+?) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block; `untested` is the reason written above it, or "", and `file` the name it is saved under."""

    page: str
    line: int
    language: str
    code: str
    untested: str
    file: str = ""

    @property
    def place(self) -> str:
        """Where it stands, as `docs/tools.md:12`."""
        return f"{self.page}:{self.line}"


def blocks(language: str) -> list[Block]:
    """All blocks of a language, in the order of the pages."""
    return [block for page in PAGES for block in _blocks_of(page) if block.language == language]


def files() -> dict[str, str]:
    """The blocks that are files, by name: what the page's other examples find in the folder they run in."""
    return {block.file: block.code for page in PAGES for block in _blocks_of(page) if block.file}


def _blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page=page.relative_to(ROOT).as_posix(),
            line=text.count("\n", 0, match.start("code")) + 1,
            language=match["language"],
            code=match["code"],
            untested=match["reason"] or "",
            file=match["file"] or "",
        )
        for match in _BLOCK.finditer(text)
    ]
