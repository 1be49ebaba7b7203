"""A bench on Ray: its runs are on the cluster, and what was finished there is not run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from callsheet.agents import Agent
from callsheet.crews import Crew
from callsheet.scenarios import Case, Suite, scorer
from callsheet.scenarios.benching import Bench
from callsheet.scenarios.running import bench
from callsheet.tools import tool
from tests.ray.conftest import Cluster


def test_a_bench_on_ray_is_complete_and_resumed_without_a_second_run(
    cluster: Cluster, tmp_path: Path
) -> None:
    asked = tmp_path / "asked.txt"

    @tool
    def order_status(order_id: str) -> str:
        """Look up where an order is.

        Args:
            order_id: The number of the order.
        """
        with asked.open("a") as file:
            file.write(order_id + "\n")
        return f"order {order_id} left on day {order_id}"

    @scorer
    def looked_up(attempt: Any) -> bool:
        return [call.name for call in attempt.calls] == [
            "order_status"
        ] and attempt.case.expected in attempt.text

    crew = Crew("bench-desk", agents=[Agent("clerk", role="You look orders up.", tools=[order_status])])
    cases = [Case(id=f"case-{n}", input=f"Where is order {n}?", expected=f"day {n}") for n in range(101, 107)]
    suite = Suite("orders", cases, [looked_up])
    begun = Bench.begin(suite, [crew], host="ray", at_once=3, settings=cluster.settings)
    result = begun.run()
    assert [trial.scores["looked_up"].value for trial in result.trials] == [1.0] * 6
    assert all(trial.steps == 4 for trial in result.trials)
    trials = cluster.settings.home / "benches" / begun.bench_id / "trials.jsonl"
    kept = trials.read_text().splitlines(keepends=True)
    trials.write_text("".join(kept[:3]))
    again = bench(suite, crew, resume=begun.bench_id, settings=cluster.settings)
    assert again.complete
    assert sorted(asked.read_text().split()) == [str(n) for n in range(101, 107)]
    assert {t.case: t.output for t in again.trials} == {t.case: t.output for t in result.trials}
    assert json.loads(kept[0])["run_id"] in {record.run_id for record in cluster.journal().runs()}
