"""Tools in other processes: what they import, and what of them travels."""

from __future__ import annotations

import subprocess
import sys

# As a crew file that is run as a script: no other process can import it.
SOURCE = '''
from __future__ import annotations
from dataclasses import dataclass
from pydantic import BaseModel
from callsheet.tools import ToolContext, tool

class Item(BaseModel):
    name: str

@dataclass
class Size:
    width: int

@tool(effect="once", timeout_s=9)
def order(item: Item, size: Size, context: ToolContext, n: int = 1) -> str:
    """Order an item."""
    return f"{n} {item.name} of {size.width} for {context.agent}"
'''
ARGUMENTS = '{"item": {"name": "cup"}, "size": {"width": 3}}'


def test_a_tool_from_main_runs_in_another_process() -> None:
    write = SOURCE + "\nimport sys, ray.cloudpickle as p\nsys.stdout.buffer.write(p.dumps(order))"
    data = subprocess.run([sys.executable, "-c", write], check=True, capture_output=True).stdout
    read = (
        "import asyncio, pickle, sys\nfrom callsheet.tools import ToolContext\n"
        "order = pickle.loads(sys.stdin.buffer.read())\n"
        f"print(asyncio.run(order.call({ARGUMENTS!r}, ToolContext(agent='clerk'))))"
    )
    done = subprocess.run([sys.executable, "-c", read], check=True, capture_output=True, input=data)
    assert done.stdout.decode().strip() == "1 cup of 3 for clerk"


def test_importing_the_tools_loads_nothing_heavy() -> None:
    code = (
        "import sys; from callsheet.tools import builtin_tools; builtin_tools();"
        "heavy = ('aiohttp', 'ddgs', 'trafilatura', 'pypdf', 'numpy', 'ray', 'faiss');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
