"""`launch`, `crews`, `stop`: crews that serve on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from callsheet.cli.options import Address, Home, Json, cluster_settings, settings_of
from callsheet.cli.screen import notice, print_json, print_table
from callsheet.cli.streams import only_answers

if TYPE_CHECKING:
    from callsheet.crews.crew import Crew
    from callsheet.settings import Settings


def launch(
    crew: Annotated[
        str, typer.Argument(metavar="CREW", help="file.py[:name], package.module:name, or a ready-made crew.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What it is launched as; else its own name.")
    ] = None,
    address: Address = None,
    home: Home = None,
) -> None:
    """Keep a crew serving on the cluster: `run NAME` then starts no processes."""
    from callsheet.crews.crew import check_name
    from callsheet.crews.loading import load_crew
    from callsheet.crews.portal import portal

    with only_answers():
        found = load_crew(crew)
    under = found.name if name is None else check_name(name)
    settings = cluster_settings(settings_of(address=address, home=home))
    portal().run(_launch(settings, found, under))
    notice(f'{under} serves now. Use it: callsheet run {under} "…"   End it: callsheet stop {under}')


async def _launch(settings: Settings, crew: Crew, name: str) -> None:
    from callsheet.crews.system import shared_system

    system = await shared_system(settings, "ray", notice)
    await system.host.launch(name, crew.participants(), crew.description(), keep=True)


def crews(as_json: Json = False, address: Address = None, home: Home = None) -> None:
    """List the crews: ready-made ones, and those that serve on the cluster."""
    from callsheet.crews.loading import launched_crews
    from callsheet.crews.ready import ready_crews

    settings = settings_of(address=address, home=home)
    found = [
        {"name": name, "kind": "ready-made", **crew.description()} for name, crew in ready_crews().items()
    ]
    found += [{**launched, "kind": "launched"} for launched in launched_crews(settings, notice)]
    if as_json:
        print_json(found)
        return
    rows = [(one["name"], one["kind"], _members(one), one.get("description", "")) for one in found]
    print_table(("crew", "kind", "agents", "what for"), rows, empty="There are no crews.")


def _members(crew: dict[str, Any]) -> str:
    """The agents, and for a launched crew the processes that serve as them."""
    pids = crew.get("participants", {})
    shown = []
    for agent in crew.get("agents", ()):
        numbers = ", ".join(str(pid) for pid in pids.get(agent["name"], ()))
        shown.append(f"{agent['name']} (pid {numbers})" if numbers else agent["name"])
    return ", ".join(shown)


def stop(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The crew, as `callsheet crews` lists it.")],
    address: Address = None,
    home: Home = None,
) -> None:
    """End a crew that serves on the cluster."""
    from callsheet.crews.portal import portal

    settings = cluster_settings(settings_of(address=address, home=home))
    portal().run(_stop(settings, name))
    notice(f"{name} is stopped.")


async def _stop(settings: Settings, name: str) -> None:
    from callsheet.crews.system import shared_system

    system = await shared_system(settings, "ray", notice)
    await system.host.stop(name)


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("launch")(launch)
    app.command("crews")(crews)
    app.command("stop")(stop)
