from __future__ import annotations

import json
from typing import Any

import pytest

from hl_pipeline.model.failure import BadAnswer
from hl_pipeline.model.market import FundingRate, MarketKind
from hl_pipeline.source.markets import (
    decode_all_mids,
    decode_exchange_status,
    decode_funding_history,
    decode_meta,
    decode_meta_and_contexts,
    decode_perp_dexs,
    decode_spot_meta_and_contexts,
)


def perp(name: str = "BTC", **more: Any) -> dict[str, Any]:
    return {"name": name, "szDecimals": 5, "maxLeverage": 50, **more}


def context(**changes: Any) -> dict[str, Any]:
    base = {"funding": "-0.0000125", "openInterest": "1.0", "prevDayPx": "2.0", "dayNtlVlm": "3.0", "dayBaseVlm": "4.0"}
    quotes = {"oraclePx": "5.0", "markPx": "6.0", "premium": None, "midPx": None, "impactPxs": None}
    return {**base, **quotes, **changes}


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize("decode", [decode_meta, decode_meta_and_contexts, decode_spot_meta_and_contexts])
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b"<html>", b'{"universe":null}', b"[1,2]", b"[" * 99_999])
def test_a_body_without_a_universe_is_a_bad_answer(decode: Any, body: bytes) -> None:
    with pytest.raises(BadAnswer):
        decode(body)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {"name": "X"},
        perp(""),
        perp("a b"),
        perp("a\x00b"),
        perp("a\nb"),
        perp("x" * 65),
        perp("X", szDecimals="5"),
        perp("X", szDecimals=-1),
        perp("X", maxLeverage=0),
        perp("X", isDelisted="yes"),
        perp("BTC"),
    ],
)
def test_an_unreadable_market_is_refused_alone_and_its_context_with_it(entry: Any) -> None:
    body = encode([{"universe": [perp(), entry, perp("ETH")]}, [context(), context(), context(markPx="7.0")]])
    markets, contexts, rejected = decode_meta_and_contexts(body)
    assert [market.coin for market in markets] == ["BTC", "ETH"]
    assert [(quote.coin, quote.mark_price) for quote in contexts] == [("BTC", "6.0"), ("ETH", "7.0")]
    assert [bad.position for bad in rejected] == [1]


@pytest.mark.parametrize(
    "changes",
    [{"markPx": "NaN"}, {"markPx": "0.0"}, {"markPx": None}, {"funding": "1e-5"}, {"midPx": "-1"}, {"dayNtlVlm": 3}],
)
def test_an_unreadable_context_is_refused_alone(changes: dict[str, Any]) -> None:
    body = encode([{"universe": [perp(), perp("ETH")]}, [context(**changes), context()]])
    markets, contexts, rejected = decode_meta_and_contexts(body)
    assert len(markets) == 2
    assert [quote.coin for quote in contexts] == ["ETH"]
    assert [bad.position for bad in rejected] == [0]


def test_contexts_that_do_not_match_the_universe_are_all_refused() -> None:
    markets, contexts, rejected = decode_meta_and_contexts(encode([{"universe": [perp(), perp("ETH")]}, [context()]]))
    assert (len(markets), contexts) == (2, [])
    assert rejected[0].value == "1 contexts, 2 markets"


def test_a_builder_market_carries_its_dex_in_its_name() -> None:
    markets, rejected = decode_meta(encode({"universe": [perp("xyz:TSLA"), perp("TSLA")]}), "xyz")
    assert [(market.coin, market.kind, market.dex) for market in markets] == [("xyz:TSLA", MarketKind.BUILDER, "xyz")]
    assert "named xyz:" in rejected[0].rule


def test_spot_contexts_join_on_coin_whatever_their_order_and_number() -> None:
    token = {"index": 1, "szDecimals": 2}
    pairs = [{"tokens": [1, 0], "name": name, "index": k} for k, name in enumerate(["PURR/USDC", "@107", "@9"])]
    pairs[2]["tokens"] = [77, 0]
    quotes = [
        {"coin": coin, "markPx": price, "dayNtlVlm": "0.0"}
        for coin, price in [("@107", "2.0"), ("@500", "0.0"), ("PURR/USDC", "1.0")]
    ]
    body = encode([{"universe": pairs, "tokens": [token]}, [*quotes, {"markPx": "1.0", "dayNtlVlm": "0.0"}]])
    markets, contexts, rejected = decode_spot_meta_and_contexts(body)
    assert [(market.coin, market.sz_decimals) for market in markets] == [("PURR/USDC", 2), ("@107", 2)]
    assert [(quote.coin, quote.mark_price) for quote in contexts] == [("@107", "2.0"), ("PURR/USDC", "1.0")]
    assert ["among the tokens" in rejected[0].rule, "names its coin" in rejected[1].rule] == [True, True]


def test_mids_that_are_no_decimals_are_refused_alone() -> None:
    mids, rejected = decode_all_mids(b'{"BTC":"1.5","ETH":2.5,"SOL":"NaN","":"1.0","X":null}')
    assert mids == {"BTC": "1.5"}
    assert len(rejected) == 4
    with pytest.raises(BadAnswer):
        decode_all_mids(b"[]")


def test_the_exchanges_clock_is_an_integer_and_a_time() -> None:
    assert decode_exchange_status(b'{"time":1785000000000,"specialStatuses":null}') == 1_785_000_000_000
    for body in (b'{"time":"1785000000000"}', b'{"time":-1}', b'{"time":99999999999999}', b"null"):
        with pytest.raises(BadAnswer):
            decode_exchange_status(body)


def test_dexes_are_named_with_the_exchanges_own_first() -> None:
    assert decode_perp_dexs(b'[null,{"name":"xyz","fullName":"XYZ"}]') == ("", "xyz")
    for body in (b"null", b'[null,{"name":""}]', b'[null,{"name":"a b"}]', b"[1]"):
        with pytest.raises(BadAnswer):
            decode_perp_dexs(body)


def test_funding_is_judged_row_by_row_sorted_and_free_of_repeats() -> None:
    good = {"coin": "BTC", "fundingRate": "-0.0001", "premium": "0.0002", "time": 1_785_000_000_048}
    earlier = {**good, "time": 1_784_996_400_012, "premium": None}
    bad = [{**good, "coin": "ETH"}, {**good, "fundingRate": "NaN"}, {**good, "time": "1"}, {**good, "time": -1}, None]
    rates, rejected = decode_funding_history(encode([good, earlier, good, *bad]), "BTC")
    assert rates == [
        FundingRate("BTC", 1_784_996_400_012, "-0.0001", None),
        FundingRate("BTC", 1_785_000_000_048, "-0.0001", "0.0002"),
    ]
    assert [row.position for row in rejected] == [3, 4, 5, 6, 7]
