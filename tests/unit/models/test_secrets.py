"""Where keys are read from, what comes before what, and that they go nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from callsheet.core.errors import SettingsError
from callsheet.crews.system import HIDDEN, model_environ, service_specs
from callsheet.models.secrets import provider_environ
from callsheet.settings import load_settings

NAME = "OPENAI_API_KEY"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_of_several_places_the_first_counts(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret").write_text("from the file\n")
    environ: dict[str, str] = {}

    def found() -> str | None:
        return provider_environ(environ, (folder, home)).get(NAME)

    assert found() is None
    (home / ".env").write_text(f"{NAME}=of-the-home\n")
    assert found() == "of-the-home"
    (folder / ".env").write_text(f'export {NAME}="of-the-folder"  # mine\nOTHER=1\n')
    assert found() == "of-the-folder"
    environ[f"{NAME}_FILE"] = str(tmp_path / "secret")
    assert found() == "from the file"
    environ[NAME] = "of-the-environment"
    assert found() == "of-the-environment"


def test_an_empty_variable_is_none(folder: Path) -> None:
    (folder / ".env").write_text(f"{NAME}=sk-1\n")
    assert provider_environ({NAME: " "}, (folder,)) == {NAME: "sk-1"}


def test_a_key_with_signs_that_mean_something_elsewhere_is_taken_as_it_is(folder: Path) -> None:
    (folder / ".env").write_text(f"{NAME}='sk-$HOME-${{PATH}}'\n")
    assert provider_environ({}, (folder,)) == {NAME: "sk-$HOME-${PATH}"}


def test_only_what_concerns_providers_is_read(folder: Path) -> None:
    (folder / ".env").write_text(
        "PATH=/evil\nAWS_SECRET=1\nOLLAMA_HOST=10.0.0.1\nOPENAI_API_KEY_FILE=key.txt\n"
    )
    (folder / "key.txt").write_text("sk-2")
    assert provider_environ({"HOME": "/root"}, (folder,)) == {"OLLAMA_HOST": "10.0.0.1", NAME: "sk-2"}


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "is empty"), (b"sk-secret-1\nsk-secret-2", "more than one line"), (b"\xff\xfe", "no text")],
)
def test_a_file_that_holds_no_key_is_refused_without_its_content(
    folder: Path, content: bytes, says: str
) -> None:
    path = folder / "secret"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=says) as caught:
        provider_environ({f"{NAME}_FILE": str(path)}, ())
    assert "sk-secret" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(SettingsError, match="OPENAI_API_KEY_FILE: nowhere cannot be read"):
        provider_environ({f"{NAME}_FILE": "nowhere"}, ())


def test_a_key_reaches_the_gateway_and_no_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text(f"{NAME}=sk-planted-1\n")
    (folder / "secret").write_text("sk-planted-2")
    monkeypatch.setenv("ANTHROPIC_API_KEY_FILE", str(folder / "secret"))
    settings = load_settings()
    gateway, memory = service_specs(settings)
    assert gateway.secrets == {NAME: "sk-planted-1", "ANTHROPIC_API_KEY": "sk-planted-2"}
    assert memory.secrets == {}
    assert "sk-planted" not in repr(gateway) + settings.model_dump_json() + str(dict(os.environ))
    assert model_environ(settings) == gateway.secrets
    assert {NAME, "ANTHROPIC_API_KEY_FILE"} <= set(HIDDEN)
