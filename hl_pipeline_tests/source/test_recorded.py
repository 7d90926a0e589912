"""Every recorded answer of a kind we ask for must decode, without one row refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hl_pipeline.model.answer import CandleRequest
from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.market import MarketKind
from hl_pipeline.source.candles import decode_candles
from hl_pipeline.source.markets import (
    decode_all_mids,
    decode_funding_history,
    decode_meta,
    decode_meta_and_contexts,
    decode_perp_dexs,
    decode_spot_meta,
    decode_spot_meta_and_contexts,
)

RECORDED = Path(__file__).resolve().parents[2].parent / "shared" / "fixtures" / "rest"
pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded answers are not beside this checkout")


def load(name: str) -> Any:
    return json.loads((RECORDED / name).read_text())


def exchanges() -> Iterator[tuple[str, dict[str, Any], bytes]]:
    """(file, request body, recorded answer) of every cassette file."""
    for path in sorted(RECORDED.glob("*.json")):
        content = json.loads(path.read_text())
        if isinstance(content, list) and content and isinstance(content[0], dict) and "request" in content[0]:
            for exchange in content:
                yield path.name, exchange["request"]["body"], exchange["response"]["body_text"].encode()


def whole_span(rows: list[dict[str, Any]]) -> CandleRequest:
    interval = Interval(rows[0]["i"])
    return CandleRequest(SeriesKey(rows[0]["s"], interval), rows[0]["t"], rows[-1]["t"] + interval.milliseconds)


def refused(body: bytes, request: dict[str, Any]) -> list[Any] | None:
    """Rows refused in one recorded answer, or null for a kind we never ask for."""
    if request["type"] == "candleSnapshot":
        return decode_candles(body, whole_span(json.loads(body)))[1]
    if request["type"] == "fundingHistory":
        return decode_funding_history(body, request["coin"])[1]
    if request["type"] == "perpDexs":
        decode_perp_dexs(body)
        return []
    decoders = {"meta": decode_meta, "spotMeta": decode_spot_meta, "allMids": decode_all_mids}
    return decoders[request["type"]](body)[1] if request["type"] in decoders else None


def test_no_row_of_any_recorded_exchange_is_refused() -> None:
    kinds = set()
    for name, request, body in exchanges():
        rows = refused(body, request)
        if rows is not None:
            assert rows == [], name
            kinds.add(request["type"])
    assert kinds == {"candleSnapshot", "fundingHistory", "perpDexs", "meta", "spotMeta", "allMids"}


@pytest.mark.parametrize("name", ["hummingbot_candleSnapshot_BTC_1h.json", "jkorf_candleSnapshot_HYPEspot_1d.json"])
def test_recorded_candles_keep_every_text_as_sent(name: str) -> None:
    rows = load(name)
    candles, rejected, outside = decode_candles((RECORDED / name).read_bytes(), whole_span(rows))
    assert (rejected, outside) == ([], 0)
    assert candles == [Candle(r["t"], r["o"], r["h"], r["l"], r["c"], r["v"], r["n"]) for r in rows]


def test_the_2023_candles_keep_only_the_asked_span() -> None:
    body = next(body for name, request, body in exchanges() if request["type"] == "candleSnapshot")
    hour = Interval.H1
    first = hour.ceil(1_684_702_007_000)
    request = CandleRequest(SeriesKey("kPEPE", hour), first, hour.ceil(1_684_784_807_000))
    candles, rejected, outside = decode_candles(body, request)
    assert [candle.open_ms for candle in candles] == list(range(first, request.end_ms, hour.milliseconds))
    assert (rejected, outside) == ([], 1)


def test_single_recorded_rows_decode_the_synthetic_one_too() -> None:
    lines = (RECORDED / "misc_candle_rows.jsonl").read_text().splitlines()
    for line in lines:
        row = json.loads(line)
        candles, rejected, _ = decode_candles(f"[{line}]".encode(), whole_span([row]))
        assert rejected == []
        assert [candle.trades for candle in candles] == [row["n"]]


def test_the_2025_universe_knows_its_delisted_markets() -> None:
    body = next(body for name, request, body in exchanges() if name == "go_Meta.json")
    markets, _ = decode_meta(body)
    assert (len(markets), sum(market.is_delisted for market in markets)) == (203, 32)
    assert {market.kind for market in markets} == {MarketKind.PERP}


def test_recorded_spot_pairs_take_their_base_tokens_decimals() -> None:
    body = next(body for name, request, body in exchanges() if name == "go_SpotMeta.json")
    markets, _ = decode_spot_meta(body)
    by_coin = {market.coin: market for market in markets}
    assert len(markets) == 199
    assert by_coin["PURR/USDC"].sz_decimals == 0
    assert by_coin["@107"].sz_decimals == 2
    assert by_coin["@107"].max_leverage is None


@pytest.mark.parametrize("name", ["jkorf_meta.json", "nautilus_http_meta_perp_sample.json"])
def test_samples_with_missing_and_null_flags_decode(name: str) -> None:
    markets, rejected = decode_meta((RECORDED / name).read_bytes())
    assert rejected == []
    assert len(markets) == len(load(name)["universe"])


def test_each_universe_of_all_perp_metas_decodes() -> None:
    for universe, dex in zip(
        load("nautilus_http_all_perp_metas_non_usdc_collateral.json"), ["", "km", "hyna"], strict=True
    ):
        markets, rejected = decode_meta(json.dumps(universe).encode(), dex)
        assert rejected == []
        assert [market.dex for market in markets] == [dex]


def test_doc_like_contexts_join_their_markets() -> None:
    markets, contexts, rejected = decode_meta_and_contexts((RECORDED / "jkorf_metaAndAssetCtxs.json").read_bytes())
    assert rejected == []
    assert [context.coin for context in contexts] == [market.coin for market in markets] == ["BTC", "ETH", "HPOS"]
    markets, contexts, rejected = decode_spot_meta_and_contexts(
        (RECORDED / "jkorf_spotMetaAndAssetCtxs.json").read_bytes()
    )
    assert (len(markets), rejected) == (1, [])
    assert contexts[0].day_base_volume == "65824101.0"


def test_a_spot_universe_of_no_pairs_decodes() -> None:
    body = (RECORDED / "nautilus_http_spot_meta_non_usdc_collateral.json").read_bytes()
    assert decode_spot_meta(body) == ([], [])


def test_funding_without_a_premium_decodes() -> None:
    rates, rejected = decode_funding_history((RECORDED / "nautilus_http_funding_history.json").read_bytes(), "BTC")
    assert rejected == []
    assert [rate.premium for rate in rates] == ["0.00029005", "-0.00012500", None]
    rates, rejected = decode_funding_history((RECORDED / "jkorf_fundingHistory.json").read_bytes(), "ETH")
    assert (len(rates), rejected) == (1, [])


def test_the_2026_perpetuals_decode() -> None:
    chosen = load("minnzen_2026-07-19-mainnet-m1.json")["selection"]
    assert decode_meta(json.dumps({"universe": chosen["perpUniverse"]}).encode())[1] == []
    markets, rejected = decode_meta(json.dumps({"universe": chosen["hip3Universe"]}).encode(), "xyz")
    assert rejected == []
    assert {market.kind for market in markets} == {MarketKind.BUILDER}
    assert decode_perp_dexs(json.dumps([None, *chosen["perpDexs"]]).encode())[:2] == ("", "xyz")


def test_the_2026_builder_contexts_decode() -> None:
    chosen = load("minnzen_2026-07-19-mainnet-m5.json")["selection"]
    kept = [quote["name"] for quote in chosen["hip3AssetContexts"]]  # the recording trims both lists, not alike
    universe = [market for market in chosen["hip3Meta"]["universe"] if market["name"] in kept]
    body = json.dumps([{"universe": universe}, chosen["hip3AssetContexts"]]).encode()
    markets, contexts, rejected = decode_meta_and_contexts(body, "xyz")
    assert (len(markets), rejected) == (len(kept), [])
    assert [context.coin for context in contexts] == [market.coin for market in markets]


def test_the_2026_spot_contexts_decode_and_only_trimmed_tokens_are_missed() -> None:
    chosen = load("minnzen_2026-07-19-mainnet-m5.json")["selection"]
    kept = {token["index"] for token in chosen["spotTokens"]}
    trimmed = [pair["name"] for pair in chosen["spotUniverse"] if pair["tokens"][0] not in kept]
    meta = {"universe": chosen["spotUniverse"], "tokens": chosen["spotTokens"]}
    markets, contexts, rejected = decode_spot_meta_and_contexts(
        json.dumps([meta, chosen["spotAssetContexts"]]).encode()
    )
    assert [json.loads(bad.payload)["name"] for bad in rejected] == trimmed
    assert {context.coin for context in contexts} == {market.coin for market in markets}
    mids, refused_mids = decode_all_mids(json.dumps(dict(chosen["allMids"])).encode())
    assert (len(mids), refused_mids) == (6, [])
