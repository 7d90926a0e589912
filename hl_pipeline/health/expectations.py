"""Data contracts as Great Expectations suites, evaluated on a DataFrame.

great_expectations is imported inside the function that needs it: it costs 3 to 7 s and 250 MB a process. Its
results are turned into plain values, because its own hold numpy scalars that no JSON encoder takes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pandas as pd

_SAMPLE = 5


@dataclass(frozen=True, slots=True)
class Expected:
    """One expectation's outcome. ``severity`` is warning or error; ``sample`` shows up to five offending values."""

    name: str
    passed: bool
    severity: str
    unexpected_count: int
    sample: list[str]
    sentence: str


def candles_keep_their_contract(candles: pd.DataFrame) -> list[Expected]:
    """Judge candles: columns coin, interval, open_time (UTC), open, high, low, close, volume, trades.

    Prices may be Decimal or float; the frame is not changed.
    """
    frame = candles.copy()
    for column in ("open", "high", "low", "close", "volume"):
        frame[column] = frame[column].astype(float)
    frame["price_range"] = frame["high"] / frame["low"] - 1
    frame["above_low"] = frame[["open", "close"]].min(axis=1) - frame["low"]
    frame["below_high"] = frame["high"] - frame[["open", "close"]].max(axis=1)
    steps = frame["interval"].map({"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14400, "1d": 86400})
    frame["off_grid_s"] = frame["open_time"].map(lambda at: at.timestamp()) % steps
    frame["volume_without_trades"] = frame["volume"].where(frame["trades"] == 0, 0.0)
    return _evaluate(frame, _candle_rules())


def metrics_keep_their_contract(metrics: pd.DataFrame) -> list[Expected]:
    """Judge latest metrics: columns coin, metric, value, confidence; prices positive, one row a coin and metric."""
    frame = metrics.copy()
    frame["value"] = frame["value"].astype(float)
    frame["confidence"] = frame["confidence"].astype(float)
    signed = frame["metric"].isin(["funding", "change_24h"])
    frame["value_of_unsigned"] = frame["value"].where(~signed, 0.0)
    return _evaluate(frame, _metric_rules())


def _candle_rules() -> list[tuple[str, str, str, dict[str, Any]]]:
    """Name, severity, expectation class, arguments."""
    between = "ExpectColumnValuesToBeBetween"
    known = ["1m", "5m", "15m", "1h", "4h", "1d"]
    return [
        ("candles_have_a_coin", "error", "ExpectColumnValuesToNotBeNull", {"column": "coin"}),
        ("intervals_are_known", "error", "ExpectColumnValuesToBeInSet", {"column": "interval", "value_set": known}),
        ("opens_lie_on_the_grid", "error", between, {"column": "off_grid_s", "min_value": 0, "max_value": 0}),
        ("one_row_a_slot", "error", "ExpectCompoundColumnsToBeUnique",
         {"column_list": ["coin", "interval", "open_time"]}),
        ("prices_are_positive", "error", between, {"column": "low", "min_value": 0, "strict_min": True}),
        ("low_is_lowest", "error", between, {"column": "above_low", "min_value": 0}),
        ("high_is_highest", "error", between, {"column": "below_high", "min_value": 0}),
        ("volume_is_not_negative", "error", between, {"column": "volume", "min_value": 0}),
        ("volume_needs_trades", "error", between, {"column": "volume_without_trades", "max_value": 0}),
        ("prices_stay_within_half_in_one_candle", "warning", between,
         {"column": "price_range", "max_value": 0.5, "mostly": 0.999}),
    ]  # fmt: skip


def _metric_rules() -> list[tuple[str, str, str, dict[str, Any]]]:
    between = "ExpectColumnValuesToBeBetween"
    return [
        ("one_row_a_coin_and_metric", "error", "ExpectCompoundColumnsToBeUnique", {"column_list": ["coin", "metric"]}),
        ("metrics_have_a_value", "error", "ExpectColumnValuesToNotBeNull", {"column": "value"}),
        ("only_funding_and_change_are_signed", "error", between, {"column": "value_of_unsigned", "min_value": 0}),
        ("confidence_is_a_share", "error", between, {"column": "confidence", "min_value": 0, "max_value": 1}),
        ("metrics_carry_a_confidence", "warning", "ExpectColumnValuesToNotBeNull", {"column": "confidence"}),
    ]


def _evaluate(frame: pd.DataFrame, rules: list[tuple[str, str, str, dict[str, Any]]]) -> list[Expected]:
    with warnings.catch_warnings():
        # Great Expectations and the libraries it loads warn of their own future, which is not ours to mend.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="great_expectations|marshmallow|altair")
        import great_expectations as gx

        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = cast("Any", {"globally": False})
        made = [getattr(gx.expectations, kind)(**arguments) for _, _, kind, arguments in rules]
        asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        outcomes = [batch.validate(expectation) for expectation in made]
    return [_plain(rule, outcome, len(frame)) for rule, outcome in zip(rules, outcomes, strict=True)]


def _plain(rule: tuple[str, str, str, dict[str, Any]], outcome: Any, rows: int) -> Expected:
    name, severity, _, _ = rule
    broken = (outcome.exception_info or {}).get("exception_message")
    if broken:
        raise RuntimeError(f"expectation {name} could not be evaluated: {broken}")
    count = int(outcome.result.get("unexpected_count") or 0)
    sample = [str(value) for value in (outcome.result.get("partial_unexpected_list") or [])[:_SAMPLE]]
    words = name.replace("_", " ")
    sentence = f"{words}: {count} of {rows} rows do not" if count else f"{words}: all {rows} rows"
    if count:
        sentence += f" (such as {', '.join(sample)}). Next: read these rows' fetches, and fetch their span again"
    return Expected(name, bool(outcome.success), severity, count, sample, sentence)
