from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hl_pipeline.model.answer import CandleRequest
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.failure import BadAnswer
from hl_pipeline.model.interval import Interval
from hl_pipeline.source import candles as candles_module
from hl_pipeline.source.candles import _decode_row_by_row, decode_candles
from hl_pipeline.source.wire import LATEST_MS

MINUTE = 60_000
START = 1_785_000_000_000 // MINUTE * MINUTE
REQUEST = CandleRequest(SeriesKey("BTC", Interval.M1), START, START + 10 * MINUTE)


def row(slot: int = 0, **changes: Any) -> dict[str, Any]:
    at = START + slot * MINUTE
    base = {"t": at, "T": at + MINUTE - 1, "s": "BTC", "i": "1m", "o": "10.5", "c": "11.0", "h": "11.5", "l": "10.0"}
    return {**base, "v": "3495670.8399999999", "n": 7, **changes}


def encode(*rows: Any) -> bytes:
    return json.dumps(list(rows)).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"{}",
        b'"no"',
        b"<html><body>502 Bad Gateway</body></html>",
        encode(row()) + b"x",
        encode(row())[:-5],
        encode(row())[:-1],
        b"[" * 200_000,
        b"[" + b"[" * 200_000 + b"]" * 200_000 + b"]",
        b'[{"t":1,"x":' + b"[" * 100_000,
        b"\xef\xbb\xbf[]",
        b"[NaN]",
        b"\xff\xfe",
    ],
)
def test_a_body_that_is_not_one_whole_array_is_a_bad_answer(body: bytes) -> None:
    with pytest.raises(BadAnswer, match="candleSnapshot BTC 1m starts") as refusal:
        decode_candles(body, REQUEST)
    assert len(str(refusal.value)) < 700


def test_an_empty_array_is_an_empty_answer() -> None:
    assert decode_candles(b"[]", REQUEST) == ([], [], 0)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"t": str(START)}, "Expected `int`"),
        ({"t": float(START)}, "Expected `int`"),
        ({"t": True}, "Expected `int`"),
        ({"o": 10.5}, "Expected `str`"),
        ({"o": None}, "Expected `str`"),
        ({"n": "7"}, "Expected `int`"),
        ({"n": 7.0}, "Expected `int`"),
        ({"s": "ETH"}, "s is the asked coin BTC"),
        ({"s": "btc"}, "s is the asked coin BTC"),
        ({"i": "5m"}, "i is the asked interval 1m"),
        ({"t": START + 1, "T": START + MINUTE}, "t is a multiple of"),
        ({"T": START + MINUTE}, "T is t"),
        ({"t": LATEST_MS, "T": LATEST_MS + MINUTE - 1}, "between 1970 and 2100"),
        ({"t": -MINUTE, "T": -1}, "between 1970 and 2100"),
        ({"t": 10**30}, "between 1970 and 2100"),
        ({"o": "NaN"}, "o: a decimal"),
        ({"h": "Infinity"}, "h: a decimal"),
        ({"h": "1e400"}, "h: a decimal"),
        ({"c": "1_0"}, "c: a decimal"),
        ({"c": "\uff11\uff11"}, "c: a decimal"),
        ({"o": " 10.5"}, "o: a decimal"),
        ({"o": "10.5\n"}, "o: a decimal"),
        ({"o": "10.5\n10.5"}, "o: a decimal"),
        ({"o": "-10.5"}, "o: a decimal"),
        ({"o": "+10.5"}, "o: a decimal"),
        ({"o": "10."}, "o: a decimal"),
        ({"l": ".5"}, "l: a decimal"),
        ({"v": ""}, "v: a decimal"),
        ({"v": "1.2.3"}, "v: a decimal"),
        ({"v": "."}, "v: a decimal"),
        ({"v": "-0.0"}, "v: a decimal"),
        ({"v": "1" * 21}, "v: a decimal"),
        ({"v": "1." + "1" * 21}, "v: a decimal"),
        ({"l": "0.0"}, "l is above 0"),
        ({"h": "10.9"}, "h is at least o and c"),
        ({"l": "10.6"}, "l is at most o and c"),
        ({"o": "11.5000000000000001"}, "h is at least o and c"),
        ({"c": "9.99999999999999999"}, "l is at most o and c"),
        ({"n": -1}, "n is between"),
        ({"n": 2**31}, "n is between"),
        ({"n": 0}, "n = 0 means v = 0"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused_alone_with_rule_and_value(changes: dict[str, Any], rule: str) -> None:
    candles, rejected, outside = decode_candles(encode(row(0), row(1, **changes), row(2)), REQUEST)
    assert [candle.open_ms for candle in candles] == [START, START + 2 * MINUTE]
    assert [bad.position for bad in rejected] == [1]
    assert rule in rejected[0].rule
    assert json.loads(rejected[0].payload) == row(1, **changes)
    assert outside == 0


def test_the_refused_value_is_named() -> None:
    _, rejected, _ = decode_candles(encode(row(0, o=10.5), row(1, c="1_0")), REQUEST)
    assert [bad.value for bad in rejected] == ["10.5", "1_0"]


def test_rows_that_are_no_candles_at_all_are_refused_alone() -> None:
    missing = row(1)
    del missing["v"]
    body = encode(row(0), None, 5, [], "x", {}, missing)
    candles, rejected, _ = decode_candles(body, REQUEST)
    assert len(candles) == 1
    assert [bad.position for bad in rejected] == [1, 2, 3, 4, 5, 6]
    assert "missing required field `v`" in rejected[-1].rule


def test_a_row_in_broken_utf8_is_refused_alone() -> None:
    body = encode(row(0))[:-1] + b"," + encode(row(1))[1:].replace(b'"11.5"', b'"\xff"')
    candles, rejected, _ = decode_candles(body, REQUEST)
    assert (len(candles), len(rejected)) == (1, 1)


def test_unknown_keys_and_key_order_do_not_matter() -> None:
    backwards = dict(reversed(row().items())) | {"q": {"new": [1, None]}}
    candles, rejected, _ = decode_candles(encode(backwards), REQUEST)
    assert (len(candles), rejected) == (1, [])
    assert candles[0].volume == "3495670.8399999999"


def test_quiet_synthetic_and_rounded_to_zero_rows_are_good() -> None:
    flat = row(0, o="10.0", h="10.0", l="10.0", c="10.0", v="0.0", n=0)
    synthetic = row(1, v="0.0", n=0)
    dust = row(2, v="0.0", n=3)
    candles, rejected, _ = decode_candles(encode(flat, synthetic, dust), REQUEST)
    assert [candle.trades for candle in candles] == [0, 0, 3]
    assert rejected == []


def test_equal_prices_written_differently_are_good() -> None:
    candles, rejected, _ = decode_candles(encode(row(0, h="11.00", c="11.0", o="11")), REQUEST)
    assert (len(candles), rejected) == (1, [])


def test_a_good_answer_never_takes_the_slow_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(candles_module, "_decode_row_by_row")
    quiet = row(2, v="0.0", n=0)
    assert len(decode_candles(encode(row(-1), row(0), row(1), quiet, row(10)), REQUEST)[0]) == 3


def test_rows_out_of_order_are_sorted() -> None:
    candles, rejected, outside = decode_candles(encode(row(2), row(0), row(1)), REQUEST)
    assert [candle.open_ms for candle in candles] == [START, START + MINUTE, START + 2 * MINUTE]
    assert (rejected, outside) == ([], 0)


def test_rows_beyond_the_asked_span_are_counted_and_left_out() -> None:
    candles, rejected, outside = decode_candles(encode(row(-1), row(0), row(9), row(10)), REQUEST)
    assert [candle.open_ms for candle in candles] == [START, START + 9 * MINUTE]
    assert (rejected, outside) == ([], 2)


def test_identical_repeats_are_kept_once() -> None:
    candles, rejected, outside = decode_candles(encode(row(0), row(0), row(1), row(0)), REQUEST)
    assert (len(candles), rejected, outside) == (2, [], 2)


def test_two_values_for_one_slot_are_both_refused() -> None:
    candles, rejected, outside = decode_candles(encode(row(0), row(1), row(0, n=8)), REQUEST)
    assert [candle.open_ms for candle in candles] == [START + MINUTE]
    assert [bad.position for bad in rejected] == [0, 2]
    assert "one value for a slot" in rejected[0].rule
    assert outside == 0


def test_a_long_payload_is_cut_and_carries_no_nul() -> None:
    _, rejected, _ = decode_candles(encode(row(0, o="x" * 100_000), row(1, o="a\x00b")), REQUEST)
    assert len(rejected[0].payload) == len(rejected[0].value) == 2000
    assert "\x00" not in rejected[1].payload + rejected[1].value


TEXTS = st.one_of(
    st.sampled_from(
        ["10.0", "10.00", "10.5", "11.0", "11.00000000000000001", "0.0", "0", "NaN", "1e5", "1_0", "1.2.3"]
    ),
    st.sampled_from(["", ".", "5.", ".5", "\uff11", "1\n", "-1", "9" * 20, "9" * 21, "0." + "1" * 20, "inf", " 1"]),
    st.decimals(min_value=0, max_value=100, places=3).map(str),
)
ROWS = st.builds(
    lambda slot, changes: row(slot, **changes),
    st.integers(-2, 12),
    st.one_of(
        st.just({}),
        st.just({}),
        st.fixed_dictionaries(
            {},
            optional={
                **dict.fromkeys("ohlcv", TEXTS),
                "n": st.sampled_from([0, 1, -1, 2**31, 2**31 - 1, "1", 1.5]),
                "s": st.sampled_from(["BTC", "ETH"]),
                "i": st.sampled_from(["1m", "5m"]),
                "t": st.sampled_from([START, START + 1, -MINUTE, 10**20, None]),
                "T": st.sampled_from([START + MINUTE - 1, START]),
            },
        ),
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ROWS, max_size=8))
def test_the_fast_path_and_the_row_path_agree_and_account_for_every_row(rows: list[dict[str, Any]]) -> None:
    body = encode(*rows)
    answer = decode_candles(body, REQUEST)
    assert answer == _decode_row_by_row(body, REQUEST)
    candles, rejected, outside = answer
    assert len(candles) + len(rejected) + outside == len(rows)
    opens = [candle.open_ms for candle in candles]
    assert opens == sorted(set(opens))
    assert all(REQUEST.start_ms <= at < REQUEST.end_ms for at in opens)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.sampled_from("ohlcv"))
def test_one_strange_text_is_judged_alike_by_both_paths(text: str, name: str) -> None:
    body = encode(row(0), row(1, **{name: text}))
    assert decode_candles(body, REQUEST) == _decode_row_by_row(body, REQUEST)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 600))
def test_bytes_never_escape_as_anything_but_a_bad_answer(noise: bytes, cut: int) -> None:
    for body in (noise, encode(row(0), row(1))[:cut] + noise):
        try:
            candles, rejected, outside = decode_candles(body, REQUEST)
        except BadAnswer:
            continue
        assert len(candles) + len(rejected) + outside >= 0
