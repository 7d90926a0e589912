"""The front door of ``hl``: names every command and loads the one that is asked for."""

from __future__ import annotations

import os

import click

from hl_pipeline.cli.lazy import Lazy, LazyGroup
from hl_pipeline.model.redact import hide_variables
from hl_pipeline.notify.last_words import guard_process

_HERE = "hl_pipeline.cli"


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    lazy={
        "demo": Lazy(f"{_HERE}.demo.command", "demo", "See it work: a local exchange misbehaves, the pipeline heals."),
        "up": Lazy(f"{_HERE}.up", "up", "Run everything: Postgres, schedules and the Dagster UI."),
        "start": Lazy(
            f"{_HERE}.automation", "start", "Turn schedules and sensors on, all or by name; --list shows them."
        ),
        "stop": Lazy(f"{_HERE}.automation", "stop", "Turn schedules and sensors off, all or by name; they stay off."),
        "doctor": Lazy(f"{_HERE}.doctor.command", "doctor", "What a new machine or a broken installation gets wrong."),
        "status": Lazy(f"{_HERE}.status", "status", "What is stored, how old it is, what is missing."),
        "gaps": Lazy(f"{_HERE}.gaps", "gaps", "Every open gap, and for how long it can be recovered."),
        "confidence": Lazy(f"{_HERE}.confidence", "confidence", "How far each series can be trusted, and since when."),
        "dlq": Lazy(f"{_HERE}.dlq", "dlq", "Windows that failed for good: look at them, ask again."),
        "collect": Lazy(f"{_HERE}.collect", "collect", "Fill every slot that is due, once, without Dagster."),
        "stream": Lazy(
            f"{_HERE}.stream", "stream", "Follow the live stream: a candle is readable a second after it closed."
        ),
        "backfill": Lazy(f"{_HERE}.backfill", "backfill", "Complete past months; says first what it costs."),
        "stats": Lazy(f"{_HERE}.stats", "stats", "What came of the last 24 hours: points, requests, gaps, uptime."),
        "retention": Lazy(
            f"{_HERE}.retention", "retention", "What is older than its bound; export and drop it, or load it again."
        ),
        "verify": Lazy(f"{_HERE}.verify", "verify", "Prove the coverage ledger against the stored candles."),
        "drill": Lazy(f"{_HERE}.drill", "drill", "Rehearse the loss of an endpoint, where nothing can be lost."),
        "health": Lazy(f"{_HERE}.health", "health", "Is the pipeline well? Exit 0, 1 or 2."),
        "report": Lazy(f"{_HERE}.report", "report", "Write the status report: one HTML page to show or print."),
        "alerts": Lazy(f"{_HERE}.alerts", "alerts", "What is wrong and who was told; ack, silence, bounds, test."),
        "migrate": Lazy(f"{_HERE}.database", "migrate", "Bring the database to this version's schema."),
        "db": Lazy(f"{_HERE}.database", "db", "Start and stop the embedded Postgres, or print its URL."),
        "config": Lazy(f"{_HERE}.settings_", "config", "Look at the settings, and judge them."),
        "env": Lazy(f"{_HERE}.settings_", "env", "Shell exports with which plain `dagster dev` works."),
        "sandbox": Lazy(f"{_HERE}.sandbox", "sandbox", "Run a local Hyperliquid with switchable faults."),
    },
)
def hl() -> None:
    """Hyperliquid market data in Postgres, proven slot by slot.

    Settings come from HL_* variables; `hl config check` lists them.
    Exit codes: 0 done, 1 try again, 2 a person must act.
    """


def main() -> None:
    """The console script. Whatever it dies of, it says so without secrets, and reports it where it was asked to."""
    hide_variables(os.environ)
    guard_process(_crashed)
    hl(prog_name="hl")


def _crashed(error: BaseException) -> None:
    from hl_pipeline.cli.crash import report_crash

    report_crash(error)


if __name__ == "__main__":
    main()
