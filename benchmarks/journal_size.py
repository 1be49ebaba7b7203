"""How large a journal becomes: for each run of the research crew, and over the length of a conversation.

The file is measured after all of its WAL was moved into it, less an empty journal's. Runs are inline, each load
in a process and a journal of its own. The research crew runs on the offline model, over the repository's `docs`
folder, with that folder's headings as questions. A conversation is one turn of one agent, on a server on
loopback that asks for a tool until the conversation is as long as wanted: each tool call, and each of its
results, has some 300 characters of its own.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.fitting import exponent
from benchmarks.machine import spread
from callsheet.core.records import RunRecord
from callsheet.runtime.journal import Journal

RUNS = 1000
MESSAGES = (10, 50, 100, 200, 400)
"""Messages that the model is shown at last: the system's, the task, and a call and its result for each two."""

REPEATS = 5
"""Runs of each length, since a file grows by whole pages."""

ROOT = Path(__file__).parents[1]

RESEARCH = """
import re, sys
from pathlib import Path
from callsheet.crews.ready import find_crew
headings = [
    heading.strip("# `") for path in sorted(Path("docs").glob("*.md"))
    for heading in re.findall(r"^#+ .*", path.read_text(encoding="utf-8"), re.M)
]
crew = find_crew("research")
for n in range(int(sys.argv[1])):
    question = f"What do the documents say about: {headings[n % len(headings)]}?"
    assert crew.run(question, host="inline", model="offline", docs=["docs"]).output
"""

CONVERSATION = """
import sys
from callsheet import Agent, Crew, Limits, tool

@tool
def look_up(entry: str) -> str:
    "Look an entry up."
    return " ".join(f"{entry[:8]}-{word}" for word in range(25))

crew = Crew("conversation", agents=[Agent("clerk", tools=[look_up])])
for _ in range(int(sys.argv[1])):
    crew.run(
        "Look everything up.", host="inline", model="openai-compatible/any", limits=Limits(model_calls_per_turn=1000)
    )
"""


class Asking(BaseHTTPRequestHandler):
    """A chat completions server: asks for the tool again until the conversation has `length` messages."""

    length = 0
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer one request."""
        sent = len(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"])
        message: dict[str, Any] = {"role": "assistant", "content": "That is all."}
        if sent < self.length:
            entry = " ".join(f"{sent:08}-{word}" for word in range(25))
            function = {"name": "look_up", "arguments": json.dumps({"entry": entry})}
            call = {"id": f"call_{sent}", "type": "function", "function": function}
            message = {"role": "assistant", "content": None, "tool_calls": [call]}
        reason = "tool_calls" if "tool_calls" in message else "stop"
        choice = {"index": 0, "finish_reason": reason, "message": message}
        usage = {"prompt_tokens": 100 * sent, "completion_tokens": 100, "total_tokens": 100 * sent + 100}
        body = json.dumps({"id": f"c-{sent}", "model": "any", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(length: int) -> Iterator[str]:
    """The server, at its address."""
    handler = type("AskingSo", (Asking,), {"length": length})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def measure(rounds: int = 3, runs: int = RUNS) -> dict[str, Any]:
    """Bytes of the file for each run and each message, bytes of text in it, and the exponent of the growth.

    Each length of a conversation is measured `rounds` times; the crew's runs once, since they are many.
    """
    research = _load(RESEARCH, runs)
    found: dict[str, Any] = {
        "runs of the research crew": runs,
        "file, MB": round(research["file"] / 1e6, 2),
        "file, bytes a run": round(research["file"] / runs),
        "text, bytes a run": round(research["text"] / runs),
        "messages and steps a run": round(research["records"] / runs, 1),
    }
    sizes: dict[int, list[float]] = {}
    for length in MESSAGES:
        with serving(length) as url:
            loads = [_load(CONVERSATION, REPEATS, OPENAI_COMPATIBLE_BASE_URL=url) for _ in range(rounds)]
        sizes[length] = [load["file"] / REPEATS for load in loads]
        found[f"file, bytes at {length} messages"] = spread(sizes[length])
        found[f"text, bytes at {length} messages"] = spread([load["text"] / REPEATS for load in loads])
    exponents = [exponent(MESSAGES, [sizes[length][n] for length in MESSAGES]) for n in range(rounds)]
    found["exponent of the file's growth"] = spread(exponents)
    for less, more in pairwise(MESSAGES):
        further = [(b - a) / (more - less) for a, b in zip(sizes[less], sizes[more], strict=True)]
        found[f"bytes a message, {less} to {more}"] = spread(further)
    return found


def _load(script: str, count: int, **variables: str) -> dict[str, float]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CALLSHEET_", "RAY_"))}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        environment = {**kept, "CALLSHEET_HOME": str(home), "CALLSHEET_PHOENIX": "off", **variables}
        subprocess.run(
            [sys.executable, "-c", script, str(count)],
            env=environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        empty = Path(folder) / "empty.db"
        Journal(empty).close()
        journal = Journal(home / "journal.db")
        ended: list[RunRecord] = journal.runs(status="done", limit=count + 1)
        assert len(ended) == count, "a run has failed"
        text = journal.prune(math.inf, dry_run=True).bytes
        records = sum(len(journal.envelopes(run.run_id)) + len(journal.steps(run.run_id)) for run in ended)
        journal.close()
        return {"file": _size(home / "journal.db") - _size(empty), "text": text, "records": records}


def _size(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return path.stat().st_size
