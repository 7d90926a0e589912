"""The newest numbers of every market, in one fast view."""

# no postponed annotations here: Dagster refuses a context whose type is a string
import dagster as dg

from hl_pipeline.defs.assets.confidence import confidence_scores
from hl_pipeline.defs.assets.markets import market_contexts
from hl_pipeline.defs.describe import KINDS, NOT_NULL, OWNERS, TRUST, answers, columns, said_plainly, table
from hl_pipeline.runtime import Pipeline
from hl_pipeline.storage import latest_metrics as view
from hl_pipeline.storage.latest_metrics import LatestMetric, Refresh

METRIC_COLUMNS = {
    "coin": ("text", "the exchange's name of the market", NOT_NULL),
    "metric": (
        "text",
        "last, mark, oracle, mid, funding, open interest, 24 h change and volume, volatility ...",
        NOT_NULL,
    ),
    "value": ("numeric", "in the unit beside it", NOT_NULL),
    "unit": ("text", "quote currency, coins, a fraction, ms since 1970", NOT_NULL),
    "as_of": ("timestamptz", "market time of this very number, UTC", NOT_NULL),
    "source": ("text", "the interval it was computed from, or context", NOT_NULL),
    "confidence": ("real", "the score of the series behind it; null where there is none", "0 to 1"),
    "grade": ("text", "excellent, good, fair or poor"),
}
SHOWN = 60
#: The share of metrics that must stand at 0.75 or better.
TARGET = 0.95


@dg.asset(
    deps=[confidence_scores, market_contexts],
    group_name=TRUST,
    owners=OWNERS,
    kinds=KINDS,
    code_version="1",
    tags={"hl/lane": "live"},
    metadata={
        "dagster/column_schema": columns(METRIC_COLUMNS, "one row a coin and metric"),
        "dagster/table_name": "hl.latest",
    },
)
def latest_metrics(context: dg.AssetExecutionContext, pipeline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
    """The newest numbers of every tracked market, each with its own time and confidence (`hl.latest`).

    One row a market and metric, refreshed after every tick without locking readers out. Target: at least 95 % of
    the metrics with confidence 0.75 or better (*high confidence %*). When that falls, `confidence_scores` names the
    series to blame.
    """
    with said_plainly(), pipeline.database.connection() as connection:
        done = view.refresh(connection)
        metrics = view.read(connection)
    if not done.refreshed:
        context.log.info("another session is refreshing the view; these are the rows it had before")
    return dg.MaterializeResult(
        metadata={
            **_answered(done, metrics, pipeline.clock.now_ms()),
            "dagster/row_count": done.rows,
            "refresh took (ms)": round(done.took_ms, 1),
            "high confidence %": round(100 * (done.high_confidence_rate or 0.0), 2),
            "newest numbers": table([_shown(metric) for metric in metrics[:SHOWN]]),
        }
    )


def _answered(done: Refresh, metrics: list[LatestMetric], now_ms: int) -> dict[str, str]:
    """How old the newest number is, and whether enough of them can be trusted."""
    if not metrics:
        return answers(whole="no: no market is tracked yet", step="run the job collect")
    rate, age_s = done.high_confidence_rate or 0.0, (now_ms - max(metric.as_of_ms for metric in metrics)) // 1000
    enough = rate >= TARGET
    return answers(
        fresh=f"the newest of these numbers is {age_s} s old; each has its own time",
        whole=f"{'yes' if enough else 'no'}: {rate:.0%} of {done.rows} metrics stand at 0.75 or better "
        f"(wanted: {TARGET:.0%}), of {len({metric.coin for metric in metrics})} markets",
        step="nothing" if enough else "open confidence_scores: it names the series to blame, and why",
    )


def _shown(metric: LatestMetric) -> dict[str, str | float]:
    return {
        "market": metric.coin,
        "metric": metric.metric,
        "value": f"{float(metric.value):,.8g}",
        "unit": metric.unit,
        "from": metric.source,
        "confidence": "-" if metric.confidence is None else round(metric.confidence, 2),
    }
