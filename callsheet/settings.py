"""Settings: from flags, then `CALLSHEET_*`, then `[tool.callsheet]` in the nearest pyproject.toml."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
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
        extra="forbid",
        frozen=True,
    )

    home: Path = Field(default_factory=lambda: Path(platformdirs.user_data_dir("callsheet")))
    """Where journal, memory, spans that wait, and Phoenix's data live."""
    address: str | None = None
    """The Ray cluster to join; else RAY_ADDRESS, else what `callsheet up` started, else a Ray of one's own."""
    model: str | None = None
    """The model of agents that name none."""
    models: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """What is known of models beyond the catalogue, by `provider/name`: context, abilities, prices, tier."""
    limits: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """What calls may use, by model, provider (`openai/*`), crew (`crew:helpdesk`) or all (`*`)."""
    response_cache: bool = False
    """Let an earlier answer to the same request do: at temperature 0, and for agents with `cache=True`."""
    embedder: str = "lexical"
    """How passages become vectors: `lexical`, `openai/…` or another provider's embedding model."""
    data: Path | None = None
    """The folder that the public sets of built-in suites lie in."""
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


_PREFIX = "CALLSHEET_"
_NO_SETTINGS = ("CALLSHEET_DEBUG", "CALLSHEET_TEST_")
"""Variables, and beginnings of variables, that mean something else."""


def load_settings(**flags: Any) -> Settings:
    """The settings in force; flags that are None do not count.

    Raises SettingsError for wrong values, and for settings and CALLSHEET_* variables that there are none of.
    """
    _refuse_unknown_variables()
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        for fault in error.errors():
            if fault["type"] == "extra_forbidden":
                name = str(fault["loc"][0])
                where = "argument of load_settings" if name in flags else "setting in [tool.callsheet]"
                raise _unknown(where, name, Settings.model_fields) from None
        faults = "; ".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors())
        raise SettingsError(
            f"a setting is wrong: {faults}",
            hint="Settings come from flags, CALLSHEET_* variables and [tool.callsheet] in pyproject.toml.",
        ) from error
    except ValueError as error:  # a pyproject.toml that is no TOML
        raise SettingsError(f"pyproject.toml cannot be read: {error}") from error


def _refuse_unknown_variables() -> None:
    known = [_PREFIX + name.upper() for name in Settings.model_fields]
    for name in sorted(os.environ):
        ours = name.upper()
        if ours.startswith(_PREFIX) and ours not in known and not ours.startswith(_NO_SETTINGS):
            raise _unknown("environment variable", name, known)


def _unknown(what: str, name: str, known: Iterable[str]) -> SettingsError:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    advice = f"Did you mean {' or '.join(near)}?" if near else f"There is: {', '.join(names)}."
    return SettingsError(f"there is no {what} called {name}", hint=advice)
