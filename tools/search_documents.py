"""The tool that searches the crew's documents."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from callsheet.tools.context import ToolContext
from callsheet.tools.failures import ToolFailure
from callsheet.tools.sources import passages_text
from callsheet.tools.tool import tool


@tool(timeout_s=60)
async def search_documents(
    query: Annotated[str, Field(min_length=1, max_length=2000)],
    context: ToolContext,
    k: Annotated[int, Field(ge=1, le=20)] = 5,
) -> str:
    """Search the documents given to this crew, and return the passages that fit best, with their sources.

    Args:
        query: What to look for: a question, or a few distinctive words.
        k: How many passages to return.
    """
    if context.memory is None:
        raise ToolFailure("There are no documents to search in this run. Say so instead of guessing.")
    hits = await context.memory.search(query, k=k)
    if not hits:
        return f"No passage fits {query!r}. Try other words, or say that nothing was found."
    return passages_text((hit.cite, hit.title, hit.text) for hit in hits)
