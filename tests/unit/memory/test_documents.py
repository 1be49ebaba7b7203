"""Loading documents: what is read, what is left out, and what is said about it."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypdf import PdfWriter
from pypdf.generic import (
    ByteStringObject,
    DecodedStreamObject,
    DictionaryObject,
    NameObject,
    NullObject,
    NumberObject,
    PdfObject,
)

from callsheet.core.errors import DocumentError
from callsheet.memory import load_documents
from callsheet.memory.formats import Unreadable, read_text

HTML = """<html><head><title>Tides</title></head><body><nav>Home About</nav><article><h1>Tides</h1>
<p>The tide rises twice a day because the moon pulls at the sea, and the earth turns below it.</p>
<h2>Springs</h2><p>At full moon the tide is high, which sailors call a spring tide, and it comes again.</p>
</article><script>var x = 1;</script></body></html>"""


def pdf(*pages: str, password: str = "") -> bytes:
    """A PDF with one line of text a page."""
    writer = PdfWriter()
    for text in pages:
        page = writer.add_blank_page(400, 400)
        font = DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type1"),
                NameObject("/BaseFont"): NameObject("/Helvetica"),
            }
        )
        page[NameObject("/Resources")] = DictionaryObject(
            {NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})}
        )
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode())
        page[NameObject("/Contents")] = stream
    if password:
        writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_text_markdown_html_and_pdf_are_read(here: Path) -> None:
    (here / "a.md").write_text("Intro\n\n# The title #\n\nText.", "utf-8")
    (here / "b.html").write_text(HTML, "utf-8")
    (here / "c.pdf").write_bytes(pdf("Page one", "", "Page three"))
    (here / "d.py").write_text("x = 1\n", "utf-8")
    a, b, c, d = load_documents(["a.md", "b.html", "c.pdf", "d.py"])
    assert (a.source, a.title, a.media_type) == ("a.md", "The title", "text/markdown")
    assert (b.title, b.media_type) == ("Tides", "text/html")
    assert "moon pulls at the sea" in b.text
    assert "## Springs" in b.text
    assert "var x" not in b.text
    assert "Home" not in b.text
    assert [page.strip() for page in c.text.split("\f")] == ["Page one", "", "Page three"]
    assert (d.title, d.text) == ("d.py", "x = 1\n")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("é\r\nb\rc".encode(), "é\nb\nc"),
        ("é".encode("utf-8-sig"), "é"),
        ("é".encode("utf-16"), "é"),
        ("é".encode("utf-32"), "é"),
        ("Grüezi mitenand".encode("cp1252"), "Grüezi mitenand"),
        (b"a\fb", "a\nb"),
    ],
)
def test_common_encodings_and_line_ends_are_read(here: Path, data: bytes, text: str) -> None:
    (here / "a.txt").write_bytes(data)
    assert load_documents(["a.txt"])[0].text == text


RUSSIAN = "Здесь сказано, когда корабль войдёт в гавань."


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        ('<meta charset="{}">', "windows-1251"),
        ('<meta http-equiv="Content-Type" content="text/html; charset={}">', "koi8-r"),
        ("<meta charset={}>", "utf-8"),
    ],
)
def test_a_page_is_read_in_the_encoding_it_declares(here: Path, head: str, encoding: str) -> None:
    page = (
        f"<html><head>{head.format(encoding)}<title>Гавань</title></head><body><p>{RUSSIAN}</p></body></html>"
    )
    (here / "a.html").write_bytes(page.encode(encoding))
    (found,) = load_documents(["a.html"])
    assert (found.title, found.text) == ("Гавань", RUSSIAN)


@pytest.mark.parametrize("name", ["punycode", "hex", "unicode_escape", "no-such", ""])
def test_a_declared_encoding_that_is_none_is_passed_over(here: Path, name: str) -> None:
    (here / "a.html").write_bytes(f'<html><meta charset="{name}"><p>Café and more text</p>'.encode("cp1252"))
    assert load_documents(["a.html"])[0].text == "Café and more text"


def test_text_in_an_unknown_encoding_is_refused_and_not_stored_as_garbage(here: Path) -> None:
    (here / "a.txt").write_bytes(RUSSIAN.encode("koi8-r"))
    with pytest.raises(DocumentError, match="encoding that is not known") as caught:
        load_documents(["a.txt"])
    assert "UTF-8" in caught.value.hint


@pytest.mark.parametrize(
    "page",
    ["<p>Only a paragraph.</p>", "Only a paragraph.", f"<!-- {'x' * 80} --><body>Only a paragraph.</body>"],
)
def test_a_fragment_of_html_is_read_too(here: Path, page: str) -> None:
    (here / "a.html").write_text(page, "utf-8")
    assert load_documents(["a.html"])[0].text == "Only a paragraph."


def test_a_title_is_the_first_heading_and_nothing_in_code(here: Path) -> None:
    for name, text in (
        ("code.md", "```sh\n# a comment\n```\n\n# About C#\n\nText."),
        ("none.md", "#\n\nText below an empty heading."),
        ("wide.md", "# a" + " " * 20_000 + "b\n\nText."),
    ):
        (here / name).write_text(text, "utf-8")
    code, none, wide = load_documents(["code.md", "none.md", "wide.md"])
    assert (code.title, none.title) == ("About C#", "none.md")
    assert wide.title.split() == ["a", "b"]


@pytest.mark.parametrize("title", [NumberObject(7), NullObject(), ByteStringObject(b"\xff\x00x")])
def test_a_damaged_title_costs_no_pdf(here: Path, title: PdfObject) -> None:
    writer = PdfWriter(clone_from=io.BytesIO(pdf("Page one")))
    assert writer._info is not None
    writer._info[NameObject("/Title")] = title
    writer.write(here / "a.pdf")
    (found,) = load_documents(["a.pdf"])
    assert found.text.strip() == "Page one"


def test_pipes_devices_and_files_without_an_end_are_refused_at_once(here: Path) -> None:
    os.mkfifo(here / "pipe.txt")
    (here / "a.txt").write_text("text", "utf-8")
    notices: list[str] = []
    assert [document.source for document in load_documents([here], notices=notices)] == ["a.txt"]
    assert "pipe.txt" in notices[0]
    for path in ("pipe.txt", "/dev/zero"):
        with pytest.raises(DocumentError, match="not a plain file"):
            load_documents([path])


def test_a_file_is_read_no_further_than_the_limit_whatever_size_it_claims(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "a.txt").write_text("x" * 100, "utf-8")
    monkeypatch.setattr("callsheet.memory.documents.MAX_BYTES", 99)
    with pytest.raises(DocumentError, match="has 100 bytes; the limit is 99"):
        load_documents(["a.txt"])
    real = os.fstat
    monkeypatch.setattr(
        "callsheet.memory.documents.os.fstat",
        lambda number: os.stat_result((*real(number)[:6], 0, *real(number)[7:])),
    )
    with pytest.raises(DocumentError, match="has 100 bytes"):
        load_documents(["a.txt"])


def test_a_folder_is_read_with_all_below_it_in_order_and_says_what_it_left_out(here: Path) -> None:
    for name in (
        "docs/b.md",
        "docs/a/x.txt",
        "docs/.hidden.md",
        "docs/.git/config",
        "docs/node_modules/m.js",
    ):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text("text", "utf-8")
    (here / "docs/empty.txt").write_text("", "utf-8")
    (here / "docs/data.bin").write_bytes(bytes(range(256)) * 10)
    (here / "docs/broken.pdf").write_bytes(b"%PDF-1.7 no")
    with (here / "docs/huge.txt").open("wb") as file:
        file.truncate(30_000_000)
    (here / "docs/loop").symlink_to(here / "docs")
    (here / "outside.txt").write_text("secret", "utf-8")
    (here / "docs/link.txt").symlink_to(here / "outside.txt")
    notices: list[str] = []
    found = load_documents(["docs"], notices=notices)
    assert [document.source for document in found] == ["docs/b.md", "docs/a/x.txt"]
    for name in ("empty.txt", "data.bin", "broken.pdf", "huge.txt", "link.txt"):
        assert sum(name in notice for notice in notices) == 1, name
    assert any("huge.txt" in notice and "the limit is" in notice for notice in notices)
    assert len(notices) == 5


def test_sources_are_relative_where_they_can_be(here: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "e.txt"
    elsewhere.write_text("text", "utf-8")
    (here / "sub").mkdir()
    (here / "sub/a.txt").write_text("text", "utf-8")
    given = [here / "sub" / "a.txt", "./sub/../sub/a.txt", elsewhere]
    assert [document.source for document in load_documents(given)] == ["sub/a.txt", elsewhere.as_posix()]
    assert load_documents(["sub/a.txt"], root=here / "sub")[0].source == "a.txt"


@pytest.mark.parametrize(
    ("name", "data", "told", "remedy"),
    [
        ("none.txt", None, "does not exist", "spelling"),
        ("a\0b", None, "not exist|not a path", "spelling"),
        ("empty.md", b" \n", "holds no text", "Leave it out"),
        ("data.txt", b"a\0b", "is not text", "convert"),
        ("locked.pdf", pdf("x", password="secret"), "is encrypted", "password"),
        ("broken.pdf", b"%PDF-1.7\nnothing", "not PDF that can be read", "convert"),
        ("scan.pdf", pdf(""), "holds no text", "OCR"),
    ],
)
def test_a_named_file_that_cannot_be_read_is_an_error_with_a_remedy(
    here: Path, name: str, data: bytes | None, told: str, remedy: str
) -> None:
    if data is not None:
        (here / name).write_bytes(data)
    with pytest.raises(DocumentError, match=told) as caught:
        load_documents([name])
    assert caught.value.path == name
    assert remedy in caught.value.hint


def test_a_folder_without_documents_is_an_error(here: Path) -> None:
    (here / "docs").mkdir()
    with pytest.raises(DocumentError, match="holds no document"):
        load_documents(["docs"])


def test_a_pdf_is_known_by_its_first_bytes(here: Path) -> None:
    (here / "report.txt").write_bytes(pdf("Hello"))
    assert load_documents(["report.txt"])[0].media_type == "application/pdf"


def test_the_same_folder_twice_gives_its_documents_once(here: Path) -> None:
    (here / "docs").mkdir()
    (here / "docs/a.txt").write_text("text", "utf-8")
    assert len(load_documents(["docs", "docs/a.txt", "docs"])) == 1


def test_more_text_than_memory_is_meant_for_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "docs").mkdir()
    for name in "abc":
        (here / "docs" / name).write_text("x" * 100, "utf-8")
    monkeypatch.setattr("callsheet.memory.documents.MAX_TOTAL_CHARS", 250)
    with pytest.raises(DocumentError, match="more than 250 characters"):
        load_documents(["docs"])
    assert len(load_documents(["docs/a", "docs/b", "docs/a", "docs/b"])) == 2


@settings(deadline=None)
@given(st.data())
def test_damaged_files_are_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    media_type = data.draw(st.sampled_from(["application/pdf", "text/html", "text/markdown"]))
    whole = bytearray(pdf("Page one", "Page two") if media_type == "application/pdf" else HTML.encode())
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        _title, text = read_text(bytes(whole[: data.draw(st.integers(1, len(whole)))]), media_type)
    except Unreadable:
        pass
    else:
        assert text.encode("utf-8").decode("utf-8") == text
