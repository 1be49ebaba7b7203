"""The command lines of docs/durability.md, in their order; each of those with a comment ends with that status."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from callsheet.cli.entry import command_line
from callsheet.crews.portal import close_portal
from tests.docs.markdown import blocks

PAGE = "docs/durability.md"


def test_the_command_lines_work_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALLSHEET_PHOENIX", "off")
    for block in blocks("python"):
        if block.page == PAGE:
            name = block.code.splitlines()[0].removeprefix("# ")
            (tmp_path / name).write_text(block.code)
    lines = [
        line for block in blocks("console") if block.page == PAGE for line in block.code.splitlines() if line
    ]
    commands = {shlex.split(line)[1] for line in lines}
    assert commands == {"run", "show", "resume", "approve", "reply", "cancel", "watch", "runs"}
    run = ""
    try:
        for line in lines:
            words = [run if word == "RUN" else word for word in shlex.split(line, comments=True)[1:]]
            expected = re.search(r"# (\d+)$", line)
            status = command_line(words)
            said = capsys.readouterr()
            assert status == int(expected[1] if expected else 0), f"{line}: {said.err}"
            if words[0] == "run":
                command_line(["runs", "--json"])
                run = json.loads(capsys.readouterr().out)[0]["run_id"]
    finally:
        close_portal()
