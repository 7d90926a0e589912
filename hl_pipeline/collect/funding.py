"""Read funding rates forward, page by page, from where each market's history stands.

The exchange answers with the oldest rates of the asked span (hyperliquid.md
section 3), so a page is stored whole before the next is asked for, and the
newest stored time alone says where to go on. Killed anywhere, running again
ends in the same table. A market that fails never holds up the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hl_pipeline.model.answer import Receipt, RejectedRow
from hl_pipeline.model.clock import Clock
from hl_pipeline.model.failure import BudgetExhausted, DatabaseUnavailable, PipelineError
from hl_pipeline.model.funding import HOUR_MS, hours_between_reads, pages_an_hour
from hl_pipeline.model.halt import Halted
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.market import FundingProgress, FundingRate
from hl_pipeline.model.span import Span
from hl_pipeline.model.tariff import FUNDING_PAGE_ROWS
from hl_pipeline.storage import fetches, funding
from hl_pipeline.storage.engine import Database

#: Pages of history a run asks for at most: 45 weight each, so an hourly run spends under 8 % of the exchange's grant.
HISTORY_PAGES = 120
_PAGE_MS = FUNDING_PAGE_ROWS * Interval.H1.milliseconds


class FundingSource(Protocol):
    """Whatever can be asked for funding: the exchange, or a test's list of rates."""

    def funding_history(
        self, coin: str, start_ms: int, end_ms: int, *, lane: str = "live"
    ) -> tuple[list[FundingRate], list[RejectedRow], Receipt]:
        """The oldest page of rates in ``[start_ms, end_ms)``, or a TryAgain / NeedsAPerson error."""
        ...


@dataclass(slots=True)
class FundingReport:
    """What one refresh did. ``repeated`` rates were stored already; weight is what the exchange was asked to spend.

    ``unfinished`` are the coins whose history goes on where this run stopped for lack of pages or weight; ``put_off``
    markets may have a newer rate, but have their turn in another hour.
    """

    markets: int = 0
    landed: int = 0
    received: int = 0
    inserted: int = 0
    repeated: int = 0
    rejected: int = 0
    weight: int = 0
    put_off: int = 0
    unfinished: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)


def refresh_funding(
    source: FundingSource,
    database: Database,
    clock: Clock,
    *,
    coins: Collection[str],
    pages: int = HISTORY_PAGES,
    hourly_weight: int | None = None,
    until_ms: int | None = None,
    run_id: str | None = None,
    on_progress: Callable[[FundingReport], None] | None = None,
) -> FundingReport:
    """Bring the funding of every tracked perpetual or builder market among ``coins`` up to date.

    A page that reaches the present is asked for in the live lane; at most
    ``pages`` pages of older history in the back-fill lane, market by market in
    turn, those furthest behind first. A market whose newest hour is stored is
    not asked for. With ``hourly_weight``, which is what an hour may spend on the
    live lane's pages, each market has its turn once in ``hours_between_reads``
    only. With ``until_ms`` a market is read no further than the page
    that reaches it, all in the back-fill lane. ``on_progress`` is called after each page.

    Raises:
        DatabaseUnavailable: what was landed stays; run it again.
        ValueError: ``pages`` is negative.
    """
    if pages < 0:
        raise ValueError(f"pages = {pages}: a run asks for 0 or more pages of history")
    now_ms = clock.now_ms()
    with database.connection() as connection:
        known = funding.progress(connection, coins)
    reader = _Reader(source, database, clock, run_id, FundingReport(markets=len(known)), until_ms, on_progress)
    due = [market for market in known if _is_due(market, now_ms)]
    if until_ms is not None:
        due = [market for market in due if _start_of(market) < until_ms]
    elif hourly_weight is not None:
        chosen = _this_hours(due, known, now_ms, hourly_weight)
        reader.report.put_off, due = len(due) - len(chosen), chosen
    reader.run(due, now_ms, pages)
    return reader.report


def _this_hours(
    due: Sequence[FundingProgress], known: Sequence[FundingProgress], now_ms: int, hourly_weight: int
) -> list[FundingProgress]:
    """The markets to read on now: all with history to read, those whose turn it is, and some that missed their turn.

    Those are limited, the oldest first: a market that has no newer rate must not keep the others from their turn.
    """
    hours = hours_between_reads(sum(not market.ended for market in known), hourly_weight)
    this = now_ms // HOUR_MS % hours
    chosen, missed = [], []
    for market in due:
        if market.market_id % hours == this or not _reaches(_start_of(market), now_ms):
            chosen.append(market)
        elif now_ms - _start_of(market) >= hours * HOUR_MS:
            missed.append(market)
    turns = sum(_reaches(_start_of(market), now_ms) for market in chosen)
    return chosen + sorted(missed, key=_start_of)[: max(1, pages_an_hour(hourly_weight) - turns)]


def _is_due(market: FundingProgress, now_ms: int) -> bool:
    """Whether a rate may be there that is not stored. Flooring finds the newest hour only; no time is changed."""
    if market.newest_ms is None:
        return True
    if market.is_delisted:
        return not market.ended and market.newest_ms < now_ms
    return market.newest_ms < Interval.H1.floor(now_ms)


def _start_of(market: FundingProgress) -> int:
    return 0 if market.newest_ms is None else market.newest_ms + 1


def _reaches(start_ms: int, now_ms: int) -> bool:
    """Whether one page from ``start_ms`` ends at the present: fewer hours than a page has rows."""
    return now_ms - start_ms < _PAGE_MS


@dataclass(slots=True)
class _Reader:
    """One refresh under way."""

    source: FundingSource
    database: Database
    clock: Clock
    run_id: str | None
    report: FundingReport
    until_ms: int | None = None
    on_progress: Callable[[FundingReport], None] | None = None
    _out_of_weight: bool = False

    def run(self, due: Sequence[FundingProgress], now_ms: int, pages: int) -> None:
        """Read on until every market is done, the pages are used up, or the weight is."""
        ordered = sorted(due, key=lambda market: (not _reaches(_start_of(market), now_ms), _start_of(market)))
        queue = deque((market, _start_of(market)) for market in ordered)
        while queue:
            market, start_ms = queue.popleft()
            live = self.until_ms is None and _reaches(start_ms, now_ms)
            if self._out_of_weight or not (live or pages):
                self.report.unfinished.add(market.coin)
                continue
            pages -= not live
            following = self._page(market, start_ms, "live" if live else "backfill")
            if following is None or (self.until_ms is not None and following >= self.until_ms):
                continue
            if _reaches(following, now_ms):
                queue.appendleft((market, following))
            else:
                queue.append((market, following))

    def _page(self, market: FundingProgress, start_ms: int, lane: str) -> int | None:
        """Ask for one page and store it; where the next one starts, null when there is none."""
        asked_ms = self.clock.now_ms()
        span = Span(start_ms, max(asked_ms, start_ms) + 1)
        with self.database.autocommit() as connection:
            fetch_id = fetches.asked(
                connection, "fundingHistory", asked_ms, coin=market.coin, span=span, lane=lane, run_id=self.run_id
            )
        try:
            rates, rejected, receipt = self.source.funding_history(market.coin, span.start_ms, span.end_ms, lane=lane)
        except DatabaseUnavailable:
            raise
        except Halted as halted:
            with self.database.autocommit() as connection:
                fetches.failed(connection, fetch_id, halted)
            raise
        except PipelineError as error:
            self._failed(market, fetch_id, error)
            return None
        kept, refused = _judge(rates, rejected, span)
        with self.database.connection() as connection:
            inserted = funding.insert(connection, market.market_id, kept, fetch_id=fetch_id)
            if not kept and not refused:
                funding.end(connection, market.market_id, asked_ms)
            fetches.landed(connection, fetch_id, receipt, rows=len(kept), rejected=refused)
        self._count(kept, refused, inserted, receipt)
        if self.on_progress is not None:
            self.on_progress(self.report)
        full = len(rates) + len(rejected) >= FUNDING_PAGE_ROWS
        if full and not kept:
            self.report.failures.append(
                f"{market.coin}: none of {len(refused)} rates from {start_ms} on can be used, so where the next page "
                f"starts is unknown; read hl.rejected_row of fetch {fetch_id}"
            )
        return kept[-1].time_ms + 1 if full and kept else None

    def _failed(self, market: FundingProgress, fetch_id: int, error: PipelineError) -> None:
        """Keep the failure where people see it; the next run asks again from the same place."""
        with self.database.autocommit() as connection:
            fetches.failed(connection, fetch_id, error)
        if isinstance(error, BudgetExhausted):  # nothing was sent, and nothing would be for the others
            self._out_of_weight = True
            self.report.unfinished.add(market.coin)
        else:
            self.report.failures.append(f"{market.coin}: {error}")

    def _count(
        self, kept: Sequence[FundingRate], refused: Sequence[RejectedRow], inserted: int, receipt: Receipt
    ) -> None:
        report = self.report
        report.landed += 1
        report.received += len(kept) + len(refused)
        report.inserted += inserted
        report.repeated += len(kept) - inserted
        report.rejected += len(refused)
        report.weight += receipt.weight


def _judge(
    rates: Sequence[FundingRate], rejected: Sequence[RejectedRow], span: Span
) -> tuple[list[FundingRate], list[RejectedRow]]:
    """Rates inside the asked span, ascending, one an instant; the others join those that were refused.

    One far ahead would count as read history, and hide everything before it. Where a refused rate stood in the
    answer is not known any more, so it is numbered behind all others.
    """
    kept: dict[int, FundingRate] = {}
    refused = list(rejected)
    place = max([len(rates), *(row.position + 1 for row in rejected)])
    for rate in sorted(rates, key=lambda rate: (rate.time_ms, rate.rate, rate.premium or "")):
        if not span.start_ms <= rate.time_ms < span.end_ms:
            rule = f"time lies in the asked [{span.start_ms}, {span.end_ms})"
        elif rate.time_ms in kept:
            rule = f"an instant has one rate, here {kept[rate.time_ms].rate}"
        else:
            kept[rate.time_ms] = rate
            continue
        refused.append(RejectedRow(place, rule, f"{rate.time_ms}: {rate.rate}", repr(tuple(rate))))
        place += 1
    return list(kept.values()), refused
