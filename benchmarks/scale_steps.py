"""What a live tick, a check or a chart asks of the database, one function a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hl_pipeline.collect.land import land_answer
from hl_pipeline.derived.confidence import score
from hl_pipeline.health.report import report
from hl_pipeline.model.answer import CandleAnswer, CandleRequest, Receipt
from hl_pipeline.model.candle import Candle, SeriesKey
from hl_pipeline.model.interval import MINUTE_MS, Interval, to_datetime, to_ms
from hl_pipeline.model.ledger import ProofPolicy
from hl_pipeline.model.plan import EDGE_SLOTS, plan
from hl_pipeline.model.span import Span
from hl_pipeline.storage import (
    candles,
    confidence,
    coverage,
    fetches,
    gaps,
    health,
    latest_metrics,
    leases,
    partitions,
    series,
)
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.leases import Lease

#: So long after the edge the steps run: the next minute has closed and settled.
AFTER_EDGE_MS = MINUTE_MS + 20_000
PERIOD_S = 60.0
RECEIPT = Receipt("benchmark", 200, 80.0, 21, b"x" * 32)
LEASE = Lease("benchmark", "live")


@dataclass(slots=True)
class Steps:
    """The steps over one database, for ``coins``, at the market time ``edge_ms`` + ``AFTER_EDGE_MS``."""

    database: Database
    coins: list[str]
    edge_ms: int
    policy: ProofPolicy = field(default_factory=ProofPolicy)
    answers: list[tuple[int, int, CandleAnswer]] = field(default_factory=list)

    @property
    def now_ms(self) -> int:
        """Market time, ms UTC."""
        return self.edge_ms + AFTER_EDGE_MS

    def all(self) -> Mapping[str, Callable[[], None]]:
        """Every step by its name, in the order of the table."""
        return {
            "plan the live edge": self.plan_live_edge,
            "open gaps": self.open_gaps,
            "coverage by interval": self.coverage_by_interval,
            "a month's partitions, 1h": self.month_of_hours,
            "a month's partitions, 15m": self.month_of_quarters,
            "score confidence": self.score_confidence,
            "refresh latest metrics": self.refresh_metrics,
            "land a tick of one series": self.land_tick,
            "health report": self.report_health,
            "check the ledger, 4 days": self.check_ledger,
        }

    def plan_live_edge(self) -> None:
        """Load every tracked series and plan its requests."""
        with self.database.connection() as connection:
            states = series.load(connection)
        assert plan(states, self.now_ms, self.policy)

    def open_gaps(self) -> None:
        """List every open gap."""
        with self.database.connection() as connection:
            assert gaps.open_gaps(
                connection, self.now_ms, settle_ms=self.policy.settle_ms, period_ms=round(PERIOD_S * 1000)
            )

    def coverage_by_interval(self) -> None:
        """How complete each interval is."""
        with self.database.connection() as connection:
            found = coverage.by_interval(connection, self.now_ms, self.policy.settle_ms)
        assert [row.series for row in found] == [len(self.coins)] * len(Interval)

    def month_of_hours(self) -> None:
        """Content and coverage of the current month, 1h."""
        self._month(Interval.H1)

    def month_of_quarters(self) -> None:
        """Content and coverage of the current month, 15m; those of 1m are as many times fifteen rows."""
        self._month(Interval.M15)

    def score_confidence(self) -> None:
        """Gather, score and keep, as the asset does."""
        with self.database.connection() as connection:
            inputs = confidence.gather(connection, self.now_ms, PERIOD_S, self.policy.settle_ms)
            assert len(inputs) == len(self.coins) * len(Interval)
            confidence.store(connection, self.now_ms, [score(one) for one in inputs])

    def refresh_metrics(self) -> None:
        """Refresh the view as after a tick."""
        with self.database.connection() as connection:
            assert latest_metrics.refresh(connection).rows >= len(self.coins)

    def land_tick(self) -> None:
        """One prepared 1m answer at the live edge, from drawing its provenance row to the commit."""
        series_id, asked_ms, answer = self.answers.pop(0)
        with self.database.autocommit() as connection:
            fetch_id = fetches.asked(connection, "candleSnapshot", asked_ms, request=answer.request)
        with self.database.connection() as connection:
            leases.hold(connection, LEASE, series_id, answer.request.span)
            landing = land_answer(connection, series_id, fetch_id, answer, asked_ms, self.policy)
        assert landing.change.final

    def report_health(self) -> None:
        """Every number of the health report, and the verdicts."""
        with self.database.connection() as connection:
            vitals = health.gather(connection, self.now_ms, PERIOD_S, self.policy.settle_ms / 1000)
        assert report(vitals).verdicts

    def check_ledger(self) -> None:
        """Hold the ledger of the last days against the candles, as the hourly check does."""
        with self.database.connection() as connection:
            assert series.violations(connection, self.now_ms - 4 * 24 * 60 * MINUTE_MS) == []

    def _month(self, interval: Interval) -> None:
        month = to_datetime(self.edge_ms).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        with self.database.connection() as connection:
            found = partitions.states(
                connection,
                interval,
                coins=self.coins,
                month_starts_ms=[to_ms(month)],
                now_ms=self.now_ms,
                settle_ms=self.policy.settle_ms,
            )
        assert len(found) == len(self.coins)
        assert all(state.rows for state in found)

    def prepare_landings(self, count: int) -> None:
        """Make the answers of the next ``count`` ticks, a minute apart: stored slots, the one that closed, the open."""
        key, step = SeriesKey(self.coins[0], Interval.M1), MINUTE_MS
        with self.database.connection() as connection:
            (state,) = series.load(connection, coins=[key.coin], intervals=[key.interval])
            known = candles.newest(connection, key, self.edge_ms, EDGE_SLOTS)
            leases.claim(connection, LEASE, [(state.series_id, Span(known[0].open_ms, self.edge_ms + count * step))])
        news = [Candle(self.edge_ms + number * step, *known[-1][1:]) for number in range(count + 1)]
        for tick in range(1, count + 1):
            asked_ms = self.now_ms + (tick - 1) * step
            end_ms = self.edge_ms + (tick + 1) * step
            request = CandleRequest(key, end_ms - EDGE_SLOTS * step, end_ms)
            rows = [row for row in known + news if request.start_ms <= row.open_ms < end_ms]
            answer = CandleAnswer(request, rows, [], 0, RECEIPT)
            self.answers.append((state.series_id, asked_ms, answer))
