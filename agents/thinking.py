"""The think–act loop: ask the model, run the tools it calls, until it answers."""

from __future__ import annotations

from typing import Any

from callsheet.agents import asking
from callsheet.agents.acting import Acting
from callsheet.agents.agent import Agent
from callsheet.agents.asking import Accepts, Asking, Conversation
from callsheet.agents.bodies import output_spec_of, prompt_of, repair_prompt
from callsheet.agents.functions import Offered
from callsheet.agents.output import OutputFormatError, output_type, plausible
from callsheet.core.canonical import digest, from_json, to_json
from callsheet.core.errors import AgentError, LimitError, OutputError
from callsheet.models.messages import (
    ModelReply,
    OutputSpec,
    ToolSpec,
    assistant,
    system,
    tool_results,
    user,
)
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
        """One turn: the reply's body, `{"output": …}`; with `"called"`, calls of functions that were offered."""
        body = from_json(turn.envelope.body)
        wanted = output_spec_of(body)
        if wanted is None and self._output is not None:
            wanted = OutputSpec(
                name=self._output.name, schema=self._output.schema, description=self._output.description
            )
        offered = None
        settings, specs = self._settings, self._specs
        if "functions" in body:
            offered = Offered(body["functions"], self._agent.name, tuple(self._tools))
            settings, specs = digest(settings, offered.text), specs + offered.specs
        conversation = Conversation(settings, self._system, wanted)
        conversation.add(user(prompt_of(body), name=_speaker(turn.envelope.sender)))
        for attempt in body.get("repair", ()):
            conversation.add(assistant(attempt["answer"]))
            conversation.add(user(repair_prompt(attempt["fault"])))
        # Whoever asks again for its format has had an answer that did not fit: the best one mends it.
        models = Asking(turn, self._agent, specs, self._extra, at_last=bool(body.get("repair")))
        acting = Acting(self._agent.name, self._tools, turn)
        repairs = 0
        allowed = turn.info.limits.model_calls_per_turn
        for number in range(1, allowed + 1):
            reply = await models.ask(conversation)
            if models.has_next and await self._will_not_do(reply, wanted, models.accepts):
                models.go_on()
                continue
            conversation.add(reply.message)
            self._check_stop(turn, reply)
            if reply.message.tool_calls:
                if offered is not None and offered.called(reply.message.tool_calls):
                    found = offered.calls(reply.message.tool_calls)
                    if isinstance(found, list):
                        return {"output": found, "called": True}
                    conversation.add(tool_results(*found))
                    continue
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

    async def _will_not_do(self, reply: ModelReply, wanted: OutputSpec | None, accepts: Accepts) -> bool:
        """Whether a cascade goes on from this reply to its next model."""
        if asking.unanswered(reply) or reply.stop in ("refusal", "content_filter"):
            return True
        if reply.message.tool_calls:
            return False
        text = reply.message.text
        if reply.stop == "length" or (self._output is None and wanted and not plausible(wanted.schema, text)):
            return True
        try:
            value = text if self._output is None else self._output.value(self._output.read(text))
        except OutputFormatError:
            return True
        return not await accepts(value)

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


def _speaker(sender: str) -> str | None:
    return None if sender == "flow" else sender
