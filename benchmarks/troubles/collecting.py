"""What goes wrong between the exchange and the table: nobody collects, gaps stay, requests and jobs fail for good."""

from __future__ import annotations

from collections.abc import Generator

from benchmarks.troubles.drill import Trouble
from benchmarks.troubles.stage import Stage
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.sandbox.faults import Fault, FaultKind

THEME = "collecting"
COVERAGE, DEADLINES = "live_candles/coverage_complete", "live_candles/gaps_before_deadline"
HOUR_MS = 60 * MINUTE_MS


def nobody_collects(stage: Stage) -> Generator[None]:
    """The schedule is off, for longer than a day."""
    stage.jobs, stage.drains = ["health"], False
    yield
    assert stage.hl("collect").code == 0
    stage.jobs, stage.drains = ["collect"], True


def _off_for(stage: Stage, milliseconds: int) -> None:
    """The machine is off; then it collects again, but the sensor that drains gaps stays off."""
    stage.clock.advance(milliseconds)
    stage.drains = False


def gaps_stay(stage: Stage) -> Generator[None]:
    """Six hours without power; afterwards only the live edge is asked for."""
    _off_for(stage, 6 * HOUR_MS)
    yield
    assert stage.run("drain_gaps").success


def deadline_near(stage: Stage) -> Generator[None]:
    """Three days and an hour without power: the oldest minutes are forgotten in ten hours."""
    _off_for(stage, 73 * HOUR_MS)
    yield
    assert stage.run("drain_gaps").success


def slots_lost(stage: Stage) -> Generator[None]:
    """Four days without power: twelve hours of minutes are past their deadline."""
    stage.clock.advance(96 * HOUR_MS)
    yield
    for _ in range(25):
        stage.clock.advance(HOUR_MS)
        if _ % 3 == 0:
            assert stage.run("collect").success


def answers_unreadable(stage: Stage) -> Generator[None]:
    """Whoever asks for minutes of ETH gets a web page."""
    stage.exchange.faults.add(Fault(FaultKind.HTML, coin="ETH", interval="1m", request="candleSnapshot"))
    yield
    stage.exchange.faults.clear()
    retried = stage.hl("dlq", "retry")
    assert retried.code == 0, retried.err


def job_fails(stage: Stage) -> Generator[None]:
    """Funding rates cannot be stored: somebody took the column away that they go to."""
    stage.jobs = ["collect", "refresh_funding", "health"]
    stage.sabotage(b"alter table hl.funding_rate rename column premium to premium_gone")
    yield
    stage.sabotage(b"alter table hl.funding_rate rename column premium_gone to premium")


def funding_behind(stage: Stage) -> Generator[None]:
    """Funding rates of SOL alone cannot be read, for hours."""
    stage.jobs = ["collect", "refresh_funding"]
    stage.exchange.faults.add(Fault(FaultKind.SERVER_ERROR, coin="SOL", request="fundingHistory"))
    yield
    stage.exchange.faults.clear()
    assert stage.run("refresh_funding").success


def table_missing(stage: Stage) -> Generator[None]:
    """Somebody renamed hl.system_health_log: the health job cannot write, and its checks are not judged."""
    stage.jobs = ["collect", "health"]
    stage.sabotage(b"alter table hl.system_health_log rename to system_health_log_gone")
    yield
    stage.sabotage(b"alter table hl.system_health_log_gone rename to system_health_log")


TROUBLES = (
    Trouble(
        "nobody collects", "the schedule is off for 30 hours", THEME, nobody_collects,
        rules=("throughput",),
        checks=tuple(f"live_candles/fresh_{interval}" for interval in ("1m", "5m", "15m", "1h", "4h", "1d")),
        health=("fresh_1m", "fresh_1d"), exit_code=1, seek=(16, 6, 1800, 1), calm=(1, 2, 5, 5),
        healing="`hl collect`, and the schedule is turned on", says="nobody collects",
    ),
    Trouble(
        "gaps stay open", "six hours without power, and the sensor drain_open_gaps is off", THEME, gaps_stay,
        rules=("coverage",), checks=(COVERAGE,), health=("coverage_complete",),
        healing="the job drain_gaps",
    ),
    Trouble(
        "gaps near their deadline", "73 hours without power, and the sensor drain_open_gaps is off", THEME,
        deadline_near,
        rules=("gap_deadline",), checks=(DEADLINES,), health=("gaps_before_deadline",),
        healing="the job drain_gaps",
    ),
    Trouble(
        "slots are lost", "four days without power: twelve hours of minutes are past their deadline", THEME, slots_lost,
        rules=("slots_lost",), checks=(COVERAGE,), health=("coverage_complete",),
        healing="by itself, when a day went by without another loss",
    ),
    Trouble(
        "a window dies", "every answer for ETH's minutes is a web page", THEME, answers_unreadable,
        rules=("dead_letter",), checks=("live_candles/no_dead_letters",), health=("no_dead_letters",), exit_code=1,
        seek=(1, 1, 2, 3, 5, 5, 5, 5), healing="`hl dlq retry`, once the exchange answers again",
    ),
    Trouble(
        "a job fails", "a column of hl.funding_rate was renamed: refresh_funding cannot store", THEME, job_fails,
        rules=("run_failed",), checks=("system_health/runs_finish",), health=("runs_finish",),
        seek=(60, 1), calm=(60, 1), healing="the column gets its name back; over with the next run",
    ),
    Trouble(
        "funding falls behind", "funding rates of SOL cannot be read for hours", THEME, funding_behind,
        rules=("check_failed",), checks=("funding_rates/funding_is_fresh",), seek=(60, 60, 60, 5), calm=(5, 5),
        healing="the job refresh_funding, once the exchange answers again", says="SOL",
    ),
    Trouble(
        "a check cannot look", "hl.system_health_log was renamed: the health job cannot write", THEME, table_missing,
        rules=("run_failed",), says="system_health_log", healing="the table gets its name back",
    ),
)  # fmt: skip
