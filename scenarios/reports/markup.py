"""HTML out of text that strangers wrote: all of it escaped, only web addresses become links."""

from __future__ import annotations

import html
from collections.abc import Sequence
from urllib.parse import urlsplit

from callsheet.scenarios.reports.formats import plain


def text(value: str) -> str:
    """Text as HTML, fit for elements and for attributes in quotes."""
    return html.escape(plain(value), quote=True)


def cut(value: str, most: int) -> str:
    """Text as HTML, at most so many signs of it; says how many are left out."""
    if len(value) <= most:
        return text(value)
    return f'{text(value[:most])}<span class="soft"> … {len(value) - most:,} more signs</span>'


def link(address: str | None, words: str) -> str:
    """A link, if the address is one of the web (never `javascript:` and such); else nothing."""
    if not address:
        return ""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ""
    return f'<a href="{text(address)}" rel="noreferrer noopener" target="_blank">{text(words)}</a>'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> str:
    """A table of heads and cells that are HTML already; the columns of `left` begin on the left, others end right."""
    kinds = ["left" if i in left else "number" for i in range(len(heads))]
    head = "".join(f'<th class="{kind}">{cell}</th>' for kind, cell in zip(kinds, heads, strict=True))
    lines = []
    for row in rows:
        cells = [f'<td class="{kind}">{cell}</td>' for kind, cell in zip(kinds, row, strict=True)]
        lines.append(f"<tr>{''.join(cells)}</tr>\n")
    body = "".join(lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n'
