"""What participants print on Ray."""

from __future__ import annotations

import pytest

from callsheet.runtime.worker_output import WorkerOutput

TRACEBACK = [
    "the flow of desk failed",
    "Traceback (most recent call last):",
    '  File "desk.py", line 3, in go',
    "    raise ValueError('too bad')",
    "",
    "ValueError: too bad",
    "and on it goes",
]


def batch(lines: list[str], pid: int = 7, actor: str = "ParticipantActor") -> dict[str, object]:
    return {"lines": lines, "pid": pid, "actor_name": actor, "is_err": True, "ip": "127.0.0.1"}


@pytest.fixture
def output() -> WorkerOutput:
    output = WorkerOutput()
    output.name(7, "clerk")
    return output


def test_lines_go_to_standard_error_with_their_participants_name(
    output: WorkerOutput, capsys: pytest.CaptureFixture[str]
) -> None:
    output(batch(["one", "two"]))
    output(batch(["three"], pid=8))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "clerk: one\nclerk: two\nprocess 8: three\n"


def test_what_services_and_ray_itself_print_is_not_shown(
    output: WorkerOutput, capsys: pytest.CaptureFixture[str]
) -> None:
    output(batch(["a line"], actor="ServiceActor"))
    output({"lines": ["A worker died"], "pid": "raylet", "is_err": False})
    assert capsys.readouterr().err == ""


def test_a_terminal_is_not_moved_by_what_is_printed(
    output: WorkerOutput, capsys: pytest.CaptureFixture[str]
) -> None:
    output(batch(["\x1b[2Jgone\r"]))
    assert capsys.readouterr().err == "clerk: �[2Jgone\n"


@pytest.mark.parametrize("cut", range(len(TRACEBACK)))
def test_of_a_traceback_the_last_line_is_shown(
    output: WorkerOutput, capsys: pytest.CaptureFixture[str], cut: int
) -> None:
    output(batch(TRACEBACK[:cut]))
    output(batch(TRACEBACK[cut:]))
    assert capsys.readouterr().err.splitlines() == [
        "clerk: the flow of desk failed", "clerk: ValueError: too bad", "clerk: and on it goes"
    ]  # fmt: skip


def test_debugging_shows_the_whole_traceback(
    output: WorkerOutput, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLSHEET_DEBUG", "1")
    output(batch(TRACEBACK))
    assert len(capsys.readouterr().err.splitlines()) == len(TRACEBACK)
