"""The options that several commands share, and the settings that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from callsheet.settings import Settings

Address = Annotated[
    str | None,
    typer.Option("--address", metavar="HOST:PORT", help="The Ray cluster to use, instead of the one found."),
]
Home = Annotated[
    Path | None,
    typer.Option("--home", metavar="FOLDER", help="Where state lives, instead of CALLSHEET_HOME."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def settings_of(**flags: Any) -> Settings:
    """The settings in force, given flags (None: not given), with the home's whole path. Raises SettingsError."""
    from callsheet.settings import load_settings

    settings = load_settings(**flags)
    if settings.home.is_absolute():
        return settings
    return settings.model_copy(update={"home": settings.home.resolve()})


def cluster_settings(settings: Settings) -> Settings:
    """The settings, if a cluster is known. Raises UsageError that says how to come by one."""
    from callsheet.core.errors import UsageError
    from callsheet.crews.system import ray_address

    if ray_address(settings) is None:
        raise UsageError(
            "no Ray cluster is known that could keep a crew serving",
            hint="`callsheet up` starts one on this machine; --address, CALLSHEET_ADDRESS or RAY_ADDRESS "
            "names another.",
        )
    return settings
