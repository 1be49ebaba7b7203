"""What can be an agent, and what is refused at once with a word on what to do."""

from __future__ import annotations

from typing import Any

import pytest

from callsheet.agents import Agent
from callsheet.core.errors import DefinitionError, UnknownNameError, UsageError
from callsheet.roles import Role
from callsheet.tools import tool


@tool
def lookup(order: int) -> str:
    """Look up an order."""
    return str(order)


@pytest.mark.parametrize("name", ["clerk", "Clerk_2", "a-b", "x" * 48])
def test_a_name_is_a_letter_then_letters_digits_or_marks(name: str) -> None:
    assert Agent(name).name == name


@pytest.mark.parametrize(
    "name", ["", "2nd", "two words", "clerk\n", "a/b", "é", "x" * 49, "flow", "person", "user", None, 7]
)
def test_other_names_are_refused(name: Any) -> None:
    with pytest.raises(DefinitionError, match="cannot be called") as caught:
        Agent(name)
    assert caught.value.exit_status == 2
    assert "letter" in caught.value.hint


def test_a_role_is_a_ready_one_by_name_or_instructions_or_a_card() -> None:
    card = Role(name="clerk", purpose="You look after orders.")
    assert Agent("a", role="researcher").role.name == "researcher"
    assert Agent("a", role="You look after orders.").role.purpose == "You look after orders."
    assert Agent("a", role=card).role is card


def test_an_agent_without_a_role_has_the_ready_one_of_its_name() -> None:
    assert Agent("critic").role == Agent("x", role="critic").role


def test_an_agent_of_another_name_does_the_task_it_is_given() -> None:
    assert Agent("bob").role.purpose == "You do the task you are given, and hand over its result."


def test_an_agent_that_is_nearly_named_like_a_ready_made_role_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="did you mean critic") as caught:
        Agent("critc")
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", ["clerk", "editor", "a", "reader", "helper"])
def test_other_names_are_taken_without_a_word(name: str, recwarn: pytest.WarningsRecorder) -> None:
    Agent(name)
    assert not recwarn.list


@pytest.mark.parametrize(("model", "told"), [(5, "model is 5"), ("opnai/gpt-4o", "opnai"), ("", "model")])
def test_a_model_is_a_name_of_a_known_provider(model: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        Agent("a", model=model)
    assert caught.value.hint


def test_a_role_of_nothing_is_refused() -> None:
    with pytest.raises(DefinitionError):
        Agent("a", role="  ")
    with pytest.raises(DefinitionError):
        Agent("a", role=5)  # type: ignore[arg-type]


def test_tools_are_tools_plain_functions_or_names_of_built_in_ones() -> None:
    def plain(x: int) -> int:
        """Double it."""
        return 2 * x

    agent = Agent("a", tools=[lookup, plain, "read_file"])
    assert [t.name for t in agent.tools] == ["lookup", "plain", "read_file"]


def test_two_tools_of_one_name_are_refused_by_name() -> None:
    with pytest.raises(DefinitionError, match=r"'a' has two tools called 'lookup'"):
        Agent("a", tools=[lookup, lookup])


def test_an_unknown_tool_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="read_fil") as caught:
        Agent("a", tools=["read_fil"])
    assert "read_file" in caught.value.hint


@pytest.mark.parametrize("tools", [[5], [None], "read_file", lookup])
def test_what_is_no_list_of_tools_is_refused(tools: Any) -> None:
    with pytest.raises(DefinitionError, match="tool"):
        Agent("a", tools=tools)


@pytest.mark.parametrize("output", [object(), 5, lambda x: x, [str], {"a": int}, "no type"])
def test_an_output_that_is_no_type_is_refused_at_once(output: Any) -> None:
    with pytest.raises(DefinitionError, match="cannot be an output"):
        Agent("a", output=output)


@pytest.mark.parametrize("replicas", [0, -1, 1.5, "2", True])
def test_replicas_is_a_whole_number_above_zero(replicas: Any) -> None:
    with pytest.raises(DefinitionError, match="replicas"):
        Agent("a", replicas=replicas)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": "hot"}, {"temperature": -1}, {"max_tokens": 0}, {"max_tokens": 1.5}, {"extra": "x"},
        {"resources": "gpu"}, {"resources": {"num_gpus": "1"}}, {"resources": {"num_gpus": -1}},
    ],
    ids=repr,
)  # fmt: skip
def test_a_wrong_option_is_refused_by_its_name(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(DefinitionError, match=f"'a': {name} is") as caught:
        Agent("a", **options)
    assert "It must be" in caught.value.hint


def test_options_that_make_sense_are_kept() -> None:
    agent = Agent(
        "a", temperature=0, max_tokens=1, resources={"num_gpus": 0.5, "num_cpus": 0}, extra={"k": 1}
    )
    assert (agent.temperature, agent.max_tokens, agent.extra) == (0, 1, {"k": 1})
    assert agent.resources == {"num_gpus": 0.5, "num_cpus": 0}


def test_extra_must_be_json() -> None:
    with pytest.raises(UsageError, match="extra"):
        Agent("a", extra={"when": object()})


def test_a_tool_that_wants_a_persons_approval_is_taken() -> None:
    @tool(approval=True)
    def pay(amount: int) -> str:
        """Pay an amount."""
        return str(amount)

    assert [t.approval for t in Agent("payer", tools=[pay]).tools] == [True]
