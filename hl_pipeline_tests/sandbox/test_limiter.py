from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from hl_pipeline.model.clock import ManualClock
from hl_pipeline.sandbox.exchange import Exchange
from hl_pipeline.sandbox.faults import FaultKind
from hl_pipeline.sandbox.limiter import LimiterMode, WeightLimiter
from hl_pipeline.sandbox.request_log import LoggedRequest, RequestLog
from hl_pipeline.sandbox.world import Manners, QuietMode
from hl_pipeline_tests.sandbox.worlds import NOW, ask, candle_body, world

MINUTE_START = 1_000 * 60_000


def limited(mode: LimiterMode) -> tuple[Exchange, ManualClock]:
    clock = ManualClock(MINUTE_START)
    return Exchange(world(), limiter=WeightLimiter(mode, clock), manners=Manners(QuietMode.DENSE)), clock


def full_calls_until_refused(there: Exchange, client: str = "local") -> int:
    body = candle_body("BTC", "1m", 0, NOW)
    return next(count for count in range(100) if ask(there, body, client).status == 429)


def test_a_full_page_weighs_104_so_a_bucket_admits_twelve_and_refuses_with_null() -> None:
    there, _ = limited(LimiterMode.BUCKET)
    # eleven are paid in full; the twelfth is let in on what is left and overdraws
    assert full_calls_until_refused(there) == 12
    refused = ask(there, candle_body("BTC", "1m", 0, NOW))
    assert (refused.status, refused.body, refused.content_type) == (429, b"null", "application/json")
    assert [entry.weight for entry in there.log.entries()] == [104] * 12 + [0, 0]
    assert there.log.refusals() == 2


def test_the_bucket_refills_twenty_a_second() -> None:
    there, clock = limited(LimiterMode.BUCKET)
    full_calls_until_refused(there)
    owed = 12 * 104 + 20 - 1200
    clock.advance(owed * 50 - 50)
    assert ask(there, candle_body("BTC", "1m", NOW, NOW)).status == 429
    clock.advance(50)
    assert ask(there, candle_body("BTC", "1m", NOW, NOW)).status == 200


def test_the_strict_minute_starts_anew_on_the_minute_and_not_before() -> None:
    there, clock = limited(LimiterMode.MINUTE)
    assert full_calls_until_refused(there) == 12
    clock.advance(59_999)
    assert ask(there, {"type": "exchangeStatus"}).status == 429
    clock.advance(1)
    assert full_calls_until_refused(there) == 12


def test_the_sliding_form_counts_the_last_sixty_seconds_whenever_they_begin() -> None:
    there, clock = limited(LimiterMode.SLIDING)
    body = candle_body("BTC", "1m", 0, NOW)
    assert [ask(there, body).status for _ in range(6)] == [200] * 6
    clock.advance(30_000)
    assert full_calls_until_refused(there) == 6
    clock.advance(29_999)
    assert ask(there, {"type": "exchangeStatus"}).status == 429
    clock.advance(1)
    assert full_calls_until_refused(there) == 6, "only the first six have left the window"


def test_a_429_that_a_fault_sent_costs_nothing() -> None:
    there, _ = limited(LimiterMode.MINUTE)
    there.faults.fail_next(FaultKind.RATE_LIMITED, 100)
    for _ in range(100):
        assert ask(there, candle_body("BTC", "1m", 0, NOW)).status == 429
    assert full_calls_until_refused(there) == 12


def test_each_client_has_its_own_weight() -> None:
    there, _ = limited(LimiterMode.BUCKET)
    assert full_calls_until_refused(there, "one") == full_calls_until_refused(there, "other") == 12


def test_off_admits_everything_and_still_weighs_it() -> None:
    there, _ = limited(LimiterMode.OFF)
    for _ in range(20):
        assert ask(there, candle_body("BTC", "1m", 0, NOW)).status == 200
    assert there.log.weight() == 20 * 104


def test_light_requests_weigh_two() -> None:
    there, _ = limited(LimiterMode.BUCKET)
    for kind in ("exchangeStatus", "allMids", "meta"):
        ask(there, {"type": kind})
    ask(there, {"type": "fundingHistory", "coin": "BTC", "startTime": 0})
    assert [entry.weight for entry in there.log.entries()] == [2, 2, 20, 45]


@given(st.lists(st.tuples(st.integers(1, 30_000), st.integers(2, 1_200)), max_size=60))
@settings(max_examples=100, deadline=None)
def test_a_client_within_the_limit_in_every_window_is_never_refused(steps: list[tuple[int, int]]) -> None:
    clock = ManualClock(MINUTE_START)
    judges = [WeightLimiter(mode, clock) for mode in (LimiterMode.BUCKET, LimiterMode.MINUTE, LimiterMode.SLIDING)]
    log = RequestLog()
    for number, (pause, weight) in enumerate(steps, start=1):
        clock.advance(pause)
        log.add(logged(number, clock.now_ms(), weight))
        if log.max_weight_in(60_001) > 1200:
            return
        assert all(judge.admit("me", weight) for judge in judges)


@given(st.lists(st.tuples(st.integers(0, 90_000), st.integers(0, 120)), max_size=40))
@settings(deadline=None)
def test_the_log_finds_the_heaviest_window(requests: list[tuple[int, int]]) -> None:
    log = RequestLog()
    for number, (at, weight) in enumerate(requests, start=1):
        log.add(logged(number, at, weight))
    slow = max((sum(w for at, w in requests if end - 60_000 < at <= end) for end, _ in requests), default=0)
    assert log.max_weight_in(60_000) == slow


def logged(number: int, at_ms: int, weight: int) -> LoggedRequest:
    return LoggedRequest(number, at_ms, at_ms, "me", "meta", "", "", None, None, 200, 0, weight, "")
