"""Cutting loses no text, locators are right, and pieces have a size that can be found and cited."""

from __future__ import annotations

import itertools
import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.memory import Document, Passage, cut
from callsheet.memory.blocks import weight
from callsheet.memory.passages import OVERLAP_WORDS, TARGET_WORDS
from tests.data_sets import data_file

LINES = st.lists(
    st.sampled_from(
        [
            "", " ", "# Top", "## Below ##", "####### not one", "```", "~~~ python", "- item", "| a | b |", "x = 1",
            "One sentence. Another one! And 2.5 more?", " ".join(f"word{i}" for i in range(250)),
            " ".join(f"Sentence {i} has six words here." for i in range(60)),
            "".join(chr(0x4E00 + i) for i in range(1400)), "".join(f"x{i}" for i in range(800)),
            "  indented", "\t", "# ", "«é»", "\u2028", "\x0b", "last",
        ]
    ),
    max_size=30,
).map("\n".join)  # fmt: skip


def _document(text: str, media_type: str = "text/markdown", title: str = "") -> Document:
    return Document(source="a/b.md", title=title, text=text, media_type=media_type)


def _lines(passage: Passage) -> tuple[int, int]:
    match = re.fullmatch(r"L(\d+)-L(\d+)", passage.locator)
    assert match
    return int(match[1]), int(match[2])


def _check(text: str, passages: list[Passage]) -> bool:
    lines = text.split("\n")
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line) + 1)
    covered = bytearray(len(text))
    for passage in passages:
        first, last = _lines(passage)
        within = "\n".join(lines[first - 1 : last])
        assert passage.text in within, "the locator names the lines that hold the passage"
        assert passage.text[0] in lines[first - 1]
        assert passage.text[-1] in lines[last - 1]
        at = text.index(passage.text, offsets[first - 1])
        covered[at : at + len(passage.text)] = b"\1" * len(passage.text)
        assert passage.text == passage.text.strip() != ""
    lost = {text[i] for i, seen in enumerate(covered) if not seen}
    assert not [char for char in lost if not char.isspace()], "no text is lost"
    return bool(passages) == bool(text.strip())


@settings(deadline=None)
@given(LINES, st.sampled_from(["text/markdown", "text/plain"]))
def test_no_text_is_lost_and_locators_are_right(text: str, media_type: str) -> None:
    assert _check(text, cut(_document(text, media_type)))


@settings(deadline=None)
@given(st.text())
def test_any_text_can_be_cut(text: str) -> None:
    assert _check(text, cut(_document(text)))


def test_real_documents_are_cut_whole() -> None:
    for name in ("state_of_the_union.md", "chatlogs.md", "wikitexts.md"):
        text = data_file(f"chunk_retrieval/{name}").read_text("utf-8")
        passages = cut(_document(text))
        assert _check(text, passages)
        sizes = [weight(passage.text) for passage in passages]
        assert max(sizes) <= TARGET_WORDS * 1.3 + OVERLAP_WORDS
        assert sum(sizes) < 1.25 * weight(text), "overlap stays small"


@settings(deadline=None)
@given(LINES)
def test_ids_differ_and_are_the_same_each_time(text: str) -> None:
    ids = [passage.id for passage in cut(_document(text))]
    assert len(set(ids)) == len(ids)
    assert ids == [passage.id for passage in cut(_document(text))]


def test_an_id_follows_from_collection_source_and_text() -> None:
    text = "# A\n\nOne.\n\n# B\n\nTwo."
    before = {passage.text: passage.id for passage in cut(_document(text))}
    after = {passage.text: passage.id for passage in cut(_document("# New\n\nZero.\n\n" + text))}
    assert before.items() <= after.items()
    assert not set(before.values()) & {passage.id for passage in cut(_document(text), "other")}


def test_a_heading_starts_a_passage_and_titles_are_the_path_of_headings() -> None:
    text = "# Guide\n\nIntro.\n\n## Setup\n\nDo this.\n\nThen that.\n\n### Deep\n\nMore.\n\n## Use\n\nEnjoy."
    passages = cut(_document(text, title="Guide"))
    assert [(p.title, p.locator) for p in passages] == [
        ("Guide", "L1-L3"),
        ("Guide › Setup", "L5-L9"),
        ("Guide › Setup › Deep", "L11-L13"),
        ("Guide › Use", "L15-L17"),
    ]
    assert passages[1].text == "## Setup\n\nDo this.\n\nThen that."
    assert passages[1].cite == "a/b.md#L5-L9"


def test_a_heading_in_fenced_code_is_code() -> None:
    assert len(cut(_document("```\n# not a heading\n```\n\ntext"))) == 1


def test_headings_stay_with_what_they_head() -> None:
    passages = cut(_document("# A\n\n## B\n\n" + "One sentence of five words. " * 100))
    assert passages[0].text.startswith("# A\n\n## B\n\nOne sentence")
    assert len(passages) > 2


def test_headings_are_read_as_markdown_has_them() -> None:
    text = "# About C#\n\na\n\n## Closed ##  \n\nb\n\n## ##\n\nc\n\n#none\n\nd"
    titles = [passage.title for passage in cut(_document(text))]
    assert titles == ["About C#", "About C# › Closed", "About C#"]


def test_a_title_is_carried_in_part_where_it_is_long() -> None:
    text = f"# {'h' * 100_000}\n\n" + "\n\n".join("word " * 150 for _ in range(20))
    passages = cut(_document(text, title="t" * 100_000))
    assert len(passages) > 20
    assert all(len(passage.title) < 1000 for passage in passages)
    assert sum(passage.text.count("h") for passage in passages) == 100_000, "the text itself stays whole"


def test_a_long_line_is_weighed_once_and_not_again_for_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    weighed = 0

    def counted(text: str) -> int:
        nonlocal weighed
        weighed += len(text)
        return weight(text)

    monkeypatch.setattr("callsheet.memory.blocks.weight", counted)
    monkeypatch.setattr("callsheet.memory.passages.weight", counted)
    line = "word " * 40_000
    assert len(cut(_document(line))) == 200
    assert weighed < 10 * len(line)


def test_a_long_paragraph_is_cut_between_sentences_with_a_small_overlap() -> None:
    text = " ".join(f"This is sentence number {i} of many." for i in range(200))
    passages = cut(_document(text, "text/plain"))
    assert all(passage.text.startswith("This is") and passage.text.endswith("many.") for passage in passages)
    for before, after in itertools.pairwise(passages):
        first = after.text.split(".")[0] + "."
        assert first in before.text, "the next passage repeats the end of the one before"
    assert all(passage.locator == "L1-L1" for passage in passages)


def test_joined_paragraphs_do_not_overlap() -> None:
    text = "\n\n".join(f"Paragraph {i}. " + "word " * 60 for i in range(12))
    passages = cut(_document(text, "text/plain"))
    assert sum(passage.text.count("Paragraph") for passage in passages) == 12


def test_pdf_passages_name_their_page_and_never_cross_it() -> None:
    document = Document(
        source="r.pdf",
        title="Report",
        text="First page.\fSecond page.\f\fFourth.",
        media_type="application/pdf",
    )
    assert [(p.locator, p.text, p.cite) for p in cut(document)] == [
        ("p1", "First page.", "r.pdf#p1"),
        ("p2", "Second page.", "r.pdf#p2"),
        ("p4", "Fourth.", "r.pdf#p4"),
    ]


def test_html_passages_have_no_locator() -> None:
    passage = cut(Document(source="p.html", title="P", text="# P\n\nText.", media_type="text/html"))[0]
    assert (passage.locator, passage.cite, passage.title) == ("", "p.html", "P")


def test_passages_survive_pickle() -> None:
    passage = cut(_document("# A\n\nOne."))[0]
    assert pickle.loads(pickle.dumps(passage)) == passage
