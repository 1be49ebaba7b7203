"""The tool that searches the web with DuckDuckGo and other engines, through the `ddgs` package."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from pydantic import Field

from callsheet.tools.failures import ToolFailure
from callsheet.tools.sources import passages_text
from callsheet.tools.threads import in_thread
from callsheet.tools.tool import tool

TIMEOUT_S = 20


@tool
async def web_search(
    query: Annotated[str, Field(min_length=1, max_length=500)],
    max_results: Annotated[int, Field(ge=1, le=20)] = 5,
) -> str:
    """Search the web, and return the title, address and a snippet of each page found.

    Args:
        query: What to look for, as one would type it into a search engine.
        max_results: How many pages to return.
    """
    try:
        # The package has a limit per request, but asks several engines in turn.
        found = await asyncio.wait_for(in_thread(_search, query, max_results), TIMEOUT_S * 1.5)
    except TimeoutError:
        raise ToolFailure("The web search took too long. Try again later, or go on without it.") from None
    return results_text(query, found)


def results_text(query: str, found: list[dict[str, Any]]) -> str:
    """The found pages as passages; `found` has dicts with `title`, `href` and `body`, as ddgs gives them."""
    pages = [
        (str(page["href"]), str(page.get("title") or ""), str(page.get("body") or ""))
        for page in found
        if page.get("href")
    ]
    return passages_text(pages) if pages else f"The web search found nothing for {query!r}. Try other words."


def _search(query: str, max_results: int) -> list[dict[str, Any]]:
    from ddgs import DDGS
    from ddgs.exceptions import DDGSException, RatelimitException, TimeoutException

    try:
        return list(DDGS(timeout=TIMEOUT_S).text(query, max_results=max_results))
    except RatelimitException:
        raise ToolFailure(
            "The search engines refuse more searches for now. Go on without, or try later."
        ) from None
    except TimeoutException:
        raise ToolFailure("The web search took too long. Try again later, or go on without it.") from None
    except DDGSException as error:
        if "no results" in str(error).lower():
            return []
        raise ToolFailure(
            f"The web search is not reachable from here ({_brief(error)}). Go on without it."
        ) from None
    except (OSError, RuntimeError, ValueError) as error:
        raise ToolFailure(f"The web search failed ({_brief(error)}). Go on without it.") from None


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
