"""The tool that fetches one public web page as text."""

from __future__ import annotations

import asyncio
import codecs
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urljoin, urlsplit

from pydantic import Field

from callsheet.tools.failures import ToolFailure
from callsheet.tools.sources import passages_text
from callsheet.tools.threads import in_thread
from callsheet.tools.tool import tool

if TYPE_CHECKING:
    import aiohttp

    from callsheet.tools.addresses import PublicAddresses

MAX_BYTES = 5_000_000
MAX_TEXT_CHARS = 40_000
MAX_REDIRECTS = 5
TIMEOUT_S = 30.0
_TEXT_TYPES = ("text/", "application/json", "application/xml", "application/xhtml+xml", "application/ld+json")

_HEADERS = {
    "User-Agent": "callsheet",
    "Accept": "text/html, text/*;q=0.9, application/json;q=0.9, application/pdf;q=0.8",
}
# HTML's meta element and XML's declaration, within the first 1024 bytes as HTML 13.2.3.2 has it.
_DECLARED = re.compile(rb"(?:charset|encoding)\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
# Python has other "encodings" too, and decodes punycode in quadratic time.
_CHARSETS = re.compile(r"utf|iso|cp\d|koi8|mac|gb|big5|euc|shift_jis|tis|hz|johab|ascii")
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class _Page:
    url: str
    kind: str
    charset: str
    data: bytes


@tool
async def fetch_page(url: Annotated[str, Field(min_length=1, max_length=4000)]) -> str:
    """Fetch a public web page (HTML, text, JSON or PDF), and return its text.

    Args:
        url: The page's full address, starting with https:// or http://.
    """
    return await PageFetcher().fetch(url)


class PageFetcher:
    """Fetches pages from public addresses, within limits of size, time (s) and number of redirects.

    `_allowed` names (IP address, port) pairs to let through although not public: for tests alone.
    """

    def __init__(
        self,
        *,
        max_bytes: int = MAX_BYTES,
        timeout_s: float = TIMEOUT_S,
        _allowed: frozenset[tuple[str, int]] = frozenset(),
    ) -> None:
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._allowed = _allowed

    async def fetch(self, url: str) -> str:
        """The page as a passage whose source is its final address. Raises ToolFailure, which says why not."""
        import aiohttp

        from callsheet.tools.addresses import AddressRefused, CheckedResolver, PublicAddresses, checked_socket

        addresses = PublicAddresses(self._allowed)
        connector = aiohttp.TCPConnector(
            resolver=CheckedResolver(addresses), socket_factory=checked_socket(addresses), use_dns_cache=False
        )
        # No proxy from the environment: it would connect in our place, unchecked. No cookies, no credentials.
        session = aiohttp.ClientSession(
            connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
        )  # fmt: skip
        try:
            async with session, asyncio.timeout(self._timeout_s):
                page = await self._get(session, addresses, url)
                title, text = await in_thread(_page_text, page)
        except TimeoutError:
            raise ToolFailure(f"{url} could not be fetched and read within {self._timeout_s:g} s.") from None
        except AddressRefused as error:
            raise ToolFailure(_refusal(url, error)) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            refused = getattr(error, "os_error", None)
            if isinstance(refused, AddressRefused):
                raise ToolFailure(_refusal(url, refused)) from None
            reason = " ".join(str(error).split())[:200]
            raise ToolFailure(f"{url} cannot be fetched: {type(error).__name__}: {reason}") from None
        if not text.strip():
            raise ToolFailure(f"{page.url} holds no text that can be read.")
        if len(text) > MAX_TEXT_CHARS:
            text = f"{text[:MAX_TEXT_CHARS]}\n(cut: the page has {len(text):,} characters)"
        return passages_text([(page.url, title, text)])

    async def _get(self, session: aiohttp.ClientSession, addresses: PublicAddresses, url: str) -> _Page:
        """The page at the end of the redirects, each of which is checked like the first address."""
        for _ in range(MAX_REDIRECTS + 1):
            addresses.check_literal(*_host_and_port(url))
            async with session.get(url, allow_redirects=False) as response:
                if response.status in _REDIRECTS and "Location" in response.headers:
                    url = urljoin(url, response.headers["Location"])
                    continue
                if response.status >= 400:
                    raise ToolFailure(
                        f"{url} answered {response.status} {response.reason or ''}".strip() + "."
                    )
                return await self._page(response, url)
        raise ToolFailure(f"The page was redirected more than {MAX_REDIRECTS} times.")

    async def _page(self, response: aiohttp.ClientResponse, url: str) -> _Page:
        kind = response.content_type.lower()
        if kind != "application/pdf" and not kind.startswith(_TEXT_TYPES) and not kind.endswith("+json"):
            raise ToolFailure(f"{url} is {kind}; only HTML, text, JSON and PDF can be read.")
        data = bytearray()
        async for part in response.content.iter_chunked(65536):  # decompressed: the limit holds for bombs too
            data += part
            if len(data) > self._max_bytes:
                raise ToolFailure(f"{url} is larger than {self._max_bytes:,} bytes.")
        return _Page(url, kind, response.charset or "", bytes(data))


def _host_and_port(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ToolFailure(f"{url!r} is no valid address.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ToolFailure(
            f"{url!r} cannot be fetched: give a full address that starts with https:// or http://."
        )
    if parts.username is not None or parts.password is not None:
        raise ToolFailure("Addresses with a user name or password in them are not fetched.")
    return host, port or (443 if parts.scheme == "https" else 80)


def _refusal(url: str, error: OSError) -> str:
    return f"{url} is not fetched: {error}. Only public web addresses can be reached."


def _page_text(page: _Page) -> tuple[str, str]:
    """The page's title and text. Raises ToolFailure where the parsers fail, in whichever way they do."""
    try:
        if page.kind == "application/pdf":
            return _pdf_text(page.data)
        text = page.data.decode(_charset(page), "replace")
        return _html_text(text, page.url) if "html" in page.kind else ("", text)
    except Exception as error:
        # A stranger wrote the page: it may defeat a parser, but not fail the run.
        raise ToolFailure(f"{page.url} cannot be read as {page.kind}: {type(error).__name__}.") from error


def _charset(page: _Page) -> str:
    """The page's encoding: a byte order mark's, else as the server says, else as the page does, else UTF-8."""
    if page.data.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    match = _DECLARED.search(page.data[:1024]) if "html" in page.kind else None
    for named in (page.charset, match[1].decode() if match else ""):
        try:
            name = codecs.lookup(named).name if named else ""
        except LookupError:
            continue
        if _CHARSETS.match(name):
            return name
    return "utf-8"


def _html_text(text: str, url: str) -> tuple[str, str]:
    import trafilatura

    if "html" not in text[:50].lower() and not text.startswith("<?xml"):
        text = f"<html>{text}"  # a fragment, which trafilatura would refuse
    body = trafilatura.extract(text, url=url, include_tables=True, favor_recall=True)
    found = trafilatura.extract_metadata(text, default_url=url)
    return str(found.title or ""), str(body or trafilatura.html2txt(text))


def _pdf_text(data: bytes) -> tuple[str, str]:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(data))
    if reader.is_encrypted:
        reader.decrypt("")  # many are, with the empty password: anyone may read them
    title = reader.metadata.title if reader.metadata else None
    return title if isinstance(title, str) else "", "\n\n".join(page.extract_text() for page in reader.pages)
