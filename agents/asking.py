"""The model calls of one turn, each a recorded step; through a cascade where the agent has one."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from callsheet.agents.agent import Agent
from callsheet.agents.data import storable
from callsheet.core.canonical import digest, from_json
from callsheet.core.errors import AgentError, ModelError
from callsheet.core.ids import turn_span_id
from callsheet.core.limits import RunUsage
from callsheet.models.catalogue import OFFLINE
from callsheet.models.messages import (
    Message,
    ModelReply,
    ModelRequest,
    OutputSpec,
    ToolSpec,
    assistant,
    reply_from_data,
    reply_to_data,
)
from callsheet.models.policy import AgentModel, Cascade, levels_of, model_from_data, text_of
from callsheet.models.quotes import OUTPUT_TOKENS, Quote, most_input_tokens
from callsheet.models.router import needs_of
from callsheet.runtime.speech import Speech
from callsheet.runtime.turns import Turn

Accepts = Callable[[Any], Awaitable[bool]]

_CACHE: dict[bool | None, Literal["auto", "on", "off"]] = {None: "auto", True: "on", False: "off"}


class Conversation:
    """The messages of one turn, with a digest that is chained: a step costs its own length, not the whole."""

    def __init__(self, settings: str, first: Message, output: OutputSpec | None) -> None:
        self.messages: list[Message] = [first]
        self.output = output
        self.digest = digest(settings, "" if output is None else output.schema)

    def add(self, message: Message) -> None:
        """One more message."""
        self.messages.append(message)
        self.digest = digest(self.digest, repr(message))

    @property
    def last_text(self) -> str:
        """What the model said last."""
        return next((m.text for m in reversed(self.messages) if m.role == "assistant" and m.text), "")


class Asking:
    """Asks the model that the run or the agent names, or the one of its cascade that the turn has come to.

    A cascade that has gone on stays there until the turn ends. What a model could not answer is recorded like
    an answer, so that a resumed turn takes the same way.
    """

    def __init__(
        self, turn: Turn, agent: Agent, specs: Sequence[ToolSpec], extra: str, *, at_last: bool = False
    ) -> None:
        self._turn, self._agent = turn, agent
        self._specs, self._extra = tuple(specs), extra
        options = from_json(turn.info.options)
        given = options.get("model")
        own = agent.model or options.get("default_model") or OFFLINE
        model: AgentModel = model_from_data(given) if given else own
        self._levels = levels_of(model)
        self._accept = model.accept if isinstance(model, Cascade) else None
        self._level = len(self._levels) - 1 if at_last else 0
        self._streams = bool(options.get("stream"))
        self._record, self._replay = options.get("record") or "", options.get("replay") or ""
        self._speech: Speech | None = None

    @property
    def has_next(self) -> bool:
        """Whether there is another model, for when the answer of this one will not do."""
        return self._level + 1 < len(self._levels)

    def go_on(self) -> None:
        """The answer will not do: the next model is asked, and what was said of it is taken back."""
        self._level += 1
        if self._speech is not None:
            self._speech.say(None)

    async def accepts(self, answer: Any) -> bool:
        """What the user's check says. Raises AgentError where it fails itself."""
        if self._accept is None:
            return True
        try:
            verdict = self._accept(answer)
            if inspect.isawaitable(verdict):
                verdict = await verdict
        except Exception as error:
            raise AgentError(
                f"{self._agent.name}: `accept` of its cascade failed: {type(error).__name__}: {error}",
                agent=self._agent.name, run_id=self._turn.info.run_id,
                hint="It takes the answer (of the agent's output type, else text), and returns true or false.",
            ) from error  # fmt: skip
        return bool(verdict)

    async def ask(self, conversation: Conversation) -> ModelReply:
        """The reply, from the journal if it was given before. Raises ModelError from the last model alone."""
        turn, level = self._turn, self._levels[self._level]
        model = text_of(level)
        limits = turn.info.limits
        budgeted = limits.budget_usd is not None or limits.budget_tokens is not None
        begins_again = self._speech
        self._speech = None

        def request() -> ModelRequest:
            return ModelRequest(
                id=uuid.uuid4().hex, model=model, messages=tuple(conversation.messages), tools=self._specs,
                output=conversation.output, temperature=self._agent.temperature,
                cache=_CACHE[self._agent.cache],
                max_tokens=self._agent.max_tokens or (OUTPUT_TOKENS if budgeted else None),
                extra=self._extra, deadline=turn.info.deadline,
                run_id=turn.info.run_id, turn_id=turn.id, agent=self._agent.name, crew=turn.info.crew,
                session_id=turn.info.session_id, parent_span_id=turn_span_id(turn.id),
                record=self._record, replay=self._replay,
            )  # fmt: skip

        async def call(_: int) -> tuple[dict[str, Any], RunUsage]:
            try:
                reply = await self._answer(request(), begins_again)
            except ModelError as error:
                if not self.has_next:
                    raise
                reply = _no_answer(model, error)
                return storable(reply_to_data(reply)), RunUsage()
            return storable(reply_to_data(reply)), _usage(reply)

        async def worst() -> RunUsage:
            return await _worst(turn, request())

        shown = {"model": model, "messages": len(conversation.messages), "conversation": conversation.digest}
        data = await turn.step(
            "llm", str(level), digest(model, conversation.digest), call, shown_input=shown,
            worst=worst if budgeted else None,
        )  # fmt: skip
        return reply_from_data(data)

    async def _answer(self, request: ModelRequest, begins_again: Speech | None) -> ModelReply:
        """The gateway's answer; what it says meanwhile goes to who follows the run, where that is wanted."""
        gateway = self._turn.services["gateway"]
        if not (self._streams or self._turn.info.listened):
            reply: ModelReply = await gateway(request)
            return reply
        speech = self._speech = begins_again or self._turn.speech()
        try:
            reply = await gateway(replace(request, stream=True), speech.say)
        finally:
            speech.end()
        return reply


def unanswered(reply: ModelReply) -> bool:
    """Whether it stands for a model of a cascade that could not be asked."""
    return reply.attempts == 0


def _no_answer(model: str, error: ModelError) -> ModelReply:
    told = f"({type(error).__name__}: {error.message})"
    return ModelReply(
        request_id="", message=assistant(told), stop="other", model=model, cost_usd=0.0, attempts=0
    )


async def _worst(turn: Turn, request: ModelRequest) -> RunUsage:
    """What the call may use at most. A model without a known price has no part in the budget in USD."""
    tokens = most_input_tokens(request)
    output = request.max_tokens or OUTPUT_TOKENS
    quote = Quote(
        model=request.model, input_tokens=tokens, output_tokens=output, abilities=needs_of(request).abilities,
        replay=request.replay,
    )  # fmt: skip
    usd: float | None = await turn.services["gateway"](quote)
    return RunUsage(input_tokens=tokens, output_tokens=output, cost_usd=usd or 0.0)


def _usage(reply: ModelReply) -> RunUsage:
    return RunUsage(
        llm_calls=1, input_tokens=reply.usage.input_tokens, output_tokens=reply.usage.output_tokens,
        cost_usd=reply.cost_usd or 0.0, unpriced_calls=int(reply.cost_usd is None),
        cached_calls=int(reply.source == "cache"),
    )  # fmt: skip
