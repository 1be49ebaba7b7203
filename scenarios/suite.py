"""A suite: cases, the scorers that judge answers to them, and what a run of one may use."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from callsheet.core.canonical import digest, to_json
from callsheet.core.errors import DefinitionError
from callsheet.core.limits import Limits
from callsheet.scenarios.case import Case
from callsheet.scenarios.scorers import Scorer, make_scorer

if TYPE_CHECKING:
    from callsheet.crews import Crew


DEFAULT_SCORERS = ("exact",)
"""What judges where nothing else is named."""


class Suite:
    """Cases and their scorers. Define it once; bench any number of crews with it.

    The first scorer gives *the* score, by which crews are ranked. `limits` hold for each run, in the place of the
    crew's own. `documents` are paths that crews may search in every case. `folder` is where relative paths begin.
    `crew` answers where a bench names none. Raises DefinitionError, naming the case, for what cannot work.
    """

    def __init__(
        self,
        name: str,
        cases: Iterable[Case],
        scorers: Sequence[Any] = DEFAULT_SCORERS,
        *,
        limits: Limits | None = None,
        documents: Sequence[str | Path] = (),
        folder: str | Path | None = None,
        crew: Crew | None = None,
        description: str = "",
    ) -> None:
        from callsheet.crews.crew import check_name

        self.name = check_name(name)
        self.cases: tuple[Case, ...] = tuple(cases)
        if isinstance(scorers, (str, Scorer)) or not isinstance(scorers, Sequence) or not scorers:
            raise DefinitionError(
                f"suite {name!r}: scorers is {scorers!r}",
                hint='It is a list, also of one: scorers=["exact"].',
            )
        self.folder = _folder_of(inspect.currentframe()) if folder is None else Path(folder)
        self.scorers: tuple[Scorer, ...] = tuple(make_scorer(spec, self.folder) for spec in scorers)
        self._specs = tuple(scorers)
        self.limits = limits
        self.documents: tuple[Path, ...] = tuple(self.folder / path for path in documents)
        self.crew = crew
        self.description = description
        self._check()

    def __repr__(self) -> str:
        return f"<Suite {self.name}: {len(self.cases)} cases>"

    @functools.cached_property
    def digest(self) -> str:
        """Follows from the cases' contents, and the scorers' names and options as far as they are data: benches of
        equal digests can be compared."""
        contents = [to_json(case.model_dump(mode="json")) for case in self.cases]
        judged = [
            to_json(
                [
                    scorer.name,
                    repr(sorted(spec.items())) if isinstance(spec, Mapping) else type(scorer).__name__,
                ]
            )
            for scorer, spec in zip(self.scorers, self._specs, strict=True)
        ]
        return digest(*contents, *judged)

    def only(self, ids: Sequence[str] | None = None, limit: int | None = None) -> Suite:
        """The suite with these cases alone, or its first `limit`. Raises UnknownNameError for an id it lacks."""
        from callsheet.core.errors import unknown_name

        known = {case.id: case for case in self.cases}
        for wanted in ids or ():
            if wanted not in known:
                raise unknown_name(f"case of suite {self.name!r}", wanted, tuple(known))
        cases = self.cases if ids is None else tuple(known[wanted] for wanted in dict.fromkeys(ids))
        return self._changed(cases[:limit], self._specs)

    def with_scorers(self, scorers: Sequence[Any]) -> Suite:
        """The suite judged by these scorers instead of its own."""
        return self._changed(self.cases, scorers)

    def _changed(self, cases: Iterable[Case], scorers: Sequence[Any]) -> Suite:
        return Suite(
            self.name, cases, scorers, limits=self.limits, documents=self.documents,
            folder=self.folder, crew=self.crew, description=self.description,
        )  # fmt: skip

    def _check(self) -> None:
        if not self.cases:
            raise DefinitionError(f"suite {self.name!r} has no cases", hint="Give it at least one.")
        seen: set[str] = set()
        for case in self.cases:
            if case.id in seen:
                raise DefinitionError(
                    f"suite {self.name!r} has two cases with the id {case.id!r}",
                    hint="Results are kept by id: give one of them another.",
                )
            seen.add(case.id)
            try:
                to_json(case.model_dump(mode="json"))
            except (TypeError, ValueError) as error:
                raise DefinitionError(
                    f"suite {self.name!r}, case {case.id!r} has no JSON form: {error}",
                    hint="Results are kept as JSON: give texts, numbers, lists, dictionaries, pydantic models.",
                ) from error
        names = [scorer.name for scorer in self.scorers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DefinitionError(
                f"suite {self.name!r} has two scorers called {twice[0]!r}",
                hint="Leave one out, or name it anew.",
            )
        for scorer in self.scorers:
            for case in self.cases:
                try:
                    scorer.check(case)
                except DefinitionError as error:
                    raise DefinitionError(
                        f"suite {self.name!r}, case {case.id!r}: {error.message}", hint=error.hint
                    ) from error
        for path in self.documents:
            self._check_path(path, "its documents")
        for case in self.cases:
            for name in case.files:
                self._check_path(self.folder / name, f"the files of case {case.id!r}")

    def _check_path(self, path: Path, what: str) -> None:
        if not path.exists():
            raise DefinitionError(
                f"suite {self.name!r}: {path}, one of {what}, is not there",
                hint=f"Paths begin at {self.folder}.",
            )


def _folder_of(frame: FrameType | None) -> Path:
    """The folder of the file that calls; the working folder in a notebook or the like."""
    caller = None if frame is None else frame.f_back
    file = None if caller is None else caller.f_globals.get("__file__")
    return Path(file).absolute().parent if isinstance(file, str) else Path.cwd()
