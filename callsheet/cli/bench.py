"""`bench` and `benches`: run a suite of cases by crews, score, compare; and what was benched before."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from callsheet.cli.bench_reports import Reports
from callsheet.cli.bench_wanted import Wanted, resumed
from callsheet.cli.limits import above_zero
from callsheet.cli.logs import one_line_each
from callsheet.cli.options import Address, Home, Json, settings_of
from callsheet.cli.screen import notice, print_error, print_json, print_table
from callsheet.cli.streams import only_answers
from callsheet.cli.words import when
from callsheet.core.errors import RunError, UsageError

if TYPE_CHECKING:
    from callsheet.scenarios.benching import Bench
    from callsheet.scenarios.suite import Suite

AT_ONCE = 8


def bench(
    suite: Annotated[
        str | None,
        typer.Argument(
            metavar="[SUITE]",
            help="suite.yaml, file.py[:name], cases.csv, cases.jsonl, or the name of a built-in suite.",
        ),
    ] = None,
    crew: Annotated[
        list[str] | None,
        typer.Option("--crew", metavar="CREW", help="A crew, as for `run`; may be repeated. Else the suite's own."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", metavar="MODEL",
            help="Bench each crew with this: provider/name, or fast, balanced or frontier; may be repeated.",
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, metavar="N", help="How often each case is run.")
    ] = 1,
    cases: Annotated[
        int | None, typer.Option("--cases", min=1, metavar="N", help="Only the first N cases.")
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option("--case", metavar="ID", help="Only the case of that id; may be repeated."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="FOLDER", help="Where public sets lie; instead of CALLSHEET_DATA."),
    ] = None,
    scorer: Annotated[
        list[str] | None,
        typer.Option("--scorer", metavar="NAME", help="Judge by this, not by the suite's own; may be repeated."),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option("--at-once", min=1, metavar="N", help=f"How many runs at once (default {AT_ONCE})."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget", metavar="USD", help="What the whole bench may cost, judges included."),
    ] = None,
    inline: Annotated[bool, typer.Option("--inline", help="Run in this process, without Ray.")] = False,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="BENCH", help="Go on with a bench; finished trials are kept."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --resume: try again what failed.")
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option("--compare", metavar="BASELINE", help="A JSON file of --out, or a bench's id: what changed?"),
    ] = None,
    fail_under: Annotated[
        str | None,
        typer.Option(
            "--fail-under", metavar="NAME=VALUE,…",
            help="Exit status 1 if a candidate does not reach this: score=0.8,cost=0.05,time=10,failures=0.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures and trials as one JSON object.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write figures and trials to a JSON file.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write one HTML page with plots and all cases.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option("--plots", metavar="FOLDER", help="Write the plots as PNG files.")
    ] = None,
    phoenix: Annotated[
        bool, typer.Option("--phoenix/--no-phoenix", help="Publish it in Phoenix, as experiments on a dataset.")
    ] = False,
    address: Address = None,
    home: Home = None,
) -> int:  # fmt: skip
    """Run every case of a suite by every crew, score the answers, and compare.

    The report goes to standard output, all else to standard error. What is finished is kept: --resume goes on
    after a kill, and after Ctrl-C. Exit status: 0 done, 1 every run failed, or the first scorer did, or
    --fail-under is not reached, 2 wrong usage, 3 the budget is spent, 130 interrupted.
    """
    with only_answers(), one_line_each(), _quiet_about_offline():
        settings = settings_of(address=address, home=home, data=data)
        above_zero("--budget", budget)
        _check_folder(data)
        reports = Reports(
            settings=settings, as_json=as_json, out=out, html=html, plots=plots, phoenix=phoenix,
            compare=compare, fail_under=fail_under,
        )  # fmt: skip
        if resume is None:
            if retry_failed:
                raise UsageError(
                    "--retry-failed is for a bench that is resumed", hint="Name it: --resume BENCH."
                )
            wanted = Wanted(
                suite=_named(suite),
                crews=tuple(crew or ()),
                models=tuple(model or ()),
                cases=cases,
                ids=tuple(case or ()),
                scorers=tuple(scorer or ()),
                inline=inline,
                settings=settings,
            )
            prepared, loaded = wanted.begin(repeats, budget, at_once or AT_ONCE, reports)
        else:
            _check_resume(suite=suite, model=model, cases=cases, case=case, scorer=scorer, inline=inline)
            if repeats != 1:
                raise _fixed("--repeats")
            prepared, loaded = resumed(resume, crew or (), budget, at_once, retry_failed, settings, reports)
        return _run(prepared, loaded, reports)


def _run(prepared: Bench, suite: Suite, reports: Reports) -> int:
    from callsheet.scenarios.progress import every_run_failed, never_judged

    try:
        with reports.display(prepared) as display:
            prepared.listen(display.show)
            result = prepared.run()
    except KeyboardInterrupt:
        notice(prepared.how_to_go_on())
        raise
    except RunError as error:  # a spent budget is one too
        if error.partial is not None and error.partial.trials:
            reports.write(error.partial, suite)
        raise
    status = reports.write(result, suite)
    for candidate in result.info.candidates:
        trials = result.of(candidate)
        if told := every_run_failed(trials):
            print_error(
                f"every run of {candidate.label} failed: {told}",
                f"`callsheet show {trials[0].run_id}` shows one of them. Once the cause is mended, `callsheet bench "
                f"--resume {result.info.bench_id} --retry-failed` tries them again.",
            )
            status = 1
    unjudged = {c.label: told for c in result.info.candidates if (told := never_judged(result, c))}
    if unjudged:
        print_error(
            f"the scorer {result.info.scorers[0].name} failed in every trial of {', '.join(unjudged)}: "
            f"{next(iter(unjudged.values()))}",
            f"There is no score. The answers are kept: once the scorer is mended, `callsheet bench --resume "
            f"{result.info.bench_id} --retry-failed` judges them again.",
        )
        status = 1
    return status


def _check_folder(data: Path | None) -> None:
    if data is not None and not data.is_dir():
        problem = "is a file, and no folder" if data.exists() else "does not exist"
        raise UsageError(
            f"--data: {data} {problem}", hint=f"Name a folder; relative paths start at {Path.cwd()}."
        )


def _named(suite: str | None) -> str:
    if suite is None:
        raise UsageError(
            "the SUITE is missing: what shall be benched?",
            hint="callsheet bench SUITE --crew CREW; `callsheet bench --resume BENCH` goes on with one.",
        )
    return suite


def _check_resume(**given: Any) -> None:
    for name, value in given.items():
        if value:
            raise _fixed("SUITE" if name == "suite" else f"--{name}")


def _fixed(option: str) -> UsageError:
    return UsageError(
        f"{option} and --resume are both given", hint="A bench goes on with what it was begun with."
    )


@contextlib.contextmanager
def _quiet_about_offline() -> Any:
    """The command line says itself, in a line, where the offline engine answers."""
    from callsheet.crews.starting import OfflineWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OfflineWarning)
        yield


def benches(
    limit: Annotated[
        int, typer.Option("--limit", min=1, metavar="N", help="How many, the newest first.")
    ] = 20,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """List benches, the newest first: what they are of, and how far they have come."""
    from callsheet.scenarios.store import BenchFolder, benches_folder, list_benches

    found: list[dict[str, Any]] = []
    for path in list_benches(benches_folder(settings_of(home=home).home))[:limit]:
        folder = BenchFolder(path)
        try:
            info, trials = folder.info(), folder.trials()
        except UsageError as error:  # the others are there all the same
            print_error(error.message, error.hint)
            continue
        spent = round(sum(t.known_usd + t.judging_usd for t in trials.values()), 6)
        unpriced = sum(1 for trial in trials.values() if trial.cost_usd is None)
        found.append(
            {
                "bench_id": info.bench_id, "suite": info.suite,
                "candidates": [candidate.label for candidate in info.candidates],
                "done": len(trials), "planned": info.planned,
                "failed": sum(1 for trial in trials.values() if trial.status != "done"),
                "spent_usd": None if unpriced and not spent else spent,
                "unpriced": unpriced,
                "started": info.started,
            }
        )  # fmt: skip
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["bench_id"], each["suite"], ", ".join(each["candidates"]), f"{each['done']}/{each['planned']}",
            each["failed"], _spent(each), when(each["started"]),
        )
        for each in found
    ]  # fmt: skip
    titles = ("bench", "suite", "crews", "done", "failed", "spent", "started")
    print_table(titles, rows, empty="There are no benches yet: `callsheet bench SUITE --crew CREW` runs one.")


def _spent(bench: dict[str, Any]) -> str:
    """What a bench has cost; where runs used a model without a price it is more than is known."""
    if bench["spent_usd"] is None:
        return "not known"
    return f"{'over ' if bench['unpriced'] else ''}{bench['spent_usd']:.4f} USD"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("bench")(bench)
    app.command("benches")(benches)
