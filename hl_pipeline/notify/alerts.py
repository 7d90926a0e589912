"""The alerts we raise, in the words a person reads: what was found, and the next step."""

from __future__ import annotations

from hl_pipeline.model.alert import Alert, Severity, fingerprint

__all__ = ["Alert", "Severity", "failed_check", "failed_run", "fingerprint"]


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


def _short(text: str, longest: int = 500) -> str:
    """The text on one line, cut where it grows too long for a message."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
