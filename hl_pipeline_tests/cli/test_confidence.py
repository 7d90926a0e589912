"""``hl confidence`` over scores that are kept."""

from __future__ import annotations

import json

from hl_pipeline.derived.confidence import score
from hl_pipeline.storage import confidence
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.cli.conftest import Run


def keep_scores(database: Database, *minutes_ago: int) -> None:
    """Scores of what is stored, as if made so long before now."""
    with database.connection() as connection:
        row = connection.execute("select hl.epoch_ms(clock_timestamp())").fetchone()
        assert row is not None
        for minutes in minutes_ago:
            at_ms = row[0] - minutes * 60_000
            found = confidence.gather(connection, at_ms, 60.0)
            confidence.store(connection, at_ms, [score(inputs) for inputs in found])


def test_the_lowest_score_comes_first_with_its_reason(run: Run, environ: dict[str, str], database: Database) -> None:
    assert "No score is kept yet" in run("confidence").output
    run("collect")
    with database.connection() as connection:
        connection.execute(
            "delete from hl.candle where series_id = (select series_id from hl.series join hl.market using (market_id)"
            " where coin = 'ETH' and interval = '1h')"
        )
    keep_scores(database, 0)
    shown = run("confidence").output.splitlines()
    assert shown[1].split()[:2] == ["ETH", "1h"]
    assert "missing" in shown[1]
    found = json.loads(run("confidence", "--json").output)
    assert (found[0]["coin"], found[0]["interval"]) == ("ETH", "1h")
    assert len(found) == 4


def test_one_series_shows_when_its_score_moved(run: Run, environ: dict[str, str], database: Database) -> None:
    run("collect")
    keep_scores(database, 180, 61, 0)
    assert len(json.loads(run("confidence", "BTC", "1h", "--json").output)) == 3
    assert len(json.loads(run("confidence", "BTC", "1h", "--hours", "2", "--json").output)) == 2
    assert "scored (UTC)" in run("confidence", "BTC", "1h").output
    assert "No score of DOGE 1h is kept" in run("confidence", "DOGE", "1h").output


def test_a_market_without_an_interval_is_refused(run: Run) -> None:
    result = run("confidence", "BTC")
    assert result.exit_code == 2
    assert "hl confidence BTC 1m" in result.stderr


def test_it_explains_itself(run: Run) -> None:
    assert run("confidence", "--help").output.startswith("Usage: hl confidence")
    assert "  confidence " in run("--help").output
