"""The command lines of docs/looking-back.md, in their order, on one run."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from callsheet.cli.entry import command_line
from tests.docs.markdown import ROOT, blocks


def test_the_command_lines_work_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CALLSHEET_PHOENIX", "off")
    (folder / "helpdesk.py").write_text(blocks("python")[0].code)
    shutil.copytree(ROOT / "docs", folder / "docs")
    lines = [
        line
        for block in blocks("console")
        if block.page == "docs/looking-back.md"
        for line in block.code.splitlines()
        if line.strip()
    ]
    assert {shlex.split(line)[1] for line in lines} == {"run", "show", "replay", "fork"}
    run = ""
    for line in lines:
        words = [run if word == "RUN" else word for word in shlex.split(line)[1:]]
        status = command_line(words)
        said = capsys.readouterr()
        assert status == 0, f"{line}: {said.err}"
        if words[0] == "run":
            assert command_line(["runs", "--json"]) == 0
            run = json.loads(capsys.readouterr().out)[0]["run_id"]
