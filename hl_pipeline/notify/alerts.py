"""The alerts we raise, in the words a person reads: what was found, and the next step."""

from __future__ import annotations

from hl_pipeline.model.alert import Alert, Severity, fingerprint
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.span import SpanSet

__all__ = ["Alert", "Severity", "failed_check", "failed_run", "fingerprint", "slots_lost"]


def failed_run(job: str, run_id: str, error: str) -> Alert:
    """A run of ``job`` failed; runs of the same job are one incident."""
    return Alert(
        rule="run_failed",
        severity=Severity.ERROR,
        summary=f"run {run_id[:8]} of {job} failed: {_short(error)}",
        next_step=f"open run {run_id} in the UI, read the first error, and re-execute it from failure",
        labels={"job": job},
    )


def failed_check(asset: str, check: str, found: str, next_step: str, severity: Severity = Severity.WARNING) -> Alert:
    """An asset check did not pass; the same check of the same asset is one incident."""
    return Alert(
        rule="check_failed",
        severity=severity,
        summary=f"{asset}: {check}: {_short(found)}",
        next_step=next_step,
        labels={"asset": asset, "check": check},
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
            "run `hl gaps` for what can still be had; what is lost only comes back from an archive"
        ),
        labels={"coin": key.coin, "interval": str(key.interval)},
    )


def _short(text: str, longest: int = 500) -> str:
    """The text on one line, cut where it grows too long for a message."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
