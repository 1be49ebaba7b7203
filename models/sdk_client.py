"""One provider's server over HTTP: bodies posted as they are, replies as JSON, whole or in events.

The address and the headers are the official SDK's (see sdk_address.py), the connection is aiohttp's.
Measured (CPU of a call with tools in the request, 50 in flight): `create` 2.3 ms, the SDK's `post` 0.8, the whole
gateway over this 0.45 (benchmarks/README.md).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from callsheet.core.errors import ModelAuthError, ModelError, ModelRequestError, ModelUnavailableError
from callsheet.models import prices
from callsheet.models.catalogue import KEYS_ARE_READ_AT_START, ProviderInfo, shown_url
from callsheet.models.config import GatewayConfig
from callsheet.models.http_body import MAX_REPLY, drain, whole
from callsheet.models.http_errors import error_in_reply, status_error
from callsheet.models.sdk_address import Address, SdkAddresses
from callsheet.models.sse import EventParser
from callsheet.models.wire import bad_reply

OnHeaders = Callable[[str, int, Mapping[str, str]], None]
"""Told of each response's headers: the model (`provider/name`), the status, the headers (any case of names)."""

CONNECT_S = 15.0
CONNECTIONS = 1000

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class SdkClient:
    """A provider's server. The SDK is imported on first use (1 to 3 s, in a thread).

    It holds the key and therefore never leaves its process: it refuses to be pickled. `on_headers`, where
    given, is told of the headers of each response, also of failed ones (limits are learned from them).
    """

    def __init__(
        self,
        info: ProviderInfo,
        url: str,
        key: str,
        config: GatewayConfig,
        *,
        on_headers: OnHeaders | None = None,
    ) -> None:
        self.info = info
        self.url = url
        self._key = key
        self._config = config
        self._on_headers = on_headers
        self._addresses = SdkAddresses(info, url, key)
        self._known: dict[str, Address] = {}
        self._session: Any = None
        self._http: Any = None
        self._loading = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.info.name} at {shown_url(self.url)}>"

    def __reduce__(self) -> Any:
        raise TypeError("a model client holds a key and stays in its process")

    async def post(self, path: str, body: dict[str, Any], *, model: str, deadline: float | None) -> Any:
        """Post `body` once and return the JSON of the answer.

        Raises the ModelError that fits what went wrong: no key, nobody there, a failure the server
        reports, no answer by the deadline (Unix time, s), an answer that is no JSON object.
        """
        async with self._exchange(path, body, model, deadline) as response:
            text = await whole(response, self.info.name, model)
            return self._object(text, model)

    async def stream(
        self,
        path: str,
        body: dict[str, Any],
        take: Callable[[dict[str, Any] | None], None],
        *,
        model: str,
        deadline: float | None,
    ) -> None:
        """Post `body` once and hand each event's JSON to `take` as it comes; None stands for `[DONE]`.

        Returns at the end of the stream, whether it was whole or not: `take` knows. A server that does not
        stream gives its answer as the one event. Raises what `post` raises, also for an error that comes as
        an event, and what `take` raises.
        """
        async with self._exchange(path, body, model, deadline) as response:
            if "event-stream" not in response.headers.get("content-type", "event-stream"):
                take(self._object(await whole(response, self.info.name, model), model))
                return
            parser, size = EventParser(), 0
            async for piece in response.content.iter_any():
                size += len(piece)
                if size > MAX_REPLY:
                    raise bad_reply(self.info.name, model, "is longer than any reply may be")
                for data in parser.feed(piece):
                    if data == b"[DONE]":
                        take(None)
                        await drain(response)
                        return
                    take(self._object(data, model))

    async def prepare(self, path: str, deadline: float | None) -> None:
        """Load now what the first call to that path would wait for; what goes wrong, the call itself says."""
        if path in self._known:
            return
        timeout = self._config.request_timeout_s
        if deadline is not None:
            timeout = min(timeout, max(0.0, deadline - time.time()))
        with suppress(Exception):
            async with asyncio.timeout(timeout):
                await self._load(path)

    async def close(self) -> None:
        """Close the connections. The client must not be used afterwards."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def _exchange(
        self, path: str, body: dict[str, Any], model: str, deadline: float | None
    ) -> AsyncIterator[Any]:
        self._check_key(model)
        try:
            data = _encode(body).encode()
        except (ValueError, RecursionError) as error:
            raise self._unsendable(model, error) from None
        time_left = None if deadline is None else deadline - time.time()
        timeout = self._config.request_timeout_s
        by_deadline = time_left is not None and time_left <= timeout
        if by_deadline:
            timeout = time_left or 0.0
        if timeout <= 0:
            raise self._late(model, "the deadline has passed before the call", by_deadline=True)
        address = self._known.get(path)
        if address is None:
            try:
                async with asyncio.timeout(timeout):
                    address = await self._load(path)
            except TimeoutError:
                what = f"its SDK was not loaded within {timeout:.3g} s"
                raise self._late(model, what, by_deadline=by_deadline) from None
        http = self._http
        begun = False
        try:
            # aiohttp's own timeouts are of its parts; this one is for the whole answer.
            async with asyncio.timeout(timeout):
                async with self._session.post(
                    address.url,
                    data=data,
                    headers=address.headers,
                    proxy=address.proxy,
                    ssl=address.tls if address.tls is not None else True,
                    allow_redirects=False,  # a redirect could carry the key to another host
                ) as response:
                    if self._on_headers is not None:
                        self._on_headers(f"{self.info.name}/{model}", response.status, response.headers)
                    if response.status >= 300:
                        raise await self._failed(response, model)
                    begun = True
                    yield response
        except http.ConnectionTimeoutError as error:
            raise self._unreachable(model, error) from None
        except TimeoutError:
            raise self._late(model, f"no answer within {timeout:.3g} s", by_deadline=by_deadline) from None
        except (http.ClientError, OSError) as error:
            raise (self._cut(model, error) if begun else self._unreachable(model, error)) from None

    def _check_key(self, model: str) -> None:
        if self.info.key_required and not self._key:
            raise ModelAuthError(
                f"there is no key for {self.info.name}",
                model=f"{self.info.name}/{model}",
                provider=self.info.name,
                hint=f"Set {self.info.key_env} where the model gateway runs, or name another model. "
                f"{KEYS_ARE_READ_AT_START}",
            )
        if not _can_be_a_key(self._key):
            raise ModelAuthError(
                f"the key of {self.info.name} holds characters that no key has (a space, a line end, a letter "
                "that is not ASCII)",
                model=f"{self.info.name}/{model}",
                provider=self.info.name,
                hint=f"Set {self.info.key_env} to the key alone. {KEYS_ARE_READ_AT_START}",
            )

    async def _load(self, path: str) -> Address:
        async with self._loading:
            if self._session is None:
                await asyncio.to_thread(self._addresses.load)
                await asyncio.to_thread(prices.preload)
                import aiohttp

                self._http = aiohttp
                self._session = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(
                        limit=CONNECTIONS,
                        # uvicorn, which most servers of one's own run on, hangs up after 5 s.
                        keepalive_timeout=30.0 if self.url.startswith("https:") else 4.0,
                    ),
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
                    auto_decompress=True,
                    cookie_jar=aiohttp.DummyCookieJar(),
                )
            if path not in self._known:
                self._known[path] = await self._addresses.ask(path)
        return self._known[path]

    def _object(self, text: bytes, model: str) -> dict[str, Any]:
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            raise bad_reply(self.info.name, model, "is not valid JSON") from None
        if not isinstance(data, dict):
            raise bad_reply(self.info.name, model, "is not a JSON object")
        return self.checked(data, model)

    def checked(self, data: dict[str, Any], model: str) -> dict[str, Any]:
        """The same data. Raises the ModelError that it reports, if it reports one."""
        reported = error_in_reply(self.info, model, data, url=self.url, now=time.time(), secret=self._key)
        if reported is not None:
            raise reported
        return data

    async def _failed(self, response: Any, model: str) -> ModelError:
        text = await whole(response, self.info.name, model)
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            body = text.decode("utf-8", "replace")
        return status_error(
            self.info,
            model,
            response.status,
            response.headers,
            body,
            url=self.url,
            now=time.time(),
            secret=self._key,
        )

    def _late(self, model: str, what: str, *, by_deadline: bool) -> ModelError:
        return ModelUnavailableError(
            f"{self.info.name}/{model}: {what}",
            model=f"{self.info.name}/{model}",
            provider=self.info.name,
            retryable=not by_deadline,
            hint="Give the run more time (--deadline), ask for less, or name a faster model."
            if by_deadline
            else f"{shown_url(self.url)} is slow or hangs; a longer request timeout may help.",
        )

    def _unreachable(self, model: str, error: BaseException) -> ModelError:
        return ModelUnavailableError(
            f"nobody answers for {self.info.name} at {shown_url(self.url)} ({type(error).__name__})",
            model=f"{self.info.name}/{model}",
            provider=self.info.name,
            hint=self.info.start_hint,
        )

    def _cut(self, model: str, error: BaseException) -> ModelError:
        return ModelUnavailableError(
            f"the answer of {self.info.name}/{model} broke off in the middle ({type(error).__name__})",
            model=f"{self.info.name}/{model}",
            provider=self.info.name,
            hint=f"Another attempt may help; if not, look at the server at {shown_url(self.url)}.",
        )

    def _unsendable(self, model: str, error: BaseException) -> ModelError:
        what, hint = (
            "what JSON lacks (a number that is none)",
            "Look at the extra fields and the temperature.",
        )
        if isinstance(error, UnicodeEncodeError):
            what = "text that cannot be written as UTF-8 (a lone surrogate)"
            hint = "Decode the text with errors='replace' before it is put into a message."
        elif isinstance(error, RecursionError):
            what, hint = "data nested too deeply", "Look at the tools' schemas and the extra fields."
        return ModelRequestError(
            f"the request holds {what}",
            model=f"{self.info.name}/{model}",
            provider=self.info.name,
            hint=hint,
        )


def _can_be_a_key(key: str) -> bool:
    # Said here, or it would fail as a header, far away and in other words.
    return key.isascii() and key.isprintable() and " " not in key
