"""The readers' front door: what it returns, what it refuses, what it says of staleness, and who refreshes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from hl_pipeline import read
from hl_pipeline.collect import refresh as refresh_room
from hl_pipeline.collect.fill import fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.collect.refresh import Refresh
from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import DatabaseUnavailable, UnknownSeries, Untrusted
from hl_pipeline.model.interval import Interval, to_datetime
from hl_pipeline.model.universe import Universe
from hl_pipeline.read import About, Reader, about, candles, candles_frame
from hl_pipeline.runtime import open_pipeline
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import Manners, QuietMode, World
from hl_pipeline.settings import Settings
from hl_pipeline.storage import read_columns
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.sandbox.worlds import MARKETS, NOW

MINUTE = 60_000
HOUR = 60 * MINUTE
KEY = SeriesKey("BTC", Interval.M1)
#: First instant after the newest closed minute.
EDGE = Interval.M1.floor(NOW)
SCORE = """
insert into hl.confidence (series_id, scored_at, score, grade, weakest, components, reasons)
select series_id, %(at)s, %(score)s, 'fair', 'freshness', '{}', '[]' from hl.series where interval = '1m'
"""


class Bench:
    """An exchange, what has been collected of it, and a reader on the same clock."""

    def __init__(self, database: Database, sandbox: RunningSandbox, clock: ManualClock) -> None:
        self.database, self.sandbox, self.clock = database, sandbox, clock
        self.settings = Settings(
            venue="sandbox",
            endpoint=sandbox.url,
            markets=("BTC", "SLOW"),
            universe=Universe.LIST,
            intervals=(Interval.M1, Interval.M5),
            weight_per_minute=100_000,
        )
        self.reader = Reader(self.settings, database=database, clock=clock)
        self.collect()

    def collect(self) -> None:
        with open_pipeline(self.settings, database=self.database, clock=self.clock) as pipeline:
            refresh_markets(
                pipeline.source, self.database, self.clock, coins=self.settings.markets,
                intervals=self.settings.intervals,
            )  # fmt: skip
            report = fill(pipeline.source, self.database, self.clock, pipeline.policy)
        assert report.failures == []

    def score(self, score: float, at_ms: int) -> None:
        with self.database.connection() as connection:
            connection.execute(SCORE.encode(), {"score": score, "at": to_datetime(at_ms)})

    def asked(self) -> int:
        """How often the exchange has been asked for candles."""
        with self.database.connection() as connection:
            row = connection.execute("select count(*) from hl.fetch where request_type = 'candleSnapshot'").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def sandbox(clock: ManualClock) -> Iterator[RunningSandbox]:
    world = World(7, markets=MARKETS, clock=clock, history_days=1)
    manners = Manners(QuietMode.SPARSE)
    with RunningSandbox(world, limiter=LimiterMode.OFF, manners=manners, instant=True) as running:
        yield running


@pytest.fixture
def bench(database: Database, sandbox: RunningSandbox, clock: ManualClock) -> Iterator[Bench]:
    bench = Bench(database, sandbox, clock)
    yield bench
    bench.reader.close()


def test_an_hour_is_an_arrow_table_with_types_as_promised(bench: Bench) -> None:
    table = bench.reader.candles("BTC", "1m", EDGE - HOUR, EDGE)
    assert {field.name: str(field.type) for field in table.schema} == {
        "open_time": "timestamp[ms, tz=UTC]",
        **dict.fromkeys(("open", "high", "low", "close", "volume"), "double"),
        "trades": "int32",
        "finality": "string",
        "source": "string",
    }
    truth = bench.sandbox.truth.candles("BTC", Interval.M1, EDGE - HOUR, EDGE)
    assert [row["open_time"] for row in table.to_pylist()] == [to_datetime(candle.open_ms) for candle in truth]
    assert table["close"].to_pylist() == [float(candle.close) for candle in truth]
    assert set(table["finality"].to_pylist()) == {"final"}
    assert set(table["source"].to_pylist()) == {"rest"}


def test_exact_gives_the_decimals_as_stored(bench: Bench) -> None:
    table = bench.reader.candles("BTC", "1m", EDGE - HOUR, EDGE, exact=True)
    truth = bench.sandbox.truth.candles("BTC", Interval.M1, EDGE - HOUR, EDGE)
    assert table["volume"].type == pa.string()
    assert [Decimal(str(text)) for text in table["volume"].to_pylist()] == [Decimal(candle.volume) for candle in truth]


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "first_ms", "count"),
    [
        (EDGE - 5 * MINUTE, EDGE - 2 * MINUTE, EDGE - 5 * MINUTE, 3),
        (EDGE - 5 * MINUTE + 1, EDGE - 2 * MINUTE, EDGE - 4 * MINUTE, 2),
        (EDGE - 5 * MINUTE, EDGE - 2 * MINUTE + 1, EDGE - 5 * MINUTE, 4),
        (EDGE - 5 * MINUTE, EDGE - 5 * MINUTE, None, 0),
    ],
)
def test_the_window_is_half_open(bench: Bench, start_ms: int, end_ms: int, first_ms: int | None, count: int) -> None:
    table = bench.reader.candles("BTC", "1m", start_ms, end_ms)
    assert table.num_rows == count
    assert (table["open_time"][0].as_py() if count else None) == (first_ms and to_datetime(first_ms))


def test_instants_are_ms_or_datetimes_of_any_zone(bench: Bench) -> None:
    start, end = to_datetime(EDGE - HOUR), to_datetime(EDGE)
    table = bench.reader.candles("BTC", "1m", EDGE - HOUR, EDGE)
    assert bench.reader.candles("BTC", "1m", start, end).equals(table)
    east = timezone(timedelta(hours=5, minutes=30))
    assert bench.reader.candles("BTC", "1m", start.astimezone(east), end.astimezone(east)).equals(table)
    with pytest.raises(ValueError, match="has no time zone"):
        bench.reader.candles("BTC", "1m", datetime(2026, 1, 1), end)  # noqa: DTZ001  # what must be refused
    with pytest.raises(ValueError, match="before the start"):
        bench.reader.candles("BTC", "1m", end, start)


def test_the_open_candle_comes_along_and_says_so(bench: Bench) -> None:
    table = bench.reader.candles("BTC", "1m", EDGE - MINUTE, EDGE + MINUTE)
    assert table["finality"].to_pylist() == ["final", "open"]
    assert about(table).due == 1


def test_a_data_frame_has_the_types_of_the_table_and_knows_what_it_is(bench: Bench) -> None:
    frame = candles_frame(
        "BTC", "5m", EDGE - HOUR, EDGE, refresh=False, database=bench.database, settings=bench.settings
    )
    assert isinstance(frame["open_time"].dtype, pd.DatetimeTZDtype)
    assert (frame["open_time"].dtype.unit, str(frame["open_time"].dtype.tz)) == ("ms", "UTC")
    assert [str(frame[name].dtype) for name in ("open", "high", "low", "close", "volume", "trades")] == [
        *["float64"] * 5,
        "int32",
    ]
    assert len(frame) == 12
    assert (frame.attrs["coin"], frame.attrs["interval"]) == ("BTC", "5m")
    assert set(frame.attrs) == set(About._fields)


def test_slots_without_a_trade_are_empty_until_a_flat_candle_is_asked_for(bench: Bench) -> None:
    bench.clock.advance(3 * HOUR)
    bench.collect()
    bench.clock.advance(30 * MINUTE)
    bench.collect()
    window = (EDGE - HOUR, EDGE)
    stored = bench.reader.candles("SLOW", "1m", *window, refresh=False)
    told = about(stored)
    assert told.due == 60
    assert told.empty > 0
    assert stored.num_rows + told.empty + told.missing == 60
    filled = bench.reader.candles("SLOW", "1m", *window, fill="flat", refresh=False)
    made = [row for row in filled.to_pylist() if row["source"] == "filled"]
    assert filled.num_rows - stored.num_rows == len(made) > 0
    assert all(row["trades"] == 0 and row["finality"] is None and row["high"] == row["low"] for row in made)
    assert about(filled)._replace(read_ms=0) == told._replace(read_ms=0)


def test_what_is_missing_is_counted_and_nothing_else(bench: Bench) -> None:
    slots = tuple(EDGE + minute * MINUTE for minute in (3, 4, 5))
    bench.sandbox.faults.add(Fault(FaultKind.LATE, coin="BTC", opens_ms=slots))
    bench.clock.set(EDGE + 10 * MINUTE + 15_000)
    bench.collect()
    table = bench.reader.candles("BTC", "1m", EDGE, EDGE + 20 * MINUTE, refresh=False)
    told = about(table)
    assert (told.due, told.missing, told.empty) == (10, 3, 0)
    assert about(bench.reader.candles("BTC", "1m", EDGE, EDGE + 3 * MINUTE)).missing == 0


def test_an_answer_says_truly_how_stale_it_is(bench: Bench) -> None:
    fresh = about(bench.reader.candles("BTC", "1m", EDGE - HOUR, EDGE))
    assert (fresh.newest_close_ms, fresh.age_s) == (EDGE, (NOW - EDGE) / 1000)
    assert (fresh.known_until_ms, fresh.refresh) == (EDGE, Refresh.NOT_DUE)
    bench.clock.advance(2 * HOUR)
    stale = about(bench.reader.candles("BTC", "1m", EDGE - HOUR, EDGE + 2 * HOUR, refresh=False))
    assert (stale.newest_close_ms, stale.age_s) == (EDGE, (NOW - EDGE) / 1000 + 7200)
    assert (stale.due, stale.missing, stale.refresh) == (180, 120, Refresh.OFF)


def test_a_past_state_is_told_as_it_was(bench: Bench) -> None:
    slot = EDGE
    bench.sandbox.faults.add(Fault(FaultKind.REVISED, coin="BTC", opens_ms=(slot,), until_ms=slot + 5 * MINUTE))
    bench.clock.set(slot + MINUTE + 15_000)
    bench.collect()
    known_ms = slot + 2 * MINUTE
    before = bench.reader.candles("BTC", "1m", slot, slot + MINUTE, exact=True)
    bench.clock.set(slot + 6 * MINUTE)
    bench.collect()
    now = bench.reader.candles("BTC", "1m", slot, slot + MINUTE, exact=True)
    (truth,) = bench.sandbox.truth.candles("BTC", Interval.M1, slot, slot + MINUTE)
    assert Decimal(now["volume"][0].as_py()) == Decimal(truth.volume) > Decimal(before["volume"][0].as_py())
    past = bench.reader.candles("BTC", "1m", slot, slot + 10 * MINUTE, exact=True, as_of=known_ms)
    assert past["volume"].to_pylist() == before["volume"].to_pylist()
    told = about(past)
    assert (told.as_of_ms, told.age_s, told.refresh, told.due) == (known_ms, None, Refresh.OFF, 1)
    with pytest.raises(ValueError, match="exclude each other"):
        bench.reader.candles("BTC", "1m", slot, slot + MINUTE, as_of=known_ms, fill="flat")


@pytest.mark.parametrize(
    ("coin", "interval", "words"),
    [
        ("NOPE", "1m", "coin 'NOPE': the exchange has never named it"),
        ("xyz:TSLA", "1m", "not"),
        ("BTC", "1h", "BTC 1h is not collected: name the coin in HL_MARKETS and the interval in HL_INTERVALS"),
        ("BTC", "2m", "interval '2m': there are 1m, 5m, 15m, 1h, 4h, 1d"),
    ],
)
def test_what_is_not_collected_is_refused_with_the_next_step(
    bench: Bench, coin: str, interval: str, words: str
) -> None:
    with pytest.raises(UnknownSeries, match=words):
        bench.reader.candles(coin, interval, EDGE - HOUR, EDGE)


def test_too_little_confidence_is_refused_with_value_rule_and_next_step(bench: Bench) -> None:
    window = ("BTC", "1m", EDGE - HOUR, EDGE)
    with pytest.raises(Untrusted, match=r"no confidence score yet, and 0\.5 is asked for: `hl confidence BTC 1m`"):
        bench.reader.candles(*window, min_confidence=0.5)
    bench.score(0.62, NOW - HOUR)
    assert bench.reader.candles(*window, min_confidence=0.6).num_rows == 60
    with pytest.raises(Untrusted, match=r"confidence 0\.62 \(fair\), and 0\.75 is asked for: `hl confidence BTC 1m`"):
        bench.reader.candles(*window, min_confidence=0.75)
    told = about(bench.reader.candles(*window))
    assert told.score == pytest.approx(0.62)
    assert (told.grade, told.scored_ms) == ("fair", NOW - HOUR)
    bench.clock.advance(90 * MINUTE)
    with pytest.raises(Untrusted, match=r"last scored 2\.5 h ago.*is the pipeline running"):
        bench.reader.candles(*window, min_confidence=0.6, refresh=False)


def test_a_late_candle_is_asked_for_behind_the_reader_and_there_the_next_time(bench: Bench) -> None:
    bench.clock.set(EDGE + 10 * MINUTE + 15_000)
    before = bench.asked()
    late = bench.reader.candles("BTC", "1m", EDGE - HOUR, EDGE + 10 * MINUTE)
    assert late["finality"].to_pylist()[-2:] == ["final", "open"], "seen last while it was open, so it is missing still"
    assert (about(late).missing, about(late).refresh) == (10, Refresh.STARTED)
    bench.reader._refresher.join()
    healed = bench.reader.candles("BTC", "1m", EDGE - HOUR, EDGE + 10 * MINUTE)
    assert (healed.num_rows, about(healed).missing, about(healed).refresh) == (70, 0, Refresh.NOT_DUE)
    assert bench.asked() == before + 1, "that coin and no other"


def test_a_late_larger_candle_is_made_from_minutes(bench: Bench) -> None:
    bench.clock.set(EDGE + 20 * MINUTE + 15_000)
    before = bench.asked()
    bench.reader.candles("BTC", "5m", EDGE - HOUR, EDGE + 20 * MINUTE)
    bench.reader._refresher.join()
    healed = bench.reader.candles("BTC", "5m", EDGE - HOUR, EDGE + 20 * MINUTE)
    assert about(healed).missing == 0
    assert bench.asked() == before + 1
    assert healed["source"].to_pylist()[-1] == "derived"


def test_what_is_old_and_whole_needs_no_refresh_however_late_the_newest_is(bench: Bench) -> None:
    bench.clock.advance(HOUR)
    assert about(bench.reader.candles("BTC", "1m", EDGE - HOUR, EDGE)).refresh is Refresh.NOT_DUE


@contextmanager
def held_up(sandbox: RunningSandbox) -> Iterator[threading.Event]:
    """Answers of the exchange wait until the event is set."""
    release = threading.Event()
    answer = sandbox.exchange.answer

    def slowly(*arguments: object, **named: object) -> object:
        assert release.wait(60)
        return answer(*arguments, **named)  # type: ignore[arg-type]  # handed on as they came

    sandbox.exchange.answer = slowly  # type: ignore[method-assign, assignment]
    try:
        yield release
    finally:
        release.set()
        sandbox.exchange.answer = answer  # type: ignore[method-assign]


def test_many_readers_in_two_processes_worth_of_sessions_make_one_refresh(bench: Bench) -> None:
    bench.clock.set(EDGE + 10 * MINUTE + 15_000)
    before = bench.asked()
    window = (EDGE - HOUR, EDGE + 10 * MINUTE)
    other = Reader(bench.settings, database=bench.database, clock=bench.clock)
    with held_up(bench.sandbox) as release:
        with ThreadPoolExecutor(8) as threads:
            asking = [threads.submit(reader.candles, "BTC", "1m", *window) for reader in (bench.reader, other) * 4]
            answers = [about(each.result(30)) for each in asking]
        assert all(told.missing == 10 for told in answers), "nobody waited for the exchange"
        assert {told.refresh for told in answers} <= {Refresh.STARTED, Refresh.UNDER_WAY}
        assert Refresh.STARTED in {told.refresh for told in answers}
        release.set()
        other.close()
        bench.reader._refresher.join()
    assert bench.asked() == before + 1
    assert about(other.candles("BTC", "1m", *window)).missing == 0


READING_PROCESS = """
import sys
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.universe import Universe
from hl_pipeline.read import Reader, about
from hl_pipeline.settings import Settings
from hl_pipeline.storage.engine import Database
url, endpoint, now, start, end = sys.argv[1:]
settings = Settings(venue="sandbox", endpoint=endpoint, markets=("BTC", "SLOW"), universe=Universe.LIST,
                    intervals=(Interval.M1, Interval.M5))
with Database(url) as database:
    reader = Reader(settings, database=database, clock=ManualClock(int(now)))
    print(about(reader.candles("BTC", "1m", int(start), int(end))).refresh, flush=True)
    sys.stdin.readline()
    reader.close()
"""


def test_while_one_process_refreshes_another_says_so_and_asks_nothing(bench: Bench) -> None:
    bench.clock.set(EDGE + 10 * MINUTE + 15_000)
    before = bench.asked()
    command = [
        sys.executable, "-c", READING_PROCESS, bench.database.libpq_url, bench.sandbox.url,
        str(bench.clock.now_ms()), str(EDGE - HOUR), str(EDGE + 10 * MINUTE),
    ]  # fmt: skip
    with (
        held_up(bench.sandbox) as release,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        with bench.database.connection() as connection:
            row = connection.execute("select series_id from hl.series join hl.market using (market_id)"
                                     " where coin = 'BTC' and interval = '1m'").fetchone()  # fmt: skip
        assert row is not None
        while not read_columns.is_refreshing(bench.database, row[0]):
            assert process.poll() is None
        told = about(bench.reader.candles("BTC", "1m", EDGE - HOUR, EDGE + 10 * MINUTE))
        assert told.refresh is Refresh.UNDER_WAY
        release.set()
        process.communicate("\n", timeout=60)
        assert process.returncode == 0
    assert bench.asked() == before + 1


def test_an_exchange_that_is_down_is_the_refresh_s_trouble_and_asked_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.clock.set(EDGE + 10 * MINUTE + 15_000)
    bench.sandbox.faults.add(Fault(FaultKind.SERVER_ERROR, request="candleSnapshot"))
    window = ("BTC", "1m", EDGE - HOUR, EDGE + 10 * MINUTE)
    assert about(bench.reader.candles(*window)).refresh is Refresh.STARTED
    bench.reader._refresher.join()
    asked = bench.asked()
    told = about(bench.reader.candles(*window))
    assert (told.missing, told.refresh) == (10, Refresh.JUST_DONE)
    assert bench.asked() == asked


def test_a_failed_refresh_lets_the_next_one_begin(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(refresh_room, "APART_S", 0.0)
    bench.clock.set(EDGE + 10 * MINUTE + 15_000)
    window = ("BTC", "1m", EDGE - HOUR, EDGE + 10 * MINUTE)

    def fails(_: SeriesKey) -> None:
        raise DatabaseUnavailable("gone for a moment")

    monkeypatch.setattr(bench.reader._refresher, "_ask", fails)
    assert about(bench.reader.candles(*window)).refresh is Refresh.STARTED
    bench.reader._refresher.join()
    assert "BTC 1m could not be refreshed: gone for a moment" in caplog.text
    monkeypatch.setattr(bench.reader._refresher, "_ask", bench.reader._ask)
    assert about(bench.reader.candles(*window)).refresh is Refresh.STARTED
    bench.reader._refresher.join()
    assert about(bench.reader.candles(*window)).missing == 0


def test_the_functions_keep_one_reader_a_database(bench: Bench) -> None:
    given = {"database": bench.database, "settings": bench.settings, "refresh": False}
    first = candles("BTC", "1m", EDGE - HOUR, EDGE, **given)  # type: ignore[arg-type]  # one dictionary for both
    again = candles("BTC", "1m", EDGE - HOUR, EDGE, **given)  # type: ignore[arg-type]
    assert first.equals(again)
    assert read._reader(bench.settings, bench.database) is read._reader(bench.settings, bench.database)


def test_a_server_that_comes_back_elsewhere_is_found_by_the_next_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = ("BTC", "1m", EDGE - HOUR, EDGE)
    reader = Reader(bench.settings, clock=bench.clock)
    # the port of a server that is gone, then the one it has now
    opened = [Database("postgresql://nobody@127.0.0.1:1/none", connect_timeout_seconds=1), bench.database]
    monkeypatch.setattr(read, "open_database", lambda *_, **__: opened.pop(0))
    with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
        reader.candles(*window)
    assert reader.candles(*window).num_rows == 60


def test_another_table_has_nothing_to_tell() -> None:
    with pytest.raises(ValueError, match="carries no metadata of ours"):
        about(pa.table({"x": [1]}))


def test_reading_loads_neither_dagster_nor_pandas() -> None:
    program = "import sys, hl_pipeline.read; print({'dagster', 'pandas', 'great_expectations'} & set(sys.modules))"
    root = Path(read.__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root, env=dict(os.environ)
    )
    assert done.stdout == "set()\n"


def test_the_newest_instant_is_market_time_not_this_machine_s(bench: Bench) -> None:
    told = about(bench.reader.candles("BTC", "1m", EDGE - HOUR, EDGE))
    assert told.read_ms == NOW
    assert to_datetime(told.read_ms).tzinfo is UTC
