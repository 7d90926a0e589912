"""Where notices go: the console, a file of JSON lines, and whatever Apprise reaches (webhook, Slack, e-mail, ...).

A channel's address is a secret: it is held here, and neither logged nor stored nor put into an error. People know a
channel by its name: the kind of sink, and eight digits of a hash of its address.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

from hl_pipeline.model.alert import Notice, NoticeKind, Severity
from hl_pipeline.model.failure import InvalidSetting, TryAgain
from hl_pipeline.model.redact import Redactor, hide, redact, secrets_of

#: A sink that does not take a notice in so long is down, in seconds.
PATIENCE_S = 15.0
_SEVERITIES = "|".join(Severity)
_ENTRY = re.compile(rf"(?:({_SEVERITIES})=)?([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)


class NotDelivered(TryAgain):
    """The sink did not take the notice. The text holds nothing of its address."""


class Sink(Protocol):
    """Takes a notice somewhere, or raises NotDelivered."""

    def __call__(self, notice: Notice) -> None:
        """Send; returns when the sink has taken it."""
        ...


@dataclass(frozen=True, slots=True)
class Channel:
    """``name`` is free of secrets; what is less grave than ``least`` is not sent here."""

    name: str
    least: Severity
    send: Sink = field(repr=False)

    def wants(self, severity: Severity) -> bool:
        """Whether something so grave goes here."""
        return severity.rank >= self.least.rank


def open_channels(entries: Sequence[str]) -> list[Channel]:
    """The channels that ``[severity=]scheme://address`` name, without repeats; the console alone when there is none.

    The least severity is warning where none is given. Nothing is connected.

    Raises:
        InvalidSetting: an entry is no such address, or none that Apprise knows; names its place, never the address.
    """
    hide(*entries)
    found = [_channel(entry, place) for place, entry in enumerate(entries, start=1)]
    return list({channel.name: channel for channel in found}.values()) or [console_channel()]


def console_channel(least: Severity = Severity.INFO) -> Channel:
    """Standard error."""
    return Channel("console", least, _to_console)


def as_document(notice: Notice) -> dict[str, str]:
    """The notice as JSON can say it."""
    return {
        "kind": str(notice.kind),
        "severity": str(notice.severity),
        "title": notice.title,
        "body": notice.body,
    }


def redacted(text: str, address: str) -> str:
    """``text`` without any part of ``address`` that could be a secret."""
    return redact(Redactor(secrets_of(address))(text))


def _channel(entry: str, place: int) -> Channel:
    match = _ENTRY.fullmatch(entry.strip())
    if match is None:
        raise InvalidSetting(
            f"HL_ALERT_URLS: entry {place} is no address: write [severity=]scheme://…, such as error=slack://A/B/C, "
            f"file:///var/log/alerts.jsonl or console://; severities are {_SEVERITIES.replace('|', ', ')}"
        )
    least, scheme, rest = Severity(match[1] or "warning"), match[2], match[3]
    address = f"{scheme}://{rest}"
    if scheme == "console":
        return console_channel(least)
    name = f"{scheme}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"
    if scheme == "file":
        if not rest.startswith("/"):
            raise InvalidSetting(f"HL_ALERT_URLS: entry {place} names no absolute path: file:///var/log/alerts.jsonl")
        return Channel(name, least, _to_file(Path(unquote(rest))))
    return Channel(name, least, _through_apprise(address, place))


def _to_console(notice: Notice) -> None:
    sys.stderr.write(f"{notice.title}\n{notice.body}\n")
    sys.stderr.flush()


def _to_file(path: Path) -> Sink:
    """Appends one JSON document a line, in one write, so that two processes do not mix their lines.

    A full disk may take half of one: it was not delivered, and whatever comes next begins a new line.
    """

    def send(notice: Notice) -> None:
        line = (json.dumps(as_document(notice), ensure_ascii=False) + "\n").encode()
        try:
            if _ends_within_a_line(path):
                line = b"\n" + line
            with path.open("ab", buffering=0) as file:
                written = file.write(line)
        except OSError as error:
            raise NotDelivered(f"the file cannot be written: {error.strerror}") from None
        if written != len(line):
            raise NotDelivered(f"the file took {written} of {len(line)} bytes: is the disk full?")

    return send


def _ends_within_a_line(path: Path) -> bool:
    """Of what is no regular file, or may only be written, nobody can tell: then it does not."""
    with contextlib.suppress(OSError):
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read(1) != b"\n"
    return False


def _through_apprise(address: str, place: int) -> Sink:
    """One Apprise object for this address alone, so that it is known which channel failed. It follows no redirect."""
    import apprise  # here, because it takes 0.6 s, and most processes send nothing

    _quieten()
    asset = apprise.AppriseAsset(
        app_id="hl_pipeline",
        app_desc="hl_pipeline",
        async_mode=False,
        http_redirects=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    sink = apprise.Apprise(asset=asset)
    joint = "&" if "?" in address else "?"
    if not sink.add(f"{address}{joint}redirect=no"):
        raise InvalidSetting(
            f"HL_ALERT_URLS: entry {place} is none that Apprise understands; its list of services has the forms"
        )
    kinds = {
        Severity.INFO: apprise.NotifyType.INFO,
        Severity.WARNING: apprise.NotifyType.WARNING,
        Severity.ERROR: apprise.NotifyType.FAILURE,
        Severity.CRITICAL: apprise.NotifyType.FAILURE,
    }

    def send(notice: Notice) -> None:
        kind = apprise.NotifyType.SUCCESS if notice.kind is NoticeKind.RESOLVED else kinds[notice.severity]
        outcome = sink.notify(body=notice.body, title=notice.title, notify_type=kind, timeout=PATIENCE_S)
        if not outcome:
            raise NotDelivered(redacted(_why(outcome), address)[:500])

    return send


def _why(outcome: Any) -> str:
    """What Apprise's own log says of the failure, and how it calls it."""
    said = [entry.message for service in outcome for attempt in service for entry in attempt]
    return f"{outcome.status.name}: {'; '.join(said) or 'no reason given'}"


def _quieten() -> None:
    """At DEBUG Apprise prints addresses, and so does what it sends with; urllib3 even in warnings."""
    logging.getLogger("apprise").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
