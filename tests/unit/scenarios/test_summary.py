"""A bench's figures: failures apart from wrong answers, ranks, pairs, and who is worth its price."""

from __future__ import annotations

import pytest

from callsheet.core.errors import UnknownNameError
from callsheet.scenarios.results import BenchResult, Candidate, ScoreRecord, ScorerInfo, Trial
from callsheet.scenarios.summary import CandidateSummary, summarise
from tests.unit.scenarios.made_benches import EXACT, bench, generated, trial

A, B = Candidate(crew="a"), Candidate(crew="b")


def only(result: BenchResult) -> CandidateSummary:
    (found,) = summarise(result).candidates
    return found


def mean(found: CandidateSummary, nth: int = 0) -> float | None:
    e = found.scores[nth].estimate
    return None if e is None else e.mean


def priced(score: float, usd: float | None, crew: str) -> list[Trial]:
    """Ten cases of which so many tenths are right, each at that price."""
    return [
        trial(f"c{i}", float(i < round(score * 10)), Candidate(crew=crew), cost_usd=usd) for i in range(10)
    ]


def test_a_failed_run_counts_as_the_worst_score_and_is_shown_apart() -> None:
    found = only(bench({"a": [1.0, 1.0, 0.0, None]}))
    assert (found.trials, found.done, found.failed, found.right) == (4, 3, 1, 2)
    assert found.statuses == {"done": 3, "failed": 1}
    assert mean(found) == 0.5
    assert found.score.answered is not None
    assert found.score.answered.mean == pytest.approx(2 / 3)


@pytest.mark.parametrize("status", ["failed", "limit", "waiting", "cancelled"])
def test_every_end_but_done_is_a_failure(status: str) -> None:
    found = only(bench({}, trials=[trial("c0", 1.0), trial("c1", None, status=status)]))
    assert (found.done, found.failed, found.failed_share) == (1, 1, 0.5)


def test_a_failure_is_the_worst_share_where_less_is_better_and_left_out_of_what_has_a_unit() -> None:
    scorers = (ScorerInfo(name="invented", better="lower"), ScorerInfo(name="words", unit="words"))
    scores = {"invented": ScoreRecord(value=0.0), "words": ScoreRecord(value=30.0)}
    found = only(bench({}, trials=[trial("c0", 0.0, scores=scores), trial("c1", None)], scorers=scorers))
    assert mean(found, 0) == 0.5
    assert mean(found, 1) == 30.0


@pytest.mark.parametrize(
    "broken", [ScoreRecord(value=None, error="TypeError: no"), ScoreRecord(value=float("nan"))]
)
def test_where_a_scorer_failed_the_trial_is_left_out_and_counted(broken: ScoreRecord) -> None:
    found = only(bench({}, trials=[trial("c0", 1.0), trial("c1", 1.0, scores={"exact": broken})]))
    assert mean(found) == 1.0
    assert found.score.errors == 1
    assert found.failed == 0


def test_a_failed_run_is_paid_for_but_was_not_fast() -> None:
    found = only(
        bench({}, trials=[trial("c0", 1.0, elapsed_s=4.0), trial("c1", None, elapsed_s=0.01, cost_usd=0.03)])
    )
    assert found.cost_total == pytest.approx(0.04)
    assert (found.seconds_p50, found.seconds_p90) == (4.0, 4.0)


def test_an_unknown_price_is_not_zero() -> None:
    trials = [trial("c0", 1.0, cost_usd=0.02), trial("c1", 1.0, cost_usd=None, known_usd=0.005)]
    found = only(bench({}, trials=trials))
    assert found.cost_unknown == 1
    assert found.cost is not None
    assert found.cost.mean == 0.02
    assert found.cost_total == pytest.approx(0.025)


def test_each_case_weighs_the_same_however_often_it_was_run() -> None:
    trials = [*(trial("c0", 0.0, repeat=i) for i in range(3)), trial("c1", 1.0)]
    assert mean(only(bench({}, trials=trials, repeats=3))) == 0.5


def test_pass_rates_are_of_the_cases_that_have_so_many_repeats() -> None:
    values = {"c0": [1.0, 1.0, 0.0], "c1": [1.0, None], "c2": [0.0, 0.0, 0.0]}
    trials = [trial(case, v, repeat=i) for case, vs in values.items() for i, v in enumerate(vs)]
    found = only(bench({}, trials=trials, repeats=3))
    assert found.pass_at == pytest.approx({1: (2 / 3 + 1 / 2) / 3, 2: (1 + 1 + 0) / 3, 3: (1 + 0) / 2})
    assert found.pass_hat == pytest.approx({1: (2 / 3 + 1 / 2) / 3, 2: (1 / 3) / 3, 3: 0.0})


def test_a_trial_whose_scorer_failed_is_no_try() -> None:
    broken = {"exact": ScoreRecord(value=None, error="RuntimeError: no")}
    trials = [trial("c0", 1.0), trial("c0", 1.0, repeat=1, scores=broken), trial("c1", 0.0)]
    found = only(bench({}, trials=trials, repeats=2))
    assert found.pass_at == {1: 0.5}
    assert found.pass_hat == {1: 0.5}
    assert found.right == 1


def test_nobody_knows_what_is_right_where_the_scorer_failed_in_every_trial() -> None:
    broken = {"exact": ScoreRecord(value=None, error="RuntimeError: no")}
    found = only(bench({}, trials=[trial("c0", 1.0, scores=broken), trial("c1", 1.0, scores=broken)]))
    assert found.right is None
    assert found.score.errors == 2
    assert only(bench({"a": [None, None]})).right == 0


def test_there_are_no_pass_rates_of_one_repeat_or_of_shares() -> None:
    assert only(bench({"a": [1.0, 0.0]})).pass_at == {}
    shares = [trial("c0", 0.5, repeat=i) for i in range(2)]
    found = only(bench({}, trials=shares, repeats=2))
    assert found.pass_at == {}
    assert found.right is None


def test_candidates_are_ranked_by_score_and_equals_by_price() -> None:
    trials = [
        *priced(0.5, 0.01, "cheap"),
        *priced(0.5, 0.02, "dear"),
        *priced(0.9, 0.5, "best"),
        *priced(0.5, None, "x"),
    ]
    assert [c.label for c in summarise(bench({}, trials=trials)).candidates] == ["best", "cheap", "dear", "x"]


def test_where_less_is_better_the_least_leads() -> None:
    scorers = (ScorerInfo(name="exact", unit="words", better="lower"),)
    summary = summarise(bench({"a": [9.0, 8.0], "b": [3.0, 2.0]}, scorers=scorers))
    assert [c.label for c in summary.candidates] == ["b", "a"]
    (found,) = summary.differences
    assert (found.a, found.wins, found.losses) == ("b", 2, 0)


def test_the_frontier_is_who_nobody_beats_in_price_and_score_at_once() -> None:
    trials = [
        *priced(0.9, 0.10, "best"), *priced(0.5, 0.01, "cheap"), *priced(0.5, 0.05, "dear"),
        *priced(0.7, 0.05, "middle"), *priced(0.6, 0.05, "beaten"), *priced(1.0, None, "unpriced"),
    ]  # fmt: skip
    assert summarise(bench({}, trials=trials)).frontier == ("cheap", "middle", "best")


def test_a_price_that_is_known_in_part_makes_nobody_cheap() -> None:
    partly = [
        t.model_copy(update={"cost_usd": None}) if i else t
        for i, t in enumerate(priced(0.9, 0.001, "partly"))
    ]
    trials = [*partly, *priced(0.5, 0.01, "known")]
    assert summarise(bench({}, trials=trials)).frontier == ("known",)


def test_twins_are_both_on_the_frontier() -> None:
    trials = [*priced(0.5, 0.01, "one"), *priced(0.5, 0.01, "two")]
    assert summarise(bench({}, trials=trials)).frontier == ("one", "two")


def test_a_pair_is_compared_case_by_case() -> None:
    summary = summarise(bench({"a": [1.0] * 8 + [0.0] * 2, "b": [0.0] * 6 + [1.0] * 2 + [0.0, None]}))
    (found,) = summary.differences
    assert (found.a, found.b, found.wins, found.losses, found.ties) == ("a", "b", 6, 0, 4)
    assert found.estimate is not None
    assert found.estimate.mean == pytest.approx(0.6)
    assert found.p == pytest.approx(2 / 64)
    assert found.improved is True


def test_a_pair_is_compared_over_the_cases_that_both_have() -> None:
    (found,) = summarise(bench({"a": {"x": 1.0, "y": 1.0}, "b": {"y": 0.0, "z": 1.0}})).differences
    assert found.estimate is not None
    assert (found.estimate.n, found.wins, found.losses) == (1, 1, 0)


def test_repeats_are_no_pairs_of_their_own_so_mcnemar_is_not_asked() -> None:
    trials = [trial("c0", v, c, repeat=i) for c, v in ((A, 1.0), (B, 0.0)) for i in range(2)]
    (found,) = summarise(bench({}, trials=trials, repeats=2)).differences
    assert found.p is None
    assert found.estimate is not None
    assert found.estimate.n == 1


def test_several_pairs_raise_each_others_p() -> None:
    values = {"a": [1.0] * 10, "b": [0.0] * 6 + [1.0] * 4, "c": [0.0] * 8 + [1.0] * 2}
    found = summarise(bench(values)).differences
    assert [d.p is not None and d.p_adjusted is not None and d.p_adjusted >= d.p for d in found] == [True] * 3
    assert max(d.p_adjusted / d.p for d in found if d.p and d.p_adjusted) > 1.5


def test_a_bench_without_a_trial_has_figures_too() -> None:
    empty = bench({"a": [1.0], "b": [0.0]}).model_copy(update={"trials": ()})
    summary = summarise(empty)
    assert [c.score.estimate for c in summary.candidates] == [None, None]
    assert summary.frontier == ()
    assert summary.differences[0].estimate is None


def test_the_figures_of_a_candidate_are_found_by_its_label() -> None:
    summary = summarise(generated(2, 10))
    assert summary.candidate("helpdesk · openai/gpt-4o").planned == 10
    with pytest.raises(UnknownNameError, match="helpdesk · openai/gpt-5"):
        summary.candidate("helpdesk · openai/gpt-5")
    assert summary.scorers[0] == EXACT


def test_what_a_run_takes_is_never_less_than_nothing() -> None:
    tokens = ScorerInfo(name="exact", unit="tokens", better="lower")
    trials = [
        trial(f"c{i}", v, cost_usd=v, elapsed_s=v, scores={"exact": ScoreRecord(value=v)})
        for i, v in enumerate([0.1, 9.0])
    ]
    found = summarise(bench({}, trials=trials, scorers=(tokens,))).candidates[0]
    for estimate in (found.cost, found.time, found.score.estimate):
        assert estimate is not None
        assert estimate.low == 0.0
    profit = ScorerInfo(name="exact", unit="points")
    lost = summarise(bench({}, trials=trials, scorers=(profit,))).candidates[0].score.estimate
    assert lost is not None
    assert lost.low is not None
    assert lost.low < 0
