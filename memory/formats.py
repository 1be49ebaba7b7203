"""The text in a file's bytes: plain text, Markdown, HTML and PDF."""

from __future__ import annotations

import codecs
import io
import logging
import re
from pathlib import PurePath

from callsheet.memory.blocks import blocks_of, heading_of

PAGE_BREAK = "\f"

_BY_SUFFIX = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".mdx": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "text/html",
    ".pdf": "application/pdf",
    ".rst": "text/x-rst",
    ".py": "text/x-python",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".csv": "text/csv",
}
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# HTML's meta element and XML's declaration, within the first 1024 bytes as HTML 13.2.3.2 has it.
_DECLARED = re.compile(rb"(?:charset|encoding)\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
# Python has other "encodings" too (punycode, unicode_escape, …), which no page is written in.
_CHARSETS = re.compile(r"utf|iso|cp\d|koi8|mac|gb|big5|euc|shift_jis|tis|hz|johab|ascii")
_MOST_FOREIGN = 0.3
"""Beyond this share of letters that are not ASCII, text in an unknown encoding is not taken for Western."""


class Unreadable(Exception):  # noqa: N818 - becomes a DocumentError where the path is known
    """The bytes hold no text that can be had: why, and what to do."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason, hint)
        self.reason, self.hint = reason, hint


def media_type_of(name: str, data: bytes) -> str:
    """The media type, by the first bytes where they are telling, else by the file's name."""
    if data.startswith(b"%PDF-"):
        return "application/pdf"
    return _BY_SUFFIX.get(PurePath(name).suffix.lower(), "text/plain")


def read_text(data: bytes, media_type: str) -> tuple[str, str]:
    """The title ("" if it has none) and the text. Raises Unreadable.

    Line ends become plain newlines; the pages of a PDF are parted by PAGE_BREAK, which occurs nowhere else.
    """
    try:
        if media_type == "application/pdf":
            return _pdf(data)
        text = _decode(data, declared=media_type == "text/html")
        if media_type == "text/html":
            return _html(text)
    except Unreadable:
        raise
    except Exception as error:
        # A damaged file makes the parsers fail in many ways; none of them is worth a traceback.
        kind = "PDF" if media_type == "application/pdf" else "HTML"
        raise Unreadable(
            f"is not {kind} that can be read ({type(error).__name__})",
            "Open it and save it again, or convert it to text.",
        ) from error
    return _markdown_title(text) if media_type == "text/markdown" else "", text


def _markdown_title(text: str) -> str:
    for block in blocks_of(text, markdown=True):
        heading = heading_of(text[block.start : block.end]) if block.is_heading else None
        if heading and heading[0] == 1 and heading[1]:
            return heading[1]
    return ""


def _decode(data: bytes, *, declared: bool) -> str:
    encoding = next((name for bom, name in _BOMS if data.startswith(bom)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        named = _declared_charset(data) if declared else ""
        text = data.decode(named, "replace") if named else _western(data)
    if "\0" in text or _looks_binary(text):
        raise Unreadable("is not text", "Give text, Markdown, HTML or PDF; convert other formats first.")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace(PAGE_BREAK, "\n")


def _declared_charset(data: bytes) -> str:
    match = _DECLARED.search(data[:1024])
    try:
        name = codecs.lookup(match[1].decode()).name if match else ""
    except LookupError:
        return ""
    return name if _CHARSETS.match(name) else ""


def _western(data: bytes) -> str:
    # Old Western text is common, and mostly ASCII. Anything else would be stored as garbage and never found.
    text = data.decode("cp1252", "replace")
    sample = text[:65536]
    foreign = sum(1 for char in sample if not char.isascii())
    if not _looks_binary(text) and foreign > _MOST_FOREIGN * sum(1 for char in sample if char.isalpha()):
        raise Unreadable("is text in an encoding that is not known", "Save it as UTF-8.")
    return text


def _looks_binary(text: str) -> bool:
    sample = text[:65536]
    odd = sum(1 for char in sample if (ord(char) < 32 and char not in "\t\n\r\f\x1b") or char == "\ufffd")
    return odd > len(sample) * 0.02


def _html(text: str) -> tuple[str, str]:
    import trafilatura

    if "html" not in text[:50].lower() and not text.startswith("<?xml"):
        text = f"<html>{text}"  # a fragment, which trafilatura would refuse
    # Recall before precision: what the filter takes for boilerplate may be the very passage asked for.
    body = trafilatura.extract(
        text, output_format="markdown", include_tables=True, include_formatting=True, favor_recall=True
    )
    found = trafilatura.extract_metadata(text)
    return str(found.title or ""), str(body or trafilatura.html2txt(text))


def _pdf(data: bytes) -> tuple[str, str]:
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError, WrongPasswordError

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns about each flaw that it can mend
    locked = Unreadable("is encrypted", "Save a copy without the password, and give that.")
    try:
        reader = PdfReader(io.BytesIO(data))
        # Many PDFs are encrypted with the empty password: anyone may read them.
        if reader.is_encrypted and not reader.decrypt(""):
            raise locked
        title = reader.metadata.title if reader.metadata else None
        pages = [page.extract_text().replace(PAGE_BREAK, "\n") for page in reader.pages]
    except (FileNotDecryptedError, WrongPasswordError, DependencyError):
        raise locked from None
    # Extraction may yield lone surrogates, which cannot be stored.
    name = title.strip() if isinstance(title, str) else ""  # a damaged one may be anything
    return name, PAGE_BREAK.join(pages).encode("utf-8", "replace").decode()
