from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hl_pipeline.model.alert import Alert, Severity
from hl_pipeline.notify.alerts import failed_check
from hl_pipeline.storage.alerts import open_alerts, raise_alert, resolve
from hl_pipeline.storage.engine import Database

ALERT = failed_check("live_candles", "fresh", "1m is 9 minutes old", "look at the collect runs")


def test_the_same_trouble_is_one_open_alert_counted_twice(database: Database) -> None:
    with database.connection() as connection:
        first = raise_alert(connection, ALERT, 1_000)
        again = raise_alert(connection, ALERT, 2_000)
        (found,) = open_alerts(connection)
    assert (first[1], again[1]) == (True, False)
    assert first[0] == again[0]
    assert (found.times_seen, found.first_seen_ms, found.last_seen_ms) == (2, 1_000, 2_000)


def test_a_resolved_alert_opens_anew_when_the_trouble_returns(database: Database) -> None:
    with database.connection() as connection:
        first, _ = raise_alert(connection, ALERT, 1_000)
        assert resolve(connection, ALERT.fingerprint, 2_000)
        assert not resolve(connection, ALERT.fingerprint, 3_000)
        second, is_new = raise_alert(connection, ALERT, 4_000)
    assert is_new
    assert second != first


def test_eight_at_once_open_one_alert(database: Database) -> None:
    def shout(at: int) -> bool:
        with database.connection() as connection:
            return raise_alert(connection, ALERT, at)[1]

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(shout, range(8))) == 1


def test_the_gravest_alert_comes_first(database: Database) -> None:
    with database.connection() as connection:
        raise_alert(connection, ALERT, 9_000)
        raise_alert(connection, Alert("down", Severity.CRITICAL, "s", "n"), 1_000)
        assert [alert.severity for alert in open_alerts(connection)] == ["critical", "warning"]
