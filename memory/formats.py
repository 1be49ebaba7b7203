"""The text in a file's bytes: plain text, Markdown, HTML and PDF."""

from __future__ import annotations

import codecs
import io
import logging
import re
from pathlib import PurePath

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
_HEADING = re.compile(r"^#\s+(.+?)\s*#*\s*$", re.MULTILINE)


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
        text = _decode(data)
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
    heading = _HEADING.search(text) if media_type == "text/markdown" else None
    return heading[1] if heading else "", text


def _decode(data: bytes) -> str:
    encoding = next((name for bom, name in _BOMS if data.startswith(bom)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        # Old Western text is common; what is binary shows by its control characters.
        text = data.decode("cp1252", "replace")
        if _looks_binary(text):
            raise Unreadable(
                "is not text", "Give text, Markdown, HTML or PDF; convert other formats first."
            ) from None
    if "\0" in text or _looks_binary(text):
        raise Unreadable("is not text", "Give text, Markdown, HTML or PDF; convert other formats first.")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace(PAGE_BREAK, "\n")


def _looks_binary(text: str) -> bool:
    sample = text[:65536]
    odd = sum(1 for char in sample if (ord(char) < 32 and char not in "\t\n\r\f\x1b") or char == "\ufffd")
    return odd > len(sample) * 0.02


def _html(text: str) -> tuple[str, str]:
    import trafilatura

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
        title = (reader.metadata.title if reader.metadata else None) or ""
        pages = [page.extract_text().replace(PAGE_BREAK, "\n") for page in reader.pages]
    except (FileNotDecryptedError, WrongPasswordError, DependencyError):
        raise locked from None
    # Extraction may yield lone surrogates, which cannot be stored.
    return title.strip(), PAGE_BREAK.join(pages).encode("utf-8", "replace").decode()
