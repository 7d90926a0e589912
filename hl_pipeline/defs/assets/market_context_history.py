"""The quotes' history by market and month: what was recorded, for more cannot be had."""

# no postponed annotations here: Dagster refuses a context whose type is a string
from collections.abc import Iterator

import dagster as dg

from hl_pipeline.defs import history
from hl_pipeline.defs.assets.markets import CONTEXT_COLUMNS
from hl_pipeline.defs.describe import said_plainly
from hl_pipeline.defs.history import Chosen, history_asset
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import market_contexts
from hl_pipeline.storage.market_contexts import ContextMonth

NAME = "market_context_history"
DESCRIPTION = """Recorded quotes, one partition a market and month (`hl.market_context`).

The exchange keeps **no history of quotes**: a month holds what `market_contexts` recorded when it was quoted. A run
asks nothing; it counts, and materializes each month in which something was recorded, with *coverage %*, the share of
hours with a quote. A month from before the recording began is never materialized and says so at once.
"""


def _body(context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]) -> Iterator[dg.MaterializeResult]:
    chosen = Chosen(context)
    with said_plainly(), pipeline.database.connection() as connection:
        found = market_contexts.months(
            connection,
            coins=chosen.coins,
            month_starts_ms=[month.start_ms for month in chosen.months],
            now_ms=pipeline.clock.now_ms(),
        )
        history.record_months(context, chosen, found, materialization)
    yield from ()


market_context_history = history_asset(
    name=NAME, description=DESCRIPTION, table="hl.market_context", described=CONTEXT_COLUMNS, body=_body
)


def materialization(asset_key: dg.AssetKey, state: ContextMonth) -> dg.AssetMaterialization:
    """The event that says what was recorded of a market in a month."""
    return history.materialization(
        asset_key,
        state,
        {
            "coverage %": round(100 * state.hours / state.due, 4) if state.due else 100.0,
            "hours due": state.due,
            "hours with a quote": state.hours,
        },
    )
