"""``hl health --alert``: speaks through the channels when Dagster cannot, with no database if need be."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from hl_pipeline.cli.alerts import channels_of
from hl_pipeline.health.report import Report
from hl_pipeline.health.verdict import Status
from hl_pipeline.model.clock import SystemClock
from hl_pipeline.model.failure import InvalidSetting, PipelineError
from hl_pipeline.notify import dead_man
from hl_pipeline.notify.channels import Channel, NotDelivered
from hl_pipeline.runtime import open_database
from hl_pipeline.settings import Settings
from hl_pipeline.storage import alert_delivery

#: What is needed to say that the other settings are wrong.
_LEAST = ("HL_ALERT_URLS", "HL_HOME", "HL_VENUE")


def speak(report: Report) -> bool:
    """Tells every channel that is due; false when one was due and none took it.

    Told is what nobody else can tell: that the health cannot be read, or that the rules are not judged any more.

    Raises:
        InvalidSetting: HL_ALERT_URLS is wrong.
    """
    settings = _settings()
    is_blind = report.status is Status.UNKNOWN
    trouble = [f"health cannot be read: {report.reason}"] if is_blind else _standstill(settings, report)
    path = settings.venue_home / "health-alert.json"
    now_ms = SystemClock().now_ms()
    watch = dead_man.recall(path).after(is_trouble=bool(trouble), now_ms=now_ms)
    channels = {channel.name: channel for channel in channels_of(settings)}
    watch, missed = _tell(channels, watch, trouble, now_ms)
    _remember(path, watch)
    return not missed or len(missed) < len(channels)


def _tell(
    channels: dict[str, Channel], watch: dead_man.Watch, trouble: Sequence[str], now_ms: int
) -> tuple[dead_man.Watch, list[str]]:
    """The watch after every channel that is due was told, and which did not take it."""
    missed = []
    for name, kind in watch.due(list(channels), now_ms).items():
        try:
            channels[name].send(dead_man.compose(kind, trouble, watch.since_ms, now_ms))
        except NotDelivered as failure:
            missed.append(name)
            click.echo(f"hl: {name} was not told: {failure}", err=True)
        else:
            watch = watch.told(name, kind, now_ms)
    return watch, missed


def _standstill(settings: Settings, report: Report) -> list[str]:
    """That the rules are not judged any more, with what is unhealthy meanwhile."""
    try:
        with open_database(settings, application_name="hl health") as database, database.connection() as connection:
            beaten_ms = alert_delivery.last_beat_ms(connection)
    except PipelineError as error:
        return [f"the database broke off: {error}"]
    stands = dead_man.standstill(beaten_ms, SystemClock(settings.clock_offset_ms).now_ms())
    if stands is None:
        return []
    return [stands, *(verdict.sentence for verdict in report.verdicts if verdict.status is Status.UNHEALTHY)]


def _settings() -> Settings:
    """All settings, or those without which nothing can be said when others are wrong."""
    try:
        return Settings.load()
    except InvalidSetting:
        return Settings.load({name: os.environ[name] for name in _LEAST if name in os.environ})


def _remember(path: Path, watch: dead_man.Watch) -> None:
    try:
        dead_man.remember(path, watch)
    except OSError as error:
        click.echo(f"hl: {path} cannot be written ({error.strerror}): the next look repeats this one", err=True)
