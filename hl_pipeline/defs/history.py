"""What the partitioned histories share: market x month, and a month is recorded only when it is whole.

Dagster would record every chosen month of a run that ends well, so a history's
step yields no output of its own and records its months here, one event each.
"""

# no postponed annotations here: Dagster refuses a context whose type is a string
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import dagster as dg

from hl_pipeline.defs.assets.markets import MARKETS_VERSION, markets
from hl_pipeline.defs.describe import HISTORY, KINDS, OWNERS, answers, columns
from hl_pipeline.defs.partitions import by_market_and_month, market_and_month, month_span
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.span import Span

#: How the data version of a month begins that is over and whole.
SEALED = "sealed"
#: The one tag that Dagster gives back for all partitions at once.
DATA_VERSION = "dagster/data_version"
CODE_VERSION = "1"
#: Digits of the content hash that are shown; the data version carries them all.
SHOWN_DIGITS = 16
_AGAIN = "materialize this partition again: a run asks for no more than is missing"

Metadata = Mapping[str, dg.MetadataValue | int | float | str | bool]


class MarketMonth(Protocol):
    """One market's month; ``month_ms`` is its first instant, UTC."""

    @property
    def coin(self) -> str: ...  # noqa: D102
    @property
    def month_ms(self) -> int: ...  # noqa: D102


class HistoryMonth(MarketMonth, Protocol):
    """One market's month of a history. ``gap`` counts what is due, can still be had, and is not there."""

    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def gap(self) -> int: ...  # noqa: D102
    @property
    def is_whole(self) -> bool: ...  # noqa: D102
    @property
    def is_sealed(self) -> bool: ...  # noqa: D102
    @property
    def content_hash(self) -> str | None: ...  # noqa: D102
    @property
    def story(self) -> str: ...  # noqa: D102


class Chosen:
    """The market's months that a run is for. ``coins`` and ``months`` span the rectangle around them."""

    def __init__(self, context: dg.AssetExecutionContext) -> None:
        self.keys: Mapping[tuple[str, int], str] = {
            (coin, month_span(month).start_ms): key
            for key in context.partition_keys
            for coin, month in [market_and_month(key)]
        }
        self.coins = sorted({coin for coin, _ in self.keys})
        self.months: Sequence[Span] = sorted({month_span(market_and_month(key)[1]) for key in context.partition_keys})


def history_asset(
    *,
    name: str,
    description: str,
    table: str,
    described: Mapping[str, tuple[str, ...]],
    body: Callable[..., Iterator[Any]],
) -> dg.AssetsDefinition:
    """A partitioned asset of the history, one run for a whole range of one market."""
    with warnings.catch_warnings():
        # beta since 1.5 and the only way to one run for a whole range
        warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)
        return dg.asset(
            name=name,
            description=description,
            deps=[markets],
            group_name=HISTORY,
            owners=OWNERS,
            kinds=KINDS,
            code_version=CODE_VERSION,
            tags={"hl/lane": "backfill"},
            # dagster.yaml lets two runs of the pool go at once, so that live collection always finds a free place
            pool="backfill",
            metadata={"dagster/column_schema": columns(described), "dagster/table_name": table},
            partitions_def=by_market_and_month,
            backfill_policy=dg.BackfillPolicy.single_run(),
            output_required=False,
        )(body)


def partition_key(state: MarketMonth) -> dg.MultiPartitionKey:
    """Dagster's key of the market and month."""
    month = to_datetime(state.month_ms).strftime("%Y-%m-%d")
    return dg.MultiPartitionKey({"market": state.coin, "month": month})


def data_version(state: HistoryMonth) -> str:
    """Equal for equal content; begins with ``sealed`` once the month is over and whole."""
    return f"{SEALED if state.is_sealed else 'open'}-{state.content_hash or 'empty'}"


def materialization(asset_key: dg.AssetKey, state: HistoryMonth, metadata: Metadata) -> dg.AssetMaterialization:
    """The event that says a market's month is whole, with what it holds."""
    return dg.AssetMaterialization(
        asset_key=asset_key,
        partition=partition_key(state),
        description=state.story,
        tags={
            DATA_VERSION: data_version(state),
            "dagster/code_version": CODE_VERSION,
            # both, or the UI calls the month out of date: a runless event names its inputs itself
            "dagster/input_data_version/markets": MARKETS_VERSION,
            "dagster/input_event_pointer/markets": "NULL",
        },
        metadata={
            **answers(
                fresh="the month is over; only a revision changes it"
                if state.is_sealed
                else "as of this record: the month is under way, the job seal records it again each night",
                whole=f"yes, of what can be had: {state.story}",
                step="nothing",
            ),
            "dagster/partition_row_count": state.rows,
            "sealed": state.is_sealed,
            **metadata,
            "content hash": (state.content_hash or "no rows")[:SHOWN_DIGITS],
        },
    )


def leave_open(context: dg.AssetExecutionContext, key: str, story: str, step: str = "") -> None:
    """Say of a month that is not recorded why not, and what helps, in the run's log and on the partition's page.

    Without a ``step`` nothing helps: what is missing cannot be had.
    """
    is_gap = bool(step)
    (context.log.warning if is_gap else context.log.info)("%s is not materialized: %s", key, story)
    context.log_event(
        dg.AssetObservation(
            asset_key=context.asset_key,
            partition=key,
            description=story,
            metadata={
                **answers(whole=f"no: {story}", step=step or "nothing: no run can help"),
                "materialized": "no, it has holes" if is_gap else "no, nothing can be had",
                "why": story,
            },
        )
    )


_Month = TypeVar("_Month", bound=HistoryMonth)


def record_months(
    context: dg.AssetExecutionContext,
    chosen: Chosen,
    found: Sequence[_Month],
    event: Callable[[dg.AssetKey, _Month], dg.AssetMaterialization],
    spoken_of: Collection[str] = (),
) -> list[_Month]:
    """Materialize each chosen month that is whole, and say of the others why not; returns those with holes.

    ``event`` makes the materialization; of the keys in ``spoken_of`` the run has said already why they cannot be had.
    """
    by_place = {(state.coin, state.month_ms): state for state in found}
    for place, key in chosen.keys.items():
        state = by_place.get(place)
        if state is None:
            story = "the exchange has no such market, or it has nothing of this kind"
            leave_open(context, key, story, "is it the exchange's name of it (case counts)? See the asset markets")
        elif state.is_whole:
            context.log_event(event(context.asset_key, state))
        elif key not in spoken_of:
            leave_open(context, key, state.story, _AGAIN if state.gap else "")
    return [state for place, state in by_place.items() if place in chosen.keys and state.gap]


def with_holes(holes: Sequence[HistoryMonth], why: str, then: str) -> str:
    """The sentence a run fails with when months have holes: which, the first cause, the next step."""
    shown = "; ".join(f"{partition_key(state)}: {state.story}" for state in holes[:10])
    more = f" and {len(holes) - 10} more" if len(holes) > 10 else ""
    return f"{len(holes)} of the chosen months have holes: {shown}{more}.{why} All others are recorded. {then}"
