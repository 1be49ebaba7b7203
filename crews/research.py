"""The ready-made crew `research`: find out, work out, write up, with citations."""

from __future__ import annotations

from callsheet.agents import Agent
from callsheet.crews.crew import Crew


def research() -> Crew:
    """Researcher → analyst → writer: answers a question from the documents given to the run, or the web."""
    return Crew(
        "research",
        agents=[
            Agent("researcher", tools=["search_documents", "web_search", "fetch_page"]),
            Agent("analyst"),
            Agent("writer"),
        ],
        description="Answers a question from your documents (--docs) or the web, with citations.",
    )
