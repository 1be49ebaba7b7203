"""One agent at work in a small town: its process can die, and a person can be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from callsheet.agents import Agent
from callsheet.agents.thinking import Thinker
from callsheet.core.canonical import from_json, to_json
from callsheet.core.events import EndRun
from callsheet.core.limits import Limits
from callsheet.core.records import Envelope, Step, is_question
from callsheet.runtime.protocol import ResumeRun
from callsheet.runtime.turns import Turn
from callsheet.tools import Tool
from tests.unit.crews.fake_models import Script, ScriptedGateway
from tests.unit.runtime.town import Town, given

RUN = "run-000001"


class Desk:
    """A run of a clerk with tools, whose model answers from a script.

    The model's replies are in the journal, so a script tells the whole turn, over all its attempts.
    """

    def __init__(
        self, path: Path, *tools: Tool, script: Script, limits: Limits | None = None, **fields: Any
    ) -> None:
        self.town = Town(path)
        self.gateway = ScriptedGateway(script)
        self.tools = tools
        self.limits = limits
        self.fields = fields

    async def open(self) -> None:
        """The crew is there, and the run begins."""

        async def flow(turn: Turn) -> Any:
            return await turn.ask("clerk", {"input": given(turn)})

        await self.town.join("flow", flow).joined()
        await self.begin_clerk()
        self.town.start(RUN, "Do it.", self.limits)

    async def begin_clerk(self) -> None:
        """The clerk's process, the first one or the next."""
        think = Thinker(Agent("clerk", role="You help.", tools=self.tools, **self.fields), "crew")

        async def handler(turn: Turn) -> Any:
            turn.services = {"gateway": self.gateway.handle}
            return await think(turn)

        await self.town.join("clerk", handler).joined()

    async def crash(self) -> None:
        """The clerk's process dies, and another takes its place."""
        await self.town.kill("clerk")
        await self.begin_clerk()

    async def records(self) -> tuple[list[Envelope], list[Step]]:
        """What is in the journal of the run."""
        _, envelopes, steps = await self.town.client.query("run", run_id=RUN)
        return envelopes, steps

    async def status(self) -> str:
        """The run's status, as the journal has it."""
        record, _, _ = await self.town.client.query("run", run_id=RUN)
        status: str = record.status
        return status

    async def questions(self, count: int = 1) -> list[Envelope]:
        """The open questions, once there are so many and the run waits for nothing else."""
        while True:
            envelopes, _ = await self.records()
            answered = {e.reply_to for e in envelopes if e.reply_to}
            found = [e for e in envelopes if is_question(e) and e.id not in answered]
            if len(found) == count and await self.status() == "waiting":
                return found

    async def question(self) -> dict[str, Any]:
        """The body of the only open question."""
        (found,) = await self.questions()
        body: dict[str, Any] = from_json(found.body)
        return body

    async def answer(self, output: Any, question: Envelope | None = None) -> None:
        """A person answers."""
        if question is None:
            (question,) = await self.questions()
        reply = (question.id, to_json({"output": output}))
        self.town.client.resume(ResumeRun(run_id=RUN, launch="crew", reply=reply))

    async def decide(self, decision: str, text: str = "", question: Envelope | None = None) -> None:
        """A person decides on a tool call."""
        await self.answer({"decision": decision, "text": text}, question)

    async def end(self) -> EndRun:
        """How the run ended."""
        return await self.town.end(RUN)

    def told(self) -> list[tuple[str, bool]]:
        """What the model was told of its calls: (text, whether it is an error)."""
        return [(result.content, result.is_error) for result in self.gateway.results()]
