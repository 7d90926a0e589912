"""Real sinks on loopback; and an address that must never show."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from hl_pipeline.model.alert import Notice, NoticeKind, Severity
from hl_pipeline.model.failure import InvalidSetting
from hl_pipeline.notify.channels import NotDelivered, open_channels, redacted
from hl_pipeline_tests.notify.receiver import receiving

NOTICE = Notice(NoticeKind.FIRING, Severity.ERROR, "[ERROR] stale", "- BTC is late")
CANARY = "canary7secret7token"


def test_a_webhook_gets_title_and_body() -> None:
    with receiving() as sink:
        (channel,) = open_channels([f"json://{sink.address}/{CANARY}"])
        channel.send(NOTICE)
    (post,) = sink.posts
    assert (post["title"], post["message"], post["type"]) == ("[ERROR] stale", "- BTC is late", "failure")
    assert sink.paths[0].strip("/") == CANARY


def test_slack_gets_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as sink:
        monkeypatch.setattr("apprise.plugins.slack.NotifySlack.webhook_url", f"http://{sink.address}/services")
        (channel,) = open_channels(["critical=slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7"])
        channel.send(NOTICE)
    assert "BTC is late" in json.dumps(sink.posts)
    assert sink.paths == ["/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7"]
    assert not channel.wants(Severity.ERROR)


def test_a_file_gets_a_line_a_notice(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    (channel,) = open_channels([f"info=file://{path}"])
    channel.send(NOTICE)
    channel.send(NOTICE)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["body"] for line in lines] == ["- BTC is late"] * 2
    assert lines[0]["severity"] == "error"


def test_the_console_is_used_when_nothing_is_set(capsys: pytest.CaptureFixture[str]) -> None:
    (channel,) = open_channels([])
    channel.send(NOTICE)
    assert capsys.readouterr().err == "[ERROR] stale\n- BTC is late\n"


@pytest.mark.parametrize("wish", ["", "?redirect=yes"])
@pytest.mark.parametrize("status", [500, 404, 403, 301, 302, 303, 307, 308])
def test_a_refusal_is_a_failure_and_a_redirect_is_not_followed(status: int, wish: str) -> None:
    with receiving() as other, receiving() as sink:
        sink.status, sink.location = status, f"http://{other.address}/elsewhere"
        (channel,) = open_channels([f"json://{sink.address}/{CANARY}{wish}"])
        with pytest.raises(NotDelivered):
            channel.send(NOTICE)
    assert sink.refused == 1
    assert not other.arrived.is_set()


@pytest.mark.parametrize("status", [302, 307])
def test_slack_redirected_tells_nobody_else(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    with receiving() as other, receiving() as sink:
        sink.status, sink.location = status, f"http://{other.address}/elsewhere"
        monkeypatch.setattr("apprise.plugins.slack.NotifySlack.webhook_url", f"http://{sink.address}/services")
        (channel,) = open_channels(["slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7"])
        with pytest.raises(NotDelivered):
            channel.send(NOTICE)
    assert not other.arrived.is_set()


def test_a_file_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    (channel,) = open_channels([f"file://{tmp_path}/{CANARY}/alerts.jsonl"])
    with pytest.raises(NotDelivered) as raised:
        channel.send(NOTICE)
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize(
    "address", ["json://ops:{canary}@{sink}/x", "json://{sink}/{canary}/y", "json://{sink}/z?+X-Key={canary}"]
)
def test_no_part_of_an_address_shows_in_errors_names_or_logs(
    address: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with receiving() as sink:
        sink.status = 500
        entry = address.format(canary=CANARY, sink=sink.address)
        (channel,) = open_channels([entry])
        with pytest.raises(NotDelivered) as refused:
            channel.send(NOTICE)
    (gone,) = open_channels([entry])
    with pytest.raises(NotDelivered) as unreachable:
        gone.send(NOTICE)
    out, err = capfd.readouterr()
    said = [str(refused.value), str(unreachable.value), channel.name, repr(channel), caplog.text, out, err]
    assert CANARY not in " ".join(said)
    assert "500" in str(refused.value)


def test_encoded_secrets_are_redacted_too() -> None:
    address = "json://ops:p%40ssword1@127.0.0.1:1/hook/AbCdEfGh12"
    text = f"POST http://ops:p@ssword1@127.0.0.1:1/hook/AbCdEfGh12 refused: {address}"
    assert "ssword1" not in redacted(text, address)
    assert "AbCdEfGh12" not in redacted(text, address)
    assert "127.0.0.1:1" in redacted(text, address)


@pytest.mark.parametrize("entry", ["nonsense", f"loud=json://h/{CANARY}", f"nosuch://{CANARY}", f"file://{CANARY}"])
def test_a_wrong_entry_is_refused_by_its_place(entry: str) -> None:
    with pytest.raises(InvalidSetting, match="entry 2") as raised:
        open_channels(["console://", entry])
    assert CANARY not in str(raised.value)


def test_one_address_twice_is_one_channel() -> None:
    assert len(open_channels(["json://h/a", "json://h/a"])) == 1


FILLING = """
import resource, signal, sys
from hl_pipeline.model.alert import Notice, NoticeKind, Severity
from hl_pipeline.notify.channels import NotDelivered, open_channels
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
(channel,) = open_channels([f"file://{sys.argv[1]}"])
notice = Notice(NoticeKind.FIRING, Severity.ERROR, "[ERROR] disk", "- it is full")
resource.setrlimit(resource.RLIMIT_FSIZE, (30, resource.RLIM_INFINITY))
try:
    channel.send(notice)
except NotDelivered as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
channel.send(notice)
"""


def test_a_line_that_the_disk_took_half_of_is_not_delivered_and_comes_again(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    said = subprocess.run(
        [sys.executable, "-c", FILLING, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "took 30 of 89 bytes" in said.stdout
    half, whole = path.read_text().splitlines()
    assert len(half) == 30
    assert json.loads(whole)["body"] == "- it is full"
