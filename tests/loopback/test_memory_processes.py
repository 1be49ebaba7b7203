"""The memory in other processes: what it imports, and what is the same in each."""

from __future__ import annotations

import subprocess
import sys


def test_vectors_are_the_same_in_every_process() -> None:
    code = (
        "import asyncio, hashlib; from callsheet.memory import LexicalEmbedder;"
        "print(hashlib.sha256(asyncio.run(LexicalEmbedder().embed(['the journal of a run'])).tobytes()).hexdigest())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_importing_the_memory_loads_nothing_heavy() -> None:
    code = (
        "import sys, callsheet.memory as m; m.Memory, m.load_documents, m.cut;"
        "heavy = ('faiss', 'numpy', 'trafilatura', 'pypdf', 'ray', 'opentelemetry');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
