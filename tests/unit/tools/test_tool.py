"""`@tool`: what a model is told, what it may send, and what comes back."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import enum
import json
import math
import threading
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from callsheet.core.errors import ToolError
from callsheet.tools import ToolContext, ToolFailure, ToolInputError, tool
from tests.data_sets import data_file

HERE = ToolContext(run_id="run-000001", agent="clerk", idempotency_key="key-1")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str
    title: str = "home"


@dataclasses.dataclass
class Size:
    width: int
    height: int


@tool
def order_status(order_id: str, verbose: bool = False) -> str:
    """Look up
    where an order is.

    Longer text that the model need not read.

    Args:
        order_id: The order's number,
            as printed on the bill.
        verbose (bool): Whether to list each stop.
    """
    return f"order {order_id} is on its way" + (" via Basel" if verbose else "")


async def test_a_decorated_function_can_be_called_as_before() -> None:
    assert order_status("17") == "order 17 is on its way"
    assert order_status.__name__ == "order_status"


def test_the_description_is_the_first_paragraph() -> None:
    assert order_status.description == "Look up where an order is."


def test_the_schema_holds_types_descriptions_defaults_and_nothing_else() -> None:
    assert json.loads(order_status.schema) == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "order_id": {"type": "string", "description": "The order's number, as printed on the bill."},
            "verbose": {"type": "boolean", "default": False, "description": "Whether to list each stop."},
        },
        "required": ["order_id"],
    }


@pytest.mark.parametrize("default", [math.inf, math.nan])
async def test_a_default_that_json_lacks_stays_out_of_the_schema(default: float) -> None:
    def work(most: float = default, several: tuple[float, ...] = (default,)) -> str:
        """Work."""
        return f"{most} {several}"

    made = tool(work)
    schema = json.loads(made.schema, parse_constant=pytest.fail)
    assert not any("default" in field for field in schema["properties"].values())
    assert await made.call("{}", ToolContext()) == f"{default} {(default,)}"


def test_the_schema_keeps_a_property_that_is_called_title() -> None:
    @tool
    def post(title: str, address: Address) -> str:
        """Post."""
        return title

    schema = json.loads(post.schema)
    assert "title" in schema["properties"]
    assert "title" in schema["$defs"]["Address"]["properties"]
    assert "title" not in schema


def test_literals_enums_optionals_models_lists_and_dataclasses_are_described() -> None:
    @tool
    def paint(
        colour: Colour,
        mode: Literal["fast", "slow"],
        where: Address | None = None,
        sizes: list[Size] = [],  # noqa: B006 - a mutable default must not break the schema
        coats: Annotated[int, Field(ge=1, le=3)] = 1,
    ) -> str:
        """Paint."""
        return ""

    properties = json.loads(paint.schema)["properties"]
    definitions = json.loads(paint.schema)["$defs"]
    assert definitions["Colour"]["enum"] == ["red", "blue"]
    assert properties["mode"]["enum"] == ["fast", "slow"]
    assert {"type": "null"} in properties["where"]["anyOf"]
    assert definitions["Size"]["required"] == ["width", "height"]
    assert properties["coats"]["maximum"] == 3
    assert json.loads(paint.schema)["required"] == ["colour", "mode"]


async def test_arguments_arrive_as_the_declared_types() -> None:
    seen: list[Any] = []

    @tool
    def paint(colour: Colour, size: Size, where: Address, tags: set[str]) -> str:
        """Paint."""
        seen.extend([colour, size, where, tags])
        return "ok"

    await paint.call(
        '{"colour": "red", "size": {"width": 1, "height": 2}, "where": {"street": "A"}, "tags": ["x", "x"]}',
        HERE,
    )
    assert seen == [Colour.RED, Size(1, 2), Address(street="A"), {"x"}]


@pytest.mark.parametrize("nothing", ["", "  ", "{}", "null"])
async def test_no_arguments_is_written_in_several_ways(nothing: str) -> None:
    @tool
    def now() -> str:
        """Tell the time."""
        return "noon"

    assert await now.call(nothing, HERE) == "noon"


async def test_a_number_is_taken_where_text_is_declared() -> None:
    assert await order_status.call('{"order_id": 17}', HERE) == "order 17 is on its way"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", ["order_id", "required", '"type": "string"']),
        ('{"order_id": [1]}', ["order_id", "Got [1]", '"type": "string"']),
        ('{"order_id": "1", "verbose": "maybe"}', ["verbose", '"maybe"', "boolean"]),
        ('{"order_id": "1", "loud": true}', ["loud", "no such argument", "order_id, verbose"]),
        ('{"order_id": "1"', ["Invalid JSON"]),
        ("[1]", ["object", "Got [1]"]),
        ('"x"', ["object"]),
    ],
)
async def test_wrong_arguments_tell_the_model_what_to_mend(arguments: str, told: list[str]) -> None:
    with pytest.raises(ToolInputError) as caught:
        await order_status.call(arguments, HERE)
    for part in told:
        assert part in caught.value.message_for_model
    assert caught.value.tool == "order_status"


async def test_a_long_wrong_value_is_shown_in_part() -> None:
    with pytest.raises(ToolInputError) as caught:
        await order_status.call(json.dumps({"order_id": ["x" * 10_000]}), HERE)
    assert len(caught.value.message_for_model) < 1000


async def test_the_context_is_given_and_not_in_the_schema() -> None:
    @tool
    def pay(amount: int, context: ToolContext) -> str:
        """Pay."""
        return f"{amount} by {context.agent} with {context.idempotency_key}"

    @tool
    def maybe(context: ToolContext | None = None) -> str:
        """See."""
        return context.agent if context else "nobody"

    assert list(json.loads(pay.schema)["properties"]) == ["amount"]
    assert await pay.call('{"amount": 3}', HERE) == "3 by clerk with key-1"
    assert await maybe.call("", HERE) == "clerk"
    with pytest.raises(ToolInputError):
        await pay.call('{"amount": 3, "context": {"agent": "someone else"}}', HERE)


async def test_asynchronous_tools_run_on_the_loop_and_others_in_a_thread() -> None:
    where: dict[str, int] = {}

    @tool
    async def on_loop() -> str:
        """One."""
        where["loop"] = threading.get_ident()
        return ""

    @tool
    def in_thread() -> str:
        """Two."""
        where["thread"] = threading.get_ident()
        return ""

    await on_loop.call("", HERE)
    await in_thread.call("", HERE)
    assert where["loop"] == threading.get_ident() != where["thread"]


async def test_context_variables_reach_a_tool_in_a_thread() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("kept")

    @tool
    def read() -> str:
        """Read."""
        return variable.get()

    assert await read.call("", HERE) == "kept"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (Address(street="A"), '{"street":"A","title":"home"}'),
        (Size(1, 2), '{"width":1,"height":2}'),
        ([1, "é"], '[1,"é"]'),
        ({"a": Colour.RED}, '{"a":"red"}'),
        (None, "(the tool returned nothing)"),
        (True, "true"),
        ("\ud800", "?"),
    ],
)
async def test_results_become_text(value: object, text: str) -> None:
    @tool
    def give() -> Any:
        """Give."""
        return value

    assert await give.call("", HERE) == text


async def test_a_long_result_is_cut_and_says_so() -> None:
    @tool(result_chars=10)
    def give() -> str:
        """Give."""
        return "0123456789abc"

    assert (
        await give.call("", HERE) == "0123456789\n[cut: the result has 13 characters; these are the first 10]"
    )


async def test_a_result_without_json_form_is_the_tools_fault() -> None:
    @tool
    def give() -> Any:
        """Give."""
        return object()

    with pytest.raises(ToolError, match="no JSON form") as caught:
        await give.call("", HERE)
    assert caught.value.tool == "give"


async def test_an_exception_becomes_a_tool_error_with_its_cause() -> None:
    @tool
    def divide(a: int, b: int) -> float:
        """Divide."""
        return a / b

    with pytest.raises(ToolError, match="'divide' failed: ZeroDivisionError") as caught:
        await divide.call('{"a": 1, "b": 0}', HERE)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("raised", [StopIteration(), SystemExit(3), RecursionError("deep")])
async def test_no_exception_of_a_tool_stops_or_hangs_its_agent(raised: BaseException) -> None:
    @tool
    def in_thread() -> str:
        """Raise."""
        raise raised

    with pytest.raises(ToolError, match=type(raised).__name__):
        await in_thread.call("", HERE)


async def test_a_wrong_field_of_a_model_is_told_with_the_models_shape() -> None:
    @tool
    def send(where: Address) -> str:
        """Send."""
        return ""

    with pytest.raises(ToolInputError) as caught:
        await send.call('{"where": {}}', HERE)
    assert "where.street: Field required" in caught.value.message_for_model
    assert '"street": {"type": "string"}' in caught.value.message_for_model


async def test_a_timeout_error_of_the_tools_own_is_no_expired_limit() -> None:
    @tool(timeout_s=60)
    async def ask() -> str:
        """Ask."""
        raise TimeoutError("the other side")

    with pytest.raises(ToolError, match="the other side"):
        await ask.call("", HERE)


async def test_a_deliberate_failure_reaches_the_model_as_it_is() -> None:
    @tool
    def find() -> str:
        """Find."""
        raise ToolFailure("There is no such order.")

    with pytest.raises(ToolFailure, match=r"There is no such order\."):
        await find.call("", HERE)


async def test_a_tool_that_takes_too_long_is_stopped() -> None:
    cancelled = asyncio.Event()

    @tool(timeout_s=0.01)
    async def wait() -> str:
        """Wait."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return ""

    with pytest.raises(ToolFailure, match=r"longer than 0\.01 s\.$"):
        await wait.call("", HERE)
    assert cancelled.is_set()


async def test_a_late_call_that_changes_something_is_told_to_be_unsure() -> None:
    @tool(effect="once", timeout_s=0.01)
    async def pay() -> str:
        """Pay."""
        await asyncio.Event().wait()
        return ""

    with pytest.raises(ToolFailure, match="not known"):
        await pay.call("", HERE)


async def test_cancellation_from_outside_passes_through() -> None:
    started = asyncio.Event()

    @tool(timeout_s=60)
    async def wait() -> str:
        """Wait."""
        started.set()
        await asyncio.Event().wait()
        return ""

    task = asyncio.create_task(wait.call("", HERE))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_default_effect_is_none_and_others_are_kept() -> None:
    @tool(name="transfer-money", description="Move money.", effect="once", approval=True, timeout_s=5)
    def pay(amount: int) -> str:
        return ""

    assert (order_status.effect, order_status.approval, order_status.timeout_s) == ("none", False, None)
    assert pay.on_unknown == "ask"
    assert (pay.name, pay.description) == ("transfer-money", "Move money.")
    assert (pay.effect, pay.approval, pay.timeout_s) == ("once", True, 5)


def test_a_bound_method_can_be_a_tool() -> None:
    class Shop:
        def stock(self, item: str) -> str:
            """Count an item."""
            return item

    assert list(json.loads(tool(Shop().stock).schema)["properties"]) == ["item"]


async def test_naughty_strings_as_arguments_never_break_the_check() -> None:
    for line in data_file("naughty_strings/strings.jsonl").read_text("utf-8").split("\n"):
        if line:
            text = json.loads(line)["text"]
            if text.strip() not in ("", "null"):
                with pytest.raises(ToolInputError):
                    await order_status.call(text, HERE)
