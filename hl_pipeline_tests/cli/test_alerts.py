"""``hl alerts`` and ``hl health --alert`` as a person, and a timer, meet them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hl_pipeline.model.clock import SystemClock
from hl_pipeline.notify.alerts import Severity, failed_run, market_stale
from hl_pipeline.settings import Settings
from hl_pipeline.storage import alert_delivery
from hl_pipeline.storage.alerts import raise_alert
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.cli.conftest import Run
from hl_pipeline_tests.notify.receiver import receiving

CANARY = "canary7secret7token"
HOUR_MS = 3_600_000


@pytest.fixture
def heard(environ: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that hears everything."""
    path = home / "alerts.jsonl"
    monkeypatch.setenv("HL_ALERT_URLS", f"info=file://{path}")
    return path


@pytest.fixture
def trouble(database: Database) -> list[int]:
    """Two late markets and a failed run, an hour old; their numbers."""
    now_ms = SystemClock().now_ms() - HOUR_MS
    alerts = [market_stale(coin, "1m", 400.0, 190.0, Severity.WARNING) for coin in ("BTC", "ETH")]
    with database.connection() as connection:
        found = [raise_alert(connection, alert, now_ms) for alert in [*alerts, failed_run("collect", "01", "broke")]]
    return [number for number, _ in found]


def titles(path: Path) -> list[str]:
    return [json.loads(line)["title"] for line in path.read_text().splitlines()] if path.exists() else []


def test_send_judges_the_rules_and_tells_then_list_says_so(run: Run, heard: Path, trouble: list[int]) -> None:
    listed = run("alerts", "list").output
    assert "not told yet" in listed
    assert "never" in listed
    run("collect")
    sent = run("alerts", "send")
    assert sent.exit_code == 0, sent.output
    assert any("run_failed" in title for title in titles(heard))
    document = json.loads(run("alerts", "list", "--json").output)
    assert document["judged_ms"]
    (record,) = document["channels"]
    assert record["sent"] == record["notices"] > 0
    assert [alert["rule"] for alert in document["alerts"] if alert["told_ms"]] == ["run_failed"]
    assert "stale" not in {alert["rule"] for alert in document["alerts"]}, "it was judged, and is over"


def test_ack_and_silence(run: Run, heard: Path, trouble: list[int], database: Database) -> None:
    silenced = run("alerts", "silence", "stale", "--label", "coin=BTC", "--for", "1d", "--reason", "known")
    assert silenced.exit_code == 0, silenced.output
    assert "Silence 1" in run("alerts", "list").output
    acked = run("alerts", "ack", str(trouble[2]), "--by", "anna")
    assert "Acknowledged: 1 alerts" in acked.output
    assert run("alerts", "ack", str(trouble[2])).exit_code == 2
    with database.connection() as connection:
        stands = {row.number: row for row in alert_delivery.listed(connection, SystemClock().now_ms())}
    assert (stands[trouble[0]].muted or "").startswith("silenced until")
    assert stands[trouble[1]].muted is None
    assert stands[trouble[2]].acknowledged_by == "anna"
    assert "over" in run("alerts", "silence", "--end", "1").output
    assert run("alerts", "silence", "--end", "1").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["silence"], "name a rule"),
        (["silence", "nonsense"], "no rule 'nonsense'"),
        (["silence", "stale", "--label", "coin"], "NAME=VALUE"),
        (["silence", "stale", "--for", "soon"], "no duration"),
        (["silence", "stale", "--for", "3651d"], "'3651d' is longer than ten years"),
        (["rule", "nonsense"], "no rule 'nonsense'"),
        (["rule", "stale", "--coin", "BTC", "--threshold", "2"], "--coin goes with"),
        (["rule", "stale", "--threshold", "nan"], "0 or more"),
        (["ack", "77"], "not open"),
    ],
)
def test_what_is_meant_wrongly_is_refused_with_the_right_form(
    run: Run, environ: dict[str, str], arguments: list[str], said: str
) -> None:
    found = run("alerts", *arguments)
    assert found.exit_code == 2
    assert said in found.stderr


def test_a_rule_is_changed_for_all_or_for_one_market(run: Run, environ: dict[str, str]) -> None:
    changed = run("alerts", "rule", "price_move", "--severity", "error", "--threshold", "0.1", "--repeat", "2h")
    assert json.loads(changed.output)["threshold"] == 0.1
    one = run("alerts", "rule", "price_move", "--coin", "BTC", "--threshold", "0.03", "--off")
    document = json.loads(one.output)
    assert document["by_market"] == {"BTC": 0.03}
    assert (document["threshold"], document["repeat_ms"], document["severity"]) == (0.1, 7_200_000, "error")
    assert document["enabled"] is False
    assert "price_move" in run("alerts", "rules").output


def test_test_says_of_each_channel_whether_it_took_the_notice(
    run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with receiving() as sink:
        monkeypatch.setenv("HL_ALERT_URLS", f"json://{sink.address}/{CANARY} error=file://{tmp_path}/a.jsonl")
        assert run("alerts", "test").exit_code == 0
        sink.status = 500
        failed = run("alerts", "test")
    assert failed.exit_code == 1
    assert "not taken" in failed.stderr
    assert CANARY not in failed.output + failed.stderr
    assert len(titles(tmp_path / "a.jsonl")) == 2


@pytest.mark.parametrize("value", [f"nonsense{CANARY}", f"json://ok/x loud=json://{CANARY}/x"])
def test_a_wrong_address_is_refused_and_not_shown(
    run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HL_ALERT_URLS", value)
    found = run("config", "check")
    assert found.exit_code == 2
    assert "HL_ALERT_URLS" in found.stderr
    assert CANARY not in found.output + found.stderr


def test_config_check_masks_the_addresses_and_children_get_them(
    run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hl_pipeline.cli.ground import as_environment

    monkeypatch.setenv("HL_ALERT_URLS", f"json://h/{CANARY} error=mailto://u:{CANARY}@h?to=a,b")
    assert CANARY not in run("config", "check").output
    settings = Settings.load()
    assert Settings.load(as_environment(settings)).alert_urls == settings.alert_urls


def test_the_dead_mans_switch_speaks_without_a_database_and_once_it_is_over(
    run: Run, heard: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], database: Database
) -> None:
    monkeypatch.setenv("HL_DATABASE_URL", "postgresql://nobody:nothing@127.0.0.1:9/gone")
    assert run("health", "--alert").exit_code == 2
    assert titles(heard) == []
    assert run("health", "--alert", "--json").exit_code == 2
    assert run("health", "--alert").exit_code == 2
    assert titles(heard) == ["[CRITICAL] hl_pipeline: nobody else can tell you"]
    monkeypatch.setenv("HL_DATABASE_URL", database.libpq_url)
    with database.connection() as connection:
        alert_delivery.beat(connection, SystemClock().now_ms())
    run("health", "--alert")
    run("health", "--alert")
    assert titles(heard)[1:] == ["[RESOLVED] hl_pipeline: alerting stood still"]


def test_the_dead_mans_switch_speaks_when_nobody_judges_the_rules(run: Run, heard: Path) -> None:
    run("health", "--alert")
    run("health", "--alert")
    assert "never judged" in heard.read_text()


def test_the_dead_mans_switch_speaks_when_a_setting_is_wrong(
    run: Run, heard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HL_CONCURRENCY", "many")
    assert run("health", "--alert").exit_code == 2
    assert run("health", "--alert").exit_code == 2
    assert "HL_CONCURRENCY" in heard.read_text()


def test_a_switch_that_reaches_nobody_tries_again_at_the_next_look(
    run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HL_DATABASE_URL", "postgresql://nobody:nothing@127.0.0.1:9/gone")
    with receiving() as sink:
        monkeypatch.setenv("HL_ALERT_URLS", f"json://{sink.address}/{CANARY}")
        sink.status = 500
        run("health", "--alert")
        missed = run("health", "--alert")
        assert "was not told" in missed.stderr
        assert CANARY not in missed.stderr
        sink.status = 200
        run("health", "--alert")
        run("health", "--alert")
    assert len(sink.posts) == 1


def test_list_shows_what_stands_in_brackets(run: Run, heard: Path, database: Database) -> None:
    said = "read [/var/lib/db]: [errno 28] no space"
    with database.connection() as connection:
        raise_alert(connection, failed_run("collect", "01", said), SystemClock().now_ms())
    shown = run("alerts", "list")
    assert shown.exit_code == 0, shown.output
    assert said in shown.output
