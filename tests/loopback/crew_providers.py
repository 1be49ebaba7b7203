"""Crews on a provider's real SDK and a server on loopback: what the tests of each provider have in common."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from callsheet.agents import Agent
from callsheet.crews import Crew, Result
from callsheet.crews import system as crews_system
from callsheet.models.config import GatewayConfig
from callsheet.settings import load_settings
from callsheet.tools import tool
from tests.data_sets import data_file
from tests.loopback.models_server import Answer

KEY = "sk-proj-zyx987secretsecretsecret"


@tool
def get_weather(location: str, unit: str = "celsius") -> str:
    """Get the current weather in a place."""
    return f"sunny in {location}"


class Score(BaseModel):
    score: int


def weather_crew(**fields: Any) -> Crew:
    """One agent with one tool."""
    return Crew(
        "weather", agents=[Agent("forecaster", role="You know the weather.", tools=[get_weather], **fields)]
    )


def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway retries without delay."""
    quick = functools.partial(GatewayConfig, first_backoff_s=0.001, max_attempts=2)
    monkeypatch.setattr(crews_system, "GatewayConfig", quick)


async def run(crew: Crew, task: str, model: str, **options: Any) -> Result:
    """One run inline, with spans going to the spool; its result carries the error that ended it."""
    return await crew.arun(task, host="inline", settings=load_settings(), model=model, check=False, **options)


def recorded(id_: str) -> Answer:
    """A recorded response of a real provider."""
    for line in data_file("llm_exchanges/exchanges.jsonl").read_text("utf-8").split("\n"):
        row = json.loads(line) if line.strip() else {}
        if row.get("id") == id_:
            return Answer(row["status"], row["response_json"])
    raise AssertionError(f"there is no recorded exchange {id_}")


def files_that_hold(secret: str, home: Path) -> list[str]:
    """The files below the home, journal and spool among them, in which the secret stands."""
    files = (Path(folder, name) for folder, _, names in os.walk(home) for name in names)
    return [file.name for file in files if secret.encode() in file.read_bytes()]
