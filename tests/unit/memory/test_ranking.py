"""Joining rankings."""

from __future__ import annotations

import sqlite3

from hypothesis import given, settings
from hypothesis import strategies as st

from callsheet.memory.ranking import fuse, match_expression


def test_what_both_rankings_find_comes_first() -> None:
    fused = fuse([(1, 10.0), (2, 9.0)], [(2, 0.9), (3, 0.5)], 1.0, 100)
    assert [id_ for id_, _ in fused] == [2, 1, 3]


def test_weight_zero_leaves_the_words_ranking() -> None:
    assert [i for i, _ in fuse([(1, 3.0), (2, 2.0)], [(2, 0.9)], 0.0, 100)] == [1, 2]


def test_a_ranking_read_to_its_limit_counts_from_its_lowest_score() -> None:
    assert dict(fuse([], [(1, 0.9), (2, 0.4)], 1.0, 2)) == {1: 0.5, 2: 0.0}
    assert dict(fuse([], [(1, 0.9), (2, 0.4)], 1.0, 3)) == {1: 0.9, 2: 0.4}


def test_one_ranking_alone_and_none_are_fine() -> None:
    assert fuse([], [], 1.0, 100) == []
    assert fuse([(7, 2.0)], [], 1.0, 100) == [(7, 1.0)]
    assert fuse([(7, 0.0)], [], 1.0, 100) == [(7, 0.0)]


def test_equal_scores_are_ordered_by_id() -> None:
    assert [i for i, _ in fuse([(5, 1.0), (3, 1.0), (4, 1.0)], [], 1.0, 100)] == [3, 4, 5]


@settings(deadline=None)
@given(st.text())
def test_any_text_makes_a_valid_expression(text: str) -> None:
    expression = match_expression(text)
    if expression:
        db = sqlite3.connect(":memory:")
        db.execute("CREATE VIRTUAL TABLE words USING fts5 (text)")
        assert db.execute("SELECT * FROM words WHERE words MATCH ?", (expression,)).fetchall() == []
        db.close()


def test_stop_words_are_left_out_unless_there_is_nothing_else() -> None:
    assert match_expression("How does the journal work?") == '"journal" OR "work"'
    assert match_expression("to be or not to be") == '"to" OR "be" OR "or" OR "not"'
    assert match_expression("…") == ""
