"""E-mail through a real mail server on loopback: what arrives, what a refusal is, what is sent once it is back."""

from __future__ import annotations

import logging
from email.message import EmailMessage

import pytest

from hl_pipeline.collect.alerting import tell
from hl_pipeline.model.alert import Notice, NoticeKind, Severity
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.notify.alerts import market_stale
from hl_pipeline.notify.channels import NotDelivered, open_channels
from hl_pipeline.storage.alerts import raise_alert
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.notify.postbox import receiving_mail

CANARY = "canary7secret7token"
NOTICE = Notice(
    NoticeKind.FIRING,
    Severity.ERROR,
    "[ERROR] hl_pipeline: stale, 500 alerts",
    "- BTC is 400 s late: <bound> 190 & so\nNext: look",
)
NOW = 1_768_046_420_000
MINUTE = 60_000


def entry(port: int) -> str:
    return f"error=mailto://ops:{CANARY}@127.0.0.1:{port}?mode=insecure&from=hl@example.com&to=anna@example.com,bob@example.com"


def text_of(letter: EmailMessage) -> str:
    body = letter.get_body(preferencelist=("plain", "html"))
    assert body is not None
    return str(body.get_content())


def test_a_letter_carries_title_and_body_to_everybody_named() -> None:
    with receiving_mail() as box:
        (channel,) = open_channels([entry(box.port)])
        channel.send(NOTICE)
    assert [letter["Subject"] for letter in box.letters] == [NOTICE.title] * len(box.letters)
    assert sorted(name for envelope in box.envelopes for name in envelope) == ["anna@example.com", "bob@example.com"]
    assert all("hl@example.com" in letter["From"] for letter in box.letters)
    assert all("BTC is 400 s late" in text_of(letter) and "Next: look" in text_of(letter) for letter in box.letters)
    assert set(box.logins) == {("ops", CANARY)}
    assert not channel.wants(Severity.WARNING)


@pytest.mark.parametrize("refusal", [b"550 no such user", b"451 try later"])
def test_a_refusal_is_a_failure_without_the_password(
    refusal: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with receiving_mail() as box:
        box.refusal = refusal
        (channel,) = open_channels([entry(box.port)])
        with pytest.raises(NotDelivered) as refused:
            channel.send(NOTICE)
    with pytest.raises(NotDelivered) as unreachable:
        channel.send(NOTICE)
    out, err = capfd.readouterr()
    assert box.refused >= 1
    assert not box.letters
    assert CANARY not in " ".join([str(refused.value), str(unreachable.value), channel.name, caplog.text, out, err])


def test_a_mail_server_that_comes_back_gets_what_it_missed_once(database: Database) -> None:
    clock = ManualClock(NOW)
    with receiving_mail() as box:
        port = box.port
    channels = open_channels([entry(port)])
    with database.connection() as connection:
        for number in range(500):
            raise_alert(connection, market_stale(f"M{number}", "1m", 400.0, 190.0, Severity.ERROR), NOW)
    clock.advance(3 * MINUTE)
    assert tell(database, channels, clock).failed == 1
    clock.advance(MINUTE)
    with receiving_mail(port) as box:
        assert tell(database, channels, clock).sent == 1
        assert tell(database, channels, clock).sent == 0
    assert {letter["Subject"] for letter in box.letters} == {"[ERROR] hl_pipeline: stale, 500 alerts"}
    assert sorted(name for envelope in box.envelopes for name in envelope) == ["anna@example.com", "bob@example.com"]
    with database.connection() as connection:
        assert CANARY not in repr(connection.execute("table hl.alert_delivery").fetchall())
