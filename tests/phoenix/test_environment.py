"""Phoenix's own environment: made once, whole or not at all. The installer here is a stand-in."""

from __future__ import annotations

import threading
import tomllib
from pathlib import Path

import pytest

from callsheet.core.errors import TracingError
from callsheet.tracing.phoenix import PHOENIX_REQUIREMENT, ensure_environment, environment_path

WORKING_UV = """#!/bin/sh
echo "$@" >> "{log}"
if [ "$1" = venv ]; then
    for folder; do :; done
    mkdir -p "$folder/bin" && touch "$folder/bin/python"
fi
env > "{log}.env"
"""


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for uv on PATH; returns where it writes down what it was asked."""
    folder = tmp_path / "tools"
    folder.mkdir()
    log = tmp_path / "calls"
    script = folder / "uv"
    script.write_text(WORKING_UV.format(log=log))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return log


def test_the_requirement_is_the_one_that_pyproject_declares() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert pyproject["tool"]["callsheet"]["phoenix_requirement"] == PHOENIX_REQUIREMENT


def test_it_is_made_once_with_progress_and_found_afterwards(tmp_path: Path, uv: Path) -> None:
    said: list[str] = []
    python = ensure_environment(tmp_path / "home", progress=said.append)
    assert python == environment_path(tmp_path / "home") / "bin" / "python"
    assert python.exists()
    assert said[0].startswith(f"Installing {PHOENIX_REQUIREMENT}")
    assert "is installed" in said[-1]
    assert ensure_environment(tmp_path / "home", progress=said.append) == python
    assert len(said) == 2
    assert [line.split()[0] for line in uv.read_text().splitlines()] == ["venv", "pip"]
    assert PHOENIX_REQUIREMENT in uv.read_text()


def test_the_installer_sees_its_own_settings_and_no_key(
    tmp_path: Path, uv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "hush")
    monkeypatch.setenv("UV_INDEX_TEAM_PASSWORD", "needed")
    ensure_environment(tmp_path / "home")
    seen = uv.with_name("calls.env").read_text()
    assert "hush" not in seen
    assert "needed" in seen


def test_an_installer_that_fails_leaves_nothing_and_says_why(tmp_path: Path, uv: Path) -> None:
    script = tmp_path / "tools" / "uv"
    script.write_text(WORKING_UV.format(log=uv) + 'if [ "$1" = pip ]; then echo no route; exit 1; fi\n')
    with pytest.raises(TracingError, match="no route") as caught:
        ensure_environment(tmp_path / "home")
    assert "install.log" in caught.value.hint
    assert list((tmp_path / "home" / "phoenix").glob("env-*")) == []


def test_what_a_crash_left_half_made_is_replaced(tmp_path: Path, uv: Path) -> None:
    target = environment_path(tmp_path / "home")
    half = target.with_name(target.name + ".making-1")
    half.mkdir(parents=True)
    target.mkdir()
    assert ensure_environment(tmp_path / "home").exists()
    assert not half.exists()


def test_two_at_once_install_once(tmp_path: Path, uv: Path) -> None:
    threads = [threading.Thread(target=ensure_environment, args=(tmp_path / "home",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(uv.read_text().splitlines()) == 2


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TracingError, match="CALLSHEET_HOME"):
        ensure_environment(tmp_path / "file")
