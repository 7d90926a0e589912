"""What the exchange says about its markets: meta, contexts, mids and dexes, in the shapes it was recorded with."""

from __future__ import annotations

from typing import Any

from hl_pipeline.model.market import MarketKind
from hl_pipeline.sandbox.catalogue import DAY_MS, MarketSpec
from hl_pipeline.sandbox.noise import Floats, stream_key
from hl_pipeline.sandbox.truth import decimal_text, on_tick
from hl_pipeline.sandbox.world import World

Json = dict[str, Any]
#: Tokens the spot universe draws on; the exchange's list has no holes, so neither has ours.
_LAST_TOKEN = 222
#: Contexts of pairs the universe does not show: why contexts are joined by name, never by position.
_RETIRED_PAIRS = ("@22", "@61")


def dexes(world: World, now_ms: int) -> list[str]:
    """Names of the builder dexes that have a market by now."""
    return sorted({m.dex for m in world.listed(now_ms) if m.kind is MarketKind.BUILDER})


def perps(world: World, dex: str, now_ms: int) -> list[MarketSpec]:
    """The universe of one dex, ``""`` being the exchange's own."""
    return [m for m in world.listed(now_ms) if m.kind is not MarketKind.SPOT and m.dex == dex]


def spots(world: World, now_ms: int) -> list[MarketSpec]:
    """The spot pairs, by their index."""
    pairs = [m for m in world.listed(now_ms) if m.kind is MarketKind.SPOT]
    return sorted(pairs, key=lambda m: m.spot_index)


def meta(world: World, dex: str, now_ms: int) -> Json:
    """``meta``: flags are absent when false, delisted markets stay."""
    markets = perps(world, dex, now_ms)
    leverages = sorted({m.max_leverage for m in markets})
    return {
        "universe": [_universe_entry(m, now_ms) for m in markets],
        "marginTables": [
            [x, {"description": "", "marginTiers": [{"lowerBound": "0.0", "maxLeverage": x}]}] for x in leverages
        ],
        "collateralToken": 0,
    }


def _universe_entry(market: MarketSpec, now_ms: int) -> Json:
    entry: Json = {
        "szDecimals": market.sz_decimals,
        "name": market.coin,
        "maxLeverage": market.max_leverage,
        "marginTableId": market.max_leverage,
    }
    if market.only_isolated:
        entry["onlyIsolated"] = True
    if market.is_delisted_at(now_ms):
        entry["isDelisted"] = True
    if market.only_isolated:
        entry["marginMode"] = "strictIsolated"
    return entry


def meta_and_contexts(world: World, dex: str, now_ms: int) -> list[Any]:
    """``metaAndAssetCtxs``: contexts in the universe's order."""
    return [meta(world, dex, now_ms), [_perp_context(world, m, now_ms) for m in perps(world, dex, now_ms)]]


def context(world: World, market: MarketSpec, now_ms: int) -> Json:
    """One market's context, as among ``metaAndAssetCtxs`` or ``spotMetaAndAssetCtxs``."""
    made = _spot_context if market.kind is MarketKind.SPOT else _perp_context
    return made(world, market, now_ms)


def _perp_context(world: World, market: MarketSpec, now_ms: int) -> Json:
    price = price_now(world, market, now_ms)
    mark = price_text(market, price)
    if market.is_delisted_at(now_ms):
        return {
            "funding": "0.0",
            "openInterest": "0.0",
            "prevDayPx": mark,
            "dayNtlVlm": "0.0",
            "premium": None,
            "oraclePx": mark,
            "markPx": mark,
            "midPx": None,
            "impactPxs": None,
            "dayBaseVlm": "0.0",
        }
    coins = _day_coins(market, now_ms, float(mark))
    return {
        "funding": funding_rate(world.seed, market.coin, now_ms),
        "openInterest": decimal_text(coins // 3, market.sz_decimals),
        "prevDayPx": price_text(market, price_now(world, market, now_ms - DAY_MS)),
        "dayNtlVlm": decimal_text(int(coins / 10**market.sz_decimals * float(mark) * 1e6), 6),
        "premium": funding_premium(world.seed, market.coin, now_ms),
        "oraclePx": price_text(market, price * 1.0001),
        "markPx": mark,
        "midPx": mark,
        "impactPxs": [price_text(market, price * 0.9999), price_text(market, price * 1.0001)],
        "dayBaseVlm": decimal_text(coins, market.sz_decimals),
    }


def perp_dexs(world: World, now_ms: int) -> list[Any]:
    """``perpDexs``: null for the exchange's own dex, then the builders'."""
    return [None, *(_dex_entry(world, dex, now_ms) for dex in dexes(world, now_ms))]


def _dex_entry(world: World, dex: str, now_ms: int) -> Json:
    return {
        "name": dex,
        "fullName": dex.upper(),
        "deployer": _address(dex, "deployer"),
        "oracleUpdater": None,
        "feeRecipient": _address(dex, "fees"),
        "assetToStreamingOiCap": [[m.coin, "25000000.0"] for m in perps(world, dex, now_ms)],
        "subDeployers": [["setOracle", [_address(dex, "oracle")]]],
        "deployerFeeScale": "1.0",
        "lastDeployerFeeScaleChangeTime": "1970-01-01T00:00:00",
        "assetToFundingMultiplier": [],
    }


def spot_meta(world: World, now_ms: int) -> Json:
    """``spotMeta``: a pair's ``index`` is its own, not its position."""
    pairs = spots(world, now_ms)
    named = {m.token: (m.token_name, m.sz_decimals) for m in pairs}
    return {
        "universe": [
            {"tokens": [m.token, 0], "name": m.coin, "index": m.spot_index, "isCanonical": m.spot_index == 0}
            for m in pairs
        ],
        "tokens": [_token(index, *named.get(index, (f"TOK{index}", 2))) for index in range(_LAST_TOKEN)],
    }


def _token(index: int, name: str, sz_decimals: int) -> Json:
    if index == 0:
        name, sz_decimals = "USDC", 8
    return {
        "name": name,
        "szDecimals": sz_decimals,
        "weiDecimals": max(8, sz_decimals),
        "index": index,
        "tokenId": f"0x{stream_key('token', index):016x}{stream_key('token2', index):016x}",
        "isCanonical": index <= 1,
        "evmContract": {"address": _address("evm", str(index)), "evm_extra_wei_decimals": 10} if index == 150 else None,
        "fullName": "Hyperliquid" if name == "HYPE" else None,
        "deployerTradingFeeShare": "0.0",
    }


def spot_meta_and_contexts(world: World, now_ms: int) -> list[Any]:
    """``spotMetaAndAssetCtxs``: more contexts than pairs, so positions do not match."""
    contexts = [_spot_context(world, m, now_ms) for m in spots(world, now_ms)]
    retired = [_retired_context(coin) for coin in _RETIRED_PAIRS]
    return [spot_meta(world, now_ms), [*contexts[:1], *retired, *contexts[1:]]]


def _spot_context(world: World, market: MarketSpec, now_ms: int) -> Json:
    price = price_text(market, price_now(world, market, now_ms))
    coins = _day_coins(market, now_ms, float(price))
    return {
        "prevDayPx": price_text(market, price_now(world, market, now_ms - DAY_MS)),
        "dayNtlVlm": decimal_text(int(coins / 10**market.sz_decimals * float(price) * 1e6), 6),
        "markPx": price,
        "midPx": price,
        "circulatingSupply": "597683272.1200300455",
        "coin": market.coin,
        "totalSupply": "597683276.6427500248",
        "dayBaseVlm": decimal_text(coins, market.sz_decimals),
    }


def _retired_context(coin: str) -> Json:
    return {
        "prevDayPx": "0.01",
        "dayNtlVlm": "0.0",
        "markPx": "0.01",
        "midPx": None,
        "circulatingSupply": "1000000.0",
        "coin": coin,
        "totalSupply": "1000000.0",
        "dayBaseVlm": "0.0",
    }


def all_mids(world: World, dex: str, now_ms: int) -> dict[str, str]:
    """``allMids``: spot pairs come with the exchange's own dex only."""
    markets = perps(world, dex, now_ms) + ([] if dex else spots(world, now_ms))
    return {m.coin: price_text(m, price_now(world, m, now_ms)) for m in sorted(markets, key=lambda m: m.coin)}


def price_now(world: World, market: MarketSpec, now_ms: int) -> Floats:
    """The market's price at a minute (one number), or the last one if trading has ended."""
    at = now_ms if market.delisted_ms is None else min(now_ms, market.delisted_ms)
    return world.truth.price_at(market.coin, at)


def price_text(market: MarketSpec, price: Floats) -> str:
    """A price on the market's tick."""
    return decimal_text(int(on_tick(market, price)[0]), market.price_decimals)


def funding_rate(seed: int, coin: str, at_ms: int) -> str:
    """The hourly funding rate at an instant: mostly the base rate, at times more or below zero."""
    draw = stream_key(seed, "funding", coin, at_ms // 3_600_000)
    if draw % 5 < 3:
        return "0.0000125"
    return _signed(draw // 5 % 60_000 - 20_000, 10)


def funding_premium(seed: int, coin: str, at_ms: int) -> str:
    """The premium that goes with the rate."""
    return _signed(stream_key(seed, "premium", coin, at_ms // 3_600_000) % 100_000 - 40_000, 8)


def _signed(units: int, decimals: int) -> str:
    return f"{'-' if units < 0 else ''}{decimal_text(abs(units), decimals)}"


def _day_coins(market: MarketSpec, now_ms: int, price: float) -> int:
    """The 24-hour volume, in units of the last size decimal: as prescribed, or one that changes by the hour."""
    told = market.told_volume_at(now_ms)
    if told is not None:
        return int(told / price * 10**market.sz_decimals)
    mean = market.trades_a_minute * market.coins_a_trade * 1440 * (1.0 - market.quiet) * 10**market.sz_decimals
    return int(mean * (0.8 + stream_key("day", market.coin, now_ms // 3_600_000) % 400 / 1000))


def _address(*words: str) -> str:
    return f"0x{stream_key('address', 1, *words):016x}{stream_key('address', 2, *words):016x}{'0' * 8}"
