"""The alerts we raise, in the words a person reads: what was found, and the next step."""

from __future__ import annotations

from collections.abc import Sequence

from hl_pipeline.model.alert import Alert, Severity, fingerprint
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.dead_letter import DeadLetter
from hl_pipeline.model.endpoint import Difference
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.redact import redact
from hl_pipeline.model.span import SpanSet

__all__ = [
    "Alert",
    "Severity",
    "endpoints_disagree",
    "failed_check",
    "failed_run",
    "fingerprint",
    "funding_extreme",
    "market_delisted",
    "market_doubted",
    "market_listed",
    "market_stale",
    "markets_absent",
    "price_moved",
    "slots_lost",
    "window_died",
]

#: Lost is for good, so no later reading can end a loss; it is over when a day went by without another.
LOSS_QUIET_MS = 86_400_000
#: Compared every ten minutes; a disagreement unseen for so long belongs to an endpoint that is asked no more.
DISAGREEMENT_QUIET_MS = 86_400_000


def failed_run(job: str, run_id: str, error: str) -> Alert:
    """A run of ``job`` failed; runs of the same job are one incident."""
    return Alert(
        rule="run_failed",
        severity=Severity.ERROR,
        summary=f"run {run_id[:8]} of {job} failed: {_short(error)}",
        next_step=f"open run {run_id} in the UI, read the first error, and re-execute it from failure",
        labels={"job": job},
    )


def failed_check(
    asset: str,
    check: str,
    found: str,
    next_step: str,
    severity: Severity = Severity.WARNING,
    partition: str | None = None,
) -> Alert:
    """An asset check did not pass; the same check of the same asset is one incident, whatever the ``partition``."""
    place = {} if partition is None else {"partition": partition}
    return Alert(
        rule="check_failed",
        severity=severity,
        summary=f"{' '.join([asset, *place.values()])}: {check}: {_short(found)}",
        next_step=next_step,
        labels={"asset": asset, "check": check, **place},
    )


def slots_lost(key: SeriesKey, lost: SpanSet, in_all: int) -> Alert:
    """Slots of a series went past their deadline; later losses of the same series are the same incident.

    ``lost`` is what was lost just now, not empty; ``in_all`` counts every lost slot of the series.
    """
    slots = lost.slots(key.interval.milliseconds)
    first, last = to_datetime(lost.spans[0].start_ms), to_datetime(lost.spans[-1].end_ms)
    scattered = f", in {len(lost.spans):,} pieces" if len(lost.spans) > 1 else ""
    return Alert(
        rule="slots_lost",
        severity=Severity.ERROR,
        summary=(
            f"{key.coin} {key.interval}: {slots:,} slots lost between {first:%Y-%m-%d %H:%M} and "
            f"{last:%Y-%m-%d %H:%M} UTC{scattered}: the exchange forgot them before they were read; "
            f"{in_all:,} lost of this series in all"
        ),
        next_step=(
            "see in hl.fetch and in the runs of live_candles why nobody collected until then; "
            "run `hl gaps` for what can still be had; what is lost only comes back from an archive. "
            "This ends by itself after 24 h without another loss"
        ),
        labels={"coin": key.coin, "interval": str(key.interval)},
    )


def market_listed(coin: str) -> Alert:
    """The exchange has listed a market, and we collect it from now on."""
    return Alert(
        rule="market_listed",
        severity=Severity.INFO,
        summary=f"{coin} is new on the exchange and is collected from now on; its first candles are awaited",
        next_step="nothing: this ends with its first candles; to leave it out set HL_UNIVERSE=list",
        labels={"coin": coin},
    )


def market_delisted(coin: str) -> Alert:
    """The exchange has delisted a market that we collect."""
    return Alert(
        rule="market_delisted",
        severity=Severity.INFO,
        summary=f"{coin} is delisted: its series end with their last candle, what is stored stays",
        next_step="nothing: this ends with its series, two hours later at the earliest; was it renamed? see "
        "hl.market_history, and name the new coin in HL_MARKETS if you want it",
        labels={"coin": coin},
    )


def markets_absent(coins: Sequence[str]) -> Alert:
    """Markets that we collect are missing from the exchange's list of markets, without being delisted."""
    shown = ", ".join(coins[:20]) + (f" and {len(coins) - 20} more" if len(coins) > 20 else "")
    return Alert(
        rule="markets_absent",
        severity=Severity.WARNING,
        summary=f"the exchange does not name {len(coins)} collected markets any more, nor calls them delisted: {shown}",
        next_step="see is_absent, renamed_to and delisted in hl.market_history; nothing was ended or merged: they are "
        "asked for on, those the universe brought in for three days, and those in HL_MARKETS until you take them out",
    )


def window_died(letter: DeadLetter) -> Alert:
    """A window of a series failed for good; others of that series and kind are the same incident."""
    slots = letter.waiting or letter.slots
    first, last = to_datetime(slots.spans[0].start_ms), to_datetime(slots.spans[-1].end_ms)
    return Alert(
        rule="dead_letter",
        severity=Severity.ERROR,
        summary=_short(
            f"{letter.key.coin} {letter.key.interval}: {letter.count(slots):,} slots between {first:%Y-%m-%d %H:%M} "
            f"and {last:%Y-%m-%d %H:%M} UTC are a dead letter after {letter.attempts} failures ({letter.kind}): "
            f"{letter.error}"
        ),
        next_step=f"see `hl dlq show {letter.number}`; {letter.next_step}",
        labels={"coin": letter.key.coin, "interval": str(letter.key.interval), "kind": str(letter.kind)},
    )


def endpoints_disagree(primary: str, other: str, key: SeriesKey, found: Sequence[Difference]) -> Alert:
    """Two endpoints say different things of closed candles; later ones of the same endpoint are the same incident."""
    newest = f", the newest of {to_datetime(found[-1].open_ms):%Y-%m-%d %H:%M} UTC" if found else ""
    return Alert(
        rule="endpoints_disagree",
        severity=Severity.WARNING,
        summary=f"{other} says other things than {primary} of {len(found)} closed {key.coin} {key.interval} candles"
        f"{newest}; {primary} counts",
        next_step="read both values in hl.endpoint_disagreement; it gets no load while another endpoint is well, and "
        "this ends when they agree again; if it lasts, take it out of HL_ENDPOINTS",
        labels={"endpoint": other},
    )


def market_stale(coin: str, interval: str, age_s: float, bound_s: float, severity: Severity) -> Alert:
    """A market's candles are late; one alert a market, whatever the interval."""
    return Alert(
        rule="stale",
        severity=severity,
        summary=f"{coin}: the newest closed {interval} candle is {age_s:,.0f} s old (bound {bound_s:,.0f})",
        next_step="does the collect schedule run, and what does its last run say? `hl collect` catches up by hand",
        labels={"coin": coin},
    )


def market_doubted(coin: str, interval: str, score: float, weakest: str, bound: float, severity: Severity) -> Alert:
    """A market's candles can hardly be trusted; one alert a market, of its worst interval."""
    return Alert(
        rule="confidence",
        severity=severity,
        summary=f"{coin} {interval}: confidence {score:.0%} (bound {bound:.0%}), weakest: {weakest}",
        next_step="`hl confidence` says since when and why; `hl gaps` what is missing",
        labels={"coin": coin},
    )


def price_moved(coin: str, moved: float, price: float, before: float, bound: float, severity: Severity) -> Alert:
    """A market's mark price moved far within an hour; ``moved`` and ``bound`` are shares."""
    return Alert(
        rule="price_move",
        severity=severity,
        summary=f"{coin} moved {moved:+.1%} within an hour, from {before:g} to {price:g} (bound {bound:.1%})",
        next_step=f"nothing, if it is true; `hl alerts rule price_move --coin {coin} --threshold X` sets another bound",
        labels={"coin": coin},
    )


def funding_extreme(coin: str, rate: float, bound: float, severity: Severity) -> Alert:
    """A market's hourly funding rate is far from zero."""
    return Alert(
        rule="funding_extreme",
        severity=severity,
        summary=f"{coin}: the funding rate is {rate:+.4%} an hour (bound {bound:.4%})",
        next_step=f"nothing, if so; `hl alerts rule funding_extreme --coin {coin} --threshold X` sets another bound",
        labels={"coin": coin},
    )


def _short(text: str, longest: int = 500) -> str:
    """The text on one line, cut where it grows too long for a message."""
    line = " ".join(redact(text).split())  # a secret that is cut would not be known any more
    return line if len(line) <= longest else line[: longest - 1] + "…"
