"""Tools travel to other processes by Ray's pickle, with their functions."""

from __future__ import annotations

import pickle
import sys
import types

import pytest
import ray.cloudpickle
from pydantic import BaseModel

from callsheet.tools import Tool, ToolContext, ToolFailure, ToolInputError, builtin_tools, find_tool, tool

SOURCE = '''
from __future__ import annotations
from dataclasses import dataclass
from enum import Enum
from pydantic import BaseModel
from callsheet.tools import ToolContext, tool

class Colour(Enum):
    RED = "red"

class Item(BaseModel):
    name: str

@dataclass
class Size:
    width: int

@tool(effect="once", on_unknown="fail", timeout_s=9)
def order(item: Item, size: Size, colour: Colour, context: ToolContext, n: int = 1) -> str:
    """Order an item."""
    return f"{n} {colour.value} {item.name} of {size.width} for {context.agent}"

@tool
def again(n: int) -> str:
    """Call itself."""
    return "done" if n == 0 else again(n - 1)
'''
ARGUMENTS = '{"item": {"name": "cup"}, "size": {"width": 3}, "colour": "red"}'
RESULT = "1 red cup of 3 for clerk"
CONTEXT = ToolContext(agent="clerk")


@pytest.fixture
def module() -> types.ModuleType:
    """A crew file, as it is loaded: a module that no other process can import."""
    made = types.ModuleType("crew_file_nobody_can_import")
    sys.modules[made.__name__] = made
    exec(SOURCE, made.__dict__)
    return made


def _travel(value: Tool, module: types.ModuleType) -> Tool:
    ray.cloudpickle.register_pickle_by_value(module)
    try:
        data = ray.cloudpickle.dumps(value)
    finally:
        ray.cloudpickle.unregister_pickle_by_value(module)
    del sys.modules[module.__name__]
    arrived = ray.cloudpickle.loads(data)
    assert isinstance(arrived, Tool)
    return arrived


async def test_a_tool_from_a_module_sent_by_value(module: types.ModuleType) -> None:
    original: Tool = module.order
    arrived = _travel(original, module)
    assert (arrived.name, arrived.description, arrived.schema) == (
        original.name,
        original.description,
        original.schema,
    )
    assert (arrived.effect, arrived.approval, arrived.timeout_s) == ("once", False, 9)
    assert arrived.on_unknown == "fail"
    assert await arrived.call(ARGUMENTS, CONTEXT) == RESULT
    with pytest.raises(ToolInputError, match="item"):
        await arrived.call("{}", CONTEXT)


async def test_a_tool_that_refers_to_itself(module: types.ModuleType) -> None:
    assert await _travel(module.again, module).call('{"n": 2}', CONTEXT) == "done"


async def test_a_tool_that_closes_over_values_and_types() -> None:
    class Local(BaseModel):
        name: str

    greeting = "Grüezi"

    @tool
    def greet(whom: Local) -> str:
        """Greet."""
        return f"{greeting} {whom.name}"

    arrived = ray.cloudpickle.loads(ray.cloudpickle.dumps(greet))
    assert await arrived.call('{"whom": {"name": "Ada"}}', CONTEXT) == "Grüezi Ada"


@pytest.mark.parametrize("name", sorted(builtin_tools()))
def test_built_in_tools_travel_by_name(name: str) -> None:
    assert pickle.loads(pickle.dumps(find_tool(name))) is find_tool(name)


def test_failures_survive_pickle() -> None:
    wrong = pickle.loads(pickle.dumps(ToolInputError("mend it", "order")))
    assert (wrong.message_for_model, wrong.tool) == ("mend it", "order")
    assert pickle.loads(pickle.dumps(ToolFailure("no"))).message_for_model == "no"
    assert pickle.loads(pickle.dumps(CONTEXT)) == CONTEXT
