"""HotpotQA and MuSiQue: questions whose answer has to be put together from several passages.

Yang et al., "HotpotQA: A Dataset for Diverse, Explainable Multi-hop Question Answering", EMNLP 2018; Trivedi et
al., "MuSiQue: Multihop Questions via Single-hop Question Composition", TACL 2022. Their passages are the crew's
documents.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from callsheet.scenarios.attempt import Attempt
from callsheet.scenarios.case import Case
from callsheet.scenarios.scorers import RunCrew, Score, Scorer, make_scorer
from callsheet.scenarios.suite import Suite
from callsheet.scenarios.suites.crews import one_agent_crew
from callsheet.scenarios.suites.passages import file_name, passages_folder
from callsheet.scenarios.suites.public_set import PublicSet, rows_with

_FILES = (
    "It is read as HippoRAG's authors cut it: corpus.jsonl (doc_id, title, text or sentences) and questions.jsonl "
    "(id, question, answer, supporting_docs); on GitHub, OSU-NLP-Group/HippoRAG has the sources."
)
_BRACKET = re.compile(r" *\[[^\[\]]{1,500}\]")

crew = one_agent_crew(
    "reader",
    "You answer questions from the documents, which you search: several times, if a question "
    "takes facts from several passages, each time for one of them. The first line of your answer is "
    "the answer alone, in as few words as possible: a name, a date, yes or no. Below it cite the "
    "passages that it follows from, each as the search gives its source, in square brackets.",
    name="reader", module=__name__, description="Answers questions from documents with one agent, which searches them.",
    tools=["search_documents"],
)  # fmt: skip


class FirstLine(Scorer):
    """Another scorer, applied to the first line of the answer, without its citations."""

    def __init__(self, spec: Any) -> None:
        self._scorer = make_scorer(spec)
        self.name, self.unit, self.better = self._scorer.name, self._scorer.unit, self._scorer.better

    def check(self, case: Case) -> None:
        """As the other scorer's."""
        self._scorer.check(case)

    async def score(self, attempt: Attempt, run: RunCrew) -> Score:
        """What the other scorer says of that line."""
        return await self._scorer.score(replace(attempt, output=first_line(attempt.text)), run)


def first_line(answer: str) -> str:
    """The first line of an answer that has more than citations in it, without them; "" if there is none."""
    for line in answer.splitlines():
        # With single blanks: what is looked for then takes no quadratic time on a stranger's text.
        if bare := _BRACKET.sub(_uncited, " ".join(line.split())).strip():
            return bare
    return ""


def _uncited(bracket: re.Match[str]) -> str:
    return "" if re.search(r"[#./]", bracket.group()) else bracket.group()


def hotpotqa(data: Path | None) -> Suite:
    """HotpotQA's questions over its paragraphs."""
    return _suite("hotpotqa", "HotpotQA: questions of two hops", data, hotpot=True)


def musique(data: Path | None) -> Suite:
    """MuSiQue's questions over its paragraphs."""
    return _suite("musique", "MuSiQue: questions of two to four hops", data, hotpot=False)


def _suite(name: str, title: str, data: Path | None, *, hotpot: bool) -> Suite:
    public = PublicSet(suite=name, folders=(name, f"multihop_{name}"), published=_FILES)
    path = public.find(data, ("questions.jsonl",))
    corpus = public.find(path.parent, ("corpus.jsonl",))
    passages = {
        str(row.values["doc_id"]): (str(row.values["title"]), _text(row.values))
        for row in rows_with(corpus, "doc_id", "title")
    }
    cases = [
        Case(
            id=row.values["id"],
            input=row.values["question"],
            expected={"answer": row.values["answer"], "aliases": row.values.get("answer_aliases") or []},
            metadata={"sources": [file_name(key) for key in row.values["supporting_docs"]]},
        )
        for row in rows_with(path, "id", "question", "answer", "supporting_docs")
    ]
    return Suite(
        name, cases,
        [
            FirstLine({"use": "f1", "hotpot": True} if hotpot else "f1"), FirstLine("normalised"),
            "citation_recall", "citation_precision",
        ],
        documents=[passages_folder(name, passages)], folder=path.parent, crew=crew,
        description=f"{title} over {len(passages):,} passages; judged is the first line of the answer.",
    )  # fmt: skip


def _text(values: dict[str, Any]) -> str:
    sentences = values.get("sentences")
    return "".join(sentences) if isinstance(sentences, list) else str(values.get("text", ""))
