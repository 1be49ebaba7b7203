"""Keys given in each of the three ways are in nothing that a run leaves behind, and in no process's environment.

The model server quotes them in its errors, as providers do, and a tool hands the model its own environment.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from callsheet.core.canonical import from_json, to_json

pytestmark = pytest.mark.timeout(300)

BY_ENVIRONMENT = "sk-planted-by-environment-012345"
BY_FILE = "sk-planted-by-secret-file-012345"
BY_DOTENV = "sk-planted-by-dotenv-file-012345"
ROOT = Path(__file__).parents[2]
PLANTED = (BY_ENVIRONMENT, BY_FILE, BY_DOTENV)


DRIVER = """
import json, sys
from pathlib import Path
import os
from callsheet import Agent, Crew, tool
from tests.ray import processes

@tool
def look_around() -> str:
    "Everything in this process's environment."
    return "\\n".join(f"{name}={value}" for name, value in os.environ.items())

def agent(name, model):
    return Agent(name, role="You look around.", tools=[look_around], model=model)

if __name__ == "__main__":
    lookers = [agent("one", "openai/m"), agent("two", "vllm/m"), agent("three", "lmstudio/m")]
    done = Crew("lookers", agents=lookers).run("Look.")
    failed = Crew("refused", agents=[agent("four", "vllm/wrong")]).run("Look.", check=False)
    import ray
    told = {
        "output": done.output, "results": [str(done.to_dict()), str(failed.to_dict()), str(failed.error)],
        "logs": ray._private.worker._global_node.get_session_dir_path(),
        "environments": {processes.command(pid): processes.environment(pid) for pid in processes.descendants()},
    }
    Path("told.json").write_text(json.dumps(told))
"""


class Provider(BaseHTTPRequestHandler):
    """Asks for the tool, then answers; refuses the model `wrong`, and quotes the key that it was given."""

    seen: set[str]

    def do_POST(self) -> None:
        body = from_json(self.rfile.read(int(self.headers["content-length"])).decode())
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        self.seen.add(key)
        status = 200
        if body["model"] == "wrong":
            status, said = 401, {"error": {"message": f"Incorrect API key provided: {key}."}}
        else:
            message: dict[str, object] = {"role": "assistant", "content": "Seen."}
            if body["messages"][-1]["role"] != "tool":
                call = {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "look_around", "arguments": "{}"},
                }
                message = {"role": "assistant", "content": None, "tool_calls": [call]}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            said = {
                "id": "1",
                "model": "m",
                "choices": [choice],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1},
            }
        data = to_json(said).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Silence."""


@pytest.fixture
def provider() -> Iterator[str]:
    """The address of a model server that wants a key."""
    Provider.seen = set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


def test_a_key_is_nowhere_however_it_was_given(provider: str, tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    work.mkdir()
    (tmp_path / "secret").write_text(f"{BY_FILE}\n")
    (work / ".env").write_text(f"LMSTUDIO_API_KEY={BY_DOTENV}\nLMSTUDIO_BASE_URL={provider}\n")
    (work / "driver.py").write_text(DRIVER)
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OPENAI_API_KEY": BY_ENVIRONMENT,
        "OPENAI_BASE_URL": provider,
        "VLLM_API_KEY_FILE": str(tmp_path / "secret"),
        "VLLM_BASE_URL": provider,
        "CALLSHEET_HOME": str(home),
        "CALLSHEET_PHOENIX": "http://127.0.0.1:9",  # nobody: spans stay in the spool, to be looked at
    }
    ended = subprocess.run(
        [sys.executable, "driver.py"],
        cwd=work,
        env=environ,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = from_json((work / "told.json").read_text())
    assert told["output"] == "Seen."
    assert "[key]" in told["results"][2]  # the server quoted it
    assert Provider.seen == set(PLANTED)  # the gateway had each of them, and used it

    with sqlite3.connect(home / "journal.db") as journal:
        dump = "\n".join(journal.iterdump())
    assert "OPENAI_BASE_URL" in dump or "PYTHONPATH" in dump  # what the tool saw is in it
    shown = {"results": str(told["results"]), "stdout": ended.stdout, "stderr": ended.stderr, "journal": dump}
    assert [where for where, text in shown.items() if holds(text.encode())] == []

    folders = (home, Path(told["logs"]))
    kept = [p for f in folders for p in f.rglob("*") if p.is_file() and not p.is_symlink()]
    assert [path for path in kept if home / "spool" in path.parents], "no span waits in the spool"
    assert [path for path in kept if holds(path.read_bytes())] == []

    assert len(told["environments"]) > 5
    assert [command for command, text in told["environments"].items() if holds(text.encode())] == []


def holds(data: bytes) -> bool:
    """Whether one of the keys is in it."""
    return any(key.encode() in data for key in PLANTED)
