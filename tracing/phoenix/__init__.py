"""The Phoenix server: its environment, starting and stopping it, and asking it about a run.

Phoenix is never imported here. It lives in an environment of its own under `<home>/phoenix`, and runs as a
process of its own that listens on loopback alone.
"""

from __future__ import annotations

from callsheet.tracing.phoenix.client import PhoenixClient, RunLinks, run_links
from callsheet.tracing.phoenix.environment import PHOENIX_REQUIREMENT, ensure_environment, environment_path
from callsheet.tracing.phoenix.server import PhoenixProcess, running_phoenix, start_phoenix, stop_phoenix

__all__ = [
    "PHOENIX_REQUIREMENT",
    "PhoenixClient",
    "PhoenixProcess",
    "RunLinks",
    "ensure_environment",
    "environment_path",
    "run_links",
    "running_phoenix",
    "start_phoenix",
    "stop_phoenix",
]
