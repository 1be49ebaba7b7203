"""A bench that is killed twice ends with each case exactly once, and pays for no finished model call again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

from aiohttp import web

from callsheet.runtime.journal import Journal

CASES = 300
AT_ONCE = 12
WAIT_S = 90.0

SUITE = """
from callsheet import Agent, Crew
from callsheet.scenarios import Case, Suite

cases = [Case(id=f"case-{n}", input=f"What is {n}?", expected=f"it is {n}") for n in range(300)]
crew = Crew("solver", agents=[Agent("clerk", role="You answer.")])
suite = Suite("many", cases, ["exact"], crew=crew)
"""


class Models:
    """A model server that knows which cases it has answered, and how often."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self._more = asyncio.Event()

    async def respond(self, request: web.Request) -> web.Response:
        text = json.dumps(await request.json())
        number = text.rpartition("What is ")[2].partition("?")[0]
        self.answered[number] += 1
        self._more.set()
        message = {"role": "assistant", "content": f"it is {number}"}
        return web.json_response(
            {
                "id": f"r{number}", "object": "chat.completion", "created": 1, "model": "gpt-5-mini",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }
        )  # fmt: skip

    async def answers(self, count: int) -> None:
        """Wait for so many answers in all."""
        async with asyncio.timeout(WAIT_S):
            while self.answered.total() < count:
                self._more.clear()
                await self._more.wait()


async def begin(url: str, folder: Path, *args: str) -> asyncio.subprocess.Process:
    env = {**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-test", "CALLSHEET_PHOENIX": "off"}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from callsheet.cli import main; main()", "bench", *args, "--json",
        cwd=folder, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


def kept_answers(home: Path) -> set[str]:
    """The cases whose model call the journal has."""
    journal = Journal(home / "journal.db")
    try:
        found = set()
        for record in journal.runs(limit=10_000):
            if any(step.kind == "llm" and step.state == "done" for step in journal.steps(record.run_id)):
                found.add(json.loads(record.input)["input"].removeprefix("What is ").removesuffix("?"))
        return found
    finally:
        journal.close()


async def test_300_cases_killed_twice_are_each_there_once_and_paid_once(tmp_path: Path, home: Path) -> None:
    (tmp_path / "suite.py").write_text(SUITE)
    models = Models()
    app = web.Application()
    app.router.add_post("/{path:.*}", models.respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    paid: set[str] = set()
    try:
        args = ["suite.py", "--inline", "--model", "openai/gpt-5-mini", "--at-once", str(AT_ONCE)]
        for kill_at in (70, 180):
            process = await begin(url, tmp_path, *args)
            await models.answers(kill_at)
            process.send_signal(signal.SIGKILL)
            await process.communicate()
            now = kept_answers(home)
            assert paid <= now
            assert len(now) < CASES
            assert all(models.answered[number] == 1 for number in paid)
            paid = {number for number in now if models.answered[number] == 1}
            (bench_id,) = [path.name for path in (home / "benches").iterdir()]
            args = ["--resume", bench_id]
        process = await begin(url, tmp_path, *args)
        async with asyncio.timeout(WAIT_S):
            out, err = await process.communicate()
    finally:
        await runner.cleanup()
    assert process.returncode == 0, err.decode()
    trials = json.loads(out)["result"]["trials"]
    assert [trial["case"] for trial in trials] == [f"case-{n}" for n in range(CASES)]
    assert {trial["status"] for trial in trials} == {"done"}
    assert {trial["scores"]["exact"]["value"] for trial in trials} == {1.0}
    assert len(paid) > 100
    assert all(models.answered[number] == 1 for number in paid)
    # Only calls that were under way when it was killed were made again.
    assert CASES <= models.answered.total() <= CASES + 2 * AT_ONCE
    assert len({trial["run_id"] for trial in trials}) == CASES
