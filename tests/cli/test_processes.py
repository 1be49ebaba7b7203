"""What only a process of its own shows: streams, signals, closed pipes, and what is imported."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import Ended

Callsheet = Callable[..., Ended]
Begin = Callable[..., subprocess.Popen[str]]


def test_json_on_standard_output_can_be_parsed(callsheet: Callsheet) -> None:
    ended = callsheet(
        "run", "research", "--inline", "--json", "--docs", "README.md", "What does a crash cost?"
    )
    assert ended.status == 0
    assert ended.data["status"] == "done"
    assert "[README.md#L" in ended.data["output"]


def test_ctrl_c_cancels_the_run(begin: Begin, callsheet: Callsheet) -> None:
    with begin("run", "slow.py", "--inline", "--json", "hello") as process:
        wait_for(process, "clerk → slow")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["status"] == "cancelled"
    assert "Traceback" not in err
    assert callsheet("runs", "--json").data[0]["status"] == "cancelled"


def wait_for(process: subprocess.Popen[str], told: str) -> None:
    """Read the process's standard error until it tells that."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if told in line:
            return
    raise AssertionError("".join(seen))


def test_a_closed_pipe_ends_it_quietly(begin: Begin) -> None:
    with begin("roles", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_a_closed_pipe_for_the_conversation_ends_it_quietly(begin: Begin) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with begin("run", "research", "--inline", "--docs", "README.md", "a crash?", stderr=writer) as process:
        os.close(writer)
        process.communicate(timeout=60)
    assert process.returncode == 141


def test_colours_are_for_terminals_and_not_with_no_color(folder: Path, home: Path) -> None:
    args = ["run", "research", "--inline", "--docs", "README.md", "What does a crash cost?"]
    assert "\x1b[" in on_terminal(folder, args, {"TERM": "xterm-256color"})
    plain = on_terminal(folder, args, {"TERM": "xterm-256color", "NO_COLOR": "1"})
    assert "\x1b[3" not in plain.replace("\x1b[2m", "")
    assert "[README.md#L" in plain


def on_terminal(folder: Path, args: list[str], environment: dict[str, str]) -> str:
    """What a person sees: standard output and error of a process that has a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from callsheet.cli import main; main()", *args],
        cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **environment},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 65536):
            seen += part
    except OSError:  # Linux says so when the other end is closed
        assert process.wait(60) == 0
    os.close(ours)
    return seen.decode()


def test_a_missing_input_on_a_terminal_does_not_wait_for_one(folder: Path, home: Path) -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", "from callsheet.cli import main; main()", "run", "research", "--inline"],
        cwd=folder, stdin=theirs, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 2
    assert "the INPUT is missing" in done.stderr


def test_help_imports_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys\nfrom callsheet.cli.entry import command_line\ncommand_line(['--help'])\n"
        "print([m for m in ('ray', 'openai', 'anthropic', 'faiss', 'numpy', 'pydantic', 'sqlalchemy',"
        " 'opentelemetry', 'aiohttp') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("crew = Crew(\n", "line 1: SyntaxError"),
        ("import os\n\nraise RuntimeError('[/] no')\n", "line 3: RuntimeError: [/] no"),
        ("x = 1\n", "there is no crew in"),
    ],
)
def test_a_broken_crew_file_is_told_without_a_traceback(
    callsheet: Callsheet, folder: Path, source: str, told: str
) -> None:
    (folder / "broken.py").write_text(source)
    ended = callsheet("run", "broken.py", "--inline", "hello")
    assert ended.status == 2
    assert told in ended.err


def test_the_debug_variable_shows_the_traceback(begin: Begin) -> None:
    with begin("tools", "nothing", env={**os.environ, "CALLSHEET_DEBUG": "1"}) as process:
        _, err = process.communicate(timeout=60)
    assert "Traceback" in err


def test_the_doctor_finds_nothing_broken_here(callsheet: Callsheet) -> None:
    ended = callsheet("doctor", "--json")
    assert [finding for finding in ended.data if finding["state"] == "broken"] == []
    assert ended.status == 0
    assert all(finding["state"] == "ok" or finding["remedy"] for finding in ended.data)


def test_the_doctor_finds_what_is_broken(callsheet: Callsheet, home: Path) -> None:
    home.mkdir()
    (home / "journal.db").write_text("this is no database" * 100)
    ended = callsheet("doctor", "--json", "--address", "127.0.0.1:1")
    assert ended.status == 1
    broken = {finding["check"]: finding for finding in ended.data if finding["state"] == "broken"}
    assert set(broken) == {"journal", "cluster"}
    assert all(finding["remedy"] for finding in broken.values())
    assert "move it away" in broken["journal"]["remedy"]
    assert "`callsheet doctor`" not in broken["journal"]["remedy"]


def test_a_cluster_that_is_not_there_is_told_at_once(callsheet: Callsheet) -> None:
    ended = callsheet("run", "research", "--address", "127.0.0.1:1", "hello")
    assert ended.status == 1
    assert "there is no Ray cluster at 127.0.0.1:1" in ended.err
    assert "`callsheet up`" in ended.err


def test_a_deadline_is_status_3(callsheet: Callsheet) -> None:
    ended = callsheet("run", "slow.py", "--inline", "--json", "--deadline", "0.5", "hello")
    assert ended.status == 3
    assert ended.data["status"] == "limited"
    assert callsheet("runs", "--json").data[0]["status"] == "limited"


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of a server that takes no key."""

    class Refuse(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            body = b'{"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}'
            self.send_response(401)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def test_a_key_that_is_refused_is_told_and_never_shown(callsheet: Callsheet, refusing: str) -> None:
    environment = {**os.environ, "OPENAI_API_KEY": "sk-very-secret", "OPENAI_BASE_URL": refusing}
    ended = callsheet(
        "run", "research", "--inline", "--model", "openai/gpt-5.4-mini", "--docs", "README.md", "a crash?",
        env=environment,
    )  # fmt: skip
    assert ended.status == 1
    assert "OPENAI_API_KEY" in ended.err
    assert "very-secret" not in ended.out + ended.err
    assert callsheet("runs", "--json").data[0]["status"] == "failed"


def test_a_server_that_is_not_there_is_told_with_its_address(callsheet: Callsheet) -> None:
    environment = {**os.environ, "OLLAMA_HOST": "127.0.0.1:1"}
    ended = callsheet("run", "slow.py", "--inline", "--model", "ollama/llama3.2", "hello", env=environment)
    assert ended.status == 1
    assert "127.0.0.1:1" in ended.err
    assert "ollama serve" in ended.err


LOUD = """
import os
import subprocess

from callsheet import Agent, Crew

crew = Crew("loud", agents=[Agent("clerk", role="You answer.")])


@crew.flow
async def loud(run, task: str) -> str:
    os.write(1, b"straight to the descriptor\\n")
    subprocess.run(["echo", "from another process"], check=True)
    print("printed")
    return "the answer"
"""


def test_standard_output_holds_the_answer_alone(callsheet: Callsheet, folder: Path) -> None:
    (folder / "loud.py").write_text(LOUD)
    ended = callsheet("run", "loud.py", "--inline", "hello")
    assert ended.out == "the answer\n"
    for noise in ("straight to the descriptor", "from another process", "printed"):
        assert noise in ended.err


STUCK = """
import threading

from callsheet import Agent, Crew, tool


@tool
def ponder(question: str) -> str:
    \"\"\"Ponder a question for ever.\"\"\"
    print("pondering", flush=True)
    threading.Event().wait()
    return ""


crew = Crew("stuck", agents=[Agent("clerk", role="You ponder the question.", tools=[ponder])])
"""


def test_a_deadline_does_not_wait_for_a_tool_that_never_ends(callsheet: Callsheet, folder: Path) -> None:
    (folder / "stuck.py").write_text(STUCK)
    ended = callsheet("run", "stuck.py", "--inline", "--json", "--deadline", "2", "ponder this question")
    assert "pondering" in ended.err
    assert ended.status == 3
    assert ended.data["status"] == "limited"


@pytest.mark.parametrize("args", [("tools", "nothing"), ("run", "nothing.py", "hello")])
def test_the_debug_variable_changes_no_exit_status(begin: Begin, args: tuple[str, ...]) -> None:
    with begin(*args, env={**os.environ, "CALLSHEET_DEBUG": "1"}) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == ""
    assert "Traceback" in err
    assert "\nerror: " in err


FAULTY = """
from callsheet import Agent, Crew

crew = Crew("faulty", agents=[Agent("clerk", role="You answer.")])


@crew.flow
async def faulty(run, task: str) -> str:
    raise ValueError("too bad")
"""


def test_a_faulty_flow_is_told_with_its_line_and_without_a_traceback(
    callsheet: Callsheet, begin: Begin, folder: Path
) -> None:
    (folder / "faulty.py").write_text(FAULTY)
    ended = callsheet("run", "faulty.py", "--inline", "hello")
    assert ended.status == 1
    assert "ValueError: too bad" in ended.err
    assert "faulty.py:9" in ended.err
    with begin(
        "run", "faulty.py", "--inline", "hello", env={**os.environ, "CALLSHEET_DEBUG": "1"}
    ) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" in err


def test_the_doctor_tells_of_runs_that_were_cut_off(begin: Begin, callsheet: Callsheet) -> None:
    with begin("run", "slow.py", "--inline", "hello") as process:
        wait_for(process, "clerk → slow")
        process.kill()
        process.communicate(timeout=60)
    (run,) = callsheet("runs", "--json", "--status", "running").data
    (told,) = (finding for finding in callsheet("doctor", "--json").data if finding["check"] == "runs")
    assert told["state"] == "note"
    assert run["run_id"] in told["found"]
    assert "`callsheet resume RUN`" in told["remedy"]
