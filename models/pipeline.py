"""The way of one call: its models in turn, each behind its breaker and its limits, with retries.

A model is left for the next one when its retries are used up, or when no retry can help but another model may:
its key is refused, its quota is gone, there is no such model, or a day's budget has no room for what it may cost
while a cheaper one may fit. A request that is wrong in itself is wrong
everywhere, and fails at once. In a stream, whoever listens is told (by a None) when an answer begins again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from callsheet import tracing
from callsheet.core.errors import (
    CallsheetError,
    LimitError,
    ModelAuthError,
    ModelError,
    ModelRateLimitError,
    ModelReplyError,
    ModelRequestError,
    ModelUnavailableError,
)
from callsheet.models.breaker import Breaker, Pass
from callsheet.models.call_log import CallLog, Failure, Wait, cause_of
from callsheet.models.catalogue import OFFLINE, ModelName, parse_model
from callsheet.models.config import GatewayConfig
from callsheet.models.embeddings import EmbedRequest, embedding_spans
from callsheet.models.ledger import Ledger
from callsheet.models.messages import ModelReply, ModelRequest, Usage
from callsheet.models.model_facts import ModelBook
from callsheet.models.provider import Emit, Parts, Provider, ask, prepare
from callsheet.models.quotes import OUTPUT_TOKENS, most_input_tokens
from callsheet.models.retry import RetryPolicy, with_retries
from callsheet.models.tickets import Ticket

PATIENCE_S = 10.0
"""How long a model is waited for while there is another one that may be asked."""


class Pipeline:
    """Answers requests; the ledger, the breakers and the book of models are the gateway's.

    `provider` gives the provider of a name and its address. Nothing here outlives the process.
    """

    def __init__(
        self,
        config: GatewayConfig,
        ledger: Ledger,
        book: ModelBook,
        provider: Callable[[ModelName], tuple[Provider, str]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._book = book
        self._provider = provider
        self._clock = clock
        self._breakers: dict[str, Breaker] = {}
        self._retries = RetryPolicy(
            max_attempts=config.max_attempts,
            first_backoff_s=config.first_backoff_s,
            max_backoff_s=config.max_backoff_s,
            max_wait_s=config.max_wait_s,
        )

    async def answer(
        self, request: ModelRequest, models: Sequence[str], log: CallLog, emit: Emit | None = None
    ) -> ModelReply:
        """The reply of the first of the models that gives one; what happened meanwhile is in `log`.

        Raises the last model's error: ModelError, or LimitError where a day's budget has room for none; UsageError
        for what is no model.
        """
        parts = None if emit is None else Parts(emit)
        for number, model in enumerate(models):
            last, began = number == len(models) - 1, time.time()
            try:
                return await self._ask(request, model, last=last, log=log, parts=parts)
            except (ModelError, LimitError) as error:
                late = request.deadline is not None and time.time() >= request.deadline
                if last or late or not _another_may(error):
                    if number:
                        error.message += f" (before it: {', '.join(models[:number])})"
                    raise
                if isinstance(error, LimitError):
                    log.failures.append(
                        Failure(model=model, cause=cause_of(error), started=began, ended=time.time())
                    )
        raise ModelRequestError("a request names no model")

    async def embed(self, request: EmbedRequest) -> list[list[float]]:
        """Vectors, with retries; each text of a run leaves a span there. No budget is held against it."""
        started, usage, cost = time.time(), Usage(), None
        fault: Exception | None = None
        try:
            name = parse_model(request.model)
            provider, url = self._provider(name)
            found = await with_retries(lambda _: provider.embed(request, None), self._retries, None)
            usage = found.usage
            if usage.input_tokens:
                cost = self._book.cost(name, usage, answered=found.model, api_url=url)
        except CallsheetError as error:
            fault = error
            raise
        finally:
            if request.places and tracing.is_enabled():
                for span in embedding_spans(request, usage, cost, fault, started, time.time()):
                    tracing.emit(span)
        return found.vectors

    def breaker(self, model: str) -> Breaker:
        """The model's circuit breaker."""
        found = self._breakers.get(model)
        if found is None:
            found = self._breakers[model] = Breaker(
                failures=self._config.breaker_failures,
                pause_s=self._config.breaker_pause_s,
                max_pause_s=8 * self._config.breaker_pause_s,
                clock=self._clock,
            )
        return found

    async def _ask(
        self, request: ModelRequest, model: str, *, last: bool, log: CallLog, parts: Parts | None
    ) -> ModelReply:
        name = parse_model(model)
        provider, url = self._provider(name)
        request = fitted(request, name, self._book, self._config)
        if request.max_tokens is None and self._ledger.bounds_cost(model, request.crew):
            request = replace(request, max_tokens=OUTPUT_TOKENS)
        patience = self._config.max_wait_s if last else min(PATIENCE_S, self._config.max_wait_s)
        began = time.time()

        def failed(error: ModelError, wait: float | None) -> None:
            log.failures.append(
                Failure(model=model, cause=cause_of(error), started=began, ended=time.time(), wait_s=wait)
            )

        async def attempt(_: int) -> ModelReply:
            nonlocal began
            began = time.time()
            if parts is not None:
                parts.restart()
            leave = await self._leave(request, model, patience, log)
            try:
                reply = await self._once(request, name, provider, url, patience, log, parts)
            except ModelError as error:
                _tell(self.breaker(model), leave, error)
                raise
            except BaseException:
                self.breaker(model).unsure(leave)
                raise
            self.breaker(model).succeeded(leave)
            return reply

        policy = self._retries if last else replace(self._retries, max_wait_s=patience)
        reply = await with_retries(attempt, policy, request.deadline, on_failure=failed)
        answered = reply.model.partition("/")[2]
        return replace(reply, cost_usd=self._book.cost(name, reply.usage, answered=answered, api_url=url))

    async def _leave(self, request: ModelRequest, model: str, patience: float, log: CallLog) -> Pass:
        """Wait until the breaker lets the call through. Raises ModelUnavailableError where it takes too long."""
        breaker = self.breaker(model)
        leave = breaker.admit()
        if leave is not None:
            return leave
        started, begun = time.time(), self._clock()
        while leave is None:
            left = patience - (self._clock() - begun)
            if request.deadline is not None:
                left = min(left, request.deadline - time.time())
            if left <= 0 or breaker.opens_in_s > left:
                raise ModelUnavailableError(
                    f"{model} failed again and again, and is left alone for another {breaker.opens_in_s:.3g} s",
                    model=model,
                    provider=model.partition("/")[0],
                    retryable=False,
                    retry_after_s=breaker.opens_in_s,
                    hint="Use another model, or resume the run later.",
                )
            await breaker.changed(left)
            leave = breaker.admit()
        log.waits.append(
            Wait(model=model, reason=f"circuit breaker of {model}", started=started, ended=time.time())
        )
        return leave

    async def _once(
        self,
        request: ModelRequest,
        name: ModelName,
        provider: Provider,
        url: str,
        patience: float,
        log: CallLog,
        parts: Parts | None,
    ) -> ModelReply:
        await prepare(provider, request)
        ticket = await self._reserve(request, name, url, patience, log)
        try:
            self._ledger.sent(ticket)
            log.attempts += 1
            reply = await ask(provider, request, parts)
        except ModelError as error:
            self._settle_failure(ticket, error)
            raise
        except BaseException:
            self._ledger.settle(ticket, None)
            raise
        usage = reply.usage if reply.usage.input_tokens or reply.usage.output_tokens else None
        cost = self._book.cost(name, reply.usage, api_url=url) if ticket.usd_nano else None
        self._ledger.settle(ticket, usage, cost)
        return reply

    async def _reserve(
        self, request: ModelRequest, name: ModelName, url: str, patience: float, log: CallLog
    ) -> Ticket:
        model = str(name)
        input_tokens = 0 if model == OFFLINE else most_input_tokens(request)
        output_tokens = request.max_tokens or OUTPUT_TOKENS
        usd = None
        if self._ledger.bounds_cost(model, request.crew):
            usd = self._book.cost(
                name, Usage(input_tokens=input_tokens, output_tokens=output_tokens), api_url=url
            )
        paused = self._ledger.paused_s(model)
        if paused > patience:
            raise ModelRateLimitError(
                f"{model} is paused for another {paused:.3g} s",
                model=model,
                provider=name.provider,
                retry_after_s=paused,
                hint="Its provider asked for the pause. Use another model, or resume the run later.",
            )
        ticket = await self._ledger.reserve(
            model,
            run_id=request.run_id,
            crew=request.crew,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            usd=usd,
            deadline=request.deadline,
        )
        if ticket.waited_for:
            ended = time.time()
            log.waits.append(
                Wait(model=model, reason=ticket.waited_for, started=ended - ticket.waited_s, ended=ended)
            )
        return ticket

    def _settle_failure(self, ticket: Ticket, error: ModelError) -> None:
        if _was_not_sent(error):
            self._ledger.release(ticket)
            return
        self._ledger.settle(ticket, Usage() if (error.status or 0) >= 300 else None)
        if isinstance(error, ModelRateLimitError) and error.retry_after_s:
            self._ledger.pause(ticket.model, error.retry_after_s)


def fitted(request: ModelRequest, name: ModelName, book: ModelBook, config: GatewayConfig) -> ModelRequest:
    """The request as this model takes it: its name, how output is asked for, no more output than it writes."""
    if name.provider == OFFLINE:
        return replace(request, model=OFFLINE, candidates=()) if request.model != OFFLINE else request
    facts = book.of(str(name))
    mode = request.output_mode
    if request.output is not None and mode == "native" and facts.json is False:
        mode = "tool" if facts.tools is not False else "prompt"
    most = request.max_tokens
    if most is None and name.provider == "anthropic" and facts.max_output is not None:
        most = min(config.default_max_tokens, facts.max_output)
    model = str(name)
    if (request.model, request.candidates, request.output_mode, request.max_tokens) == (
        model,
        (),
        mode,
        most,
    ):
        return request
    return replace(request, model=model, candidates=(), output_mode=mode, max_tokens=most)


def _another_may(error: ModelError | LimitError) -> bool:
    """Whether another model may answer what this one did not."""
    return not isinstance(error, ModelRequestError) or error.status == 404


def _tell(breaker: Breaker, leave: Pass, error: CallsheetError) -> None:
    if isinstance(error, ModelUnavailableError | ModelReplyError) and error.retryable:
        breaker.failed(leave)
    elif getattr(error, "status", None) is not None:
        breaker.succeeded(leave)
    else:
        breaker.unsure(leave)


def _was_not_sent(error: ModelError) -> bool:
    """Whether the request is known not to have reached the server: no key, no body, no connection."""
    if isinstance(error, ModelAuthError | ModelRequestError):
        return error.status is None
    # aiohttp's own, of which the client makes ours: nobody was there to take the request.
    causes = () if error.__context__ is None else type(error.__context__).__mro__
    return any(cause.__name__ == "ClientConnectorError" for cause in causes)
