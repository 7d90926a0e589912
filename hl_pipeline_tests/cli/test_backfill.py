from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline_tests.cli.conftest import Run, hl_command, started

#: The sandbox of these tests knows forty days.
TWENTY_DAYS_AGO = f"{datetime.now(UTC) - timedelta(days=20):%Y-%m-%d}"
BTC = ("backfill", "--market", "BTC", "--interval", "1h", "--from", TWENTY_DAYS_AGO)


def asked(exchange: RunningSandbox) -> list[tuple[str, str]]:
    return [(entry.coin, entry.interval) for entry in exchange.log.entries() if entry.request == "candleSnapshot"]


def test_a_dry_run_says_what_it_would_cost_and_asks_nothing(
    run: Run, environ: dict[str, str], exchange: RunningSandbox
) -> None:
    result = run(*BTC, "--dry-run")
    assert result.exit_code == 0
    assert "Requests 1 · weight 2" in result.output
    assert "165 bytes a candle, our usual figure" in result.output
    assert "Time under a minute, however much the others ask" in result.output
    assert "Nothing was asked. Run it without --dry-run to do it." in result.output
    assert exchange.log.entries() == []


def test_where_the_weight_is_short_the_time_is_a_range(
    run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HL_WEIGHT_PER_MINUTE", "100")
    shown = run("backfill", "--from", TWENTY_DAYS_AGO, "--dry-run").output
    assert re.search(r"Time about \d+ min beside live collection \(\d+ of 97 weight a minute\)", shown)
    assert "if others ask for all they may (4 a minute are always ours)" in shown


def test_it_does_what_it_forecast_and_the_next_run_asks_nothing(
    run: Run, environ: dict[str, str], exchange: RunningSandbox
) -> None:
    result = run(*BTC)
    assert result.exit_code == 0, result.output
    assert "Every slot that is due and can be had is settled." in result.output
    assert asked(exchange) == [("BTC", "1h")]
    assert "Nothing to ask for" in run(*BTC).output
    assert asked(exchange) == [("BTC", "1h")]


def test_json_holds_forecast_actual_and_what_is_left(run: Run, environ: dict[str, str]) -> None:
    made = json.loads(run(*BTC[:1], "--from", TWENTY_DAYS_AGO, "--json").output)
    off = made["off_percent"]
    assert (off["requests"], off["weight"]) == (0.0, 0.0)
    assert -10 < off["rows"] <= 0, "a read of the newest days takes sixty along, and only forty exist"
    assert made["actual"]["landed"] == made["forecast"]["requests"] == 4
    assert made["left"]["requests"] == 0
    assert {month["source"] for month in made["forecast"]["months"]} == {"reachable"}


def test_only_what_an_earlier_run_left_is_asked_for_again(
    run: Run, environ: dict[str, str], exchange: RunningSandbox
) -> None:
    exchange.faults.add(Fault(FaultKind.SERVER_ERROR, coin="ETH"))
    first = run("backfill", "--from", TWENTY_DAYS_AGO, "--interval", "1h")
    assert first.exit_code == 1
    assert "not read: ETH 1h" in first.output
    assert "hl backfill --incomplete" in first.output
    exchange.faults.clear()
    exchange.log.clear()
    again = run("backfill", "--interval", "1h", "--incomplete")
    assert again.exit_code == 0, again.output
    assert ("ETH", "1h") in asked(exchange)
    exchange.log.clear()
    assert run("backfill", "--interval", "1h", "--incomplete").exit_code == 0
    assert asked(exchange) == []


def test_over_the_ceiling_it_is_refused_and_nothing_is_asked(
    run: Run, environ: dict[str, str], exchange: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HL_BACKFILL_MAX_WEIGHT", "50")
    everything = ("backfill", "--from", TWENTY_DAYS_AGO)
    dry = run(*everything, "--dry-run")
    assert dry.exit_code == 0
    assert "It would be refused: this back-fill needs" in dry.output
    result = run(*everything)
    assert result.exit_code == 2
    assert "HL_BACKFILL_MAX_WEIGHT allows 50" in result.stderr
    assert asked(exchange) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "--from is missing"),
        (("--from", "yesterday"), "must be a day or an instant"),
        (("--from", "2026-01-02", "--to", "2026-01-01"), "--from must lie before --to"),
        (("--from", TWENTY_DAYS_AGO, "--market", "btc"), "btc is not tracked"),
        (("--from", TWENTY_DAYS_AGO, "--interval", "5m"), "5m is not collected"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    run: Run, environ: dict[str, str], arguments: tuple[str, ...], complaint: str
) -> None:
    result = run("backfill", *arguments)
    assert result.exit_code == 2
    assert complaint in result.output


def test_interrupted_it_keeps_what_it_has_and_says_what_is_left(
    run: Run, environ: dict[str, str], exchange: RunningSandbox, tmp_path: Path
) -> None:
    exchange.faults.add(Fault(FaultKind.LATENCY, coin="ETH", amount=2_500))
    output = tmp_path / "out"
    arguments = hl_command("backfill", "--from", TWENTY_DAYS_AGO)
    process = started(arguments, {**environ, "HL_CONCURRENCY": "1"}, output)
    try:
        deadline = time.monotonic() + 60
        while ("ETH", "1h") not in asked(exchange) and ("ETH", "1d") not in asked(exchange):
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    assert "hl: interrupted; what was answered is stored. Left: " in output.read_text()
    exchange.faults.clear()
    before = asked(exchange)
    assert run("backfill", "--from", TWENTY_DAYS_AGO).exit_code == 0
    repeated = set(asked(exchange)[len(before) :]) & set(before)
    assert not repeated, "a request under way at the interrupt still lands"


@pytest.mark.parametrize("days", [("--from", "2999-12-01"), ("--from", "2026-11-20", "--to", "2026-11-10")])
def test_what_is_incomplete_is_not_said_to_be_settled_for_days_that_hold_no_time(
    run: Run, environ: dict[str, str], days: tuple[str, ...]
) -> None:
    run(*BTC)
    told = run("backfill", "--incomplete", "--dry-run", *days)
    assert told.exit_code == 2
    assert "--from must lie before --to and before now" in told.stderr
    assert "is settled" not in told.output
