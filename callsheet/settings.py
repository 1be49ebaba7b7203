"""Settings: from flags, then `CALLSHEET_*`, then `[tool.callsheet]` in the nearest pyproject.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
)

from callsheet.core.errors import SettingsError


class Settings(BaseSettings):
    """Everything that can be set. `load_settings` makes one, with errors that say what to do."""

    model_config = SettingsConfigDict(
        env_prefix="CALLSHEET_",
        pyproject_toml_table_header=("tool", "callsheet"),
        pyproject_toml_depth=8,
        extra="ignore",
        frozen=True,
    )

    home: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("callsheet")))
    """Where journal, memory, spans that wait, and Phoenix's data live."""
    address: str | None = None
    """The Ray cluster to join; else RAY_ADDRESS, else what `callsheet up` started, else a Ray of one's own."""
    model: str | None = None
    """The model of agents that name none."""
    embedder: str = "lexical"
    """How passages become vectors: `lexical`, `openai/…` or another provider's embedding model."""
    journal: str | None = None
    """URL of the journal, if it is not the SQLite file in `home`: `postgresql://…`."""
    journal_sync: Literal["normal", "full"] = "normal"
    """`full` also survives a loss of power, for a disk flush a commit."""
    phoenix: str | None = None
    """Phoenix's address; else what `callsheet up` started. `off` sends and keeps no spans."""
    project: str = "callsheet"
    """The Phoenix project that traces belong to."""
    trace_content: bool = True
    """Put texts into spans; without, their lengths."""
    phoenix_requirement: str = "arize-phoenix==20.26.1"
    """What `callsheet up` installs, in an environment of its own."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags first, then the environment, then pyproject.toml."""
        return init_settings, env_settings, PyprojectTomlConfigSettingsSource(settings_cls)

    @property
    def journal_url(self) -> str | Path:
        """Where the journal is."""
        return self.journal or self.home / "journal.db"


def load_settings(**flags: Any) -> Settings:
    """The settings in force; flags that are None do not count. Raises SettingsError."""
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        faults = "; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors())
        raise SettingsError(
            f"a setting is wrong: {faults}",
            hint="Settings come from flags, CALLSHEET_* variables and [tool.callsheet] in pyproject.toml.",
        ) from error
    except ValueError as error:  # a pyproject.toml that is no TOML
        raise SettingsError(f"pyproject.toml cannot be read: {error}") from error
