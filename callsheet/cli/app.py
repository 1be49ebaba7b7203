"""The commands, put together. Importing this must stay cheap: each command imports what it needs itself."""

from __future__ import annotations

from typing import Annotated

import typer

from callsheet.cli import (
    bench,
    catalogue,
    doctor,
    history,
    launching,
    machine,
    past,
    pruning,
    resuming,
    running,
    stopping,
    watching,
)

app = typer.Typer(
    name="callsheet",
    help="Crews of LLM agents on Ray: durable runs, one trace across all processes, limits that hold.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for group in (
    running, resuming, stopping, watching, history, pruning, past, launching, machine, doctor, catalogue,
    bench,
):  # fmt: skip
    group.add_to(app)


def _version(wanted: bool) -> None:
    if wanted:
        from callsheet import __version__

        typer.echo(f"callsheet {__version__}")
        raise typer.Exit


@app.callback()
def callsheet(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Crews of LLM agents on Ray: durable runs, one trace across all processes, limits that hold."""
