"""Numbers in, verdicts out: each one property, what was found, the bound, and what to do when it is broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hl_pipeline.health.machinery import (
    on_automation,
    on_daemon,
    on_delivery,
    on_disk,
    on_memory,
    on_runs,
    on_schema,
    on_trust,
)
from hl_pipeline.health.status import Status as Status
from hl_pipeline.health.status import Verdict as Verdict
from hl_pipeline.health.status import unknown, with_step, worst
from hl_pipeline.model.endpoint import LAG_MS, EndpointState, healthy, why_unhealthy
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.open_gap import DEADLINE_NEAR_MS, DEADLINE_URGENT_MS, recoverable, time_left
from hl_pipeline.model.vitals import IntervalVitals, StreamVitals, Vitals

API_SLOW_MS = 5_000.0
DATABASE_SLOW_MS = 250.0
DATABASE_DOWN_MS = 2_000.0
FAILED_SHARE = 0.05
FAILED_SHARE_UNHEALTHY = 0.50
#: 1m data is promised within five minutes while this many markets or fewer are tracked.
PROMISED_MARKETS = 50
PROMISED_AGE_S = 300.0
#: Above this share of the budget the limiter soon refuses.
BUDGET_TIGHT = 0.97
REFUSED_TOO_LONG_S = 120.0
#: Twice what a stalled socket and a new connection take.
STREAM_SILENT_MS = 60_000
#: Groups of numbers that no verdict of their own is made of.
_BESIDE = ("settle", "period", "standing")


def freshness_bound_s(interval: Interval, period_s: float, settle_s: float) -> float:
    """Oldest age of the newest closed candle that is still fresh (design section 6, Cadence)."""
    return interval.milliseconds / 1000 + period_s + settle_s + 60


def on_api(v: Vitals) -> Verdict:
    """The exchange answers, and quickly."""
    numbers = {"requests": v.fetches, "failed": v.fetches_failed,
               "p50_ms": v.fetch_p50_ms, "p99_ms": v.fetch_p99_ms}  # fmt: skip
    if not v.fetches:
        text = "no request was made in the last 15 minutes; start the collect schedule, or run `hl collect`"
        return Verdict("api_answers", Status.DEGRADED, text, numbers)
    share = v.fetches_failed / v.fetches
    slow = (v.fetch_p99_ms or 0.0) > API_SLOW_MS
    status = worst(
        Status.UNHEALTHY if share > FAILED_SHARE_UNHEALTHY else Status.DEGRADED if share > FAILED_SHARE else None,
        Status.DEGRADED if slow else None,
    )
    text = (
        f"{v.fetches_failed} of {v.fetches} requests failed in 15 minutes (bound {FAILED_SHARE:.0%}), "
        f"p50 {v.fetch_p50_ms or 0:.0f} ms, "
        f"p99 {v.fetch_p99_ms or 0:.0f} ms (bound {API_SLOW_MS:.0f})"
    )
    todo = "read the newest errors in hl.fetch; is the exchange down, or the way to it?"
    return Verdict("api_answers", status, with_step(text, todo, status), numbers)


def on_endpoints(states: Sequence[EndpointState]) -> Verdict:
    """Every way to the exchange is well: it answers, it is in time, and it says what the primary says."""
    why = {state.host: reason for state in states if (reason := why_unhealthy(state, states)) is not None}
    serving = len(healthy(states))
    clock_off_s = clock_off_ms(states) / 1000
    status = worst(
        Status.UNHEALTHY if states and not serving else None,
        Status.DEGRADED if why or 1000 * clock_off_s > LAG_MS else None,
    )
    text = f"{len(states) - len(why)} of {len(states)} endpoints are well" if states else "no endpoint was asked yet"
    text += "".join(f"; {host}: {reason}" for host, reason in why.items())
    if 1000 * clock_off_s > LAG_MS:
        text += f"; every endpoint's clock is {clock_off_s:.0f} s or more from ours (bound {LAG_MS // 1000})"
        todo = "set this machine's clock by NTP; if it is right, the exchange is late: its candles settle later"
    else:
        todo = "read last_error in hl.endpoint (asset endpoint_health); whoever is well takes the load meanwhile"
    numbers: dict[str, float | int | str | None] = {"endpoints": len(states), "serving": serving}
    return Verdict("endpoints_healthy", status, with_step(text, todo, status), numbers)


def clock_off_ms(states: Sequence[EndpointState]) -> int:
    """How far the nearest of all endpoints' clocks is from ours; beyond ``LAG_MS`` ours is wrong, or all are late."""
    return min((abs(state.lag_ms) for state in states if state.lag_ms is not None), default=0)


def on_stream(found: StreamVitals | None, now_ms: int, *, expected: bool) -> Verdict:
    """The live stream runs, its sockets stand and speak. Without it REST reads the live edge, so it is never worse."""
    name = "stream_alive"
    if not expected:
        return Verdict(name, Status.HEALTHY, "HL_STREAM is off: REST reads the live edge", {"sockets": 0})
    fault, numbers = _fault_of_stream(found, now_ms), _numbers_of_stream(found, now_ms)
    if fault is None and found is not None:
        text = (
            f"{found.connected} of {found.sockets} sockets stand, {found.series} markets, "
            f"{found.frames_last_minute:,} frames in the last minute, {found.reconnects} reconnects"
        )
        return Verdict(name, Status.HEALTHY, text, numbers)
    text = f"{fault}; meanwhile REST reads the live edge at its own pace"
    todo = "does `hl stream` run (`hl up` keeps it running)? Its log says why not; HL_STREAM=false does without"
    return Verdict(name, Status.DEGRADED, with_step(text, todo, Status.DEGRADED), numbers)


def _fault_of_stream(found: StreamVitals | None, now_ms: int) -> str | None:
    """What is wrong with the stream, if anything."""
    if found is None:
        return "no stream ever ran here"
    if found.stopped_ms is not None:
        return f"the stream was stopped {time_left(now_ms - found.stopped_ms)} ago"
    if now_ms - found.updated_ms > STREAM_SILENT_MS:
        return f"the stream's {found.holder} has said nothing for {time_left(now_ms - found.updated_ms)}"
    because = f" ({found.last_error})" if found.last_error else ""
    if found.connected < found.sockets or not found.sockets:
        return f"{found.connected} of {found.sockets} sockets stand{because}"
    if found.last_frame_ms is None or now_ms - found.last_frame_ms > STREAM_SILENT_MS:
        return f"a socket stands and brought no frame for over {STREAM_SILENT_MS // 1000} s{because}"
    return None


def _numbers_of_stream(found: StreamVitals | None, now_ms: int) -> dict[str, float | int | str | None]:
    if found is None:
        return {}
    last_ms = found.last_frame_ms
    return {
        "sockets": found.sockets,
        "connected": found.connected,
        "series": found.series,
        "last_frame_age_s": None if last_ms is None else (now_ms - last_ms) / 1000,
        "lag_ms": found.lag_ms,
        "reconnects": found.reconnects,
        "frames_per_minute": found.frames_last_minute,
        "queued": found.queued,
        "overflowed": found.overflowed,
        "rejected": found.rejected,
        "memory_mb": found.memory_bytes / 1e6,
    }


def on_database(v: Vitals) -> Verdict:
    """Postgres answers quickly."""
    status = worst(
        Status.UNHEALTHY if v.database_ms > DATABASE_DOWN_MS else None,
        Status.DEGRADED if v.database_ms > DATABASE_SLOW_MS else None,
    )
    text = (
        f"a round trip takes {v.database_ms:.0f} ms (bound {DATABASE_SLOW_MS:.0f}); "
        f"about {v.candles_estimated:,} candles are stored, {v.candles_recent:,} of them opened in the last two days"
    )
    todo = "look for long statements in pg_stat_activity, a full disk, or a machine that swaps"
    numbers = {"latency_ms": v.database_ms, "candles": v.candles_estimated, "candles_last_two_days": v.candles_recent}
    return Verdict("database_answers", status, with_step(text, todo, status), numbers)


def on_freshness(v: Vitals, found: IntervalVitals) -> Verdict:
    """The newest closed candle of every listed market is young enough. Twice the bound is unhealthy."""
    name = f"fresh_{found.interval}"
    bound = freshness_bound_s(found.interval, v.period_s, v.settle_s)
    if not found.series:
        return Verdict(name, Status.HEALTHY, "no listed market is tracked at this interval", {"bound_s": bound})
    promised = found.interval is Interval.M1 and v.markets <= PROMISED_MARKETS
    if promised:
        bound = min(bound, PROMISED_AGE_S)
    if found.newest_close_ms is None or found.without_candle:
        text = f"{found.without_candle} of {found.series} series have no closed candle. Next: run `hl collect`"
        return Verdict(name, Status.UNHEALTHY, text, {"without_candle": found.without_candle, "bound_s": bound})
    age = (v.now_ms - found.newest_close_ms) / 1000
    status = worst(
        Status.UNHEALTHY if age > 2 * bound else None,
        Status.DEGRADED if age > bound else None,
    )
    text = (
        f"the newest closed {found.interval} candle of {found.stalest} is {age:.0f} s old (bound {bound:.0f}), "
        f"the oldest of {found.series}"
    )
    todo = "see whether the collect schedule runs and what its last run says; `hl collect` catches up by hand"
    return Verdict(name, status, with_step(text, todo, status), {"age_s": age, "bound_s": bound, "coin": found.stalest})


def on_budget(v: Vitals) -> Verdict:
    """The weight budget has room and lets requests through."""
    if v.budget_max is None:
        return Verdict("budget_has_room", Status.HEALTHY, "no weight budget is set up yet: nothing was asked", {})
    waited = v.budget_refused_since_s or 0.0
    remaining = v.budget_max - v.budget_spent
    status = worst(
        Status.DEGRADED if waited > REFUSED_TOO_LONG_S or v.budget_spent > BUDGET_TIGHT * v.budget_max else None,
        Status.DEGRADED if v.fetches_limited else None,
    )
    text = (
        f"{v.budget_spent} of {v.budget_max} weight spent in the last minute, {remaining} left; refused for "
        f"{waited:.0f} s (bound {REFUSED_TOO_LONG_S:.0f}); 429 came {v.fetches_limited} times in five minutes (bound 0)"
    )
    todo = "let a back-fill finish or cancel it; on 429s lower HL_WEIGHT_PER_MINUTE: something else uses this address"
    numbers = {"spent": v.budget_spent, "remaining": remaining, "limited": v.fetches_limited, "refused_s": waited}
    return Verdict("budget_has_room", status, with_step(text, todo, status), numbers)


def on_coverage(v: Vitals) -> Verdict:
    """Every due slot is final, verified empty or still young. Overdue gaps and slots lost within a day are findings.

    What was lost earlier is counted, and no finding: nobody can do anything about it any more.
    """
    rows = v.intervals.values()
    due, final, empty = (sum(getattr(row, name) for row in rows) for name in ("due", "final", "empty"))
    lost, overdue, waiting = (sum(getattr(row, name) for row in rows) for name in ("lost", "overdue", "waiting"))
    status = worst(
        Status.UNHEALTHY if overdue > 0.10 * max(due, 1) else None,
        Status.DEGRADED if overdue or v.losing_series else None,
    )
    text = (
        f"of {due:,} due slots {final:,} are final, {empty:,} verified empty, {lost:,} lost (by {v.losing_series:,} "
        f"series within a day, bound 0), {overdue:,} past their next try (bound 0), {waiting:,} waiting for it"
    )
    todo = "run `hl collect`; lost slots are in hl.coverage, only an archive can bring them back"
    numbers = {
        "due": due,
        "final": final,
        "empty": empty,
        "lost": lost,
        "losing_series": v.losing_series,
        "overdue": overdue,
        "waiting": waiting,
    }
    return Verdict("coverage_complete", status, with_step(text, todo, status), numbers)


def on_deadlines(v: Vitals) -> Verdict:
    """No gap is about to be forgotten by the exchange. Under two hours is unhealthy."""
    name, notice = "gaps_before_deadline", time_left(DEADLINE_NEAR_MS)
    found = v.endangered
    left_ms = DEADLINE_NEAR_MS if found is None else found.deadline_ms - v.now_ms
    if found is None or left_ms >= DEADLINE_NEAR_MS:
        text = f"no gap will be forgotten by the exchange within {notice}"
        return Verdict(name, Status.HEALTHY, text, {"slots": 0})
    status = Status.UNHEALTHY if left_ms < DEADLINE_URGENT_MS else Status.DEGRADED
    text = (
        f"the exchange forgets {found.slots:,} slots of open gaps within {notice} (bound 0); the first, "
        f"of {found.coin} {found.interval}, is {recoverable(found.deadline_ms, v.now_ms)}"
    )
    todo = "run `hl collect` now, then `hl gaps`: it says of each why it is open"
    numbers: dict[str, float | int | str | None] = {
        "slots": found.slots,
        "seconds_left": left_ms / 1000,
        "coin": found.coin,
        "interval": str(found.interval),
    }
    return Verdict(name, status, with_step(text, todo, status), numbers)


def on_vanished(v: Vitals) -> Verdict:
    """No stored candle is missing from a later answer that covers its slot."""
    name = "no_vanished_rows"
    if not v.vanished:
        text = "every stored candle that the exchange was asked for again was there (bound: 0 vanished)"
        return Verdict(name, Status.HEALTHY, text, {"rows": 0})
    newest = v.vanished[0]
    text = (
        f"{len(v.vanished):,} stored candles are missing from later answers that hold rows on both sides (bound 0); "
        f"the newest: {newest.coin} {newest.interval} {_minute(newest.open_ms)} UTC, absent from {newest.times_absent} "
        f"answers since {_minute(newest.first_absent_ms)}, last from fetch {newest.fetch_id}"
    )
    todo = (
        "the candles are kept; read hl.vanished_row and compare with another source. An answer that holds the row "
        "again clears it; if the exchange took it back for good, set accepted_at there"
    )
    numbers: dict[str, float | int | str | None] = {
        "rows": len(v.vanished),
        "coin": newest.coin,
        "interval": str(newest.interval),
    }
    return Verdict(name, Status.DEGRADED, with_step(text, todo, Status.DEGRADED), numbers)


def on_contract(v: Vitals) -> Verdict:
    """Stored rows keep the candle contract: on the grid, ordered prices, trades where there is volume."""
    bad = v.rows_breaking_contract
    status = Status.UNHEALTHY if bad else Status.HEALTHY
    text = f"{bad} of {v.candles_recent:,} candles of the last two days break the contract (bound 0)"
    todo = "read them with the query of health_contract.sql and fetch their span again"
    return Verdict("rows_keep_contract", status, with_step(text, todo, status), {"bad": bad, "rows": v.candles_recent})


def on_dead_letters(v: Vitals) -> Verdict:
    """No window failed for good; one that did waits for a person."""
    name, found = "no_dead_letters", v.dead_letters
    if not found.letters:
        return Verdict(name, Status.HEALTHY, "no window of a series failed for good", {"letters": 0})
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.by_kind.items()))
    text = (
        f"{found.letters:,} dead letters (bound 0; {kinds}): {found.slots:,} slots got no usable answer and are not "
        f"asked for any more; the first died {time_left(v.now_ms - (found.died_ms or v.now_ms))} ago, "
        f"of {found.coin} {found.interval}"
    )
    todo = f"read `hl dlq list`; {found.next_step}"
    numbers: dict[str, float | int | str | None] = {
        "letters": found.letters,
        "slots": found.slots,
        "coin": found.coin,
        "interval": None if found.interval is None else str(found.interval),
    }
    return Verdict(name, Status.DEGRADED, with_step(text, todo, Status.DEGRADED), numbers)


def all_verdicts(v: Vitals) -> list[Verdict]:
    """Every verdict on what was measured, in the order a person asks; unknown where measuring failed."""
    if v.blind is not None:
        step = "read what it says; `hl db status` and the server's log say more"
        reason = v.blind.reason if "; " in v.blind.reason else f"{v.blind.reason}. Next: {step}"
        return [Verdict(v.blind.check, Status.UNHEALTHY, reason), *_on_machinery(v)]
    fresh = [on_freshness(v, row) for row in v.intervals.values()]
    return [
        _judged(v, "database_answers", "candles", on_database),
        *([] if v.migrations is None else [on_schema(v.migrations)]),
        _judged(v, "api_answers", "requests", on_api),
        _judged(v, "endpoints_healthy", "endpoints", lambda v: on_endpoints(v.endpoints)),
        _judged(v, "stream_alive", "stream", lambda v: on_stream(v.stream, v.now_ms, expected=v.expects_stream)),
        _judged(v, "budget_has_room", "budget", on_budget),
        *([unknown("data_fresh", v.unmeasured["coverage"])] if "coverage" in v.unmeasured else fresh),
        _judged(v, "coverage_complete", "coverage", on_coverage),
        _judged(v, "gaps_before_deadline", "deadlines", on_deadlines),
        _judged(v, "no_dead_letters", "dead_letters", on_dead_letters),
        _judged(v, "no_vanished_rows", "vanished", on_vanished),
        _judged(v, "rows_keep_contract", "contract", on_contract),
        *_on_machinery(v),
        *[unknown(f"{group}_known", reason) for group, reason in v.unmeasured.items() if group in _BESIDE],
    ]


def _on_machinery(v: Vitals) -> list[Verdict]:
    """What the pipeline runs on, as far as the caller had it measured."""
    found = []
    if v.trust is not None or "trust" in v.unmeasured:
        found.append(_judged(v, "data_trusted", "trust", on_trust))
    if v.delivery is not None or "delivery" in v.unmeasured:
        found.append(_judged(v, "alerts_delivered", "delivery", on_delivery))
    if v.dagster is not None or v.no_dagster is not None or "dagster" in v.unmeasured:
        found.append(_judged(v, "daemon_alive", "dagster", on_daemon))
        found.append(_judged(v, "runs_finish", "dagster", on_runs))
        found.append(_judged(v, "automation_on", "dagster", on_automation))
    if v.host is not None or "host" in v.unmeasured:
        found.append(_judged(v, "disk_has_room", "host", on_disk))
        found.append(_judged(v, "memory_bounded", "host", on_memory))
    return found


def _judged(v: Vitals, name: str, group: str, judge: Callable[[Vitals], Verdict]) -> Verdict:
    """The verdict, unless its numbers could not be measured."""
    reason = v.unmeasured.get(group)
    return judge(v) if reason is None else unknown(name, reason)


def _minute(at_ms: int) -> str:
    return f"{to_datetime(at_ms):%Y-%m-%d %H:%M}"
