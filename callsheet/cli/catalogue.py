"""`models`, `tools`, `roles`: what there is to build crews from."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from callsheet.cli.options import Json, settings_of
from callsheet.cli.screen import console, one_line, print_json, print_table, printable

Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show all of this one.")]
CARD_WIDTH = 90


For = Annotated[
    str | None,
    typer.Option(
        "--for", metavar="NEEDS", help="What would be picked for a step: tools,vision,json,thinking."
    ),
]
TierOption = Annotated[str | None, typer.Option("--tier", help="fast, balanced or frontier; with --for.")]
Tokens = Annotated[int, typer.Option("--tokens", min=0, help="The conversation's length; with --for.")]
MostUsd = Annotated[float | None, typer.Option("--max-usd", help="What a call may cost at most; with --for.")]
Prefer = Annotated[
    list[str] | None,
    typer.Option("--prefer", metavar="MODEL", help="Comes first, if it will do; with --for. Repeatable."),
]


def models(
    needs: For = None,
    tier: TierOption = None,
    tokens: Tokens = 1000,
    max_usd: MostUsd = None,
    prefer: Prefer = None,
    as_json: Json = False,
) -> None:
    """List the providers of models, what each needs, and which model is used when none is named.

    With --for or --tier: the models that a policy would pick, best first, and why others are left out.
    """
    from callsheet.cli.picking import show_choices
    from callsheet.crews.system import model_environ
    from callsheet.models.catalogue import default_model, list_models

    settings = settings_of()
    environ = model_environ(settings)
    if needs is not None or tier is not None:
        show_choices(
            settings, environ, needs or "", tier or "balanced", tokens, max_usd, prefer or [], as_json
        )
        return
    default = settings.model or default_model(environ)
    found = list_models(environ)
    if as_json:
        print_json({"default": default, "providers": [asdict(info) for info in found]})
        return
    rows = [
        (
            info.provider, info.example, "yes" if info.available else "no",
            f"{info.key_env} ({'set' if info.key_present else 'not set'})" if info.key_env else "",
            info.base_url, info.note,
        )
        for info in found
    ]  # fmt: skip
    print_table(("provider", "for example", "usable", "key", "address", "note"), rows, empty="No providers.")
    console(sys.stdout).print(f"\nWhen none is named: {printable(default)}")


def tools(name: Name = None, as_json: Json = False) -> None:
    """List the built-in tools, or show one as a model is told of it."""
    from callsheet.tools.registry import builtin_tools, find_tool

    chosen = builtin_tools() if name is None else {name: find_tool(name)}
    cards = [
        {
            "name": tool.name, "description": tool.description, "effect": tool.effect, "approval": tool.approval,
            "timeout_s": tool.timeout_s, "schema": json.loads(tool.schema),
        }
        for tool in chosen.values()
    ]  # fmt: skip
    if as_json:
        print_json(cards if name is None else cards[0])
        return
    if name is None:
        rows = [(card["name"], one_line(card["description"], CARD_WIDTH)) for card in cards]
        print_table(("tool", "what it does"), rows, empty="There are no tools.")
        return
    card = cards[0]
    screen = console(sys.stdout)
    screen.print(printable(f"{card['name']}\n\n{card['description']}\n"))
    limit = "no limit" if card["timeout_s"] is None else f"{card['timeout_s']:g} s"
    screen.print(
        f"effect: {card['effect']}   asks a person: {'yes' if card['approval'] else 'no'}   time: {limit}\n"
    )
    screen.print("Its arguments:")
    screen.print(printable(json.dumps(card["schema"], ensure_ascii=False, indent=2)))


def roles(name: Name = None, as_json: Json = False) -> None:
    """List the ready-made roles, or show one as an agent is told of it."""
    from callsheet.roles.ready import find_role, ready_roles

    chosen = dict(ready_roles()) if name is None else {name: find_role(name)}
    cards = [role.model_dump(mode="json") for role in chosen.values()]
    if as_json:
        print_json(cards if name is None else cards[0])
        return
    if name is None:
        rows = [
            (role.name, one_line(role.purpose.partition(". ")[0], CARD_WIDTH)) for role in chosen.values()
        ]
        print_table(("role", "what it is for"), rows, empty="There are no roles.")
        return
    role = chosen[name]
    screen = console(sys.stdout)
    screen.print(printable(f"{role.name}\n\n{role.purpose}\n"))
    for guideline in role.guidelines:
        screen.print(printable(f"- {guideline}"))


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("models")(models)
    app.command("tools")(tools)
    app.command("roles")(roles)
