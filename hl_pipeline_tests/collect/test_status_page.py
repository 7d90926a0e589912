"""The status report from the tables to the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from hl_pipeline.collect.status_page import Frame, figures, gather_page, write_page
from hl_pipeline.derived.report_html import indicators
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.stats import pipeline_stats
from hl_pipeline_tests.stored_world import NOW_MS, fill

HOUR_MS = 3_600_000
GAP = """
insert into hl.gap (series_id, slots, reason, attempts, next_try, deadline)
select series_id, tstzrange(date_trunc('minute', %(from)s), date_trunc('minute', %(until)s)), 'failed', 3, %(now)s,
    %(now)s + interval '2 days'
from hl.series join hl.market using (market_id)
where coin = 'BTC' and interval = '1m'
"""
FRAME = Frame(venue="sandbox", now_ms=NOW_MS, period_ms=60_000, settle_ms=10_000, budget=1164)


def test_what_is_stored_stands_on_the_page(database: Database, tmp_path: Path) -> None:
    with database.connection() as connection:
        fill(connection, ["BTC", "ETH"])
        connection.execute(
            GAP,
            {
                "from": to_datetime(NOW_MS - 20 * HOUR_MS),
                "until": to_datetime(NOW_MS - 19 * HOUR_MS),
                "now": to_datetime(NOW_MS),
            },
        )
        page = gather_page(connection, FRAME, {"status": "degraded", "checks": []})
    assert [line.coin for line in page.heat] == ["BTC", "ETH"]
    assert len(page.series) == 12
    (gap,) = page.gaps
    (holed,) = [one for one in page.series if not one.is_whole]
    assert (str(holed.key.coin), str(holed.key.interval)) == ("BTC", "1m")
    assert (holed.missing, holed.deadline_ms) == (60, gap.deadline_ms)
    assert all(one.is_fresh(NOW_MS) for one in page.series)
    assert len(page.weight.by_lane) == 24
    assert page.weight.most == 15 * 1164
    assert len(page.figures) == 16
    written = tmp_path / "deep" / "report.html"
    assert write_page(page, written) == written.stat().st_size
    assert "BTC" in written.read_text(encoding="utf-8")
    assert [found.name for found in (written.parent).iterdir()] == ["report.html"], "nothing is left beside it"


def test_an_empty_store_has_a_page(database: Database, tmp_path: Path) -> None:
    with database.connection() as connection:
        page = gather_page(connection, FRAME, {})
    assert {one.status for one in indicators(page)} == {"unknown"}
    assert write_page(page, tmp_path / "report.html") > 1000


def test_gathering_changes_nothing(database: Database) -> None:
    with database.connection() as connection:
        fill(connection, ["BTC"])
    with database.connection() as connection:
        connection.execute("set transaction read only")
        assert gather_page(connection, FRAME, {}).heat


def test_a_page_that_cannot_be_drawn_leaves_the_old_one(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "report.html"
    written.write_text("old", encoding="utf-8")
    with database.connection() as connection:
        page = gather_page(connection, FRAME, {})

    def refuse(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="full"):
        write_page(page, written)
    assert written.read_text(encoding="utf-8") == "old"
    assert [found.name for found in (tmp_path).iterdir()] == ["report.html"]


def test_figures_without_a_value_say_so(database: Database) -> None:
    with database.connection() as connection:
        told = dict(figures(pipeline_stats(connection)))
    assert told["points received"] == "0"
    assert told["time to repair"] == "\N{EN DASH}"
