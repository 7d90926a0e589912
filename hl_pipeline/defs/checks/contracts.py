"""Great Expectations over what readers use: candles, markets, quotes, funding and the latest metrics.

The suites stand in ``health/suites.py``; Great Expectations and pandas are
imported only when a check runs, in the hourly ``contracts`` job. Each suite
reads a bounded, newest part of its relation, and fails or passes on its own.
"""

# no postponed annotations here: Dagster refuses a context whose type is a string
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import dagster as dg

from hl_pipeline.defs.assets.data_contracts import data_contracts
from hl_pipeline.defs.checks.outcome import judging, outcome, specs_of
from hl_pipeline.defs.describe import table
from hl_pipeline.health import suites
from hl_pipeline.health.expectations import SAMPLED, Expected
from hl_pipeline.model.interval import Interval, to_datetime, to_ms
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage.sql import query


class _Contract(NamedTuple):
    """Which rows are judged (a query of ``sql/queries``), and how.

    ``when_empty`` names the check that judges the absence of rows; without one, no row is nothing to judge, and the
    check could not run.
    """

    rows: str
    judge: Callable[[Any, Pipeline], list[Expected]]
    described: str
    when_empty: str = ""


_CONTRACTS = {
    "candles_contract": _Contract(
        "candles_for_contract",
        lambda rows, pipeline: suites.candles_keep_their_contract(rows, pipeline.clock.now_ms()),
        "A Great Expectations suite over the candles of the last day (at least 60 of each series): known interval, on "
        "the grid, one row a slot, positive ordered prices, volume exactly where there are trades, whole trades, none "
        "of the future, none final before its close, no jump by half.",
    ),
    "markets_contract": _Contract(
        "markets_for_contract",
        lambda rows, pipeline: suites.markets_keep_their_contract(rows, pipeline.clock.now_ms()),
        "A Great Expectations suite over all markets: one row a coin, known kind, builder markets named by their dex, "
        "size decimals that leave room for a price, leverage where there is margin and none for spot, delistings "
        "dated, tracked ones with a reason and seen within three hours.",
    ),
    "contexts_contract": _Contract(
        "contexts_for_contract",
        lambda rows, pipeline: suites.contexts_keep_their_contract(
            rows, pipeline.clock.now_ms(), pipeline.quote_patience_s
        ),
        "A Great Expectations suite over the quotes of the last hour: mark, mid and oracle positive and near each "
        "other, funding within the exchange's cap of 4 % an hour, no negative volume or open interest, the newest "
        "quote of each listed market young enough.",
    ),
    "funding_contract": _Contract(
        "funding_for_contract",
        lambda rows, pipeline: suites.funding_keeps_its_contract(rows, pipeline.clock.now_ms()),
        "A Great Expectations suite over the newest week of funding rates of each market: one rate an hour, paid at "
        "most 24 minutes late, within the exchange's cap of 4 % an hour, premiums below one, no hour left out. Before "
        "the first rate is read it is not evaluated: `funding_is_fresh` judges that.",
        when_empty="funding_is_fresh",
    ),
    "metrics_contract": _Contract(
        "metrics_for_contract",
        lambda rows, pipeline: suites.metrics_keep_their_contract(
            rows, pipeline.clock.now_ms(), pipeline.quote_patience_s
        ),
        "A Great Expectations suite over the latest metrics: one row a market and metric, a value and a unit in each, "
        "positive prices, only funding and change may be negative, confidence between 0 and 1, numbers young enough.",
    ),
}
_HELP = " When it fails: its result shows the rule and up to ten of the rows, and says what to press."


@dg.multi_asset_check(
    name="contract_suites",
    specs=specs_of(data_contracts, {name: found.described + _HELP for name, found in _CONTRACTS.items()}),
    can_subset=True,
    description="The Great Expectations suites, one a relation.",
)
def contract_suites(
    context: dg.AssetCheckExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> Iterator[dg.AssetCheckResult]:
    """Judge each relation by itself; one that cannot be judged fails the step after the others have had their say."""
    could_not_run: list[str] = []
    for key in sorted(context.selected_asset_check_keys):
        try:
            with judging(key.name):
                result = _judge(context, key, _CONTRACTS[key.name], pipeline)
        except dg.Failure as failure:
            could_not_run.append(failure.description or key.name)
            continue
        if result is not None:
            yield result
    if could_not_run:
        raise dg.Failure("; ".join(could_not_run), allow_retries=False)


def _judge(
    context: dg.AssetCheckExecutionContext, key: dg.AssetCheckKey, contract: _Contract, pipeline: Pipeline
) -> dg.AssetCheckResult | None:
    frame = _read(pipeline, contract.rows)
    if frame.empty and contract.when_empty:
        context.log.warning("%s is not evaluated: there is no row yet; see %s", key.name, contract.when_empty)
        return None
    if frame.empty:
        raise dg.Failure(f"{key.name} could not run: there is no row to judge yet, and nothing is not a pass; run the "
                         "`collect` job first")  # fmt: skip
    found = contract.judge(frame, pipeline)
    broken = [one for one in found if not one.passed]
    return outcome(
        key,
        passed=not broken,
        found="; ".join(one.sentence for one in broken) or f"{len(frame):,} rows keep all {len(found)} rules",
        is_grave=any(one.severity == "error" for one in broken),
        until=_until(broken),
        metadata={
            "rows judged": len(frame),
            "rules broken": len(broken),
            "rules": table([_line(one) for one in found]),
            **({"failing rows": table(failing_rows(broken))} if broken else {}),
        },
    )


def failing_rows(broken: Sequence[Expected]) -> list[dict[str, str]]:
    """At most ten rows, some of every broken rule: the rule, what tells the row from others, and what was judged."""
    share = max(1, SAMPLED // max(1, len(broken)))
    chosen = [(one.name.replace("_", " "), row) for one in broken for row in one.rows[:share]][:SAMPLED]
    common = [name for name in (chosen[0][1] if chosen else {}) if all(name in row for _, row in chosen)]
    return [
        {
            "rule": rule,
            **{name: row[name] for name in common},
            "judged": ", ".join(f"{name} {value}" for name, value in row.items() if name not in common) or "-",
        }
        for rule, row in chosen
    ]


def _until(broken: Sequence[Expected]) -> str:
    """Until when the oldest of the sampled candles can be asked for again; empty where the rows are no candles."""
    known = {str(interval): interval for interval in Interval}
    deadlines = [
        known[row["interval"]].deadline(to_ms(datetime.fromisoformat(row["open_time"])))
        for one in broken
        for row in one.rows
        if row.get("interval") in known and "open_time" in row
    ]
    return f"until {to_datetime(min(deadlines)):%Y-%m-%d %H:%M} UTC at the least" if deadlines else ""


def _line(one: Expected) -> dict[str, str | int]:
    return {
        "rule": one.name.replace("_", " "),
        "holds": "yes" if one.passed else "no",
        "rows against it": one.unexpected_count,
        "sample": ", ".join(one.sample[:3]) or "-",
        "severity": one.severity,
    }


def _read(pipeline: Pipeline, name: str) -> Any:
    """The query's rows as a DataFrame."""
    import pandas as pd

    engine = pipeline.database.engine()
    try:
        with engine.connect() as connection:
            return pd.read_sql_query(query(name), connection, params={"now": to_datetime(pipeline.clock.now_ms())})
    finally:
        engine.dispose()
