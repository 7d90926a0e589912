"""A small part of `make validate-confidence`: three kinds of fault in four sizes, one day, through the real path."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from benchmarks.confidence_day import Outcome, cases, error_share, run_day
from benchmarks.confidence_faults import STORIES
from benchmarks.confidence_validation import CORRELATION_AT_LEAST, judge, report, severity_rho, spearman, stories
from hl_pipeline_tests.conftest import lent_database
from hl_pipeline_tests.fakes import candle

KINDS = ("late", "bad rows", "halved")
SEVERITIES = (0, 3, 6, 9)


@pytest.fixture(scope="module")
def outcomes(postgres_url: str, template_name: str) -> list[Outcome]:
    told = [story for story in STORIES if story.name in KINDS]
    with lent_database(postgres_url, template_name) as database:
        return run_day(database, 1, cases(1, told, SEVERITIES, clean=2))


def test_scores_say_what_is_true_of_a_day_with_faults(outcomes: list[Outcome]) -> None:
    clean = [o for o in outcomes if o.story is None]
    assert min(o.score for o in clean) >= 0.97
    assert {o.error for o in clean} == {0.0}
    for story in stories(outcomes):
        assert severity_rho(outcomes, story) == pytest.approx(-1.0), story.name
    spoilt = [o for o in outcomes if o.is_spoilt]
    assert [(o.case.coin, o.confidence.weakest) for o in spoilt if not o.blamed] == []
    assert all(o.error > 0 for o in spoilt)
    assert max(o.score for o in spoilt if o.case.severity == 9) < 0.30
    findings = judge(outcomes)
    assert [finding.claim for finding in findings if not finding.holds] == []
    assert f"at least {CORRELATION_AT_LEAST}" in findings[-1].claim
    page = report(outcomes, findings, [1])
    assert page.count("| yes |") == len(findings)
    assert all(f"**{name}**" in page for name in KINDS)


def test_a_score_that_does_not_care_is_found_out(outcomes: list[Outcome]) -> None:
    indifferent = [replace(o, confidence=replace(o.confidence, score=0.9, weakest="freshness")) for o in outcomes]
    assert [finding.holds for finding in judge(indifferent)] == [False] * 5


def test_ranks_share_ties() -> None:
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert spearman([1, 1, 2, 2], [5, 5, 9, 9]) == pytest.approx(1)
    assert spearman([1, 2, 3], [7, 7, 7]) == 0
    assert spearman([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)


def test_a_missing_and_a_wrong_candle_are_errors_and_float_noise_is_not() -> None:
    truth = [candle(at * 60_000) for at in range(4)]
    stored = {0: truth[0], 60_000: truth[1]._replace(volume="2.5000000001"), 120_000: truth[2]._replace(trades=8)}
    assert error_share(stored, truth) == 0.5
    assert math.isclose(error_share({**stored, 180_000: truth[3]._replace(close="100.49")}, truth), 0.5)
