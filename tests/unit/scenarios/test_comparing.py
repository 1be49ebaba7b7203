"""A bench beside its baseline: what is compared, what changed, and thresholds that are met or not."""

from __future__ import annotations

import pytest

from callsheet.core.errors import UnknownNameError, UsageError
from callsheet.scenarios.comparing import FailUnder, compare
from callsheet.scenarios.results import Candidate, ScoreRecord, ScorerInfo
from callsheet.scenarios.summary import summarise
from tests.unit.scenarios.made_benches import EXACT, bench, generated, trial


def test_a_bench_beside_itself_has_no_difference_and_no_changed_case() -> None:
    result = generated(2, 20)
    for compared in compare(result, result).candidates:
        assert compared.changed == ()
        assert [d.measure for d in compared.differences] == ["exact", "f1", "seconds", "cost", "time"]
        assert all(
            d.estimate is not None and d.estimate.mean == 0 and not d.sure for d in compared.differences
        )


def test_each_kind_of_change_is_listed_the_worse_first() -> None:
    before = bench({"a": [1.0, 0.0, None, 1.0, 0.5, 0.0, 1.0]})
    after = bench({"a": [0.0, 1.0, 0.0, None, 0.75, None, 1.0]})
    (compared,) = compare(after, before).candidates
    changes = {c.case: (c.change, c.improved) for c in compared.changed}
    assert changes == {
        "c0": ("right → wrong", False), "c3": ("right → failed", False), "c5": ("wrong → failed", False),
        "c2": ("failed → wrong", True), "c4": ("0.5 → 0.75", True), "c1": ("wrong → right", True),
    }  # fmt: skip
    assert [c.improved for c in compared.changed] == [False] * 3 + [True] * 3


def test_the_difference_is_now_minus_then() -> None:
    (compared,) = compare(bench({"a": [1.0] * 12}), bench({"a": [0.0] * 12})).candidates
    score = compared.differences[0]
    assert score.estimate is not None
    assert score.estimate.mean == 1.0
    assert (score.wins, score.improved, score.p) == (12, True, pytest.approx(2 / 2**12))


def test_dearer_and_slower_is_worse() -> None:
    now = bench(
        {}, trials=[trial(f"c{i}", 1.0, cost_usd=0.02 + i / 1e4, elapsed_s=9.0 + i) for i in range(10)]
    )
    then = bench({}, trials=[trial(f"c{i}", 1.0, cost_usd=0.01, elapsed_s=2.0) for i in range(10)])
    (compared,) = compare(now, then).candidates
    cost, time = compared.differences[-2:]
    assert (cost.measure, cost.improved, cost.losses) == ("cost", False, 10)
    assert (time.measure, time.improved, time.losses) == ("time", False, 10)


def test_candidates_are_matched_by_label_and_the_rest_is_named() -> None:
    found = compare(bench({"a": [1.0], "b": [1.0]}), bench({"b": [0.0], "c": [1.0]}))
    assert [(c.label, c.baseline) for c in found.candidates] == [("b", "b")]
    assert found.notes == ("Not in the baseline: a.",)


def test_the_only_candidates_of_both_are_matched_whatever_they_are_called() -> None:
    found = compare(bench({"new": [1.0]}), bench({"old": [0.0]}))
    assert [(c.label, c.baseline) for c in found.candidates] == [("new", "old")]
    assert found.notes == ("new is compared with old.",)


def test_no_common_candidate_is_an_error_that_names_them() -> None:
    with pytest.raises(UsageError, match="no candidate") as caught:
        compare(bench({"a": [1.0], "b": [1.0]}), bench({"c": [0.0], "d": [1.0]}))
    assert "a; b" in caught.value.hint
    assert "c; d" in caught.value.hint


def test_of_suites_that_differ_the_same_cases_are_compared_and_it_says_so() -> None:
    inputs = {case: {"input": case} for case in ("x", "y", "z")}
    now = bench({"a": {"x": 1.0, "y": 1.0, "z": 1.0}}, digest="new", inputs=inputs)
    then = bench({"a": {"w": 0.0, "x": 0.0, "y": 0.0}}, inputs={**inputs, "y": {"input": "another"}})
    found = compare(now, then)
    assert found.cases == 1
    assert [c.case for c in found.candidates[0].changed] == ["x"]
    (note,) = found.notes
    for part in ("1 cases are the same", "1 only in this bench", "1 only in the baseline", "1 edited since"):
        assert part in note


def test_suites_without_a_common_case_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="no case of 'made'"):
        compare(bench({"a": {"x": 1.0}}, digest="new"), bench({"a": {"y": 1.0}}))


def test_only_scorers_of_both_are_compared() -> None:
    f1 = ScorerInfo(name="f1")
    now = bench(
        {}, trials=[trial("c0", 1.0, scores={"exact": ScoreRecord(value=1), "f1": ScoreRecord(value=1)})],
        scorers=(EXACT, f1),
    )  # fmt: skip
    found = compare(now, bench({"a": [0.0]}))
    assert [d.measure for d in found.candidates[0].differences] == ["exact", "cost", "time"]
    assert found.notes == ("Not scored alike in the baseline: f1.",)
    with pytest.raises(UsageError, match="no scorer in common"):
        compare(now, bench({"a": [0.0]}, scorers=(f1.model_copy(update={"better": "lower"}),)))


def test_thresholds_are_read_by_name() -> None:
    assert FailUnder.parse("score=0.8, cost=5e-2").limits == (("score", 0.8), ("cost", 0.05))


@pytest.mark.parametrize(
    "text", ["", "score", "score=", "=1", "score=high", "score=nan", "cost=inf", "score=1,,cost=2"]
)
def test_what_is_no_threshold_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no NAME=NUMBER") as caught:
        FailUnder.parse(text)
    assert "score=0.8" in caught.value.hint


def test_a_threshold_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="cost is given twice"):
        FailUnder.parse("cost=1,cost=2")


@pytest.mark.parametrize("text", ["failures=5", "failures=1.01", "failures=-0.1"])
def test_a_share_of_failures_that_no_bench_could_miss_or_meet_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no share of the runs") as caught:
        FailUnder.parse(text)
    assert "failures=0.05" in caught.value.hint
    assert FailUnder.parse("failures=0").limits == (("failures", 0.0),)


@pytest.mark.parametrize("text", ["score=80", "exact=1.01", "exact=-1"])
def test_a_score_that_no_share_could_reach_is_refused_before_the_bench(text: str) -> None:
    with pytest.raises(UsageError, match="is no share") as caught:
        FailUnder.parse(text).check_names((EXACT,))
    assert "between 0 and 1" in caught.value.hint
    words = ScorerInfo(name="exact", unit="words")
    FailUnder.parse(text).check_names((words,))


def test_a_name_that_nothing_has_is_refused_before_and_after_the_bench() -> None:
    wanted = FailUnder.parse("exacto=1")
    with pytest.raises(UnknownNameError, match="exacto") as caught:
        wanted.check_names((EXACT,))
    assert "exact" in caught.value.hint
    with pytest.raises(UnknownNameError, match="exacto"):
        wanted.check(summarise(bench({"a": [1.0]})))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("score=0.5", None), ("score=0.51", "a: score is 0.5, under 0.51"),
        ("exact=0.5", None), ("exact=0.6", "a: exact is 0.5, under 0.6"),
        ("cost=0.01", None), ("cost=0.009", "a: cost is 0.01 USD, over 0.009 USD"),
        ("time=1", None), ("time=0.5", "a: time is 1 s, over 0.5 s"),
        ("failures=0.25", None), ("failures=0.2", "a: failures is 0.25, over 0.2"),
    ],
)  # fmt: skip
def test_a_threshold_is_met_up_to_its_very_value(text: str, complaint: str | None) -> None:
    summary = summarise(bench({"a": [1.0, 1.0, 0.0, None]}))
    assert FailUnder.parse(text).check(summary) == ([complaint] if complaint else [])


def test_a_scorer_of_which_less_is_better_is_held_under_its_threshold() -> None:
    summary = summarise(
        bench({"a": [3.0, 5.0]}, scorers=(ScorerInfo(name="exact", unit="words", better="lower"),))
    )
    assert FailUnder.parse("exact=4").check(summary) == []
    assert FailUnder.parse("score=3").check(summary) == ["a: score is 4 words, over 3 words"]


def test_every_candidate_has_to_meet_every_threshold() -> None:
    summary = summarise(bench({"a": [1.0, 1.0], "b": [1.0, 0.0]}))
    assert len(FailUnder.parse("score=0.9,cost=0.001").check(summary)) == 3


def test_a_cost_that_is_not_known_is_not_met() -> None:
    result = bench({}, trials=[trial("c0", 1.0, Candidate(crew="a"), cost_usd=None)])
    (complaint,) = FailUnder.parse("cost=100").check(summarise(result))
    assert "without a price" in complaint
