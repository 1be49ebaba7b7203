"""What `callsheet bench` makes of a bench: tables, files, a page, plots, experiments; and what it compares with."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callsheet.cli.bench_display import Lines, LiveTable
from callsheet.cli.screen import console, notice, print_error, print_json
from callsheet.cli.streams import answers
from callsheet.core.errors import CallsheetError, UsageError

if TYPE_CHECKING:
    from callsheet.scenarios.benching import Bench
    from callsheet.scenarios.comparing import Comparison
    from callsheet.scenarios.results import BenchResult
    from callsheet.scenarios.suite import Suite
    from callsheet.settings import Settings


@dataclass(kw_only=True)
class Reports:
    """What is wanted of a bench once it has ended. `check` finds mistakes before anything is run."""

    settings: Settings
    as_json: bool
    out: Path | None
    html: Path | None
    plots: Path | None
    phoenix: bool
    compare: str | None
    fail_under: str | None

    def check(self, suite: Suite) -> None:
        """Raises UsageError for a threshold, a baseline or a place of a file that will not do."""
        from callsheet.scenarios.provenance import scorers_of
        from callsheet.scenarios.thresholds import FailUnder

        if self.fail_under is not None:
            FailUnder.parse(self.fail_under).check_names(scorers_of(suite))
        baseline = self._baseline()
        if baseline is not None and not {case.id for case in suite.cases} & set(baseline.info.cases):
            raise UsageError(
                f"no case of {suite.name!r} is in the baseline {self.compare}, which is of {baseline.info.suite!r}",
                hint="Compare with a bench of the same suite.",
            )
        for option, path in (("--out", self.out), ("--html", self.html), ("--plots", self.plots)):
            if path is not None and path.is_dir() != (option == "--plots") and path.exists():
                kind = "a folder" if path.is_dir() else "a file"
                raise UsageError(f"{option}: {path} is {kind}", hint="Give another name.")
        if self.html is not None or self.plots is not None:
            _check_matplotlib()

    def display(self, prepared: Bench) -> Lines | LiveTable:
        """What shows the bench while it runs."""
        return LiveTable(prepared.info) if sys.stderr.isatty() else Lines(prepared.info)

    def write(self, result: BenchResult, suite: Suite) -> int:
        """Print and write all that is wanted; the exit status: 1 where a threshold is not reached."""
        from callsheet.scenarios import reports
        from callsheet.scenarios.reports.files import to_data
        from callsheet.scenarios.summary import summarise
        from callsheet.scenarios.thresholds import FailUnder

        status, comparison = 0, None
        try:
            comparison = self._comparison(result)
        except CallsheetError as error:  # what was paid for is shown all the same
            print_error(error.message, error.hint)
            status = error.exit_status
        if self.as_json:
            print_json({"summary": to_data(summarise(result)), "result": to_data(result)})
        else:
            reports.terminal.show(console(answers()), result, comparison)
            answers().flush()
        for write in (self._write_json, self._write_page, self._write_plots, self._publish):
            try:
                write(result, suite, comparison)
            except CallsheetError as error:  # the others are wanted all the same
                print_error(error.message, error.hint)
                status = max(status, error.exit_status)
        if self.fail_under is not None:
            for complaint in FailUnder.parse(self.fail_under).check(summarise(result)):
                print_error(complaint)
                status = status or 1
        notice(f"bench {result.info.bench_id}")
        return status

    def _write_json(self, result: BenchResult, *_: Any) -> None:
        from callsheet.scenarios import reports

        if self.out is not None:
            reports.write_json(result, self.out)
            notice(f"wrote {self.out}")

    def _write_page(self, result: BenchResult, _: Suite, comparison: Comparison | None) -> None:
        from callsheet.scenarios import reports

        if self.html is not None:
            reports.write_page(result, self.html, comparison)
            notice(f"wrote {self.html}")

    def _write_plots(self, result: BenchResult, *_: Any) -> None:
        from callsheet.scenarios import reports

        if self.plots is not None:
            for path in reports.write_plots(result, self.plots):
                notice(f"wrote {path}")

    def _publish(self, result: BenchResult, suite: Suite, *_: Any) -> None:
        if self.phoenix:
            from callsheet.scenarios.experiments import publish

            notice(f"in Phoenix: {publish(result, suite, self.settings).url}")

    def _comparison(self, result: BenchResult) -> Comparison | None:
        from callsheet.scenarios.comparing import compare

        baseline = self._baseline()
        return None if baseline is None else compare(result, baseline)

    def _baseline(self) -> BenchResult | None:
        from callsheet.scenarios.reports import read_json
        from callsheet.scenarios.results import BenchResult
        from callsheet.scenarios.store import benches_folder, find_bench, list_benches

        if self.compare is None:
            return None
        benches = benches_folder(self.settings.home)
        known = any(path.name.startswith(self.compare) for path in list_benches(benches))
        if Path(self.compare).exists() or not known:
            return read_json(self.compare)
        folder = find_bench(benches, self.compare)
        return BenchResult(info=folder.info(), trials=tuple(folder.trials().values()))


def _check_matplotlib() -> None:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise UsageError(
            "plots want matplotlib, which is not installed", hint="pip install 'callsheet[bench]'"
        )
