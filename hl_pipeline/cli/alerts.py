"""``hl alerts``: what is open, who was told, and what people do about it."""

from __future__ import annotations

import getpass
import re
import time
from contextlib import AbstractContextManager
from typing import Any

import click

from hl_pipeline.cli.screen import age, console, print_json, table
from hl_pipeline.collect.alerting import evaluate, tell
from hl_pipeline.examine import PATIENT_S
from hl_pipeline.model.alert import AlertRule, Notice, NoticeKind, Severity
from hl_pipeline.model.failure import TryAgain
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.notify.channels import Channel, NotDelivered, open_channels
from hl_pipeline.runtime import Pipeline, open_pipeline
from hl_pipeline.settings import Settings
from hl_pipeline.storage import alert_delivery
from hl_pipeline.storage.alert_delivery import ListedAlert
from hl_pipeline.storage.health import Meter, gather

_DAY_MS = 86_400_000
_UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": _DAY_MS}
_LONGEST_MS = 3650 * _UNITS["d"]
_SEVERITY = click.Choice([str(severity) for severity in Severity])


class Span(click.ParamType):
    """A duration: 90s, 30m, 2h, 1d; as milliseconds."""

    name = "30m|2h|1d"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """``2h`` as 7,200,000."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", value)
        if match is None:
            self.fail(f"{value!r} is no duration; write 30m, 2h or 1d", param, ctx)
        span_ms = int(match[1]) * _UNITS[match[2]]
        if span_ms > _LONGEST_MS:
            self.fail(f"{value!r} is longer than ten years (3650d); write a shorter one", param, ctx)
        return span_ms


@click.group()
def alerts() -> None:
    """What is wrong, who was told, and what you do about it.

    Alerts of one rule (and one job, endpoint or check) are one incident: one
    notice when it begins, again on the rule's schedule, one when it is over.
    Where notices go stands in HL_ALERT_URLS.
    """


@alerts.command(name="list")
@click.option("--all", "show_all", is_flag=True, help="Those, too, that were resolved within 24 hours.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document; times in ms UTC.")
def list_(show_all: bool, as_json: bool) -> None:
    """The open alerts, the gravest first; silences; and how each channel fared. Always exit 0."""
    with _opened() as pipeline, pipeline.database.connection() as connection:
        now_ms = pipeline.clock.now_ms()
        found = alert_delivery.listed(connection, now_ms, resolved_within_ms=_DAY_MS if show_all else 0)
        silences = alert_delivery.silences(connection, now_ms)
        records = alert_delivery.rates(connection, now_ms)
        beat_ms = alert_delivery.last_beat_ms(connection)
    if as_json:
        document = {
            "now_ms": now_ms,
            "judged_ms": beat_ms,
            "alerts": [alert._asdict() for alert in found],
            "silences": [silence._asdict() for silence in silences],
            "channels": [record._asdict() for record in records],
        }
        print_json(document)
        return
    screen = console()
    if found:
        columns = [("id", "right"), ("severity", "left"), ("since", "right"), ("what", "left"), ("stands", "left")]
        screen.print(table(columns, [_row(alert, now_ms) for alert in found]))
    else:
        screen.print("No alert is open.")
    for silence in silences:
        what = f"{silence.rule or 'any rule'} {silence.labels or ''}".strip()
        screen.print(
            f"Silence {silence.number}: {what} until {to_datetime(silence.until_ms):%Y-%m-%d %H:%M} UTC, "
            f"by {silence.made_by}: {silence.reason}",
            markup=False,
        )
    for record in records:
        rate = "" if record.success_rate is None else f", {record.success_rate:.0%} of {record.attempts} attempts"
        error = f"; last error: {record.last_error}" if record.last_error else ""
        screen.print(
            f"{record.channel}: {record.sent} of {record.notices} notices sent in 24 h{rate}{error}", markup=False
        )
    judged = "never" if beat_ms is None else f"{age(now_ms - beat_ms)} ago"
    screen.print(f"The rules were last judged {judged}.")


@alerts.command()
@click.argument("number", metavar="ID", type=click.IntRange(min=1))
@click.option("--by", default=None, help="Who looks after it; you, by default.")
def ack(number: int, by: str | None) -> None:
    """Say that you look after an alert: its incident is not repeated until it is over."""
    with _opened() as pipeline, pipeline.database.connection() as connection:
        count = alert_delivery.acknowledge(connection, number, by or getpass.getuser(), pipeline.clock.now_ms())
    if not count:
        raise click.UsageError(f"alert {number} is not open, or was acknowledged; `hl alerts list` has the numbers")
    click.echo(f"Acknowledged: {count:,} alerts of this incident. It is told again when it is over, or gets worse.")


@alerts.command()
@click.argument("rule", required=False)
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Only alerts with this label.")
@click.option("--for", "span_ms", type=Span(), default="2h", show_default=True, help="How long.")
@click.option("--reason", default="", help="Why; others read it in `hl alerts list`.")
@click.option("--by", default=None, help="Who; you, by default.")
@click.option("--end", type=click.IntRange(min=1), help="End the silence with this number instead.")
def silence(
    rule: str | None, labels: tuple[str, ...], span_ms: int, reason: str, by: str | None, end: int | None
) -> None:
    """Have alerts of a RULE, or with a label, not told for a while.

    What is still open at the end of the silence is told then.
    """
    chosen = dict(_label(text) for text in labels)
    with _opened() as pipeline, pipeline.database.connection() as connection:
        now_ms = pipeline.clock.now_ms()
        if end is not None:
            if not alert_delivery.end_silence(connection, end, now_ms):
                raise click.UsageError(f"no silence {end} is in force; `hl alerts list` has the numbers")
            click.echo(f"Silence {end} is over.")
            return
        if rule is None and not chosen:
            raise click.UsageError("name a rule, or a label with --label; to silence everything, empty HL_ALERT_URLS")
        if rule is not None:
            _known(alert_delivery.rules(connection), rule)
        number = alert_delivery.silence(
            connection, rule=rule, labels=chosen, now_ms=now_ms, until_ms=now_ms + span_ms,
            by=by or getpass.getuser(), reason=reason or "none given",
        )  # fmt: skip
    click.echo(f"Silence {number}, until {to_datetime(now_ms + span_ms):%Y-%m-%d %H:%M} UTC.")


@alerts.command()
def send() -> None:
    """Judge the rules and send what is due, once, without Dagster. Exit 1 when a channel did not take its notice."""
    with _opened() as pipeline:
        with pipeline.database.connection() as connection:
            settle_s = pipeline.policy.proof.settle_ms / 1000
            vitals = gather(
                connection, pipeline.clock.now_ms(), pipeline.period_ms / 1000, settle_s,
                expects_stream=pipeline.settings.stream, meter=Meter(connection, time.monotonic() + PATIENT_S),
            )  # fmt: skip
            found = evaluate(connection, vitals)
        told = tell(pipeline.database, channels_of(pipeline.settings), pipeline.clock)
        with pipeline.database.connection() as connection:
            alert_delivery.beat(connection, vitals.now_ms)
    click.echo(f"{found} findings, {told.notices} notices made, {told.sent} sent, {told.failed} not taken.")
    if told.failed:
        raise TryAgain("a channel did not take its notice; `hl alerts list` says which and why, and it is sent again")


@alerts.command()
def test() -> None:
    """Send a test notice to every channel. Needs no database. Exit 1 when one did not take it."""
    notice = Notice(
        NoticeKind.FIRING,
        Severity.INFO,
        "[TEST] hl_pipeline: alerts reach you here",
        "Nothing is wrong. Next: nothing.",
    )
    failed = 0
    for channel in channels_of(Settings.load()):
        try:
            channel.send(notice)
        except NotDelivered as error:
            failed += 1
            click.echo(f"{channel.name}: not taken: {error}", err=True)
        else:
            click.echo(f"{channel.name}: taken; hears {channel.least} and graver.")
    if failed:
        raise TryAgain(f"{failed} channels did not take the notice: put their entries in HL_ALERT_URLS right")


@alerts.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def rules(as_json: bool) -> None:
    """Every rule with its bound; `hl alerts rule NAME` changes one."""
    with _opened() as pipeline, pipeline.database.connection() as connection:
        found = alert_delivery.rules(connection)
    if as_json:
        print_json([_rule_document(rule) for rule in found.values()])
        return
    columns = [
        ("rule", "left"), ("severity", "left"), ("bound", "right"), ("repeats", "right"), ("tells when", "left"),
    ]  # fmt: skip
    rows = [
        (
            rule.name,
            "off" if not rule.enabled else rule.severity or "as raised",
            "-" if rule.threshold is None else f"{rule.threshold:g}",
            age(rule.repeat_ms),
            rule.meaning,
        )
        for rule in found.values()
    ]
    console().print(table(columns, rows))


@alerts.command()
@click.argument("name")
@click.option("--on/--off", "enabled", default=None, help="Judge and tell it, or not.")
@click.option("--severity", type=_SEVERITY)
@click.option("--threshold", type=float, help="The bound, in the unit that `hl alerts rules` names.")
@click.option("--repeat", "repeat_ms", type=Span(), help="How often it is told while it lasts.")
@click.option("--coin", help="Set the threshold for this market only (price_move, funding_extreme).")
def rule(
    name: str,
    enabled: bool | None,
    severity: str | None,
    threshold: float | None,
    repeat_ms: int | None,
    coin: str | None,
) -> None:
    """Change the rule NAME; the next judgement uses it."""
    if threshold is not None and not threshold >= 0:
        raise click.UsageError(f"--threshold {threshold}: must be 0 or more")
    if coin is not None and (threshold is None or name not in {"price_move", "funding_extreme"}):
        raise click.UsageError("--coin goes with --threshold, and with price_move or funding_extreme")
    with _opened() as pipeline, pipeline.database.connection() as connection:
        _known(alert_delivery.rules(connection), name)
        if coin is not None and threshold is not None:
            alert_delivery.change_market_bound(connection, name, coin, threshold)
            threshold = None
        grave = None if severity is None else Severity(severity)
        alert_delivery.change_rule(
            connection, name, enabled=enabled, severity=grave, threshold=threshold, repeat_ms=repeat_ms
        )
        print_json(_rule_document(alert_delivery.rules(connection)[name]))


def channels_of(settings: Settings) -> list[Channel]:
    """The channels of HL_ALERT_URLS."""
    return open_channels([url.get_secret_value() for url in settings.alert_urls])


def _opened() -> AbstractContextManager[Pipeline]:
    return open_pipeline(Settings.load(), only_looks=True)


def _known(rules: dict[str, AlertRule], name: str) -> None:
    if name not in rules:
        raise click.UsageError(f"there is no rule {name!r}; `hl alerts rules` lists them")


def _label(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (sign and name and value):
        raise click.UsageError(f"--label {text!r}: write NAME=VALUE, such as coin=BTC")
    return name, value


def _row(alert: ListedAlert, now_ms: int) -> tuple[object, ...]:
    return (
        alert.number,
        alert.severity,
        age(now_ms - alert.first_seen_ms),
        f"{alert.rule}: {alert.summary}. Next: {alert.next_step}",
        _standing(alert, now_ms),
    )


def _standing(alert: ListedAlert, now_ms: int) -> str:
    if alert.resolved_ms is not None:
        return f"over since {age(now_ms - alert.resolved_ms)}"
    if alert.acknowledged_by is not None:
        return f"looked after by {alert.acknowledged_by}"
    if alert.muted is not None:
        return f"not told: {alert.muted}"
    return "not told yet" if alert.told_ms is None else f"told {age(now_ms - alert.told_ms)} ago"


def _rule_document(rule: AlertRule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "enabled": rule.enabled,
        "severity": rule.severity,
        "threshold": rule.threshold,
        "by_market": dict(rule.by_market),
        "wait_ms": rule.wait_ms,
        "repeat_ms": rule.repeat_ms,
        "group_by": list(rule.group_by),
        "inhibited_by": list(rule.inhibited_by),
        "meaning": rule.meaning,
    }
