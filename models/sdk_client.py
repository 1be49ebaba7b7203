"""One official SDK client, used thin: our bodies posted as they are, over the SDK's aiohttp transport.

Both SDKs come from one generator and share what is used here (`post` with `cast_to=object`, the error
classes, `DefaultAioHttpClient`), in every version that pyproject.toml admits. Measured (CPU per call with
tools, openai): `create` 2.5 ms, this 0.8 ms.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from typing import Any

from callsheet.core.errors import ModelAuthError, ModelError, ModelRequestError, ModelUnavailableError
from callsheet.models import prices
from callsheet.models.catalogue import KEYS_ARE_READ_AT_START, ProviderInfo, shown_url
from callsheet.models.config import GatewayConfig
from callsheet.models.http_errors import error_in_reply, status_error
from callsheet.models.wire import bad_reply

_CLIENTS = {"openai": "AsyncOpenAI", "anthropic": "AsyncAnthropic"}


class SdkClient:
    """A provider's SDK client, made on first use (importing an SDK takes 1 to 3 s, in a thread).

    It holds the key and therefore never leaves its process: it refuses to be pickled.
    """

    def __init__(self, info: ProviderInfo, url: str, key: str, config: GatewayConfig) -> None:
        self.info = info
        self.url = url
        self._key = key
        self._config = config
        self._client: Any = None
        self._sdk: Any = None
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
        client = self._client or await self._load()
        time_left = None if deadline is None else deadline - time.time()
        timeout = self._config.request_timeout_s if time_left is None else time_left
        timeout = min(timeout, self._config.request_timeout_s)
        if timeout <= 0:
            raise self._late(model, "the deadline has passed before the call", by_deadline=True)
        try:
            # The SDK's own timeout is per read; ours is for the whole answer.
            async with asyncio.timeout(timeout):
                data = await client.post(
                    path,
                    cast_to=object,
                    body=body,
                    # A redirect could carry the key to another host.
                    options={"timeout": timeout, "max_retries": 0, "follow_redirects": False},
                )
        except (TimeoutError, self._sdk.APITimeoutError) as error:
            if lost := _lost_connection(error):
                raise self._unreachable(model, lost) from None
            by_deadline = time_left is not None and time_left <= self._config.request_timeout_s
            raise self._late(model, f"no answer within {timeout:.3g} s", by_deadline=by_deadline) from None
        except self._sdk.APIStatusError as error:
            raise self._status_error(model, error) from None
        except self._sdk.APIConnectionError as error:
            raise self._unreachable(model, _lost_connection(error) or error.__cause__ or error) from None
        except UnicodeEncodeError:
            raise self._unsendable(model) from None
        except (ValueError, RecursionError):
            raise bad_reply(self.info.name, model, "is not valid JSON") from None
        if not isinstance(data, dict):
            raise bad_reply(self.info.name, model, "is not a JSON object")
        reported = error_in_reply(self.info, model, data, url=self.url, now=time.time(), secret=self._key)
        if reported is not None:
            raise reported
        return data

    async def close(self) -> None:
        """Close the connections. The client must not be used afterwards."""
        if self._client is not None:
            await self._client.close()

    async def _load(self) -> Any:
        async with self._loading:
            if self._client is None:
                self._sdk = await asyncio.to_thread(importlib.import_module, self.info.api)
                await asyncio.to_thread(prices.preload)
                self._client = self._make()
        return self._client

    def _make(self) -> Any:
        settings: dict[str, Any] = {
            "api_key": self._key or "none",  # the SDK wants one; servers without keys ignore it
            "base_url": self.url,
            "max_retries": 0,
            "timeout": self._config.request_timeout_s,
        }
        try:
            settings["http_client"] = self._sdk.DefaultAioHttpClient(timeout=self._config.request_timeout_s)
        except (RuntimeError, AttributeError):
            settings.pop("http_client", None)  # installed without aiohttp: the SDK's own client serves
        client = getattr(self._sdk, _CLIENTS[self.info.api])(**settings)
        if self.info.api == "anthropic":
            client.auth_token = None  # of the environment; the key that was given is the one to use
        elif self.info.name != "openai":
            client.organization = client.project = None  # OpenAI's, of no concern to other servers
        return client

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

    def _status_error(self, model: str, error: Any) -> ModelError:
        return status_error(
            self.info,
            model,
            error.status_code,
            error.response.headers,
            error.body,
            url=self.url,
            now=time.time(),
            secret=self._key,
        )

    def _unreachable(self, model: str, error: BaseException) -> ModelError:
        return ModelUnavailableError(
            f"nobody answers for {self.info.name} at {shown_url(self.url)} ({type(error).__name__})",
            model=f"{self.info.name}/{model}",
            provider=self.info.name,
            hint=self.info.start_hint,
        )

    def _unsendable(self, model: str) -> ModelError:
        return ModelRequestError(
            "the request holds text that cannot be written as UTF-8 (a lone surrogate)",
            model=f"{self.info.name}/{model}",
            provider=self.info.name,
            hint="Decode the text with errors='replace' before it is put into a message.",
        )


def _can_be_a_key(key: str) -> bool:
    # Said here, or it would fail as a header, far away and in other words.
    return key.isascii() and key.isprintable() and " " not in key


def _lost_connection(error: BaseException) -> BaseException | None:
    # The SDKs' aiohttp transport reports a refused or lost connection as a timeout; the cause tells.
    cause = error.__cause__
    while cause is not None:
        if type(cause).__module__.startswith("aiohttp") and not isinstance(cause, TimeoutError):
            return cause
        cause = cause.__cause__
    return None
