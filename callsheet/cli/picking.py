"""`models --for`: which models a policy would pick, and why others are left out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from callsheet.cli.screen import console, print_json, print_table, printable

if TYPE_CHECKING:
    from callsheet.models.model_facts import ModelBook
    from callsheet.models.policy import Tier
    from callsheet.settings import Settings

SHOWN = 10
"""Models left out that are shown."""


def show_choices(
    settings: Settings,
    environ: Mapping[str, str],
    needs: str,
    tier: str,
    tokens: int,
    max_usd: float | None,
    prefer: Sequence[str],
    as_json: bool,
) -> None:
    """Print them. Raises UsageError where no model will do, DefinitionError for a policy that makes no sense."""
    from callsheet.models.catalogue import list_models
    from callsheet.models.model_facts import ModelBook
    from callsheet.models.policy import ModelPolicy
    from callsheet.models.router import StepNeeds, no_model, route

    policy = ModelPolicy(
        tier=cast("Tier", tier),
        needs=frozenset(need.strip() for need in needs.split(",") if need.strip()),
        max_usd_per_call=max_usd,
        prefer=tuple(prefer),
    )
    book = ModelBook(settings.models)
    step = StepNeeds(input_tokens=tokens)
    usable = [info.provider for info in list_models(environ) if info.available]
    routing = route(policy, step, book, usable)
    if not routing.choices:
        raise no_model(policy, step, routing)
    if as_json:
        print_json(
            {
                "policy": policy.to_text(),
                "choices": [{**asdict(choice), **_facts(book, choice.model)} for choice in routing.choices],
                "left_out": [{"model": model, "why": why} for model, why in routing.left_out],
            }
        )
        return
    rows = []
    for choice in routing.choices:
        facts = book.of(choice.model)
        prices = f"{_number(facts.input_usd)} / {_number(facts.output_usd)}"
        rows.append((choice.model, choice.why, prices, _number(facts.context)))
    print_table(("model", "why", "USD a million in / out", "context"), rows, empty="")
    screen = console(sys.stdout)
    if routing.left_out:
        screen.print("\nLeft out:")
        for model, why in routing.left_out[:SHOWN]:
            screen.print(printable(f"  {model}: {why}"))
        if len(routing.left_out) > SHOWN:
            screen.print(f"  and {len(routing.left_out) - SHOWN} more (--json shows all)")


def _facts(book: ModelBook, model: str) -> dict[str, object]:
    facts = book.of(model)
    return {name: getattr(facts, name) for name in ("context", "max_output", "input_usd", "output_usd")}


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:g}" if value < 1000 else f"{value:,.0f}"
