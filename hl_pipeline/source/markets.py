"""What the exchange says about its markets, decoded: universes, contexts, mids, funding, its clock.

Optional fields come and go over the years (hyperliquid.md sections 3 and 7),
so only what a market cannot be without is required. One unreadable market or
context is refused alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hl_pipeline.model.answer import RejectedRow
from hl_pipeline.model.market import FundingRate, Market, MarketContext, MarketKind
from hl_pipeline.source.wire import (
    DECIMAL_RULE,
    NAME_RULE,
    bad_answer,
    first_broken,
    is_decimal,
    is_instant,
    is_name,
    is_signed_decimal,
    offender,
    read,
    read_row,
    read_rows,
    reject,
)

Markets = tuple[list[Market], list[RejectedRow]]
MarketsAndContexts = tuple[list[Market], list[MarketContext], list[RejectedRow]]


class _Universe(msgspec.Struct):
    universe: list[msgspec.Raw]


class _Perp(msgspec.Struct, rename="camel"):
    name: str
    sz_decimals: int
    max_leverage: int
    is_delisted: bool | None = None


class _Token(msgspec.Struct, rename="camel"):
    index: int
    sz_decimals: int


class _Pair(msgspec.Struct):
    name: str
    tokens: tuple[int, int]
    index: int | None = None


class _SpotUniverse(msgspec.Struct):
    universe: list[msgspec.Raw]
    tokens: list[_Token]


class _Context(msgspec.Struct, rename="camel"):
    mark_px: str
    day_ntl_vlm: str
    coin: str | None = None
    oracle_px: str | None = None
    mid_px: str | None = None
    prev_day_px: str | None = None
    funding: str | None = None
    premium: str | None = None
    open_interest: str | None = None
    day_base_vlm: str | None = None


class _Dex(msgspec.Struct):
    name: str


class _Status(msgspec.Struct):
    time: int


class _Funding(msgspec.Struct, rename="camel"):
    coin: str
    funding_rate: str
    time: int
    premium: str | None = None


_UNIVERSE = msgspec.json.Decoder(_Universe)
_SPOT_UNIVERSE = msgspec.json.Decoder(_SpotUniverse)
_WITH_CONTEXTS = msgspec.json.Decoder(tuple[msgspec.Raw, list[msgspec.Raw]])
_PERP = msgspec.json.Decoder(_Perp)
_PAIR = msgspec.json.Decoder(_Pair)
_CONTEXT = msgspec.json.Decoder(_Context)
_DEXES = msgspec.json.Decoder(list[_Dex | None])
_MIDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_STATUS = msgspec.json.Decoder(_Status)
_FUNDING = msgspec.json.Decoder(_Funding)


def decode_meta(body: bytes, dex: str = "") -> Markets:
    """The perpetual markets of one dex (``""`` is the exchange's own), delisted ones included.

    Raises:
        BadAnswer: the body is not a universe.
    """
    markets, rejected = _perps(read(body, _UNIVERSE, f"meta {dex!r}").universe, dex)
    return [market for market in markets if market is not None], rejected


def decode_spot_meta(body: bytes) -> Markets:
    """The spot pairs; a pair's size decimals are its base token's.

    Raises:
        BadAnswer: the body is not a universe with its tokens.
    """
    return _pairs(read(body, _SPOT_UNIVERSE, "spotMeta"))


def decode_meta_and_contexts(body: bytes, dex: str = "") -> MarketsAndContexts:
    """The markets of one dex and their contexts, which stand in the universe's order.

    When the two differ in length no context can be told apart, so all are refused.

    Raises:
        BadAnswer: the body is not a universe and a list.
    """
    what = f"metaAndAssetCtxs {dex!r}"
    meta, raws = read(body, _WITH_CONTEXTS, what)
    markets, rejected = _perps(read(bytes(meta), _UNIVERSE, what).universe, dex)
    known = [market for market in markets if market is not None]
    if len(raws) != len(markets):
        rule = "there are as many contexts as markets, in the same order"
        rejected.append(reject(0, rule, f"{len(raws)} contexts, {len(markets)} markets", b""))
        return known, [], rejected
    contexts: list[MarketContext] = []
    for position, (market, raw) in enumerate(zip(markets, raws, strict=True)):
        if market is not None:
            _add_context(contexts, rejected, position, raw, market.coin)
    return known, contexts, rejected


def decode_spot_meta_and_contexts(body: bytes) -> MarketsAndContexts:
    """The spot pairs and their contexts, joined by coin: there are more contexts than pairs, in another order.

    Contexts of coins outside the universe are left out.

    Raises:
        BadAnswer: the body is not a universe and a list.
    """
    meta, raws = read(body, _WITH_CONTEXTS, "spotMetaAndAssetCtxs")
    markets, rejected = _pairs(read(bytes(meta), _SPOT_UNIVERSE, "spotMetaAndAssetCtxs"))
    coins = {market.coin for market in markets}
    contexts: list[MarketContext] = []
    for position, raw in enumerate(raws):
        _add_context(contexts, rejected, position, raw, None, coins)
    return markets, contexts, rejected


def decode_live_context(raw: bytes, coin: str) -> MarketContext | RejectedRow:
    """One market's context as the stream sends it, by the same rules."""
    contexts: list[MarketContext] = []
    rejected: list[RejectedRow] = []
    _add_context(contexts, rejected, 0, msgspec.Raw(raw), coin)
    return contexts[0] if contexts else rejected[0]


def decode_perp_dexs(body: bytes) -> tuple[str, ...]:
    """Names of the perpetual dexes; the exchange's own comes first, as ``""``.

    Raises:
        BadAnswer: the body is not a list of dexes, or one has no usable name.
    """
    names = tuple("" if dex is None else dex.name for dex in read(body, _DEXES, "perpDexs"))
    for name in names[1:]:
        if not is_name(name):
            raise bad_answer("perpDexs", body, f"{NAME_RULE}, not {name!r}")
    return names


def decode_all_mids(body: bytes) -> tuple[dict[str, str], list[RejectedRow]]:
    """Mid price by coin, as decimal strings above or equal to 0.

    Raises:
        BadAnswer: the body is not an object.
    """
    mids: dict[str, str] = {}
    rejected: list[RejectedRow] = []
    for position, (coin, raw) in enumerate(read(body, _MIDS, "allMids").items()):
        price = _read_text(raw)
        broken = first_broken([(is_name(coin), NAME_RULE, coin), (is_decimal(price), DECIMAL_RULE, price)])
        if broken is None:
            mids[coin] = price
        else:
            rejected.append(reject(position, *broken, raw))
    return mids, rejected


def decode_exchange_status(body: bytes) -> int:
    """The exchange's clock, in milliseconds since the epoch, UTC.

    Raises:
        BadAnswer: no such number, or not a time.
    """
    time = read(body, _STATUS, "exchangeStatus").time
    if not is_instant(time):
        raise bad_answer("exchangeStatus", body, f"time {time} is not between 1970 and 2100")
    return time


def decode_funding_history(body: bytes, coin: str) -> tuple[list[FundingRate], list[RejectedRow]]:
    """Funding rates of ``coin`` in ascending time; an exact repeat is kept once.

    Raises:
        BadAnswer: the body is not one whole JSON array.
    """
    rates: set[FundingRate] = set()
    rejected: list[RejectedRow] = []
    for position, raw in enumerate(read_rows(body, f"fundingHistory {coin}")):
        row = read_row(raw, _FUNDING)
        if isinstance(row, str):
            rejected.append(reject(position, row, offender(raw, row), raw))
            continue
        broken = first_broken(
            [
                (row.coin == coin, f"coin is the asked {coin}", row.coin),
                (is_instant(row.time), "time lies between 1970 and 2100", row.time),
                (
                    is_signed_decimal(row.funding_rate),
                    f"fundingRate: {DECIMAL_RULE}, or its negative",
                    row.funding_rate,
                ),
                _optional("premium", row.premium, signed=True),
            ]
        )
        if broken is None:
            rates.add(FundingRate(row.coin, row.time, row.funding_rate, row.premium))
        else:
            rejected.append(reject(position, *broken, raw))
    return sorted(rates, key=lambda rate: rate.time_ms), rejected


def _perps(raws: Sequence[msgspec.Raw], dex: str) -> tuple[list[Market | None], list[RejectedRow]]:
    """One entry a place in the universe, null where it could not be read: contexts join by place."""
    kind = MarketKind.BUILDER if dex else MarketKind.PERP
    markets: list[Market | None] = []
    rejected: list[RejectedRow] = []
    seen: set[str] = set()
    for position, raw in enumerate(raws):
        row = read_row(raw, _PERP)
        market = None
        if isinstance(row, str):
            rejected.append(reject(position, row, offender(raw, row), raw))
        else:
            rules = [
                *_market_rules(row.name, row.sz_decimals, seen),
                (not dex or row.name.startswith(f"{dex}:"), f"a market of dex {dex} is named {dex}:…", row.name),
                (1 <= row.max_leverage <= 1000, "maxLeverage lies between 1 and 1000", row.max_leverage),
            ]
            broken = first_broken(rules)
            if broken is None:
                market = Market(row.name, kind, dex, row.sz_decimals, row.max_leverage, bool(row.is_delisted), position)
                seen.add(row.name)
            else:
                rejected.append(reject(position, *broken, raw))
        markets.append(market)
    return markets, rejected


def _pairs(meta: _SpotUniverse) -> Markets:
    decimals = {token.index: token.sz_decimals for token in meta.tokens}
    markets: list[Market] = []
    rejected: list[RejectedRow] = []
    seen: set[str] = set()
    for position, raw in enumerate(meta.universe):
        row = read_row(raw, _PAIR)
        if isinstance(row, str):
            rejected.append(reject(position, row, offender(raw, row), raw))
            continue
        base = row.tokens[0]
        rules = [
            (base in decimals, "a pair's base token is among the tokens", base),
            *_market_rules(row.name, decimals.get(base, 0), seen),
        ]
        broken = first_broken(rules)
        if broken is None:
            markets.append(Market(row.name, MarketKind.SPOT, "", decimals[base], None, universe_index=row.index))
            seen.add(row.name)
        else:
            rejected.append(reject(position, *broken, raw))
    return markets, rejected


def _market_rules(name: str, sz_decimals: int, seen: set[str]) -> list[tuple[bool, str, object]]:
    return [
        (is_name(name), NAME_RULE, name),
        (name not in seen, "a name stands once in a universe", name),
        (0 <= sz_decimals <= 20, "szDecimals lies between 0 and 20", sz_decimals),
    ]


def _add_context(
    contexts: list[MarketContext],
    rejected: list[RejectedRow],
    position: int,
    raw: msgspec.Raw,
    coin: str | None,
    known: set[str] | None = None,
) -> None:
    """Judge one context. ``coin`` is given where the universe names it; else the context does, and must be known."""
    row = read_row(raw, _CONTEXT)
    if isinstance(row, str):
        rejected.append(reject(position, row, offender(raw, row), raw))
        return
    name = coin or row.coin or ""
    broken = first_broken([(bool(name), "a spot context names its coin", row.coin), *_context_rules(row)])
    if known is not None and name and name not in known:
        return
    if broken is not None:
        rejected.append(reject(position, *broken, raw))
        return
    contexts.append(
        MarketContext(
            coin=name,
            mark_price=row.mark_px,
            oracle_price=row.oracle_px,
            mid_price=row.mid_px,
            previous_day_price=row.prev_day_px,
            funding=row.funding,
            premium=row.premium,
            open_interest=row.open_interest,
            day_notional_volume=row.day_ntl_vlm,
            day_base_volume=row.day_base_vlm,
        )
    )


def _context_rules(row: _Context) -> list[tuple[bool, str, object]]:
    return [
        _optional("markPx", row.mark_px),
        (row.mark_px.strip("0.") != "", "markPx is above 0", row.mark_px),
        _optional("dayNtlVlm", row.day_ntl_vlm),
        _optional("oraclePx", row.oracle_px),
        _optional("midPx", row.mid_px),
        _optional("prevDayPx", row.prev_day_px),
        _optional("openInterest", row.open_interest),
        _optional("dayBaseVlm", row.day_base_vlm),
        _optional("funding", row.funding, signed=True),
        _optional("premium", row.premium, signed=True),
    ]


def _optional(field: str, text: str | None, *, signed: bool = False) -> tuple[bool, str, object]:
    """The rule that ``text`` is null or a decimal."""
    fits = is_signed_decimal if signed else is_decimal
    rule = f"{field}: {DECIMAL_RULE}" + (", or its negative" if signed else "")
    return text is None or fits(text), rule, text


def _read_text(raw: msgspec.Raw) -> str:
    """The string in ``raw``, or what stands there instead, which no rule accepts."""
    text = read_row(raw, _TEXT)
    is_string = bytes(raw).lstrip().startswith(b'"')
    return text if is_string else bytes(raw).decode("utf-8", "replace") + " (not a string)"
