"""Alerts reach people: once, grouped, repeated, resolved once, whatever happens to sinks and senders."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from hl_pipeline.collect.alerting import tell
from hl_pipeline.model.alert import Alert, Notice, NoticeKind, Severity
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.notify.alerts import failed_check, failed_run, market_listed, market_stale
from hl_pipeline.notify.channels import Channel, NotDelivered, open_channels
from hl_pipeline.storage import alert_delivery
from hl_pipeline.storage.alerts import raise_alert, resolve
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.sql import query
from hl_pipeline_tests.notify.receiver import Receiver, receiving

CANARY = "canary7secret7token"
NOW = 1_768_046_420_000
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000


@dataclass
class Ear:
    """A sink that remembers, or is down."""

    heard: list[Notice] = field(default_factory=list)
    is_down: bool = False
    tries: int = 0

    def __call__(self, notice: Notice) -> None:
        self.tries += 1
        if self.is_down:
            raise NotDelivered("down")
        self.heard.append(notice)

    @property
    def kinds(self) -> list[str]:
        return [str(notice.kind) for notice in self.heard]


def channel(ear: Ear, name: str = "ear", least: Severity = Severity.INFO) -> Channel:
    return Channel(name, least, ear)


def late(coins: range, severity: Severity = Severity.WARNING) -> list[Alert]:
    return [market_stale(f"M{number}", "1m", 400.0, 190.0, severity) for number in coins]


def found(database: Database, clock: ManualClock, alerts: list[Alert], *rules: str) -> None:
    """What an evaluation of these rules (of ``stale``) found."""
    with database.connection() as connection:
        alert_delivery.synchronise(connection, rules or ["stale"], alerts, clock.now_ms())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def ear() -> Ear:
    return Ear()


def lives(database: Database, clock: ManualClock, ear: Ear, milliseconds: int, *, step: int = 30 * SECOND) -> None:
    """So much time passes, with a pass every half minute."""
    for _ in range(milliseconds // step):
        clock.advance(step)
        tell(database, [channel(ear)], clock)


def test_five_hundred_markets_are_one_notice_repeated_on_schedule_and_resolved_once(
    database: Database, clock: ManualClock, ear: Ear
) -> None:
    found(database, clock, late(range(300)))
    lives(database, clock, ear, 1 * MINUTE)
    found(database, clock, late(range(500)))
    assert not ear.heard  # the rule waits for two minutes
    lives(database, clock, ear, 10 * MINUTE)
    assert ear.kinds == ["firing"]
    assert ear.heard[0].title.endswith("stale, 500 alerts")
    lives(database, clock, ear, 8 * HOUR, step=10 * MINUTE)
    assert ear.kinds == ["firing", "repeat", "repeat"]
    found(database, clock, late(range(100, 103)))
    lives(database, clock, ear, HOUR, step=10 * MINUTE)
    found(database, clock, [])
    lives(database, clock, ear, 24 * HOUR, step=10 * MINUTE)
    assert ear.kinds == ["firing", "repeat", "repeat", "resolved"]
    with database.connection() as connection:
        assert not alert_delivery.incidents(connection, clock.now_ms(), examples=1)


def test_what_is_over_before_it_has_to_be_told_is_not_told(database: Database, clock: ManualClock, ear: Ear) -> None:
    found(database, clock, late(range(3)))
    lives(database, clock, ear, 1 * MINUTE)
    found(database, clock, [])
    lives(database, clock, ear, 1 * HOUR)
    assert not ear.heard


def test_news_is_told_even_when_it_is_over_at_once(database: Database, clock: ManualClock, ear: Ear) -> None:
    news = market_listed("NEW")
    with database.connection() as connection:
        raise_alert(connection, news, clock.now_ms())
        resolve(connection, news.fingerprint, clock.now_ms())
    lives(database, clock, ear, 2 * MINUTE)
    assert ear.kinds == ["firing", "resolved"]


def test_trouble_that_comes_back_within_the_wait_is_the_same_incident(
    database: Database, clock: ManualClock, ear: Ear
) -> None:
    found(database, clock, late(range(1)))
    lives(database, clock, ear, 3 * MINUTE)
    for _ in range(5):
        found(database, clock, [])
        lives(database, clock, ear, 1 * MINUTE)
        found(database, clock, late(range(1)))
        lives(database, clock, ear, 1 * MINUTE)
    assert ear.kinds == ["firing"]


def test_worse_is_told_at_once(database: Database, clock: ManualClock, ear: Ear) -> None:
    found(database, clock, late(range(2)))
    lives(database, clock, ear, 5 * MINUTE)
    found(database, clock, late(range(2), Severity.CRITICAL))
    lives(database, clock, ear, 5 * MINUTE)
    assert ear.kinds == ["firing", "worse"]
    assert ear.heard[1].title.startswith("[CRITICAL, WAS WARNING]")


def test_other_checks_are_other_incidents(database: Database, clock: ManualClock, ear: Ear) -> None:
    with database.connection() as connection:
        for check in ("one", "two"):
            raise_alert(connection, failed_check("thing", check, "found 3", "mend it"), clock.now_ms())
    lives(database, clock, ear, 2 * MINUTE)
    assert ear.kinds == ["firing", "firing"]


def test_a_check_that_a_rule_covers_is_not_told_twice(database: Database, clock: ManualClock, ear: Ear) -> None:
    with database.connection() as connection:
        raise_alert(connection, failed_check("live_candles", "fresh_1m", "late", "collect"), clock.now_ms())
    lives(database, clock, ear, 10 * MINUTE)
    assert not ear.heard
    with database.connection() as connection:
        alert_delivery.change_rule(connection, "stale", enabled=False)
    lives(database, clock, ear, 1 * MINUTE)
    assert ear.kinds == ["firing"]


@pytest.mark.parametrize("cause", ["exchange_down", "database_down"])
def test_a_cause_silences_its_symptoms_until_both_are_over(
    database: Database, clock: ManualClock, ear: Ear, cause: str
) -> None:
    down = Alert(cause, Severity.CRITICAL, "nobody answers", "wait")
    found(database, clock, [down, *late(range(500))], cause, "stale")
    lives(database, clock, ear, 30 * MINUTE)
    assert [notice.title for notice in ear.heard] == [f"[CRITICAL] hl_pipeline: {cause}"]
    found(database, clock, late(range(500)), cause, "stale")
    lives(database, clock, ear, 1 * MINUTE)
    found(database, clock, [], cause, "stale")
    lives(database, clock, ear, 1 * HOUR)
    assert ear.kinds == ["firing", "resolved"]


def test_a_symptom_that_outlives_its_cause_is_told(database: Database, clock: ManualClock, ear: Ear) -> None:
    down = Alert("exchange_down", Severity.CRITICAL, "nobody answers", "wait")
    found(database, clock, [down, *late(range(3))], "exchange_down", "stale")
    lives(database, clock, ear, 30 * MINUTE)
    found(database, clock, late(range(3)), "exchange_down", "stale")
    lives(database, clock, ear, 10 * MINUTE)
    assert [notice.title.split(": ")[1] for notice in ear.heard] == [
        "exchange_down",
        "exchange_down",
        "stale, 3 alerts",
    ]


def test_a_share_of_fifteen_minutes_is_not_held_against_an_outage_that_is_over(
    database: Database, clock: ManualClock, ear: Ear
) -> None:
    down = Alert("exchange_down", Severity.CRITICAL, "nobody answers", "wait")
    share = Alert("error_rate", Severity.WARNING, "6 of 100 requests failed", "wait")
    found(database, clock, [down, share], "exchange_down", "error_rate")
    lives(database, clock, ear, 5 * MINUTE)
    found(database, clock, [share], "exchange_down", "error_rate")
    lives(database, clock, ear, 15 * MINUTE)
    found(database, clock, [], "exchange_down", "error_rate")
    lives(database, clock, ear, HOUR)
    assert ear.kinds == ["firing", "resolved"]


def test_an_acknowledged_incident_is_quiet_until_it_is_over(database: Database, clock: ManualClock, ear: Ear) -> None:
    found(database, clock, late(range(5)))
    lives(database, clock, ear, 5 * MINUTE)
    with database.connection() as connection:
        number = alert_delivery.listed(connection, clock.now_ms())[0].number
        assert alert_delivery.acknowledge(connection, number, "anna", clock.now_ms()) == 5
    lives(database, clock, ear, 12 * HOUR, step=10 * MINUTE)
    found(database, clock, [])
    lives(database, clock, ear, 10 * MINUTE)
    assert ear.kinds == ["firing", "resolved"]


def test_a_silence_holds_until_its_end(database: Database, clock: ManualClock, ear: Ear) -> None:
    with database.connection() as connection:
        alert_delivery.silence(
            connection, rule="stale", labels={"coin": "M1"}, now_ms=NOW, until_ms=NOW + HOUR, by="anna", reason="known"
        )
    found(database, clock, late(range(1, 2)))
    lives(database, clock, ear, HOUR - MINUTE)
    assert not ear.heard
    with database.connection() as connection:
        (listed,) = alert_delivery.listed(connection, clock.now_ms())
    assert listed.muted == "silenced until 2026-01-10 13:00"
    lives(database, clock, ear, 2 * MINUTE)
    assert ear.kinds == ["firing"]


def test_a_silence_of_another_market_silences_nobody_else(database: Database, clock: ManualClock, ear: Ear) -> None:
    with database.connection() as connection:
        number = alert_delivery.silence(
            connection, rule=None, labels={"coin": "M1"}, now_ms=NOW, until_ms=NOW + HOUR, by="anna", reason="known"
        )
        assert [silence.number for silence in alert_delivery.silences(connection, NOW)] == [number]
    found(database, clock, late(range(2)))
    lives(database, clock, ear, 5 * MINUTE)
    assert [notice.title for notice in ear.heard] == ["[WARNING] hl_pipeline: stale"]


def test_a_sink_that_is_down_loses_nothing_and_is_asked_ever_more_rarely(
    database: Database, clock: ManualClock, ear: Ear
) -> None:
    ear.is_down = True
    found(database, clock, late(range(3)))
    with database.connection() as connection:
        raise_alert(connection, failed_run("collect", "0123456789", "it broke"), clock.now_ms())
    lives(database, clock, ear, 6 * HOUR)
    assert not ear.heard
    assert ear.tries < 85  # one in five minutes, after the first few, however many notices wait
    found(database, clock, [])
    lives(database, clock, ear, 10 * MINUTE)
    ear.is_down = False
    lives(database, clock, ear, 10 * MINUTE)
    assert sorted((notice.title.split(": ")[1].split(",")[0], str(notice.kind)) for notice in ear.heard) == [
        ("run_failed", "firing"),
        ("stale", "firing"),
        ("stale", "resolved"),
    ]
    with database.connection() as connection:
        (record,) = alert_delivery.rates(connection, clock.now_ms())
    assert (record.notices, record.sent, record.waiting) == (3, 3, 0)
    assert record.success_rate == pytest.approx(3 / record.attempts)


def test_a_channel_hears_only_what_is_grave_enough(database: Database, clock: ManualClock) -> None:
    all_ears, pager = Ear(), Ear()
    channels = [channel(all_ears), channel(pager, "pager", Severity.CRITICAL)]
    found(database, clock, late(range(2)))
    clock.advance(5 * MINUTE)
    tell(database, channels, clock)
    found(database, clock, late(range(2), Severity.CRITICAL))
    tell(database, channels, clock)
    found(database, clock, [])
    clock.advance(5 * MINUTE)
    tell(database, channels, clock)
    assert all_ears.kinds == ["firing", "worse", "resolved"]
    assert pager.kinds == ["worse", "resolved"]


def raised_and_rolled_back(database: Database) -> None:
    with database.connection() as connection:
        raise_alert(connection, late(range(1))[0], NOW)
        raise RuntimeError("the rest of the transaction fails")


def test_an_outbox_row_is_written_with_the_alert_or_not_at_all(database: Database) -> None:
    with pytest.raises(RuntimeError):
        raised_and_rolled_back(database)
    with database.connection() as connection:
        assert alert_delivery.take(connection, NOW + HOUR) == 0
        raise_alert(connection, late(range(1))[0], NOW)
    with database.connection() as connection:
        assert alert_delivery.take(connection, NOW + HOUR) == 1


def posted(sink: Receiver) -> list[str]:
    return [post["title"] for post in sink.posts]


def test_a_webhook_that_comes_back_gets_what_it_missed(database: Database, clock: ManualClock) -> None:
    with receiving() as sink:
        sink.status = 503
        channels = open_channels([f"json://{sink.address}/hook/{CANARY}"])
        found(database, clock, late(range(500)))
        clock.advance(3 * MINUTE)
        assert tell(database, channels, clock).failed == 1
        with database.connection() as connection:
            waiting = connection.execute("table hl.alert_delivery").fetchall()
        assert "503" in repr(waiting)
        assert CANARY not in repr(waiting)
        sink.status = 200
        clock.advance(MINUTE)
        assert tell(database, channels, clock).sent == 1
        assert posted(sink) == ["[WARNING] hl_pipeline: stale, 500 alerts"]
    with database.connection() as connection:
        kept = connection.execute("table hl.alert_delivery").fetchall()
    assert CANARY not in repr(kept)


SENDER = """
import sys
from hl_pipeline.collect.alerting import tell
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.notify.channels import open_channels
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.sql import query
tell(Database(sys.argv[1]), open_channels([sys.argv[2]]), ManualClock(int(sys.argv[3])))
"""


def test_a_sender_killed_between_sending_and_its_mark_sends_at_most_one_duplicate(
    database: Database, clock: ManualClock
) -> None:
    with receiving() as sink:
        entry = f"json://{sink.address}/hook"
        found(database, clock, late(range(500)))
        clock.advance(3 * MINUTE)
        sink.hold.clear()  # taken, and not answered
        sender = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SENDER, database.libpq_url, entry, str(clock.now_ms())]
        )
        try:
            assert sink.arrived.wait(60)
            channels = open_channels([entry])
            assert tell(database, channels, clock).sent == 0  # it is claimed
        finally:
            os.kill(sender.pid, signal.SIGKILL)
            sender.wait(30)
        sink.hold.set()
        clock.advance(59 * SECOND)
        assert tell(database, channels, clock).sent == 0
        for _ in range(10):
            clock.advance(30 * SECOND)
            tell(database, channels, clock)
        assert posted(sink) == ["[WARNING] hl_pipeline: stale, 500 alerts"] * 2


def test_two_senders_at_once_send_each_notice_once(database: Database, clock: ManualClock) -> None:
    ear = Ear()
    with database.connection() as connection:
        for number in range(40):
            raise_alert(connection, failed_check("thing", f"check {number}", "found 3", "mend it"), clock.now_ms())
    clock.advance(5 * MINUTE)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: tell(database, [channel(ear)], clock), range(4)))
    assert len(ear.heard) == 40
    assert {notice.kind for notice in ear.heard} == {NoticeKind.FIRING}
    assert len({notice.body for notice in ear.heard}) == 40


def test_what_is_acknowledged_is_told_again_when_it_gets_worse(
    database: Database, clock: ManualClock, ear: Ear
) -> None:
    found(database, clock, late(range(1)))
    lives(database, clock, ear, 5 * MINUTE)
    with database.connection() as connection:
        number = alert_delivery.listed(connection, clock.now_ms())[0].number
        alert_delivery.acknowledge(connection, number, "anna", clock.now_ms())
    found(database, clock, late(range(1), Severity.CRITICAL))
    lives(database, clock, ear, 12 * HOUR, step=10 * MINUTE)
    assert ear.kinds == ["firing", "worse"]  # and not repeated


def test_what_is_silenced_is_not_told_when_it_gets_worse(database: Database, clock: ManualClock, ear: Ear) -> None:
    found(database, clock, late(range(2)))
    lives(database, clock, ear, 5 * MINUTE)
    with database.connection() as connection:
        alert_delivery.silence(
            connection, rule="stale", labels={"coin": "M1"}, now_ms=clock.now_ms(),
            until_ms=clock.now_ms() + HOUR, by="anna", reason="known",
        )  # fmt: skip
    found(database, clock, [*late(range(1)), *late(range(1, 2), Severity.CRITICAL)])
    lives(database, clock, ear, 30 * MINUTE)
    assert ear.kinds == ["firing"]
    lives(database, clock, ear, HOUR)
    assert ear.kinds == ["firing", "worse"]


class Picky(Ear):
    """A sink that never takes one of the notices, such as one whose text it cannot read."""

    def __call__(self, notice: Notice) -> None:
        self.is_down = "run_failed" in notice.title
        super().__call__(notice)


def test_a_notice_that_a_sink_never_takes_holds_up_no_other(database: Database, clock: ManualClock) -> None:
    ear = Picky()
    with database.connection() as connection:
        raise_alert(connection, failed_run("collect", "0123456789", "it broke"), clock.now_ms())
        raise_alert(connection, failed_check("thing", "check", "found 3", "mend it"), clock.now_ms())
    lives(database, clock, ear, 5 * MINUTE)
    assert [notice.title for notice in ear.heard] == ["[WARNING] hl_pipeline: check_failed"]


def test_news_that_comes_and_goes_while_the_outbox_is_emptied_is_told(
    database: Database, clock: ManualClock, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(name: str) -> str:
        if name == "alert_outbox_drop":
            with database.connection() as other:
                raise_alert(other, market_listed("NEW"), clock.now_ms())
                resolve(other, market_listed("NEW").fingerprint, clock.now_ms())
        return query(name)

    monkeypatch.setattr(alert_delivery, "query", meanwhile)
    tell(database, [channel(ear)], clock)
    monkeypatch.undo()
    lives(database, clock, ear, 2 * MINUTE)
    assert ear.kinds == ["firing", "resolved"]


def test_two_that_judge_at_once_do_not_lock_each_other_out(
    database: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)

    def together(name: str) -> str:
        if name == "alerts_over":
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(1)  # where one waits for the other to end they never meet
        return query(name)

    found(database, clock, late(range(2)))
    monkeypatch.setattr(alert_delivery, "query", together)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda turn: found(database, clock, late(range(turn, turn + 1))), range(2)))
    with database.connection() as connection:
        assert len(alert_delivery.listed(connection, clock.now_ms())) == 1, "who judged last is right"
