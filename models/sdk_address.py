"""Where and with which headers an SDK sends a request: asked of the SDK itself, once for each path.

The official SDKs know the addresses, the forms of authentication and the headers that their servers expect,
in every version. What they cost is the rest: of the 2.5 ms of CPU that `create` takes, bare aiohttp needs
0.13. So each SDK is asked for one request, which is caught before it is sent; all others are sent like it.
"""

from __future__ import annotations

import importlib
import ssl
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from callsheet.core.errors import SettingsError
from callsheet.models.catalogue import ProviderInfo, shown_url

_CLIENTS = {"openai": "AsyncOpenAI", "anthropic": "AsyncAnthropic"}
_AZURE = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")
# aiohttp's to set, for the connection that it holds and the codings that it reads.
_OF_THE_CONNECTION = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "accept-encoding",
        "x-stainless-read-timeout",
    }
)


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """What a request to one path is sent with. Holds the key in its headers: not to be shown or sent."""

    url: str
    headers: dict[str, str]
    proxy: str | None
    tls: ssl.SSLContext | None


class _CaughtError(Exception):
    """The request was caught: it is not to be sent."""


class SdkAddresses:
    """Asks one SDK for its addresses. Importing an SDK takes 1 to 3 s: call `load` in a thread first."""

    def __init__(self, info: ProviderInfo, url: str, key: str) -> None:
        self._info = info
        self._url = url
        self._key = key
        self._sdk: Any = None
        self._tls: ssl.SSLContext | None = None

    def load(self) -> None:
        """Import the SDK, and read the certificates that it trusts."""
        self._sdk = importlib.import_module(self._info.api)
        if self._url.startswith("https:"):
            self._tls = self._http_module().create_ssl_context()

    async def ask(self, path: str) -> Address:
        """What a POST to `path`, below the base URL, is sent with. Raises SettingsError for a proxy of no use."""
        caught: list[Any] = []

        async def catch(request: Any) -> None:
            caught.append(request)
            raise _CaughtError

        # What it would read of the environment is for sending, which it never does.
        http_client = self._sdk.DefaultAsyncHttpxClient(event_hooks={"request": [catch]}, trust_env=False)
        client = self._client(http_client)
        try:
            await client.post(path, cast_to=object, body={}, options={"max_retries": 0})
        except Exception:
            if not caught:
                raise
        finally:
            await client.close()
        request = caught[0]
        headers = {
            name: value for name, value in request.headers.items() if name.lower() not in _OF_THE_CONNECTION
        }
        url = str(request.url)
        return Address(url=url, headers=headers, proxy=_proxy(url), tls=self._tls)

    def _client(self, http_client: Any) -> Any:
        parts = urlsplit(self._url)
        settings: dict[str, Any] = {
            "api_key": self._key or "none",  # the SDK wants one; servers without keys ignore it
            "base_url": urlunsplit(parts._replace(query="")),
            "http_client": http_client,
        }
        if parts.query:  # Azure's api-version
            settings["default_query"] = dict(parse_qsl(parts.query))
        if self._info.name == "azure" or (parts.hostname or "").endswith(_AZURE):
            settings["default_headers"] = {"api-key": self._key}
        client = getattr(self._sdk, _CLIENTS[self._info.api])(**settings)
        if self._info.api == "anthropic":
            client.auth_token = None  # of the environment; the key that was given is the one to use
        elif self._info.name != "openai":
            client.organization = client.project = None  # OpenAI's, of no concern to other servers
        return client

    def _http_module(self) -> Any:
        # httpx or httpx2, whichever this version of the SDK is built on.
        for base in self._sdk.DefaultAsyncHttpxClient.__mro__:
            root = base.__module__.partition(".")[0]
            if root.startswith("httpx"):
                return importlib.import_module(root)
        raise ImportError(f"the HTTP client of {self._info.api} is not known to this version of callsheet")


def _proxy(url: str) -> str | None:
    # As the SDKs do: by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    found = found if "://" in found else f"http://{found}"
    if not found.startswith(("http://", "https://")):
        raise SettingsError(
            f"the proxy that the environment names is no HTTP proxy: {shown_url(found)!r}",
            hint="Set HTTPS_PROXY to an http:// address, or except the host by NO_PROXY.",
        )
    return found
