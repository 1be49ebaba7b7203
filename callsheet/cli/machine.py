"""`up`, `down`, `status`: what callsheet runs on this machine in the background."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callsheet.cli.journals import journal_path, reading
from callsheet.cli.options import Address, Home, Json, settings_of
from callsheet.cli.screen import console, notice, print_error, print_json, printable
from callsheet.cli.streams import only_answers
from callsheet.core.errors import InfrastructureError, TracingError

if TYPE_CHECKING:
    from callsheet.settings import Settings


def up(
    no_phoenix: Annotated[bool, typer.Option("--no-phoenix", help="Start no Phoenix.")] = False,
    phoenix_port: Annotated[
        int, typer.Option("--phoenix-port", min=1, max=65535, metavar="PORT", help="Where Phoenix listens.")
    ] = 6006,
    no_resume: Annotated[
        bool, typer.Option("--no-resume", help="Leave the runs alone that were cut off.")
    ] = False,
    home: Home = None,
) -> int:
    """Start a Ray head and Phoenix in the background, on this machine alone.

    What runs already is left as it is. Runs on Ray that were cut off, by the end of their Ray or of the
    machine, go on here. `callsheet down` ends what this started.
    """
    from callsheet.cli.cut_off import hand_over_cut_off
    from callsheet.cli.logs import one_line_each
    from callsheet.crews.portal import portal
    from callsheet.crews.system import HIDDEN
    from callsheet.runtime.head import start_head

    settings = settings_of(home=home)
    head = start_head(settings.home, hidden=HIDDEN, progress=notice)
    failed = False
    url = _phoenix_address(settings)
    if not (no_phoenix or settings.phoenix):
        try:
            url = _start_phoenix(settings, phoenix_port)
        except TracingError as error:  # Ray is of use without it
            failed = True
            print_error(error.message, error.hint)
    # With the cluster's services there, and not only the cluster, the first run is as fast as the next.
    notice("starting the coordinator, the model gateway and the memory")
    there = settings.model_copy(update={"address": head.address})
    portal().run(_open(there))
    if not no_resume:
        with only_answers(), one_line_each():
            hand_over_cut_off(there)
    portal().run(_leave(there))
    screen = console(sys.stdout)
    screen.print(f"Ray      {head.address}")
    screen.print(f"Phoenix  {printable(url) if url else 'not started'}")
    screen.print(f"State    {printable(str(settings.home))}")
    notice('Next: callsheet run research --docs FOLDER "…"   Keep a crew serving: callsheet launch CREW')
    notice("End it all: callsheet down")
    return 1 if failed else 0


def _start_phoenix(settings: Settings, port: int) -> str:
    from callsheet.tracing.phoenix import start_phoenix

    return start_phoenix(
        settings.home, port=port, requirement=settings.phoenix_requirement, progress=notice
    ).url


def _phoenix_address(settings: Settings) -> str | None:
    from callsheet.crews.system import phoenix_endpoint

    return phoenix_endpoint(settings)


async def _open(settings: Settings) -> None:
    from callsheet.crews.system import shared_system
    from callsheet.runtime.ray_host import RayHost

    host = (await shared_system(settings, "ray", notice)).host
    if isinstance(host, RayHost):
        await host.wait_ready()


async def _leave(settings: Settings) -> None:
    """The crews that were launched to go on with runs serve them to their end, without this process."""
    from callsheet.crews.system import shared_system
    from callsheet.runtime.ray_host import RayHost

    host = (await shared_system(settings, "ray", notice)).host
    if isinstance(host, RayHost):
        await host.leave()


def down(home: Home = None) -> None:
    """End what `callsheet up` started, and nothing else. The journal, memory and traces stay."""
    from callsheet.runtime.head import stop_head
    from callsheet.tracing.phoenix import running_phoenix, stop_phoenix

    settings = settings_of(home=home)
    # Ray first: its processes send their last spans when they are told to end.
    ended = ["Ray"] if stop_head(settings.home) else []
    process = running_phoenix(settings.home)
    if process is not None and stop_phoenix(process):
        ended.append("Phoenix")
    notice(f"{' and '.join(ended)} ended." if ended else "Nothing of callsheet's was running here.")
    if "Ray" in ended:
        _tell_cut_off(settings)


def _tell_cut_off(settings: Settings) -> None:
    """Say so where runs were under way; a journal that cannot be read is no reason not to end things."""
    with contextlib.suppress(InfrastructureError), reading(settings) as journal:
        left = [] if journal is None else journal.orphans()
        if left:
            runs = "1 run was" if len(left) == 1 else f"{len(left)} runs were"
            notice(
                f"{runs} cut off: the next `callsheet up`, or `callsheet resume --all`, goes on where it was."
            )


def status(as_json: Json = False, address: Address = None, home: Home = None) -> None:
    """Show what is running, and where the state is."""
    settings = settings_of(address=address, home=home)
    found: dict[str, Any] = {
        "home": str(settings.home),
        "ray": _ray(settings),
        "phoenix": _phoenix(settings),
        "journal": _journal(settings),
        "spool": _spool(settings.home / "spool"),
    }
    if as_json:
        print_json(found)
        return
    screen = console(sys.stdout)
    for title, text in (
        ("home", found["home"]),
        ("ray", _ray_text(found["ray"])),
        ("phoenix", _phoenix_text(found["phoenix"])),
        ("journal", _journal_text(found["journal"])),
        ("spool", f"{found['spool']['files']} files of spans wait, {found['spool']['bytes']:,} bytes"),
    ):
        screen.print(f"{title:<9}", style="bold", end="")
        screen.print(printable(str(text)))


def _ray(settings: Settings) -> dict[str, Any] | None:
    from callsheet.crews.loading import launched_crews
    from callsheet.crews.system import ray_address
    from callsheet.runtime.head import running_head

    address = ray_address(settings)
    if address is None:
        return None
    head = running_head(settings.home)
    ours = head is not None and head.address == address
    found: dict[str, Any] = {"address": address, "ours": ours, "pid": head.pid if head and ours else None}
    try:
        found["crews"] = launched_crews(settings)
    except InfrastructureError as error:
        found["error"] = error.message
    return found


def _ray_text(ray: dict[str, Any] | None) -> str:
    if ray is None:
        return "not running (a run starts one of its own; `callsheet up` one that stays)"
    whose = f"started by `callsheet up`, pid {ray['pid']}" if ray["ours"] else "not ours"
    if "error" in ray:
        return f"{ray['address']} ({whose}), but: {ray['error']}"
    lines = [f"{ray['address']} ({whose})"]
    for crew in ray["crews"]:
        pids = "; ".join(
            f"{crew.get('crew', crew['name']) if name == 'flow' else name} {', '.join(map(str, numbers))}"
            for name, numbers in crew["participants"].items()
        )
        lines.append(f"         crew {crew['name']} (pids: {pids})")
    return "\n".join(lines if ray["crews"] else [*lines, "         no crews are launched"])


def _phoenix(settings: Settings) -> dict[str, Any] | None:
    from callsheet.tracing.phoenix import PhoenixClient, running_phoenix

    ours = running_phoenix(settings.home)
    url = _phoenix_address(settings)
    if url is None:
        return None
    ours = ours if ours is not None and ours.url == url else None
    return {
        "url": url,
        "healthy": PhoenixClient(url, timeout_s=2.0).healthy(),
        "pid": ours.pid if ours else None,
        "log": str(ours.log_path) if ours else None,
    }


def _phoenix_text(phoenix: dict[str, Any] | None) -> str:
    if phoenix is None:
        return "not running (`callsheet up` starts it)"
    state = "answers" if phoenix["healthy"] else "does not answer"
    whose = f"pid {phoenix['pid']}" if phoenix["pid"] else "not ours"
    return f"{phoenix['url']} ({state}, {whose})"


def _journal(settings: Settings) -> dict[str, Any]:
    path = journal_path(settings)
    if path is None:
        return {"place": "a database server", "bytes": None, **_unended(settings)}
    if not path.exists():
        return {"place": str(path), "bytes": 0, "running": 0, "waiting": 0}
    size = sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))
    return {"place": str(path), "bytes": size, **_unended(settings)}


def _unended(settings: Settings) -> dict[str, int | None]:
    """How many runs are under way, or seem to be, and how many wait; None if the journal cannot be read."""
    states = ("running", "waiting")
    try:
        with reading(settings) as journal:
            return {
                state: 0 if journal is None else len(journal.runs(status=state, limit=1000))
                for state in states
            }
    except InfrastructureError:
        return dict.fromkeys(states)


def _journal_text(journal: dict[str, Any]) -> str:
    size = "" if journal["bytes"] is None else f", {journal['bytes']:,} bytes"
    running, waiting = journal["running"], journal["waiting"]
    runs = "cannot be read" if running is None else f"runs: {running} running, {waiting} waiting"
    return f"{journal['place']}{size}, {runs}"


def _spool(folder: Path) -> dict[str, int]:
    sizes = []
    for path in folder.glob("*.otlp*") if folder.is_dir() else ():
        try:
            sizes.append(path.stat().st_size)
        except OSError:
            continue  # it has been sent meanwhile
    return {"files": len(sizes), "bytes": sum(sizes)}


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("up")(up)
    app.command("down")(down)
    app.command("status")(status)
