"""Crews: agents and the flow that joins them; launching, running, and the ready-made ones."""

from callsheet.crews.crew import Crew
from callsheet.crews.flow import FlowRun
from callsheet.crews.result import Result, RunEvent
from callsheet.crews.run import Run

__all__ = ["Crew", "FlowRun", "Result", "Run", "RunEvent"]
