"""The way of one call: retries, the next model, breakers, limits; what is told of it, and to who reads along."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

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
from callsheet.models.call_log import CallLog
from callsheet.models.catalogue import ModelName
from callsheet.models.config import GatewayConfig
from callsheet.models.ledger import Ledger
from callsheet.models.limits import parse_limits
from callsheet.models.llm_span import llm_span, wait_spans
from callsheet.models.messages import ModelReply, ModelRequest, OutputSpec, Usage, assistant, user
from callsheet.models.model_facts import ModelBook
from callsheet.models.pipeline import Pipeline

A, B, C = "openai/gpt-4o", "anthropic/claude-haiku-4-5", "ollama/llama3.2"
DOWN = ModelUnavailableError("it is down", status=500)
BUSY = ModelRateLimitError("too many", status=429)


class Models:
    """Providers that answer from scripts by model: replies, errors, or functions of request and emit."""

    def __init__(self, **scripts: list[Any]) -> None:
        self.scripts: dict[str, list[Any]] = defaultdict(list)
        self.asked: list[ModelRequest] = []

    def of(self, name: ModelName) -> tuple[Any, str]:
        return self, ""

    async def complete(self, request: ModelRequest, deadline: float | None) -> ModelReply:
        return await self.stream(request, deadline, lambda _: None)

    async def stream(
        self, request: ModelRequest, deadline: float | None, emit: Callable[[str], None]
    ) -> ModelReply:
        self.asked.append(request)
        script = self.scripts[request.model]
        found = script.pop(0) if len(script) > 1 else script[0]
        if callable(found):
            found = await found(request, emit)
        if isinstance(found, CallsheetError):
            raise CallsheetError.from_dict(found.to_dict())
        emit(found)
        return ModelReply(
            request_id=request.id, message=assistant(found), stop="end", model=request.model,
            usage=Usage(input_tokens=10, output_tokens=5),
        )  # fmt: skip

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def names(self) -> list[str]:
        return [request.model for request in self.asked]


class World:
    def __init__(self, limits: Any = None, **config: Any) -> None:
        self.now = 1000.0
        self.models = Models()
        self.config = GatewayConfig(**{"first_backoff_s": 0.0, "max_attempts": 2, **config})
        self.ledger = Ledger(parse_limits(limits or {}), window_s=0.3, margin_s=0.01)
        self.pipeline = Pipeline(
            self.config, self.ledger, ModelBook(), self.models.of, clock=lambda: self.now
        )
        self.log = CallLog()

    async def ask(self, *names: str, emit: Any = None, **fields: Any) -> ModelReply:
        self.log = CallLog()
        request = ModelRequest(**{"id": "r", "model": names[0], "messages": (user("Hi"),), **fields})
        return await self.pipeline.answer(request, names, self.log, emit)


@pytest.fixture
def world() -> World:
    return World()


async def test_a_failure_that_outlasts_its_retries_goes_to_the_next_model(world: World) -> None:
    world.models.scripts |= {A: [DOWN], B: ["from b"]}
    reply = await world.ask(A, B)
    assert reply.message.text == "from b"
    assert world.models.names == [A, A, B]
    assert [(failure.model, failure.cause.split(":")[0]) for failure in world.log.failures] == [
        (A, "ModelUnavailableError (status 500)")
    ] * 2
    assert world.log.attempts == 3


@pytest.mark.parametrize(
    "error",
    [
        ModelAuthError("no such key", status=401),
        ModelRateLimitError("the quota is used up", status=429, retryable=False),
        ModelRequestError("no such model", status=404),
        ModelRateLimitError("come back in an hour", status=429, retry_after_s=3600.0),
    ],
    ids=["key", "quota", "unknown model", "long wait"],
)
async def test_what_no_retry_mends_but_another_model_may_is_not_retried(
    world: World, error: ModelError
) -> None:
    world.models.scripts |= {A: [error], B: ["from b"]}
    assert (await world.ask(A, B)).message.text == "from b"
    assert world.models.names == [A, B]


async def test_a_request_that_is_wrong_in_itself_fails_at_once(world: World) -> None:
    world.models.scripts |= {A: [ModelRequestError("bad tool schema", status=400)], B: ["from b"]}
    with pytest.raises(ModelRequestError, match="bad tool schema"):
        await world.ask(A, B)
    assert world.models.names == [A]


async def test_the_last_error_says_which_models_were_asked_before(world: World) -> None:
    world.models.scripts |= {A: [DOWN], B: [DOWN]}
    with pytest.raises(ModelUnavailableError, match=rf"after 2 attempts\) \(before it: {A}\)"):
        await world.ask(A, B)


async def test_no_model_is_asked_after_the_deadline(world: World) -> None:
    async def late(request: ModelRequest, emit: Any) -> Any:
        while time.time() < (request.deadline or 0):
            await asyncio.sleep(0)
        return DOWN

    world.models.scripts |= {A: [late], B: ["from b"]}
    with pytest.raises(ModelUnavailableError):
        await world.ask(A, B, deadline=time.time() + 0.02)
    assert world.models.names == [A]


async def test_a_stream_that_breaks_begins_again_and_reads_as_one_clean_text(world: World) -> None:
    async def breaks(request: ModelRequest, emit: Any) -> Any:
        emit("Once upon")
        return ModelReplyError("the stream broke off")

    for scripts in ({A: [breaks, "The whole."]}, {A: [breaks, breaks], B: ["The whole."]}):
        world.models.scripts |= scripts
        heard: list[str | None] = []
        reply = await world.ask(A, B, emit=heard.append)
        assert reply.message.text == "The whole."
        assert None in heard
        last = max(number for number, part in enumerate(heard) if part is None)
        assert "".join(part for part in heard[last + 1 :] if part) == "The whole."


async def test_nobody_is_told_to_begin_again_who_has_heard_nothing(world: World) -> None:
    world.models.scripts |= {A: [DOWN, "Hello."]}
    heard: list[str | None] = []
    await world.ask(A, emit=heard.append)
    assert heard == ["Hello."]


async def test_a_model_that_keeps_failing_is_left_alone_and_probed_after_a_pause() -> None:
    world = World(breaker_failures=2, breaker_pause_s=30.0)
    world.models.scripts |= {A: [DOWN], B: ["from b"]}
    await world.ask(A, B)
    world.models.asked.clear()
    await world.ask(A, B)
    assert world.models.names == [B]  # not asked at all
    assert "left alone" in world.log.failures[0].cause
    world.now += 30
    world.models.scripts[A] = ["from a"]
    assert (await world.ask(A, B)).message.text == "from a"
    assert world.pipeline.breaker(A).state == "closed"


async def test_a_call_with_no_other_model_waits_for_the_probe_and_says_so() -> None:
    world = World(breaker_failures=1, max_attempts=1, breaker_pause_s=30.0)
    world.models.scripts |= {A: [DOWN]}
    with pytest.raises(ModelUnavailableError):
        await world.ask(A)
    world.now += 30
    gate = asyncio.Event()

    async def slow(request: ModelRequest, emit: Any) -> Any:
        await gate.wait()
        return "back"

    world.models.scripts[A] = [slow]
    probe = asyncio.create_task(world.ask(A))
    while len(world.models.asked) < 2:
        await asyncio.sleep(0)
    waiter_log = CallLog()
    request = ModelRequest(id="w", model=A, messages=(user("Hi"),), run_id="run-1", parent_span_id="a" * 16)
    waiter = asyncio.create_task(world.pipeline.answer(request, (A,), waiter_log))
    await asyncio.sleep(0)
    assert len(world.models.asked) == 2  # the waiter has not been sent
    gate.set()
    assert [(await probe).message.text, (await waiter).message.text] == ["back", "back"]
    (span,) = wait_spans(request, waiter_log)
    assert (span.reason, span.run_id, span.parent_span_id) == (f"circuit breaker of {A}", "run-1", "a" * 16)


async def test_a_pause_longer_than_anyone_waits_fails_at_once() -> None:
    world = World(breaker_failures=1, max_attempts=1, breaker_pause_s=100.0)
    world.models.scripts |= {A: [DOWN]}
    for _ in range(2):
        with pytest.raises(ModelUnavailableError) as caught:
            await world.ask(A)
    assert caught.value.retry_after_s == 100
    assert len(world.models.asked) == 1


@pytest.mark.parametrize(
    "error", [BUSY, ModelRequestError("no", status=400), ModelAuthError("no", status=401)]
)
async def test_refusals_open_no_breaker(error: ModelError) -> None:
    world = World(breaker_failures=1, max_attempts=1)
    world.models.scripts |= {A: [error]}
    for _ in range(3):
        with pytest.raises(ModelError):
            await world.ask(A)
    assert world.pipeline.breaker(A).state == "closed"


async def test_a_wait_for_a_limit_is_in_the_log_with_its_reason() -> None:
    world = World({A: {"requests_per_minute": 1}})
    world.models.scripts |= {A: ["one"]}
    await world.ask(A)
    assert world.log.waits == []
    await world.ask(A)
    (wait,) = world.log.waits
    assert wait.reason == f"requests_per_minute of {A}"
    assert wait.ended > wait.started


async def test_a_pause_asked_for_by_the_provider_holds_for_everybody(world: World) -> None:
    world.models.scripts |= {A: [ModelRateLimitError("slow down", status=429, retry_after_s=50.0)], B: ["b"]}
    await world.ask(A, B)
    world.models.asked.clear()
    await world.ask(A, B)
    assert world.models.names == [B]
    assert "is paused for another" in world.log.failures[0].cause


async def test_a_days_budget_that_has_room_for_none_of_the_models_stops_the_call() -> None:
    world = World({"*": {"usd_per_day": 1e-9}})
    world.models.scripts |= {A: ["a"], B: ["b"]}
    with pytest.raises(LimitError) as caught:
        await world.ask(A, B)
    assert world.models.asked == []
    assert f"this call of {B}" in caught.value.message
    assert f"before it: {A}" in caught.value.message
    assert caught.value.limit == "usd_per_day"


async def test_what_a_days_budget_has_no_room_for_is_asked_of_the_next_model_that_fits_into_it() -> None:
    world = World({"*": {"usd_per_day": 0.0075}})  # 1,000 tokens of output cost 0.01 USD of A, and 0.005 of B
    world.models.scripts |= {A: ["a"], B: ["b"]}
    assert (await world.ask(A, B, max_tokens=1000)).message.text == "b"
    assert world.models.names == [B]
    (failure,) = world.log.failures
    assert failure.model == A
    assert "the day's budget" in failure.cause
    with pytest.raises(LimitError):
        await world.ask(A, max_tokens=1000)


async def test_what_was_reserved_for_a_call_that_was_given_up_is_settled() -> None:
    world = World({A: {"in_flight": 1}})

    async def forever(request: ModelRequest, emit: Any) -> Any:
        await asyncio.Event().wait()

    world.models.scripts |= {A: [forever, "next"]}
    call = asyncio.create_task(world.ask(A))
    while not world.models.asked:
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await asyncio.wait_for(world.ask(A), 5)).message.text == "next"


async def test_each_model_is_asked_in_the_way_that_it_understands(world: World) -> None:
    world.models.scripts |= {"openai/gpt-4-turbo": [DOWN], "anthropic/claude-3-haiku-20240307": ["{}"]}
    output = OutputSpec(name="o", schema='{"type": "object"}')
    await world.ask("openai/gpt-4-turbo", "anthropic/claude-3-haiku-20240307", output=output)
    first, *_, last = world.models.asked
    assert first.output_mode == "tool"  # it has no native structured output
    assert first.max_tokens is None
    assert last.max_tokens == 4096  # more than it writes would be refused


async def test_the_trace_has_every_attempt_with_its_cause_and_the_choice(world: World) -> None:
    world.models.scripts |= {A: [DOWN], B: ["from b"]}
    request = ModelRequest(id="r", model='policy:{"tier":"fast"}', messages=(user("Hi"),), run_id="run-1")
    world.log = CallLog(
        policy="fast model", choices=((A, "fast; at most 0.1 USD"), (B, "fast; at most 0.2 USD"))
    )
    reply = await world.pipeline.answer(request, (A, B), world.log)
    span = llm_span(request, reply, None, 1.0, 2.0, log=world.log)
    assert (span.model, span.provider) == (B, "anthropic")
    assert span.notes["policy"] == "fast model"
    assert span.notes["choices"] == [f"{A}: fast; at most 0.1 USD", f"{B}: fast; at most 0.2 USD"]
    causes = [attempt["cause"] for attempt in span.notes["failed_attempts"]]
    assert causes == ["ModelUnavailableError (status 500): it is down"] * 2
    bare = llm_span(request, reply, None, 1.0, 2.0, content=False, log=world.log)
    assert "it is down" not in str(bare.notes)
