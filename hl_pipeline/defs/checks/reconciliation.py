"""Candles read from the venue against the aggregate of their minutes, interval by interval."""

# no postponed annotations here: Dagster refuses a context whose type is a string
from collections.abc import Iterator

import dagster as dg

from hl_pipeline.defs.assets.data_contracts import data_contracts
from hl_pipeline.defs.checks.outcome import judging, result_of, specs_of
from hl_pipeline.defs.describe import table
from hl_pipeline.health.reconciliation import PERIODS, check_name, on_reconciliation
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.reconciliation import Mismatch
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage.reconciliation import reconcile

#: So many differing fields are shown; all are in the candles.
SHOWN = 10
_DESCRIBED = {
    check_name(interval): f"Every {interval} candle of the last {period} that was read from the venue equals the exact "
    "aggregate of its 1m candles (volume within 1e-9), and no derived one had to be mended within a day. When it "
    "fails: the table names both values; read the window again with `hl collect --again --window`."
    for interval, period in PERIODS.items()
}


@dg.multi_asset_check(
    name="reconciliation",
    specs=specs_of(data_contracts, _DESCRIBED),
    can_subset=True,
    description="What the venue says of 5m to 1d, beside what its own minutes make of it.",
)
def reconciliation(
    context: dg.AssetCheckExecutionContext, pipeline: dg.ResourceParam[Pipeline]
) -> Iterator[dg.AssetCheckResult]:
    """Compare every interval in one reading; a mismatch warns and lists both values."""
    with judging("reconciliation"), pipeline.database.connection() as connection:
        found = {row.interval: row for row in reconcile(connection, pipeline.clock.now_ms())}
    keys = {key.name: key for key in context.selected_asset_check_keys}
    for interval in PERIODS:
        if check_name(interval) not in keys:
            continue
        row = found.get(interval)
        result = result_of(keys[check_name(interval)], on_reconciliation(interval, row))
        listed = [line for mismatch in (*row.mismatches, *row.seen) for line in _lines(mismatch)] if row else []
        yield result._replace(metadata={**result.metadata, "mismatches": table(listed[:SHOWN])})


def _lines(mismatch: Mismatch) -> list[dict[str, str]]:
    """One line a field that differs."""
    place = {
        "coin": mismatch.coin,
        "interval": str(mismatch.interval),
        "open time (UTC)": f"{to_datetime(mismatch.open_ms):%Y-%m-%d %H:%M}",
        "stands": "yes" if mismatch.seen_ms is None else f"mended {to_datetime(mismatch.seen_ms):%Y-%m-%d %H:%M}",
    }
    return [
        {**place, "field": found.field, "from minutes": found.made, "venue": found.venue}
        for found in mismatch.differences
    ]
