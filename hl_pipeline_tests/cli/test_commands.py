from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hl_pipeline.cli.ground import as_environment
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.settings import Settings
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.cli.conftest import Run, hl_command


def modules_after(*arguments: str) -> set[str]:
    code = (
        "import sys; from hl_pipeline.cli.main import hl\n"
        f"try: hl({list(arguments)!r}, prog_name='hl')\n"
        "except SystemExit: pass\n"
        "print('\\n' + ' '.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.rsplit("\n", 2)[-2].split())


def test_help_names_every_command_and_imports_none(run: Run) -> None:
    shown = run("--help").output
    for name in (
        "demo",
        "up",
        "status",
        "gaps",
        "dlq",
        "confidence",
        "collect",
        "backfill",
        "verify",
        "health",
        "migrate",
        "db",
        "config",
        "env",
        "sandbox",
    ):
        assert f"  {name} " in shown
    loaded = modules_after("--help")
    assert not {"dagster", "pandas", "psycopg", "httpx", "rich", "sqlalchemy"} & loaded


@pytest.mark.parametrize(
    "name",
    [
        "demo",
        "up",
        "status",
        "gaps",
        "dlq",
        "confidence",
        "collect",
        "backfill",
        "verify",
        "health",
        "migrate",
        "db",
        "config",
        "env",
        "sandbox",
    ],
)
def test_every_command_explains_itself(run: Run, name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: hl {name}")


def test_status_does_not_import_dagster(environ: dict[str, str]) -> None:
    assert "dagster" not in modules_after("status")


def test_an_unknown_setting_is_one_clear_line_and_exit_code_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HL_VENU", "live")
    result = run("config", "check")
    assert result.exit_code == 2
    assert result.stderr.startswith("hl: HL_VENU is not a setting")
    assert "Traceback" not in result.output


def test_config_check_lists_what_is_in_force_and_hides_the_password(run: Run, environ: dict[str, str]) -> None:
    result = run("config", "check", "--json")
    shown = json.loads(result.output)
    assert shown["HL_VENUE"] == "sandbox"
    assert shown["HL_MARKETS"] == "BTC,ETH"
    assert shown["HL_DATABASE_URL"] == "**********"
    table = run("config", "check").output
    assert "The settings are good." in table
    assert environ["HL_DATABASE_URL"] not in table


def test_config_check_says_who_set_a_value(run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HL_PROFILE", "conservative")
    monkeypatch.setenv("HL_CONCURRENCY", "2")
    lines = {line.split()[0]: line.split()[1:] for line in run("config", "check").output.splitlines() if "HL_" in line}
    assert lines["HL_SETTLE_SECONDS"] == ["30.0", "profile", "conservative"]
    assert lines["HL_CONCURRENCY"] == ["2", "set"]
    assert lines["HL_PROFILE"] == ["conservative", "set"]


def test_what_a_child_is_told_leaves_the_profile_s_values_to_the_profile() -> None:
    settings = Settings.load({"HL_PROFILE": "aggressive", "HL_CONCURRENCY": "4"})
    told = as_environment(settings)
    assert (told["HL_PROFILE"], told["HL_CONCURRENCY"]) == ("aggressive", "4")
    assert "HL_SETTLE_SECONDS" not in told
    again = Settings.load(told)
    assert again == settings
    assert not again.is_set("settle_seconds")


def test_a_child_is_told_what_an_option_chose_though_it_be_the_default() -> None:
    inherited = {"HL_UI_PORT": "4000", "HL_STREAM": "false"}
    chosen = Settings.load({**inherited, "HL_UI_PORT": "3000", "HL_STREAM": "true"})
    child = Settings.load({**inherited, **as_environment(chosen)})
    assert (child.ui_port, child.stream) == (3000, True)
    assert not {"HL_ENDPOINT", "HL_ENDPOINTS"} & as_environment(chosen).keys(), "the venue says them"


def test_migrate_says_what_it_applied_and_then_that_nothing_is_left(
    run: Run, environ: dict[str, str], empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HL_DATABASE_URL", empty_database_url)
    unmigrated = run("status")
    assert unmigrated.exit_code == 2
    assert "run `hl migrate`" in unmigrated.stderr
    first = run("migrate")
    assert "applied V0001__markets_and_candles.sql" in first.output
    assert "is up to date" in run("migrate").output
    assert json.loads(run("migrate", "--json").output)["applied"] == []


def test_collect_fills_status_counts_and_verify_proves(run: Run, environ: dict[str, str]) -> None:
    assert "Nothing is tracked yet" in run("status").output
    collected = json.loads(run("collect", "--json").output)
    assert collected["landed"] == collected["planned"] == 4
    assert collected["failures"] == []
    status = json.loads(run("status", "--json").output)
    assert {row["interval"]: row["gap"] for row in status["intervals"]} == {"1h": 0, "1d": 0}
    assert status["intervals"][0]["final"] == collected["settled_final"] - status["intervals"][1]["final"]
    assert status["weight"]["left"] < status["weight"]["limit"]
    assert status["settle"]["ms"] == 10_000
    shown = run("status").output
    assert "newest candle" in shown
    assert "Settle time: 10 s: none of " in shown
    assert "Open alerts: none" in shown
    verified = run("verify")
    assert verified.exit_code == 0
    assert "The ledger holds" in verified.output


def test_health_is_exit_0_when_fresh_1_six_hours_later_and_2_without_a_database(
    run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HL_INTERVALS")
    run("collect")
    streamless = run("health", "--json")
    assert (streamless.exit_code, json.loads(streamless.output)["status"]) == (0, "degraded")
    assert "no stream ever ran here" in run("status").output
    monkeypatch.setenv("HL_STREAM", "false")
    well = run("health", "--json")
    assert (well.exit_code, json.loads(well.output)["status"]) == (0, "healthy")
    assert "score 100 of 100" in run("health").output
    monkeypatch.setenv("HL_CLOCK_OFFSET_MS", str(6 * 3_600_000))
    assert run("health").exit_code == 1
    monkeypatch.delenv("HL_DATABASE_URL")
    blind = run("health", "--json")
    assert blind.exit_code == 2
    told = json.loads(blind.stdout)
    assert (told["status"], told["score"]) == ("unknown", 0)
    assert {check["name"]: check["status"] for check in told["checks"]}["disk_has_room"] == "healthy"
    assert "hl db start" in blind.stderr
    monkeypatch.setenv("HL_CONCURRENCY", "many")
    unset = run("health", "--json")
    assert unset.exit_code == 2
    assert "HL_CONCURRENCY" in json.loads(unset.stdout)["reason"]


def test_health_imports_neither_dagster_nor_pandas(environ: dict[str, str]) -> None:
    assert not {"dagster", "pandas", "great_expectations"} & modules_after("health")


def test_gaps_lists_what_is_missing_nearest_deadline_first_and_always_exits_0(
    run: Run, environ: dict[str, str], exchange: RunningSandbox
) -> None:
    run("collect", "--intervals", "1h")
    assert "No gap" in run("gaps", "--intervals", "1h").output
    exchange.faults.add(Fault(FaultKind.HTML, coin="ETH"))
    run("collect", "--intervals", "1d")
    result = run("gaps")
    assert result.exit_code == 0
    assert "ETH" in result.output
    assert "failed" in result.output
    found = json.loads(run("gaps", "--coins", "ETH", "--intervals", "1d", "--json").output)
    (gap,) = found["gaps"]
    assert (gap["coin"], gap["interval"], gap["why"], gap["attempts"]) == ("ETH", "1d", "failed", 1)
    assert gap["deadline_ms"] == gap["start_ms"] + 5000 * 86_400_000
    assert gap["recoverable_for"]
    assert gap["next_try_ms"] > found["now_ms"] - 60_000


def test_gaps_counts_young_slots_in_one_line_and_lists_them_on_request(
    run: Run, environ: dict[str, str], database: Database
) -> None:
    run("collect")
    with database.connection() as connection:
        connection.execute("delete from hl.gap")  # right after the hour, its own newest slot is young
        connection.execute(
            "insert into hl.gap (series_id, slots, reason, next_try, deadline)"
            " select series_id, tstzrange(known_until - step, known_until), 'provisional',"
            " now() + interval '1 minute', now() + interval '2 days 4 hours 1 minute'"
            " from hl.series where interval = '1h'"
        )
    short = run("gaps").output
    assert "No gap" in short
    assert "Too young to be trusted, or waiting for the next tick: 2 slots" in short
    assert json.loads(run("gaps", "--json").output)["young"] == {"gaps": 2, "slots": 2}
    full = run("gaps", "--all").output
    assert full.count("2 d 4 h") == 2
    assert "Slots missing: 2, gaps: 2" in full


def test_gaps_refuses_a_coin_that_is_not_tracked(run: Run, environ: dict[str, str]) -> None:
    result = run("gaps", "--coins", "DOGE")
    assert result.exit_code == 2
    assert "DOGE is not tracked" in result.stderr


def test_collecting_again_changes_no_content(run: Run, environ: dict[str, str]) -> None:
    run("collect")
    before = json.loads(run("verify", "--json").output)["tables"]
    assert "Nothing is due" in run("collect").output
    assert json.loads(run("verify", "--json").output)["tables"] == before


def test_verify_exits_1_and_names_the_slot_when_a_candle_is_taken_away(
    run: Run, environ: dict[str, str], database: Database
) -> None:
    run("collect")
    with database.connection() as connection:
        connection.execute(
            "delete from hl.candle where (series_id, open_time) ="
            " (select series_id, open_time from hl.candle where finality = 'f' order by open_time limit 1)"
        )
    result = run("verify")
    assert result.exit_code == 1
    assert "final in the ledger, but no final candle row" in result.output
    assert "does not hold" in result.output
    found = json.loads(run("verify", "--json").output)
    assert found["holds"] is False
    assert len(found["violations"]) == 1


def test_collect_takes_coins_intervals_and_a_window(run: Run, environ: dict[str, str]) -> None:
    some = json.loads(run("collect", "--coins", "ETH", "--intervals", "1d", "--json").output)
    assert some["planned"] == 1
    window = json.loads(run("collect", "--coins", "BTC", "--window", "2020-01-01..2020-01-02T12:00", "--json").output)
    assert window["planned"] == 1, "1d reaches back that far, 1h does not"


def test_collect_reads_a_window_again_only_when_told_to(run: Run, environ: dict[str, str]) -> None:
    run("collect")
    day = to_datetime(Interval.D1.floor(round(time.time() * 1000)) - 3 * 86_400_000).date()
    window = ("--coins", "BTC", "--window", f"{day}..{day}T05:00", "--json")
    assert json.loads(run("collect", *window).output)["planned"] == 0
    again = json.loads(run("collect", "--again", *window).output)
    assert (again["planned"], again["landed"], again["revised"]) == (2, 2, 0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--coins", "DOGE"), "DOGE is not tracked; HL_MARKETS has BTC,ETH"),
        (("--intervals", "7m"), "7m is not collected; HL_INTERVALS has 1h,1d"),
        (("--window", "yesterday"), "must be two instants"),
        (("--again", "--json"), "name with --window which"),
        (("--window", "2026-01-02..2026-01-01"), "the first earlier"),
        (("--coins", "BTC,,ETH"), "between single commas"),
    ],
)
def test_collect_refuses_what_it_cannot_mean(
    run: Run, environ: dict[str, str], arguments: tuple[str, str], complaint: str
) -> None:
    result = run("collect", *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_collect_stores_the_rest_and_exits_1_when_some_series_fail(
    run: Run, environ: dict[str, str], exchange: RunningSandbox
) -> None:
    run("collect", "--intervals", "1h")
    exchange.faults.add(Fault(FaultKind.HTML, coin="ETH"))
    result = run("collect", "--intervals", "1d")
    assert result.exit_code == 1
    assert "not read: ETH 1d" in result.output
    assert "1 of 2 requests answered" in result.output


def test_an_exchange_that_is_down_is_one_line_and_exit_code_1(
    run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HL_ENDPOINT", "http://127.0.0.1:1")
    result = run("collect")
    assert result.exit_code == 1
    assert result.stderr.startswith("hl: http://127.0.0.1:1/info cannot be reached")


def test_without_a_database_the_next_step_is_named(
    run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HL_DATABASE_URL")
    result = run("status")
    assert result.exit_code == 1
    assert "start one with `hl db start`" in result.stderr


def test_the_embedded_server_starts_stays_and_stops(
    run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.delenv("HL_DATABASE_URL")
    assert "No Postgres is running" in run("db", "stop").output
    started = subprocess.run(hl_command("db", "start"), capture_output=True, text=True, check=True)
    try:
        assert "Postgres runs on 127.0.0.1:" in started.stdout
        assert "already runs" in run("db", "start").output
        assert run("migrate").exit_code == 0
        assert run("db", "url").output.startswith("postgresql://hl_admin:")
        assert "/dagster" in run("db", "url", "--dagster").output
    finally:
        stopped = run("db", "stop")
    assert "has stopped" in stopped.output
    assert run("db", "url").exit_code == 1


def test_db_leaves_a_server_of_your_own_alone(run: Run, environ: dict[str, str]) -> None:
    result = run("db", "stop")
    assert result.exit_code == 2
    assert "HL_DATABASE_URL names a server of your own" in result.stderr


def test_env_prints_what_plain_dagster_needs(run: Run, environ: dict[str, str], home: Path) -> None:
    lines = run("env").output.splitlines()
    names = {line.removeprefix("export ").split("=", 1)[0] for line in lines}
    assert {"DAGSTER_HOME", "DAGSTER_STORAGE_URL"} <= names
    assert (home / "sandbox" / "dagster" / "dagster.yaml").exists()


def test_a_folder_that_is_not_ours_is_named(run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied", "/somewhere/pg.lock")

    monkeypatch.setattr("hl_pipeline.settings.Settings.load", refuse)
    result = run("config", "check")
    assert result.exit_code == 2
    assert result.stderr.startswith("hl: /somewhere/pg.lock may not be written or read by this user")


def test_the_sandbox_refuses_a_taken_port(run: Run, exchange: RunningSandbox) -> None:
    port = exchange.url.rsplit(":", 1)[1]
    result = run("sandbox", "--port", port)
    assert result.exit_code == 2
    assert f"port {port} on 127.0.0.1 is taken" in result.stderr
