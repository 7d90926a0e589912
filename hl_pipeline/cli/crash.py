"""What of a command's end is reported where HL_SENTRY_DSN says so: crashes, and whatever ends a service."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.model.halt import Halted

#: What is needed to report that the other settings are wrong.
_LEAST = ("HL_SENTRY_DSN", "HL_VENUE")
#: Ends that are no failure: what was asked for, and mistakes on the command line.
_NO_FAILURE = (Halted, click.ClickException, click.exceptions.Exit, click.Abort)


def report_crash(error: BaseException) -> None:
    """Report an exception that nobody expected; does nothing, and imports nothing, without HL_SENTRY_DSN."""
    if not os.environ.get("HL_SENTRY_DSN", "").strip():
        return
    from hl_pipeline.runtime import open_error_reports
    from hl_pipeline.settings import Settings

    try:
        settings = Settings.load()
    except InvalidSetting:
        try:
            settings = Settings.load({name: os.environ[name] for name in _LEAST if name in os.environ})
        except InvalidSetting:  # the address itself is wrong, and `hl config check` says so
            return
    reports = open_error_reports(settings)
    if reports is not None:
        reports.report(error, where=_command())


@contextmanager
def reported() -> Iterator[None]:
    """For what runs unattended: our own errors are reported, too, for nobody reads the line they leave."""
    try:
        yield
    except _NO_FAILURE:
        raise
    except Exception as error:
        report_crash(error)
        raise


def _command() -> str:
    """``hl`` and the command's name, without its arguments."""
    named = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1].isalpha() else ""
    return f"hl {named}".strip()
