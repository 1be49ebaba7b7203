"""Settings: where they come from, and that a slip in one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from callsheet.core.errors import SettingsError
from callsheet.settings import load_settings


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a pyproject.toml of its own."""
    folder = tmp_path / "project"
    folder.mkdir()
    file = folder / "pyproject.toml"
    file.write_text("[project]\nname = 'x'\n")
    monkeypatch.chdir(folder)
    return file


def test_flags_come_before_variables_and_those_before_pyproject(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_text("[tool.callsheet]\nmodel = 'ollama/a'\nproject = 'of-the-file'\n")
    monkeypatch.setenv("CALLSHEET_MODEL", "ollama/b")
    assert load_settings(model=None).model == "ollama/b"
    assert load_settings(model="ollama/c").model == "ollama/c"
    assert load_settings().project == "of-the-file"


@pytest.mark.parametrize(
    ("name", "told"), [("modle", "Did you mean model"), ("zzz", "There is: address, data, embedder")]
)
def test_a_setting_that_there_is_none_of_is_refused(project: Path, name: str, told: str) -> None:
    project.write_text(f"[tool.callsheet]\n{name} = 'offline'\n")
    with pytest.raises(SettingsError, match=f"tool.callsheet.* called {name}") as caught:
        load_settings()
    assert told in caught.value.hint


@pytest.mark.parametrize(
    ("name", "told"), [("CALLSHEET_ADRESS", "CALLSHEET_ADDRESS"), ("callsheet_zzz", "There is")]
)
def test_a_variable_that_there_is_none_of_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(SettingsError, match=f"environment variable called {name}") as caught:
        load_settings()
    assert told in caught.value.hint


@pytest.mark.parametrize("name", ["CALLSHEET_DEBUG", "CALLSHEET_TEST_DATA", "CALLSHEETS"])
def test_variables_that_are_no_settings_are_left_alone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    assert load_settings().model is None


def test_an_argument_that_is_no_setting_is_refused() -> None:
    with pytest.raises(SettingsError, match="load_settings called modell") as caught:
        load_settings(modell="offline")
    assert caught.value.hint == "Did you mean model or models?"


def test_a_wrong_value_is_told_by_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLSHEET_JOURNAL_SYNC", "sometimes")
    with pytest.raises(SettingsError, match="journal_sync"):
        load_settings()
