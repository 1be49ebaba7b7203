"""What importing the gateway costs: asked of a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_gateway_imports_no_sdk() -> None:
    code = (
        "import sys, callsheet.models.gateway, callsheet.models.offline, callsheet.models.openai_provider, "
        "callsheet.models.anthropic_provider\n"
        "print([m for m in ('ray', 'openai', 'anthropic', 'aiohttp', 'genai_prices', 'opentelemetry') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
