"""`citation_precision` and `citation_recall`: whether an answer cites what it should, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from callsheet.scenarios.case import Case
from callsheet.scenarios.scorers.answers import AnswerScorer, end_of
from callsheet.scenarios.scorers.base import Score

# [docs/x.md#L1-L7], also several in one bracket; of a Markdown link the address.
_BRACKET = re.compile(r"\[([^\[\]\n]{1,500})\](?:\(([^()\s]{1,500})\))?")
_LOCATOR = re.compile(r"(.+)#(?:L(\d{1,9})(?:-L?(\d{1,9}))?|p(\d{1,9}))")


@dataclass(frozen=True)
class Cited:
    """A source and, where given, the lines or the page of it."""

    source: str
    unit: str = ""
    first: int = 0
    last: int = 0

    @staticmethod
    def of(text: str) -> Cited:
        """Of `source`, `source#L3`, `source#L3-L7` or `source#p2`."""
        text = text.strip().removeprefix("source:").strip()
        match = _LOCATOR.fullmatch(text)
        if not match:
            return Cited(_plain(text))
        source, first, last, page = match.groups()
        if page:
            return Cited(_plain(source), "p", int(page), int(page))
        return Cited(_plain(source), "L", int(first), int(last or first))

    def meets(self, wanted: Cited) -> bool:
        """Whether this cites what is wanted: the same source and, where the wanted one names a place, some of it."""
        if self.source != wanted.source and not self.source.endswith(f"/{wanted.source}"):
            return False
        if not wanted.unit:
            return True
        return self.unit == wanted.unit and self.first <= wanted.last and wanted.first <= self.last


class Citations(AnswerScorer):
    """Precision: the share of the sources cited that should be. Recall: the share of those wanted that are cited.

    Expected is a list of sources, by default the case's `metadata.sources`, else its `expected`. A source without
    a place (`guide.md`) is met by any citation of it; with one (`guide.md#L10-L24`, `paper.pdf#p3`), by those that
    overlap it. A cited path may have folders before it. Documents count once, places only where places are wanted.
    Nothing cited: precision is 0 if something should be, else 1. Nothing wanted: recall is 1.
    """

    form = "a list of sources, as guide.md or guide.md#L10-L24"

    def __init__(self, measure: Literal["precision", "recall"], **where: str) -> None:
        self._precision = measure == "precision"
        self.use = f"citation_{measure}"
        super().__init__(**where)

    def expected_of(self, case: Case) -> Any:
        """The sources that should be cited."""
        if not self._expected_from and "sources" in case.metadata:
            return case.metadata["sources"]
        return super().expected_of(case)

    def check_expected(self, expected: Any) -> None:
        """Takes a list of sources; an empty one says that nothing should be cited."""
        if not isinstance(expected, (list, tuple)) or not all(
            isinstance(item, str) and item.strip() for item in expected
        ):
            raise self.misfit(expected)

    def judge(self, answer: Any, expected: Any) -> Score:
        """The share."""
        wanted = [Cited.of(source) for source in dict.fromkeys(expected)]
        cited = cited_in(end_of(answer), wanted)
        if self._precision:
            if not cited:
                return Score(value=float(not wanted), explanation="nothing is cited" if wanted else "")
            stray = [one for one in cited if not any(one.meets(want) for want in wanted)]
            return Score(value=1 - len(stray) / len(cited), explanation=_listed("should not be cited", stray))
        if not wanted:
            return Score(value=1.0)
        absent = [want for want in wanted if not any(one.meets(want) for one in cited)]
        return Score(value=1 - len(absent) / len(wanted), explanation=_listed("not cited", absent))


def citation_precision(**where: str) -> Citations:
    """The share of the sources cited that should be."""
    return Citations("precision", **where)


def citation_recall(**where: str) -> Citations:
    """The share of the sources that should be cited which are."""
    return Citations("recall", **where)


def cited_in(text: str, wanted: list[Cited]) -> list[Cited]:
    """The citations of an answer, each once, in order; as documents where no wanted one names a place.

    What stands in brackets and looks like no source (`[1]`, `[sic]`) is no citation.
    """
    places = any(want.unit for want in wanted)
    known = {want.source for want in wanted}
    found: dict[Cited, None] = {}
    for match in _BRACKET.finditer(text):
        inside, address = match.groups()
        whole = Cited.of(inside)
        several = [] if whole.source in known else re.split(r"[;,]\s+", inside)
        written = [address] if address else several if len(several) > 1 else [inside]
        for one in written:
            cited = Cited.of(one)
            if address or cited.unit or cited.source in known or _looks_like_source(cited.source):
                found[cited if places else Cited(cited.source)] = None
    return list(found)


def _looks_like_source(text: str) -> bool:
    if re.search(r"\s", text) or not re.search(r"[^\W\d]", text):
        return False
    return re.search(r"[./#:_\d-]", text) is not None


def _plain(source: str) -> str:
    source = source.strip().strip("`<>").replace("\\", "/")
    while source.startswith("./"):
        source = source[2:]
    return source.rstrip("/")


def _listed(what: str, found: list[Cited]) -> str:
    return f"{what}: {', '.join(dict.fromkeys(one.source for one in found))}" if found else ""
