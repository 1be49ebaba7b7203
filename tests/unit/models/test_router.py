"""Policies and facts: which model is picked for a step, and what is said where none will do."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callsheet.core.errors import DefinitionError, SettingsError, UnknownNameError
from callsheet.models.catalogue import PROVIDERS, parse_model
from callsheet.models.messages import Image, Message, ModelRequest, OutputSpec, Text, ToolSpec, Usage, user
from callsheet.models.model_facts import ModelBook
from callsheet.models.policy import NEEDS, TIERS, Cascade, ModelPolicy
from callsheet.models.router import MOST_CANDIDATES, Routing, StepNeeds, needs_of, no_model, route, tier_of

BOTH = ("openai", "anthropic")
STEP = StepNeeds(input_tokens=2000)

policies = st.builds(
    ModelPolicy,
    tier=st.sampled_from(TIERS),
    needs=st.frozensets(st.sampled_from(NEEDS)),
    max_usd_per_call=st.none() | st.floats(1e-6, 1e3),
    prefer=st.lists(
        st.sampled_from(["openai/*", "anthropic/*", "ollama/llama3.2", "openai/gpt-4o"]), max_size=3
    ),
)


def picked(policy: ModelPolicy, step: StepNeeds = STEP, usable: Any = BOTH, **entries: Any) -> list[str]:
    return [choice.model for choice in route(policy, step, ModelBook(entries.get("entries")), usable).choices]


@given(policies)
def test_a_policy_survives_its_text_and_pickle(policy: ModelPolicy) -> None:
    assert ModelPolicy.from_text(policy.to_text()) == policy
    assert pickle.loads(pickle.dumps(policy)) == policy


@given(
    policies, st.integers(0, 3_000_000), st.none() | st.integers(1, 200_000), st.sets(st.sampled_from(BOTH))
)
def test_whatever_is_picked_fits(
    policy: ModelPolicy, tokens: int, most: int | None, usable: set[str]
) -> None:
    step = StepNeeds(abilities=frozenset({"tools"}), input_tokens=tokens, max_tokens=most)
    book = ModelBook()
    routing = route(policy, step, book, usable)
    assert len(routing.choices) <= MOST_CANDIDATES
    for choice in routing.choices:
        facts = book.of(choice.model)
        assert parse_model(choice.model).provider in usable
        assert all(facts.can(need) for need in policy.needs | step.abilities)
        assert facts.context is None or tokens + step.output_tokens <= facts.context
        assert policy.max_usd_per_call is None or choice.usd is None or choice.usd <= policy.max_usd_per_call
        assert choice.model in policy.prefer or policy.tier in tier_of(facts)
    if not routing.choices:
        assert no_model(policy, step, routing).hint


@given(policies)
def test_the_cheapest_comes_first_among_those_that_nobody_prefers(policy: ModelPolicy) -> None:
    policy = ModelPolicy(tier=policy.tier, needs=policy.needs)
    costs = [choice.usd or 0.0 for choice in route(policy, STEP, ModelBook(), ("openai",)).choices]
    assert costs == sorted(costs)


def test_a_conversation_that_has_grown_too_long_is_not_given_to_a_short_model() -> None:
    short, grown = StepNeeds(input_tokens=1000), StepNeeds(input_tokens=300_000)
    tiny = {"openai/gpt-5-nano": {"context": 8000}}
    assert picked(ModelPolicy(tier="fast"), short, entries=tiny)[0] == "openai/gpt-5-nano"
    assert "openai/gpt-5-nano" not in picked(ModelPolicy(tier="fast"), grown, entries=tiny)


def test_what_is_preferred_comes_first_whatever_it_costs() -> None:
    policy = ModelPolicy(tier="fast", prefer=("openai/gpt-4o", "anthropic/*"))
    models = picked(policy)
    assert models[0] == "openai/gpt-4o"  # though it is of no tier called fast
    assert models[1].startswith("anthropic/claude-haiku")


def test_the_last_resort_is_of_another_provider() -> None:
    assert {parse_model(model).provider for model in picked(ModelPolicy(tier="fast"))} == set(BOTH)


def test_dated_names_of_a_model_are_not_candidates_beside_it() -> None:
    routing = route(ModelPolicy(tier="fast"), STEP, ModelBook(), ("anthropic",))
    assert not [choice.model for choice in routing.choices if choice.model.endswith("20251001")]


def test_a_server_of_ones_own_takes_part_with_what_settings_say_of_it() -> None:
    entries = {"ollama/llama3.2": {"tier": "fast", "context": 8192, "vision": False}}
    assert picked(ModelPolicy(tier="fast"), usable=("ollama",), entries=entries) == ["ollama/llama3.2"]
    policy = ModelPolicy(tier="fast", needs=frozenset({"vision"}))
    assert picked(policy, usable=("ollama",), entries=entries) == []
    unsaid = {"ollama/llama3.2": {"tier": "fast"}}  # nobody knows, so it is assumed
    assert picked(policy, usable=("ollama",), entries=unsaid) == ["ollama/llama3.2"]


def test_where_none_will_do_the_error_says_what_is_missing() -> None:
    def said(policy: ModelPolicy, step: StepNeeds, usable: Any, entries: Any = None) -> str:
        routing: Routing = route(policy, step, ModelBook(entries), usable)
        assert not routing.choices
        return str(no_model(policy, step, routing))

    vision = ModelPolicy(tier="fast", needs=frozenset({"vision"}))
    assert "no fast model with vision" in said(vision, STEP, ())
    assert "Set ANTHROPIC_API_KEY or OPENAI_API_KEY" in said(vision, STEP, ())
    assert "above 1e-06" in said(ModelPolicy(max_usd_per_call=1e-6), STEP, BOTH)
    assert "holds 1047576 tokens" in said(ModelPolicy(tier="fast"), StepNeeds(input_tokens=5_000_000), BOTH)


def test_a_step_needs_what_is_in_its_request() -> None:
    picture = Message(
        role="user", parts=(Text(text="What is it?"), Image(media_type="image/png", data="AAAA"))
    )
    request = ModelRequest(
        id="r",
        model="m",
        messages=(picture,),
        tools=(ToolSpec(name="t", description="", schema="{}"),),
        output=OutputSpec(name="o", schema="{}"),
        max_tokens=7,
    )
    needs = needs_of(request)
    assert needs.abilities == {"tools", "vision", "json"}
    assert needs.max_tokens == needs.output_tokens == 7
    assert needs_of(ModelRequest(id="r", model="m", messages=(user("Hi"),))).abilities == frozenset()


@pytest.mark.parametrize(
    ("name", "same_as"),
    [
        ("openai/gpt-5.4-mini-2026-03-17", "openai/gpt-5.4-mini"),
        ("anthropic/claude-haiku-4-5-20251001", "anthropic/claude-haiku-4-5"),
        ("anthropic/claude-sonnet-4-5-latest", "anthropic/claude-sonnet-4-5"),
        ("anthropic/claude-3-5-haiku", "anthropic/claude-3-5-haiku-20241022"),
    ],
)
def test_dated_names_and_aliases_have_the_facts_of_the_model(name: str, same_as: str) -> None:
    book = ModelBook()
    one, other = book.of(name), book.of(same_as)
    assert one.context == other.context is not None
    assert (one.tools, one.vision, one.output_usd) == (other.tools, other.vision, other.output_usd)


def test_settings_come_before_the_packages() -> None:
    entry = {"input_usd": 1.0, "output_usd": 2.0, "context": 10, "tools": False}
    book = ModelBook({"openai/gpt-4o": entry, "ollama/qwen3": {"input_usd": 3.0, "output_usd": 4.0}})
    facts = book.of("openai/gpt-4o")
    assert (facts.context, facts.tools, facts.vision) == (10, False, True)
    million = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    assert book.cost(parse_model("openai/gpt-4o"), million) == 3.0
    assert book.cost(parse_model("ollama/qwen3"), million) == 7.0
    assert book.cost(parse_model("ollama/other"), million) is None
    assert ModelBook().cost(parse_model("offline"), million) == 0.0


@pytest.mark.parametrize(
    ("entries", "error", "says"),
    [
        ({"nobody/x": {}}, UnknownNameError, "nobody"),
        ({"openai/x": {"contxt": 5}}, UnknownNameError, "context"),
        ({"openai/x": {"context": -5}}, SettingsError, "above 0"),
        ({"openai/x": {"tools": "yes"}}, SettingsError, "true or false"),
        ({"openai/x": {"tier": "best"}}, SettingsError, "frontier"),
        ({"openai/x": {"input_usd": True}}, SettingsError, "million"),
        ({"openai/x": 5}, SettingsError, "table"),
    ],
)
def test_entries_that_make_no_sense_are_refused(entries: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ModelBook(entries)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"tier": "best"}, "fast, balanced, frontier"),
        ({"needs": frozenset({"visoin"})}, "vision"),
        ({"needs": "tools"}, "list of names"),
        ({"max_usd_per_call": 0}, "above 0"),
        ({"max_usd_per_call": float("nan")}, "above 0"),
        ({"prefer": ("nobody/x",)}, "nobody"),
        ({"prefer": ("nobody/*",)}, "nobody"),
    ],
)
def test_policies_that_make_no_sense_are_refused(fields: Any, says: str) -> None:
    with pytest.raises((DefinitionError, UnknownNameError), match=says):
        ModelPolicy(**fields)


def test_lists_and_sets_of_any_kind_make_the_same_policy() -> None:
    one = ModelPolicy(needs=["tools", "json"], prefer=["openai/*"])  # type: ignore[arg-type]
    assert one == ModelPolicy(needs=frozenset({"json", "tools"}), prefer=("openai/*",))
    assert hash(one) == hash(ModelPolicy.from_text(one.to_text()))


def test_a_cascade_of_policies_survives_pickle() -> None:
    cascade = Cascade([ModelPolicy(tier="fast"), "openai/gpt-5.5"], len)
    assert pickle.loads(pickle.dumps(cascade)) == cascade


def test_a_text_that_is_no_policy_is_refused() -> None:
    for text in ("policy:", "policy:{}x", 'policy:{"teir": "fast"}', "policy:[1]"):
        with pytest.raises(DefinitionError):
            ModelPolicy.from_text(text)
    assert all(not name.startswith("policy") for name in PROVIDERS)
