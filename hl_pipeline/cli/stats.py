"""``hl stats``: what came of the last 24 hours, for somebody who sees it for the first time."""

from __future__ import annotations

import click

from hl_pipeline.cli.screen import console, print_json, table
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.open_gap import time_left
from hl_pipeline.runtime import open_database
from hl_pipeline.settings import Settings
from hl_pipeline.storage.engine import looking
from hl_pipeline.storage.migrations import check_schema
from hl_pipeline.storage.stats import PipelineStats, pipeline_stats


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document; times in ms UTC, shares from 0 to 1.")
def stats(as_json: bool) -> None:
    """What came of the last 24 hours: points, requests, gaps, repairs, uptime.

    Counted from the tables, so a restart forgets nothing. The same row is
    the view hl.pipeline_stats_24h.
    """
    found = read(Settings.load())
    if as_json:
        print_json(found._asdict())
    else:
        _show(found)


def read(settings: Settings) -> PipelineStats:
    """Ask the database, changing nothing.

    Raises:
        DatabaseUnavailable: it is not running.
        SchemaMismatch: it must be migrated first.
    """
    with open_database(settings) as database:
        url = database.libpq_url
    with looking(url, application_name="hl stats", statement_timeout_ms=60_000) as connection:
        check_schema(connection)
        return pipeline_stats(connection)


def _show(found: PipelineStats) -> None:
    screen = console()
    since, until = to_datetime(found.since_ms), to_datetime(found.until_ms)
    screen.print(f"From {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC\n")
    screen.print(table([("", "left"), ("24 h", "right"), ("", "left")], _lines(found)))


def _lines(found: PipelineStats) -> list[tuple[str, int | str, str]]:
    """Name, figure, and what it means."""
    return [
        ("points landed", found.points, "rows of candles and quotes in answers and from the stream"),
        ("API calls", found.api_calls, f"they cost {found.weight:,} of the exchange's request weight"),
        ("errors", found.errors, f"{_share(found.errors, found.api_calls)} of the calls got no usable answer"),
        ("429s", found.answers_429, "answers that said: too many requests"),
        ("rows refused", found.rejected_rows, "received, and breaking a hard rule; kept aside in hl.rejected_row"),
        ("revisions", found.revisions, "closed candles that the exchange changed later; both values are kept"),
        ("gaps found", found.gaps_found, f"{_span(found.seconds_to_detect)} on average after their first slot was due"),
        ("gaps healed", found.gaps_healed, f"{_span(found.seconds_to_repair)} on average after they were found"),
        ("gaps open", found.gaps_open, "`hl gaps` says of each why, and until when it can be had"),
        ("gaps lost", found.gaps_lost, "the exchange forgot some of their slots first"),
        ("alerts", found.alerts_raised, f"raised; {found.alerts_resolved:,} were resolved"),
        ("uptime", _percent(found.uptime_share), "of the minutes since the first report: healthy or degraded"),
        ("watched", _percent(found.watched_share), f"of those minutes have a report: {found.reports:,}"),
        ("mean score", "-" if found.mean_score is None else f"{found.mean_score:.0f} of 100", "of those reports"),
    ]


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "no time"
    return f"{seconds:.0f} s" if seconds < 120 else time_left(round(1000 * seconds))


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
