from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from hl_pipeline.health import verdict
from hl_pipeline.health.report import report, score_of, to_json
from hl_pipeline.health.verdict import Status
from hl_pipeline.model.dead_letter import DeadLetterTally
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.open_gap import EndangeredSlots
from hl_pipeline.model.vitals import IntervalVitals, StreamVitals, VanishedRow, Vitals

NOW_MS = 1_772_452_820_000
HOUR_MS = 3_600_000
MINUTE = IntervalVitals(Interval.M1, 6, NOW_MS - 20_000, "BTC", due=1000, final=990, empty=10)
VITALS = Vitals(
    now_ms=NOW_MS, period_s=60.0, settle_s=10.0, markets=6, database_ms=2.0, candles_estimated=5000,
    candles_recent=900, rows_breaking_contract=0, fetches=100, fetches_failed=0, fetches_limited=0,
    fetch_p50_ms=40.0, fetch_p99_ms=90.0, last_landed_ms=NOW_MS - 20_000, budget_max=1164, budget_spent=126,
    budget_refused_since_s=None, intervals={Interval.M1: MINUTE},
)  # fmt: skip
GONE = VanishedRow("BTC", Interval.M1, NOW_MS - HOUR_MS, NOW_MS - 900_000, NOW_MS - 300_000, 17, 3)


DEAD = DeadLetterTally(2, 30, {"refused": 2}, NOW_MS - HOUR_MS, "ETH", Interval.M1, "look at the request")


@pytest.mark.parametrize(
    ("age_s", "status"), [(190, "healthy"), (191, "degraded"), (380, "degraded"), (381, "unhealthy")]
)
def test_a_minute_candle_is_fresh_for_interval_period_settle_and_a_minute(age_s: int, status: str) -> None:
    found = verdict.on_freshness(VITALS, replace(MINUTE, newest_close_ms=NOW_MS - age_s * 1000))
    assert found.status == status
    assert "bound 190" in found.sentence


@pytest.mark.parametrize(("markets", "bound"), [(50, 300), (51, 730)])
def test_minutes_of_fifty_markets_are_promised_within_five_minutes(markets: int, bound: float) -> None:
    slow = replace(VITALS, markets=markets, period_s=600.0)
    assert verdict.on_freshness(slow, MINUTE).numbers["bound_s"] == bound


@pytest.mark.parametrize(
    ("vitals", "name", "status"),
    [
        (replace(VITALS, fetches_failed=5), "api_answers", "healthy"),
        (replace(VITALS, fetches_failed=6), "api_answers", "degraded"),
        (replace(VITALS, fetches_failed=51), "api_answers", "unhealthy"),
        (replace(VITALS, fetches=0), "api_answers", "degraded"),
        (replace(VITALS, fetch_p99_ms=5001.0), "api_answers", "degraded"),
        (replace(VITALS, database_ms=251.0), "database_answers", "degraded"),
        (replace(VITALS, database_ms=2001.0), "database_answers", "unhealthy"),
        (replace(VITALS, fetches_limited=1), "budget_has_room", "degraded"),
        (replace(VITALS, budget_refused_since_s=121.0), "budget_has_room", "degraded"),
        (replace(VITALS, rows_breaking_contract=1), "rows_keep_contract", "unhealthy"),
        (replace(VITALS, intervals={Interval.M1: replace(MINUTE, waiting=9)}), "coverage_complete", "healthy"),
        (replace(VITALS, intervals={Interval.M1: replace(MINUTE, overdue=1)}), "coverage_complete", "degraded"),
        (replace(VITALS, intervals={Interval.M1: replace(MINUTE, lost=1)}), "coverage_complete", "healthy"),
        (
            replace(VITALS, losing_series=1, intervals={Interval.M1: replace(MINUTE, lost=1)}),
            "coverage_complete",
            "degraded",
        ),
        (replace(VITALS, vanished=[GONE]), "no_vanished_rows", "degraded"),
        (VITALS, "no_vanished_rows", "healthy"),
        (replace(VITALS, dead_letters=DEAD), "no_dead_letters", "degraded"),
        (VITALS, "no_dead_letters", "healthy"),
        (replace(VITALS, intervals={Interval.M1: replace(MINUTE, overdue=101)}), "coverage_complete", "unhealthy"),
    ],
)
def test_each_bound_is_judged_from_both_sides(vitals: Vitals, name: str, status: str) -> None:
    found = next(v for v in verdict.all_verdicts(vitals) if v.name == name)
    assert found.status == status
    assert ("Next:" in found.sentence) or found.passed or vitals.fetches == 0


@pytest.mark.parametrize(
    ("left_ms", "status", "said"),
    [
        (12 * HOUR_MS, "healthy", "no gap will be forgotten"),
        (12 * HOUR_MS - 1, "degraded", "recoverable for 11 h 59 min"),
        (2 * HOUR_MS, "degraded", "recoverable for 2 h"),
        (2 * HOUR_MS - 1, "unhealthy", "recoverable for 1 h 59 min"),
        (0, "unhealthy", "no longer recoverable"),
    ],
)
def test_a_gap_is_judged_by_the_time_that_is_left(left_ms: int, status: str, said: str) -> None:
    gap = EndangeredSlots(7, NOW_MS + left_ms, "ETH", Interval.M1)
    found = verdict.on_deadlines(replace(VITALS, endangered=gap))
    assert found.status == status
    assert said in found.sentence
    assert found.passed or ("7 slots" in found.sentence and "Next:" in found.sentence)


def test_a_report_names_what_it_could_not_measure() -> None:
    found = report(VITALS)
    assert (found.status, found.score, found.band) == (Status.HEALTHY, 100, "good")
    assert found.excluded == ["automation", "stream"]
    assert json.loads(json.dumps(to_json(found)))["checks"][0]["passed"] is True


def test_a_pipeline_that_landed_nothing_lately_does_not_run() -> None:
    found = report(replace(VITALS, last_landed_ms=NOW_MS - 600_000))
    assert found.parts["running"] == 0.0
    assert found.score < 70


def test_weights_of_absent_parts_go_to_the_rest() -> None:
    assert score_of({"running": 1.0, "errors": 0.0}) == 86
    assert score_of({}) == 0


def test_a_vanished_row_is_named_with_its_slot_and_since_when() -> None:
    said = verdict.on_vanished(replace(VITALS, vanished=[GONE, replace(GONE, coin="ETH")])).sentence
    assert said.startswith("2 stored candles are missing from later answers")
    assert "BTC 1m 2026-03-02 11:00 UTC, absent from 3 answers since 2026-03-02 11:45, last from fetch 17" in said
    assert "the candles are kept" in said


STREAM = StreamVitals(
    holder="process 7", updated_ms=NOW_MS - 2_000, started_ms=NOW_MS - HOUR_MS, stopped_ms=None, series=50,
    watching_since_ms=NOW_MS - HOUR_MS, watched_until_ms=NOW_MS - 20_000, queued=50, overflowed=0, closed=900,
    memory_bytes=90_000_000, sockets=1, connected=1, last_frame_ms=NOW_MS - 300, lag_ms=40.0, reconnects=1,
    frames_last_minute=2_000, rejected=0, last_error="closed", endpoint="wss://host/ws",
)  # fmt: skip


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (None, "no stream ever ran here"),
        (STREAM._replace(stopped_ms=NOW_MS - HOUR_MS), "the stream was stopped 1 h ago"),
        (STREAM._replace(updated_ms=NOW_MS - 60_001), "process 7 has said nothing for 1 min"),
        (STREAM._replace(connected=0), r"0 of 1 sockets stand \(closed\)"),
        (STREAM._replace(sockets=0, connected=0), "0 of 0 sockets stand"),
        (STREAM._replace(last_frame_ms=NOW_MS - 60_001), "brought no frame for over 60 s"),
        (STREAM._replace(last_frame_ms=None), "brought no frame for over 60 s"),
    ],
)
def test_a_stream_that_does_not_bring_frames_is_a_warning_that_says_why(
    stream: StreamVitals | None, words: str
) -> None:
    found = verdict.on_stream(stream, NOW_MS, expected=True)
    assert found.status is Status.DEGRADED
    assert re.search(words, found.sentence)
    assert "HL_STREAM=false" in found.sentence
    assert verdict.on_stream(stream, NOW_MS, expected=False).passed


def test_a_stream_that_brings_frames_counts_in_the_score_where_one_is_expected() -> None:
    streaming = replace(VITALS, stream=STREAM, expects_stream=True)
    assert verdict.on_stream(STREAM, NOW_MS, expected=True).passed
    assert report(streaming).parts["stream"] == 1.0
    assert report(replace(streaming, stream=None)).parts["stream"] == 0.5
    assert "stream" in report(VITALS).excluded
