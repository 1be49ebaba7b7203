"""The one place where models are called: it holds the keys, routes, retries, keeps limits and counts.

A plain async class; the runtime makes an actor of it, the one of its cluster. What limits have seen is in the
ledger's file; else it keeps no state that a crash could lose: a call that fails with its process may or may
not have been billed, and making it again is safe for everything but the bill.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from callsheet import tracing
from callsheet.core.canonical import to_json
from callsheet.core.errors import CallsheetError, CancelledError, ModelError
from callsheet.models import prices
from callsheet.models.call_log import CallLog
from callsheet.models.cassette import CassetteFacts, Cassettes, OpenCassette
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
from callsheet.models.kept import Exchanges, Kept
from callsheet.models.ledger import Ledger
from callsheet.models.llm_span import llm_span, wait_spans
from callsheet.models.messages import ModelReply, ModelRequest, Usage
from callsheet.models.model_facts import LISTED, ModelBook
from callsheet.models.pipeline import Pipeline
from callsheet.models.policy import PREFIX, ModelPolicy
from callsheet.models.provider import Emit, Provider
from callsheet.models.quotes import Quote
from callsheet.models.router import Routing, StepNeeds, needs_of, no_model, route

logger = logging.getLogger(__name__)

OnCall = Callable[[ModelRequest, ModelReply | None, CallsheetError | None, float, float], None]

__all__ = ["Exchanges", "Gateway", "ListModels", "Provider", "preload"]


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
        ModelBook().known(provider)
    except Exception:  # the first call says what is wrong
        logger.debug("the SDK of %s could not be imported ahead of its use", provider, exc_info=True)


class Gateway:
    """Answers model requests; see the module's text for what survives a crash (nothing needs to).

    `environ` (default: this process's) is read once, for keys and addresses. `exchanges` are asked after the
    request's cassette, and before the cache and any model. `on_call` is told of every call with its request,
    its reply or error, and its begin and end (Unix time, s); by default it emits an LLM span, and one for each
    wait. A failing `on_call` is logged and changes nothing. `clock` (s, never backwards) is the breakers'.
    """

    def __init__(
        self,
        config: GatewayConfig,
        *,
        environ: Mapping[str, str] | None = None,
        on_call: OnCall | None = None,
        exchanges: Sequence[Exchanges] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        source = os.environ if environ is None else environ
        wanted = {name for info in PROVIDERS.values() for name in (info.key_env, info.url_env) if name}
        self._environ = {name: source[name] for name in wanted if name in source}
        self._on_call = on_call
        self._cassettes = Cassettes([self._environ.get(info.key_env, "") for info in PROVIDERS.values()])
        self._kept = Kept((self._cassettes, *exchanges, *self._caches()))
        self._providers: dict[str, tuple[Provider, str]] = {}
        self._book = ModelBook(config.models)
        self._loaded: set[str] = set()
        self._ledger = Ledger(
            config.limits,
            path=Path(config.ledger_path) if config.ledger_path else None,
            max_pause_s=config.max_wait_s,
        )
        self._pipeline = Pipeline(config, self._ledger, self._book, self._provider, clock=clock)
        self._usable = tuple(i.provider for i in list_models(self._environ, config.base_urls) if i.available)

    def warm(self, again: bool) -> None:
        """Import what the first call of the expected provider would wait for."""
        if self.config.expects:
            preload(self.config.expects)

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
    @overload
    async def handle(self, request: OpenCassette) -> CassetteFacts: ...
    async def handle(
        self, request: ModelRequest | EmbedRequest | ListModels | Quote | OpenCassette
    ) -> ModelReply | list[list[float]] | tuple[ModelInfo, ...] | float | CassetteFacts | None:
        """Answer one request: a ModelReply, vectors (one list for each text), what models there are, or a price.

        Raises ModelError (its subclass says what went wrong, its hint what to do), UnknownNameError for
        a model of no known provider, SettingsError for a wrong address, and LimitError for a call that
        the budget has no room for.
        """
        if isinstance(request, ListModels):
            return list_models(self._environ, self.config.base_urls)
        if isinstance(request, OpenCassette):
            return self._cassettes.open(request)
        if isinstance(request, EmbedRequest):
            return await self._pipeline.embed(request)
        if isinstance(request, Quote):
            # Nothing is paid for what is not asked of a model.
            return None if request.replay or self._kept.answers_all else await self._quote(request)
        return await self._complete(request, None)

    async def stream(self, request: Any, emit: Emit) -> Any:
        """As `handle`, for a caller that reads along: `emit` gets the answer's text as it comes.

        A None says that what was emitted does not count: the answer begins again. The answer itself is whole.
        """
        if isinstance(request, ModelRequest):
            return await self._complete(request, emit)
        return await self.handle(request)

    async def close(self) -> None:
        """Close all connections, and write what the ledger has. The gateway must not be used afterwards."""
        providers, self._providers = self._providers, {}
        for provider, _ in providers.values():
            await provider.close()
        await self._kept.close()
        await self._ledger.close()

    def _caches(self) -> list[Exchanges]:
        if not self.config.cache_path:
            return []
        from callsheet.models.response_cache import ResponseCache

        # The same model's name at another address is another model.
        urls = {info.url_env: self._environ.get(info.url_env) for info in PROVIDERS.values() if info.url_env}
        scope = to_json([dict(self.config.base_urls), urls])
        return [ResponseCache(Path(self.config.cache_path), scope=scope)]

    async def _quote(self, quote: Quote) -> float | None:
        usage = Usage(input_tokens=quote.input_tokens, output_tokens=quote.output_tokens)
        needs = StepNeeds(
            abilities=quote.abilities, input_tokens=quote.input_tokens, max_tokens=quote.output_tokens
        )
        costs = []
        for model in await self._models(quote.model, needs, CallLog()):
            name = parse_model(model)
            _, url = self._provider(name)
            costs.append(self._book.cost(name, usage, api_url=url))
        # Any of them may come to answer: the dearest counts.
        return max((cost for cost in costs if cost is not None), default=None)

    async def _models(self, wanted: str, needs: StepNeeds, log: CallLog) -> tuple[str, ...]:
        """The models that a name or a policy's text stands for, best first. Raises UsageError for none."""
        if not wanted.startswith(PREFIX):
            await self._load((parse_model(wanted).provider,))
            return (wanted,)
        policy = ModelPolicy.from_text(wanted)
        await self._load(LISTED)
        routing: Routing = route(policy, needs, self._book, self._usable)
        if not routing.choices:
            raise no_model(policy, needs, routing)
        log.policy = str(policy)
        log.choices = tuple((choice.model, choice.why) for choice in routing.choices)
        return tuple(choice.model for choice in routing.choices)

    async def _load(self, providers: Sequence[str]) -> None:
        for provider in providers:
            if provider in LISTED and provider not in self._loaded:
                await asyncio.to_thread(self._book.known, provider)  # half a second, once
                self._loaded.add(provider)

    async def _complete(self, request: ModelRequest, emit: Emit | None) -> ModelReply:
        started, log = time.time(), CallLog()
        try:
            reply = await self._kept.find(request, log, emit) or await self._asked(request, log, emit)
        except CallsheetError as error:
            if isinstance(error, ModelError) and request.run_id and not error.run_id:
                error = _with_run(error, request.run_id)
            self._report(request, None, error, started, log)
            raise error from None
        except asyncio.CancelledError:
            self._report(request, None, CancelledError("the call was given up"), started, log)
            raise
        reply = replace(reply, elapsed_s=time.time() - started, attempts=max(log.attempts, 1))
        self._report(request, reply, None, started, log)
        return reply

    async def _asked(self, request: ModelRequest, log: CallLog, emit: Emit | None) -> ModelReply:
        try:
            reply = await self._answer(request, log, emit)
        except ModelError as error:
            self._kept.keep(request, error)
            raise
        self._kept.keep(request, reply)
        return reply

    async def _answer(self, request: ModelRequest, log: CallLog, emit: Emit | None) -> ModelReply:
        models = request.candidates
        if not models:
            needs = needs_of(request) if request.model.startswith(PREFIX) else StepNeeds()
            models = await self._models(request.model, needs, log)
            if log.policy and ModelPolicy.from_text(request.model).max_usd_per_call is not None:
                request = replace(request, max_tokens=needs.output_tokens)  # or the price would not hold
        return await self._pipeline.answer(request, models, log, emit)

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
        key = self._environ.get(info.key_env, "").strip()
        client = SdkClient(info, url, key, self.config, on_headers=self._learn)
        if info.api == "anthropic":
            from callsheet.models.anthropic_provider import AnthropicProvider

            return AnthropicProvider(client, self.config.default_max_tokens), url
        from callsheet.models.openai_provider import OpenAIProvider

        return OpenAIProvider(client), url

    def _learn(self, model: str, status: int, headers: Mapping[str, str]) -> None:
        self._ledger.learn(model, headers)

    def _report(
        self,
        request: ModelRequest,
        reply: ModelReply | None,
        error: CallsheetError | None,
        started: float,
        log: CallLog,
    ) -> None:
        ended = time.time()
        try:
            if self._on_call is not None:
                self._on_call(request, reply, error, started, ended)
            elif request.run_id and tracing.is_enabled():  # a call outside of any run belongs to no trace
                content = self.config.trace_content
                for wait in wait_spans(request, log):
                    tracing.emit(wait)
                tracing.emit(llm_span(request, reply, error, started, ended, content=content, log=log))
        except Exception:
            logger.warning("a model call could not be reported", exc_info=True)


def _with_run(error: ModelError, run_id: str) -> ModelError:
    fields = error.to_dict()["fields"]
    return type(error)(error.message, **{**fields, "run_id": run_id})
