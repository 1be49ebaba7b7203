"""The think–act loop: ask the model, run the tools it calls, until it answers."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from callsheet.agents.acting import Acting
from callsheet.agents.agent import Agent
from callsheet.agents.bodies import output_spec_of, prompt_of, repair_prompt
from callsheet.agents.data import storable
from callsheet.agents.output import OutputFormatError, output_type
from callsheet.core.canonical import digest, from_json, to_json
from callsheet.core.errors import AgentError, LimitError, OutputError
from callsheet.core.ids import turn_span_id
from callsheet.core.limits import RunUsage
from callsheet.models.messages import (
    Message,
    ModelReply,
    ModelRequest,
    OutputSpec,
    ToolSpec,
    assistant,
    reply_from_data,
    reply_to_data,
    system,
    tool_results,
    user,
)
from callsheet.models.quotes import OUTPUT_TOKENS, Quote, most_input_tokens
from callsheet.runtime.turns import Turn

REPAIRS = 2
"""How often a model is told that its answer does not fit."""


class Thinker:
    """Handles an agent's messages. Prompts, schemas and checks are made here once, never per run."""

    def __init__(self, agent: Agent, crew: str) -> None:
        self._agent = agent
        self._tools = {tool.name: tool for tool in agent.tools}
        self._specs = tuple(
            ToolSpec(name=t.name, description=t.description, schema=t.schema) for t in agent.tools
        )
        self._system = system(agent.role.prompt(agent.name, crew))
        self._extra = to_json(agent.extra)
        self._output = None if agent.output is None else output_type(agent.output)
        self._settings = digest(
            self._system.text, to_json([[s.name, s.description, s.schema] for s in self._specs]),
            to_json([agent.temperature, agent.max_tokens]), self._extra,
        )  # fmt: skip

    async def __call__(self, turn: Turn) -> dict[str, Any]:
        """One turn: the reply's body, `{"output": …}`."""
        body = from_json(turn.envelope.body)
        wanted = output_spec_of(body)
        if wanted is None and self._output is not None:
            wanted = OutputSpec(
                name=self._output.name, schema=self._output.schema, description=self._output.description
            )
        conversation = _Conversation(self._settings, self._system, wanted)
        conversation.add(user(prompt_of(body), name=_speaker(turn.envelope.sender)))
        for attempt in body.get("repair", ()):
            conversation.add(assistant(attempt["answer"]))
            conversation.add(user(repair_prompt(attempt["fault"])))
        acting = Acting(self._agent.name, self._tools, turn)
        repairs = 0
        allowed = turn.info.limits.model_calls_per_turn
        for number in range(1, allowed + 1):
            reply = await self._think(turn, conversation)
            conversation.add(reply.message)
            self._check_stop(turn, reply)
            if reply.message.tool_calls:
                if number < allowed:  # nobody would read the last call's results
                    conversation.add(tool_results(*await acting.run(reply.message.tool_calls)))
                continue
            text = reply.message.text
            if self._output is None or "output_format" in body:
                return {"output": text}  # whoever asked for a format checks it, having the type
            try:
                return {"output": self._output.read(text)}
            except OutputFormatError as fault:
                if repairs == REPAIRS:
                    raise OutputError(
                        f"{self._agent.name}'s answer does not fit {self._output.name} after "
                        f"{REPAIRS} corrections:\n{fault}",
                        agent=self._agent.name, run_id=turn.info.run_id, partial=text,
                        hint="Loosen the output type, or use a model that keeps to a format.",
                    ) from None  # fmt: skip
                repairs += 1
                conversation.add(user(repair_prompt(str(fault))))
        raise LimitError(
            f"{self._agent.name} had no answer after {allowed} model calls in one turn",
            run_id=turn.info.run_id, limit="model_calls_per_turn", allowed=allowed, used=allowed,
            partial=conversation.last_text, hint="Raise Limits.model_calls_per_turn, or give it a smaller task.",
        )  # fmt: skip

    async def _think(self, turn: Turn, conversation: _Conversation) -> ModelReply:
        options = from_json(turn.info.options)
        model = options.get("model") or self._agent.model or options.get("default_model") or "offline"

        limits = turn.info.limits
        budgeted = limits.budget_usd is not None or limits.budget_tokens is not None

        def request() -> ModelRequest:
            return ModelRequest(
                id=uuid.uuid4().hex, model=model, messages=tuple(conversation.messages), tools=self._specs,
                output=conversation.output, temperature=self._agent.temperature,
                max_tokens=self._agent.max_tokens or (OUTPUT_TOKENS if budgeted else None),
                extra=self._extra, deadline=turn.info.deadline,
                run_id=turn.info.run_id, turn_id=turn.id, agent=self._agent.name, crew=turn.info.crew,
                session_id=turn.info.session_id, parent_span_id=turn_span_id(turn.id),
            )  # fmt: skip

        async def call(_: int) -> tuple[dict[str, Any], RunUsage]:
            reply = await _answer(turn, request(), stream=bool(options.get("stream")))
            return storable(reply_to_data(reply)), _usage(reply)

        async def worst() -> RunUsage:
            return await _worst(turn, request())

        shown = {"model": model, "messages": len(conversation.messages), "conversation": conversation.digest}
        data = await turn.step(
            "llm", model, digest(model, conversation.digest), call, shown_input=shown,
            worst=worst if budgeted else None,
        )  # fmt: skip
        return reply_from_data(data)

    def _check_stop(self, turn: Turn, reply: ModelReply) -> None:
        text = reply.message.text
        if reply.stop in ("refusal", "content_filter"):
            raise AgentError(
                f"{self._agent.name}: the model would not answer ({reply.stop}): {text[:300]}",
                agent=self._agent.name, run_id=turn.info.run_id, partial=text,
                hint="Change the task or the role, or use another model.",
            )  # fmt: skip
        if reply.stop == "length" and not reply.message.tool_calls:
            # A call that was cut off is told to the model as arguments that do not parse.
            raise AgentError(
                f"{self._agent.name}: the model's answer was cut off at its token limit",
                agent=self._agent.name, run_id=turn.info.run_id, partial=text,
                hint="Raise the agent's max_tokens.",
            )  # fmt: skip


class _Conversation:
    """The messages of one turn, with a digest that is chained: a step costs its own length, not the whole."""

    def __init__(self, settings: str, first: Message, output: OutputSpec | None) -> None:
        self.messages: list[Message] = [first]
        self.output = output
        self.digest = digest(settings, "" if output is None else output.schema)

    def add(self, message: Message) -> None:
        self.messages.append(message)
        self.digest = digest(self.digest, repr(message))

    @property
    def last_text(self) -> str:
        return next((m.text for m in reversed(self.messages) if m.role == "assistant" and m.text), "")


async def _answer(turn: Turn, request: ModelRequest, *, stream: bool) -> ModelReply:
    """The gateway's answer; what it says meanwhile goes to who follows the run, where that is wanted."""
    gateway = turn.services["gateway"]
    if not stream:
        reply: ModelReply = await gateway(request)
        return reply
    speech = turn.speech()
    try:
        reply = await gateway(replace(request, stream=True), speech.say)
    finally:
        speech.end()
    return reply


async def _worst(turn: Turn, request: ModelRequest) -> RunUsage:
    """What the call may use at most. A model without a known price has no part in the budget in USD."""
    tokens = most_input_tokens(request)
    output = request.max_tokens or OUTPUT_TOKENS
    quote = Quote(model=request.model, input_tokens=tokens, output_tokens=output)
    usd: float | None = await turn.services["gateway"](quote)
    return RunUsage(input_tokens=tokens, output_tokens=output, cost_usd=usd or 0.0)


def _usage(reply: ModelReply) -> RunUsage:
    return RunUsage(
        llm_calls=1, input_tokens=reply.usage.input_tokens, output_tokens=reply.usage.output_tokens,
        cost_usd=reply.cost_usd or 0.0, unpriced_calls=int(reply.cost_usd is None),
    )  # fmt: skip


def _speaker(sender: str) -> str | None:
    return None if sender == "flow" else sender
