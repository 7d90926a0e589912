"""A back-fill as the Dagster UI launches it: over GraphQL, submitted by the daemon, its run killed half-way.

The slowest module of the suite, two minutes: web interface, code server and daemon are the real ones, and the daemon
looks for back-fills twice a minute. Everything is on ports of its own and ends with the module.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from hl_pipeline.cli.station import open_station
from hl_pipeline.cli.supervisor import Stop, free_port
from hl_pipeline.defs.launch import environment, run_job
from hl_pipeline.defs.partitions import months
from hl_pipeline.model.forecast import Forecast
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.span import Span
from hl_pipeline.runtime import open_pipeline
from hl_pipeline.sandbox.catalogue import markets_named
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.request_log import LoggedRequest
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import World
from hl_pipeline.settings import Settings
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.conftest import lent_database

pytestmark = pytest.mark.timeout(900)

COINS = ("BTC", "ETH")
FOUR_MONTHS = months.get_partition_keys()[-4:]
LAUNCH = """
mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
LOOK = """
query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PartitionBackfill {
      status
      error { message }
      runs(limit: 50) { runId status }
    }
  }
}
"""


def until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)


@dataclass
class Dagster:
    """The running web interface, its instance, and the exchange behind it."""

    url: str
    instance: dg.DagsterInstance
    settings: Settings
    exchange: RunningSandbox

    def ask(self, query: str, **variables: object) -> Any:
        """What the browser sends."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(  # noqa: S310 - our own server on loopback
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        (found,) = answer["data"].values()
        return found

    def launch(self, assets: Sequence[str], coin: str) -> str:
        """Launch a back-fill of the last four months of one market, as the dialog does; its id."""
        params = {
            "assetSelection": [{"path": [name]} for name in assets],
            "partitionNames": [f"{coin}|{month}" for month in FOUR_MONTHS],
            "title": f"four months of {coin}",
            "tags": [],
        }
        launched = self.ask(LAUNCH, params=params)
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return str(launched["backfillId"])

    def look(self, backfill_id: str) -> Any:
        found = self.ask(LOOK, id=backfill_id)
        assert found["__typename"] == "PartitionBackfill", found
        return found

    def finish(self, backfill_id: str) -> Any:
        """Wait for the end of the back-fill; what it then looks like."""
        until(lambda: self.look(backfill_id)["status"].startswith(("COMPLETED", "FAILED")), 400, "the back-fill ends")
        return self.look(backfill_id)

    def forecast(self, coin: str, interval: Interval, start_ms: int) -> Forecast:
        with open_pipeline(self.settings, only_looks=True) as pipeline, pipeline.database.connection() as connection:
            window = Span(start_ms, pipeline.clock.now_ms())
            return pipeline.forecast(connection, coins=[coin], intervals=[interval], window=window).asked

    def asked(self, coin: str) -> list[LoggedRequest]:
        return [entry for entry in self.exchange.log.entries() if entry.coin == coin]

    def failures(self, backfill: Any) -> list[str]:
        """What its runs' steps failed with."""
        logs = (entry for run in backfill["runs"] for entry in self.instance.all_logs(run["runId"]))
        return [entry.message for entry in logs if "FAILURE" in str(entry.dagster_event_type)]

    def stored(self, asset: str, coin: str) -> set[str]:
        """The partitions of one market that are materialized."""
        made = self.instance.get_materialized_partitions(dg.AssetKey(asset))
        return {key for key in made if key.startswith(f"{coin}|")}

    def observed(self, asset: str, backfill_id: str) -> list[tuple[str | None, dict[str, Any]]]:
        """Partition and metadata of every observation that a back-fill's runs made of an asset, newest first."""
        runs = {run["runId"] for run in self.look(backfill_id)["runs"]}
        records = self.instance.fetch_observations(dg.AssetKey(asset), limit=100).records
        return [
            (found.partition, {name: value.value for name, value in found.metadata.items()})
            for record in records
            if record.event_log_entry.run_id in runs and (found := record.asset_observation) is not None
        ]


@pytest.fixture(scope="module")
def dagster(postgres_url: str, template_name: str) -> Iterator[Dagster]:
    """The web interface, code server and daemon of `hl up`, all schedules off, on databases of their own."""
    with ExitStack() as stack:
        database = stack.enter_context(lent_database(postgres_url, template_name))
        dagsters = stack.enter_context(lent_database(postgres_url, "template1"))
        world = World(5, markets=markets_named(*COINS))
        exchange = stack.enter_context(RunningSandbox(world, limiter=LimiterMode.OFF))
        home = Path(tempfile.mkdtemp(prefix="hl-bf-"))
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        ours = {
            "HL_VENUE": "sandbox",
            "HL_ENDPOINT": exchange.url,
            "HL_DATABASE_URL": database.libpq_url,
            "HL_DAGSTER_DATABASE_URL": dagsters.libpq_url,
            "HL_HOME": str(home),
            "HL_MARKETS": ",".join(COINS),
            "HL_UNIVERSE": "list",
            "HL_UI_PORT": str(free_port()),
            "HL_STREAM": "false",  # its repairs would count among the requests
        }
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in [name for name in os.environ if name.startswith(("HL_", "DAGSTER_")) and "TEST" not in name]:
            patch.delenv(name)
        settings = Settings.load(ours)
        with Database(database.libpq_url, dagster_url=dagsters.libpq_url) as both:
            for name, value in {**ours, **environment(settings, both)}.items():
                patch.setenv(name, value)
        instance = stack.enter_context(dg.DagsterInstance.get())
        assert run_job("refresh_markets", instance=instance).success
        station = open_station(settings, {}, Stop(), lambda _: None)
        stack.callback(station.supervisor.shut_down)
        yield Dagster(station.ui_url, instance, settings, exchange)


@dataclass(frozen=True)
class Launched:
    """Two back-fills under way, with what was forecast for the first."""

    btc: str
    eth: str
    forecasts: dict[Interval, Forecast]


@pytest.fixture(scope="module")
def launched(dagster: Dagster) -> Launched:
    """Both at once, for the daemon looks twice a minute. The second hangs where it asks for 1m."""
    start_ms = int(months.time_window_for_partition_key(FOUR_MONTHS[0]).start.timestamp() * 1000)
    forecasts = {interval: dagster.forecast("BTC", interval, start_ms) for interval in (Interval.H1, Interval.M1)}
    dagster.exchange.faults.add(Fault(FaultKind.LATENCY, coin="ETH", interval="1m", amount=12_000))
    return Launched(
        dagster.launch([f"candles_{interval}" for interval in forecasts], "BTC"),
        dagster.launch([f"candles_{interval}" for interval in Interval], "ETH"),
        forecasts,
    )


def near(actual: float, forecast: float) -> bool:
    return abs(actual - forecast) <= 0.1 * forecast


def process_of(dagster: Dagster, backfill_id: str) -> int | None:
    """The process id that the run's log names."""
    for run in dagster.look(backfill_id)["runs"]:
        for entry in dagster.instance.all_logs(run["runId"]):
            if found := re.search(r"Executing steps in process \(pid: (\d+)\)", entry.user_message):
                return int(found[1])
    return None


def test_a_run_killed_half_way_goes_on_by_itself_and_asks_for_nothing_again(
    dagster: Dagster, launched: Launched
) -> None:
    # the steps go by name: when 1m is asked for, 15m, 1d and 1h are stored
    until(lambda: any(entry.interval == "1m" for entry in dagster.asked("ETH")), 240, "the run asks for 1m")
    pid = process_of(dagster, launched.eth)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    before = [entry.interval for entry in dagster.asked("ETH")]
    assert len(before) >= 3
    dagster.exchange.faults.clear()
    done = dagster.finish(launched.eth)
    assert sorted(run["status"] for run in done["runs"]) == ["FAILURE", "SUCCESS"], dagster.failures(done)
    after = [entry.interval for entry in dagster.asked("ETH")][len(before) :]
    assert set(after) & set(before) <= {"1m"}, "only the request that had no answer yet"
    assert set(after) | set(before) == set(map(str, Interval))
    for interval in (Interval.H1, Interval.D1):
        assert dagster.stored(f"candles_{interval}", "ETH") == {f"ETH|{month}" for month in FOUR_MONTHS}


def test_a_back_fill_from_the_ui_is_one_run_costs_what_was_forecast_and_names_what_is_gone(
    dagster: Dagster, launched: Launched
) -> None:
    done = dagster.finish(launched.btc)
    assert [run["status"] for run in done["runs"]] == ["SUCCESS"]
    # Dagster's own word for a back-fill some of whose partitions were not materialized
    assert done["status"] == "COMPLETED_FAILED"
    for interval, forecast in launched.forecasts.items():
        asked = [entry for entry in dagster.asked("BTC") if entry.interval == str(interval)]
        assert near(len(asked), forecast.calls)
        assert near(sum(entry.weight for entry in asked), forecast.weight)
        assert near(sum(entry.rows for entry in asked), forecast.rows)
        told = next(
            metadata
            for partition, metadata in dagster.observed(f"candles_{interval}", launched.btc)
            if partition is None
        )
        for what in ("requests", "weight", "rows"):
            assert near(told[f"{what} actual"], told[f"{what} forecast"])
    keys = {f"BTC|{month}" for month in FOUR_MONTHS}
    assert dagster.stored("candles_1h", "BTC") == keys
    gone = {
        partition: metadata["why"] for partition, metadata in dagster.observed("candles_1m", launched.btc) if partition
    }
    # of four months 1m reaches into the current one, and on its first days into the one before
    assert {f"BTC|{month}" for month in FOUR_MONTHS[:2]} <= set(gone)
    assert all(why.startswith("source gone: the exchange keeps") for why in gone.values())
    assert dagster.stored("candles_1m", "BTC") == keys - set(gone)
