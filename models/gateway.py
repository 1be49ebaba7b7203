"""The one place where models are called: it holds the keys, imports the SDKs, retries and counts.

A plain async class; the runtime makes an actor of it, one a node. It keeps no state that a crash could
lose: a call that fails with its process may or may not have been billed, and making it again is safe
for everything but the bill.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, overload

from callsheet import tracing
from callsheet.core.errors import CallsheetError, CancelledError, ModelError
from callsheet.models import prices
from callsheet.models.catalogue import (
    PROVIDERS,
    ModelInfo,
    ModelName,
    base_url,
    list_models,
    parse_model,
)
from callsheet.models.config import GatewayConfig
from callsheet.models.embeddings import EmbedRequest
from callsheet.models.llm_span import llm_span
from callsheet.models.messages import ModelReply, ModelRequest, Usage
from callsheet.models.prices import check_budget, cost_usd
from callsheet.models.quotes import Quote
from callsheet.models.retry import RetryPolicy, with_retries

logger = logging.getLogger(__name__)

OnCall = Callable[[ModelRequest, ModelReply | None, CallsheetError | None, float, float], None]


class Provider(Protocol):
    """What answers model requests."""

    async def complete(self, request: ModelRequest, deadline: float | None) -> ModelReply:
        """One attempt at one request, to be given up at `deadline` (Unix time, s). Raises ModelError."""
        ...

    async def embed(self, request: EmbedRequest, deadline: float | None) -> list[list[float]]:
        """One attempt at vectors, one for each text, in order. Raises ModelError."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ListModels:
    """A request for what the gateway can reach, answered with a tuple of ModelInfo."""


def preload(provider: str) -> None:
    """Import what the provider's first call would wait for: 1 to 3 s."""
    api = PROVIDERS[provider].api
    if api == "offline":
        return
    try:
        importlib.import_module(api)
        prices.preload()
    except Exception:  # the first call says what is wrong
        logger.debug("the SDK of %s could not be imported ahead of its use", provider, exc_info=True)


class Gateway:
    """Answers model requests; see the module's text for what survives a crash (nothing needs to).

    `environ` (default: this process's) is read once, for keys and addresses. `on_call` is told of every
    call with its request, its reply or error, and its begin and end (Unix time, s); by default it emits
    an LLM span. A failing `on_call` is logged and changes nothing.
    """

    def __init__(
        self,
        config: GatewayConfig,
        *,
        environ: Mapping[str, str] | None = None,
        on_call: OnCall | None = None,
    ) -> None:
        self.config = config
        source = os.environ if environ is None else environ
        wanted = {name for info in PROVIDERS.values() for name in (info.key_env, info.url_env) if name}
        self._environ = {name: source[name] for name in wanted if name in source}
        self._on_call = on_call
        self._providers: dict[str, tuple[Provider, str]] = {}
        self._policy = RetryPolicy(
            max_attempts=config.max_attempts,
            first_backoff_s=config.first_backoff_s,
            max_backoff_s=config.max_backoff_s,
            max_wait_s=config.max_wait_s,
        )
        if config.expects:
            threading.Thread(target=preload, args=(config.expects,), daemon=True).start()

    def __reduce__(self) -> Any:
        raise TypeError("a gateway holds keys and stays in its process; send its GatewayConfig instead")

    @overload
    async def handle(self, request: ModelRequest) -> ModelReply: ...
    @overload
    async def handle(self, request: EmbedRequest) -> list[list[float]]: ...
    @overload
    async def handle(self, request: ListModels) -> tuple[ModelInfo, ...]: ...
    @overload
    async def handle(self, request: Quote) -> float | None: ...
    async def handle(
        self, request: ModelRequest | EmbedRequest | ListModels | Quote
    ) -> ModelReply | list[list[float]] | tuple[ModelInfo, ...] | float | None:
        """Answer one request: a ModelReply, vectors (one list for each text), what models there are, or a price.

        Raises ModelError (its subclass says what went wrong, its hint what to do), UnknownNameError for
        a model of no known provider, SettingsError for a wrong address, and LimitError for a call that
        the budget has no room for.
        """
        if isinstance(request, ListModels):
            return list_models(self._environ, self.config.base_urls)
        if isinstance(request, EmbedRequest):
            return await self._embed(request)
        if isinstance(request, Quote):
            return self._quote(request)
        return await self._complete(request)

    async def close(self) -> None:
        """Close all connections. The gateway must not be used afterwards."""
        providers, self._providers = self._providers, {}
        for provider, _ in providers.values():
            await provider.close()

    def _quote(self, quote: Quote) -> float | None:
        name = parse_model(quote.model)
        _, url = self._provider(name)
        usage = Usage(input_tokens=quote.input_tokens, output_tokens=quote.output_tokens)
        return cost_usd(name, usage, api_url=url)

    async def _embed(self, request: EmbedRequest) -> list[list[float]]:
        provider, _ = self._provider(parse_model(request.model))
        return await with_retries(lambda _: provider.embed(request, None), self._policy, None)

    async def _complete(self, request: ModelRequest) -> ModelReply:
        started = time.time()
        attempts = 0
        try:
            name = parse_model(request.model)
            provider, url = self._provider(name)
            check_budget(request, name, url)

            async def attempt(number: int) -> ModelReply:
                nonlocal attempts
                attempts = number
                return await provider.complete(request, request.deadline)

            reply = await with_retries(attempt, self._policy, request.deadline)
        except CallsheetError as error:
            if isinstance(error, ModelError) and request.run_id and not error.run_id:
                error = _with_run(error, request.run_id)
            self._report(request, None, error, started, attempts)
            raise error from None
        except asyncio.CancelledError:
            self._report(request, None, CancelledError("the call was given up"), started, attempts)
            raise
        ended = time.time()
        answered = reply.model.partition("/")[2]
        reply = replace(
            reply,
            cost_usd=cost_usd(name, reply.usage, answered=answered, api_url=url),
            elapsed_s=ended - started,
            attempts=attempts,
        )
        self._report(request, reply, None, started, attempts)
        return reply

    def _provider(self, name: ModelName) -> tuple[Provider, str]:
        if name.provider not in self._providers:
            self._providers[name.provider] = self._make(name.provider)
        return self._providers[name.provider]

    def _make(self, provider: str) -> tuple[Provider, str]:
        info = PROVIDERS[provider]
        if info.api == "offline":
            from callsheet.models.offline import OfflineModel

            return OfflineModel(), ""
        from callsheet.models.sdk_client import SdkClient

        url = base_url(info, self._environ, self.config.base_urls)
        client = SdkClient(info, url, self._environ.get(info.key_env, "").strip(), self.config)
        if info.api == "anthropic":
            from callsheet.models.anthropic_provider import AnthropicProvider

            return AnthropicProvider(client, self.config.default_max_tokens), url
        from callsheet.models.openai_provider import OpenAIProvider

        return OpenAIProvider(client), url

    def _report(
        self,
        request: ModelRequest,
        reply: ModelReply | None,
        error: CallsheetError | None,
        started: float,
        attempts: int,
    ) -> None:
        ended = time.time()
        try:
            if self._on_call is not None:
                self._on_call(request, reply, error, started, ended)
            elif request.run_id and tracing.is_enabled():  # a call outside of any run belongs to no trace
                tracing.emit(
                    llm_span(
                        request,
                        reply,
                        error,
                        started,
                        ended,
                        content=self.config.trace_content,
                        attempts=max(attempts, 1),
                    )
                )
        except Exception:
            logger.warning("a model call could not be reported", exc_info=True)


def _with_run(error: ModelError, run_id: str) -> ModelError:
    fields = error.to_dict()["fields"]
    return type(error)(error.message, **{**fields, "run_id": run_id})
