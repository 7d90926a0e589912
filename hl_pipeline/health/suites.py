"""What must hold of the rows that readers use, relation by relation, as Great Expectations suites.

Each function takes the rows as its query in ``sql/queries`` gives them (times aware, UTC; numbers Decimal or float)
and market time in ms UTC where age matters; the frame is not changed. ``error`` is for what is plainly wrong,
``warning`` for what the exchange may say on a wild day. Rules that need the ledger are SQL checks of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hl_pipeline.health.expectations import Expected, Rule, evaluate
from hl_pipeline.model.interval import Interval, to_datetime

if TYPE_CHECKING:
    import pandas as pd

_BETWEEN = "ExpectColumnValuesToBeBetween"
_NOT_NULL = "ExpectColumnValuesToNotBeNull"
_IN_SET = "ExpectColumnValuesToBeInSet"
_UNIQUE = "ExpectCompoundColumnsToBeUnique"

#: The exchange caps funding at 4 % an hour (its documentation); rates paid for eight hours may be eight times that.
FUNDING_CAP = 0.04
#: Until then a rate was paid for eight hours (hyperliquid.md, fundingHistory).
HOURLY_SINCE = "2023-06-08T00:00:00Z"
#: The latest rate seen came 1,433 s after its hour (hyperliquid.md, fundingHistory).
FUNDING_LATE_S = 1_440
HOUR_S = 3_600
#: A price has at most six decimals less the size's, eight for spot (the exchange's documentation).
MOST_DECIMALS = {"perp": 6, "builder": 6, "spot": 8}
#: Markets are read hourly; twice missed is worth a word.
MARKETS_AGE_S = 3 * HOUR_S
#: Our clock and the exchange's may differ by so much before a time counts as the future.
CLOCK_SLACK_S = 120
#: Mark, mid and oracle price of a market are never so far apart on a sane day.
PRICE_SPREAD = 0.10
SIGNED_METRICS = ("funding", "change_24h")


def candles_keep_their_contract(candles: pd.DataFrame, now_ms: int) -> list[Expected]:
    """Judge candles: coin, interval, open_time, open, high, low, close, volume, trades, finality (f, p or o)."""
    frame = _with_numbers(candles, ("open", "high", "low", "close", "volume", "trades"))
    steps = frame["interval"].map({str(one): one.milliseconds / 1000 for one in Interval})
    opened_s = _seconds(frame["open_time"])
    frame["price_range"] = frame["high"] / frame["low"] - 1
    frame["above_low"] = frame[["open", "close"]].min(axis=1) - frame["low"]
    frame["below_high"] = frame["high"] - frame[["open", "close"]].max(axis=1)
    frame["off_grid_s"] = opened_s % steps
    frame["volume_without_trades"] = frame["volume"].where(frame["trades"] == 0, 0.0)
    frame["volume_of_traded"] = frame["volume"].where(frame["trades"] > 0)
    frame["part_of_a_trade"] = frame["trades"] % 1
    frame["opens_in_s"] = opened_s - now_ms / 1000
    frame["final_before_close_s"] = (opened_s + steps - now_ms / 1000).where(frame["finality"] == "f")
    return evaluate(frame, ("coin", "interval", "open_time"), _CANDLE_RULES)


def markets_keep_their_contract(markets: pd.DataFrame, now_ms: int) -> list[Expected]:
    """Judge markets: the columns of ``markets_for_contract.sql``; leverage stands for the margin table.

    The exchange names a market's margin table by a number that is its highest leverage or refines it; we keep the
    leverage.
    """
    frame = _with_numbers(markets, ("sz_decimals", "max_leverage", "volume_rank"))
    listed = ~frame["is_delisted"].astype(bool)
    seen_s = _seconds(frame["last_seen"])
    named_here = frame["absent_since"].isna()
    frame["seen_age_s"] = (now_ms / 1000 - seen_s).where(frame["tracked"].astype(bool) & named_here)
    frame["seen_before_first_s"] = seen_s - _seconds(frame["first_seen"])
    frame["decimals_left"] = frame["kind"].map(MOST_DECIMALS) - frame["sz_decimals"]
    frame["leverage_of_margined"] = frame["max_leverage"].fillna(0).where(frame["kind"] != "spot")
    frame["leverage_of_spot"] = frame["max_leverage"].where(frame["kind"] == "spot")
    of_dex = [name.split(":")[0] if ":" in name else "" for name in frame["coin"].fillna("")]
    frame["dex_as_named"] = _words(frame["dex"].fillna("") == of_dex)
    frame["delisting_is_dated"] = _words(listed | frame["delisted_seen"].notna())
    frame["tracked_for_a_reason"] = _words(frame["tracked"].astype(bool) == frame["tracked_by"].notna())
    return evaluate(frame, ("coin",), _MARKET_RULES)


def contexts_keep_their_contract(contexts: pd.DataFrame, now_ms: int, max_age_s: float) -> list[Expected]:
    """Judge quotes: the columns of ``contexts_for_contract.sql``.

    ``max_age_s`` is how old the newest quote of a listed market may be.
    """
    prices = ("mark_price", "oracle_price", "mid_price", "previous_day_price")
    others = ("funding", "premium", "open_interest", "day_notional_volume", "day_base_volume")
    frame = _with_numbers(contexts, (*prices, *others))
    seen_s, margined = _seconds(frame["seen_at"]), frame["kind"] != "spot"
    frame["seen_in_s"] = seen_s - now_ms / 1000
    newest = seen_s.groupby(frame["coin"]).transform("max") == seen_s
    frame["newest_age_s"] = (now_ms / 1000 - seen_s).where(newest & ~frame["is_delisted"].astype(bool))
    frame["oracle_of_margined"] = frame["oracle_price"].fillna(0).where(margined)
    frame["funding_of_margined"] = _words(frame["funding"].notna() | ~margined)
    frame["mid_off_mark"] = frame["mid_price"] / frame["mark_price"] - 1
    frame["mark_off_oracle"] = frame["mark_price"] / frame["oracle_price"] - 1
    return evaluate(
        frame, ("coin", "seen_at"), [*_CONTEXT_RULES, _at_most("quotes_are_fresh", "newest_age_s", max_age_s)]
    )


def funding_keeps_its_contract(rates: pd.DataFrame, now_ms: int) -> list[Expected]:
    """Judge funding rates: coin, time, rate, premium, previous (the time of the rate before; null for the first)."""
    import pandas as pd

    frame = _with_numbers(rates, ("rate", "premium"))
    paid_s, hourly = _seconds(frame["time"]), frame["time"] >= pd.Timestamp(HOURLY_SINCE)
    frame["rate_over_cap"] = frame["rate"].abs() - FUNDING_CAP * hourly.map({True: 1, False: 8})
    frame["late_s"] = paid_s % HOUR_S
    frame["paid_in_s"] = paid_s - now_ms / 1000
    frame["since_previous_s"] = (paid_s - _seconds(frame["previous"])).where(hourly)
    return evaluate(frame, ("coin", "time"), _FUNDING_RULES)


def metrics_keep_their_contract(metrics: pd.DataFrame, now_ms: int, max_age_s: float) -> list[Expected]:
    """Judge latest metrics: the columns of ``metrics_for_contract.sql``.

    ``max_age_s`` is how old a number of a listed market may be, beyond the length of the candle it was made from.
    """
    frame = _with_numbers(metrics, ("value", "confidence"))
    signed = frame["metric"].isin(SIGNED_METRICS)
    age_s = now_ms / 1000 - _seconds(frame["as_of"])
    length_s = frame["source"].map({str(one): one.milliseconds / 1000 for one in Interval}).fillna(0)
    frame["value_of_unsigned"] = frame["value"].where(~signed, 0.0)
    # what was traded is money, too, and may be none
    is_price = (frame["unit"] == "quote") & ~frame["metric"].str.startswith("volume")
    frame["price"] = frame["value"].where(is_price)
    frame["funding"] = frame["value"].where(frame["metric"] == "funding")
    frame["in_s"] = -age_s
    frame["age_beyond_its_candle_s"] = (age_s - length_s).where(~frame["is_delisted"].astype(bool))
    late = _at_most("metrics_are_fresh", "age_beyond_its_candle_s", max_age_s, mostly=0.95)
    return evaluate(frame, ("coin", "metric"), [*_METRIC_RULES, late])


def _at_most(name: str, column: str, bound: float, **more: Any) -> Rule:
    return Rule(name, "warning", _BETWEEN, {"column": column, "max_value": bound, **more})


_CANDLE_RULES = (
    Rule("candles_have_a_coin", "error", _NOT_NULL, {"column": "coin"}),
    Rule("intervals_are_known", "error", _IN_SET, {"column": "interval", "value_set": [str(one) for one in Interval]}),
    Rule("opens_lie_on_the_grid", "error", _BETWEEN, {"column": "off_grid_s", "min_value": 0, "max_value": 0}),
    Rule("one_row_a_slot", "error", _UNIQUE, {"column_list": ["coin", "interval", "open_time"]}),
    Rule("prices_are_positive", "error", _BETWEEN, {"column": "low", "min_value": 0, "strict_min": True}),
    Rule("low_is_lowest", "error", _BETWEEN, {"column": "above_low", "min_value": 0}),
    Rule("high_is_highest", "error", _BETWEEN, {"column": "below_high", "min_value": 0}),
    Rule("volume_is_not_negative", "error", _BETWEEN, {"column": "volume", "min_value": 0}),
    Rule("volume_needs_trades", "error", _BETWEEN, {"column": "volume_without_trades", "max_value": 0}),
    Rule("trades_bring_volume", "error", _BETWEEN, {"column": "volume_of_traded", "min_value": 0, "strict_min": True}),
    Rule("trades_are_whole_numbers", "error", _BETWEEN, {"column": "part_of_a_trade", "min_value": 0, "max_value": 0}),
    Rule("trades_are_not_negative", "error", _BETWEEN, {"column": "trades", "min_value": 0}),
    Rule("none_opens_in_the_future", "error", _BETWEEN, {"column": "opens_in_s", "max_value": CLOCK_SLACK_S}),
    Rule("none_is_final_before_its_close", "error", _BETWEEN, {"column": "final_before_close_s", "max_value": 0}),
    Rule("prices_stay_within_half_in_one_candle", "warning", _BETWEEN,
         {"column": "price_range", "max_value": 0.5, "mostly": 0.999}),
)  # fmt: skip
_MARKET_RULES = (
    Rule("one_row_a_coin", "error", "ExpectColumnValuesToBeUnique", {"column": "coin"}),
    Rule("markets_have_a_coin", "error", _NOT_NULL, {"column": "coin"}),
    Rule("kinds_are_known", "error", _IN_SET, {"column": "kind", "value_set": list(MOST_DECIMALS)}),
    Rule("builder_markets_are_named_by_their_dex", "error", _IN_SET, {"column": "dex_as_named", "value_set": ["yes"]}),
    Rule("size_decimals_are_not_negative", "error", _BETWEEN, {"column": "sz_decimals", "min_value": 0}),
    Rule("size_decimals_leave_room_for_the_price", "warning", _BETWEEN, {"column": "decimals_left", "min_value": 0}),
    Rule("leverage_is_offered_where_there_is_margin", "error", _BETWEEN,
         {"column": "leverage_of_margined", "min_value": 1}),
    Rule("leverage_is_at_most_100", "warning", _BETWEEN, {"column": "leverage_of_margined", "max_value": 100}),
    Rule("spot_has_no_leverage", "error", _BETWEEN, {"column": "leverage_of_spot", "max_value": 0}),
    Rule("ranks_begin_at_one", "error", _BETWEEN, {"column": "volume_rank", "min_value": 1}),
    Rule("last_seen_is_not_before_first_seen", "error", _BETWEEN, {"column": "seen_before_first_s", "min_value": 0}),
    Rule("delistings_are_dated", "error", _IN_SET, {"column": "delisting_is_dated", "value_set": ["yes"]}),
    Rule("tracked_markets_say_why", "error", _IN_SET, {"column": "tracked_for_a_reason", "value_set": ["yes"]}),
    Rule("tracked_markets_were_seen_lately", "warning", _BETWEEN,
         {"column": "seen_age_s", "max_value": MARKETS_AGE_S}),
)  # fmt: skip
_CONTEXT_RULES = (
    Rule("one_quote_a_market_and_instant", "error", _UNIQUE, {"column_list": ["coin", "seen_at"]}),
    Rule("marks_are_positive", "error", _BETWEEN, {"column": "mark_price", "min_value": 0, "strict_min": True}),
    Rule("mids_are_positive", "error", _BETWEEN, {"column": "mid_price", "min_value": 0, "strict_min": True}),
    Rule("margined_markets_have_an_oracle_price", "error", _BETWEEN,
         {"column": "oracle_of_margined", "min_value": 0, "strict_min": True}),
    Rule("margined_markets_have_funding", "error", _IN_SET, {"column": "funding_of_margined", "value_set": ["yes"]}),
    Rule("funding_is_within_the_cap", "error", _BETWEEN,
         {"column": "funding", "min_value": -FUNDING_CAP, "max_value": FUNDING_CAP}),
    Rule("premiums_are_below_one", "warning", _BETWEEN, {"column": "premium", "min_value": -1, "max_value": 1}),
    Rule("open_interest_is_not_negative", "error", _BETWEEN, {"column": "open_interest", "min_value": 0}),
    Rule("day_volumes_are_not_negative", "error", _BETWEEN, {"column": "day_notional_volume", "min_value": 0}),
    Rule("base_volumes_are_not_negative", "error", _BETWEEN, {"column": "day_base_volume", "min_value": 0}),
    Rule("prices_of_yesterday_are_not_negative", "error", _BETWEEN, {"column": "previous_day_price", "min_value": 0}),
    Rule("mid_is_near_mark", "warning", _BETWEEN,
         {"column": "mid_off_mark", "min_value": -PRICE_SPREAD, "max_value": PRICE_SPREAD, "mostly": 0.99}),
    Rule("mark_is_near_oracle", "warning", _BETWEEN,
         {"column": "mark_off_oracle", "min_value": -PRICE_SPREAD, "max_value": PRICE_SPREAD, "mostly": 0.99}),
    Rule("none_is_quoted_in_the_future", "error", _BETWEEN, {"column": "seen_in_s", "max_value": CLOCK_SLACK_S}),
)  # fmt: skip
_FUNDING_RULES = (
    Rule("one_rate_a_market_and_instant", "error", _UNIQUE, {"column_list": ["coin", "time"]}),
    Rule("rates_have_a_value", "error", _NOT_NULL, {"column": "rate"}),
    Rule("rates_are_within_the_cap", "error", _BETWEEN, {"column": "rate_over_cap", "max_value": 0}),
    Rule("premiums_are_below_one", "warning", _BETWEEN, {"column": "premium", "min_value": -1, "max_value": 1}),
    Rule("rates_are_paid_on_the_hour", "warning", _BETWEEN,
         {"column": "late_s", "max_value": FUNDING_LATE_S, "mostly": 0.999}),
    Rule("an_hour_has_one_rate", "error", _BETWEEN,
         {"column": "since_previous_s", "min_value": HOUR_S // 2}),
    Rule("hours_follow_each_other", "warning", _BETWEEN,
         {"column": "since_previous_s", "max_value": HOUR_S + FUNDING_LATE_S + 1, "mostly": 0.99}),
    Rule("none_is_paid_in_the_future", "error", _BETWEEN, {"column": "paid_in_s", "max_value": CLOCK_SLACK_S}),
)  # fmt: skip
_METRIC_RULES = (
    Rule("one_row_a_coin_and_metric", "error", _UNIQUE, {"column_list": ["coin", "metric"]}),
    Rule("metrics_have_a_value", "error", _NOT_NULL, {"column": "value"}),
    Rule("metrics_have_a_unit", "error", _NOT_NULL, {"column": "unit"}),
    Rule("only_funding_and_change_are_signed", "error", _BETWEEN, {"column": "value_of_unsigned", "min_value": 0}),
    Rule("prices_are_positive", "error", _BETWEEN, {"column": "price", "min_value": 0, "strict_min": True}),
    Rule("funding_is_within_the_cap", "error", _BETWEEN,
         {"column": "funding", "min_value": -FUNDING_CAP, "max_value": FUNDING_CAP}),
    Rule("confidence_is_a_share", "error", _BETWEEN, {"column": "confidence", "min_value": 0, "max_value": 1}),
    Rule("metrics_carry_a_confidence", "warning", _NOT_NULL, {"column": "confidence"}),
    Rule("none_is_of_the_future", "error", _BETWEEN, {"column": "in_s", "max_value": CLOCK_SLACK_S}),
)  # fmt: skip


def _with_numbers(given: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """A copy whose named columns are floats, null where they were."""
    frame = given.copy()
    for column in columns:
        frame[column] = frame[column].astype(float)
    return frame


def _seconds(times: pd.Series[Any]) -> pd.Series[Any]:
    """Seconds since 1970 UTC, null where there is no time. A column of nulls alone carries no zone."""
    import pandas as pd

    epoch = pd.Timestamp(to_datetime(0))
    return (pd.to_datetime(times, utc=True) - epoch).dt.total_seconds()


def _words(holds: pd.Series[Any]) -> pd.Series[Any]:
    """``yes`` or ``no``, which read better in a sample than booleans."""
    return holds.map({True: "yes", False: "no"})
