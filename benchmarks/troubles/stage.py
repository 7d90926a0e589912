"""One trouble's stage: the pipeline and its exchange, market time by hand, and every face that an operator looks at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import psycopg

from hl_pipeline.defs.launch import CheckOutcome, RunOutcome, run_job
from hl_pipeline.defs.sensors.alerts import deliver_alerts
from hl_pipeline.defs.sensors.failures import alert_on_failed_runs, follow_successful_runs
from hl_pipeline.defs.sensors.gaps import drain_open_gaps
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.failure import PipelineError
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.runtime import Pipeline
from hl_pipeline.sandbox.catalogue import MarketSpec
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.storage import alert_delivery
from hl_pipeline.storage.alert_delivery import ListedAlert

if TYPE_CHECKING:
    from benchmarks.troubles.ground import Ground

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
#: The sensor that judges the rules looks so often.
_LOOK_MS = 30_000
_MOST_LOOKS = 4
#: A busy machine must not make a report unknown: what is judged here is the pipeline, not its speed.
HEALTH = ("health", "--within", "30")


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Stage:
    """The pipeline of one trouble. ``beat`` lets market time pass, and runs what the schedules and sensors would.

    ``jobs`` are run at each beat; without ``collect`` among them, ``health`` brings the checks. ``drains``: the
    sensor for gaps is on. ``checks`` are the newest results by ``asset/check``, ``said`` is what the newest failed
    run said.
    """

    def __init__(
        self,
        ground: Ground,
        pipeline: Pipeline,
        clock: ManualClock,
        exchange: RunningSandbox,
        instance: dg.DagsterInstance,
    ) -> None:
        self.ground, self.pipeline, self.clock, self.exchange, self.instance = (
            ground,
            pipeline,
            clock,
            exchange,
            instance,
        )
        self.database, self.settings = pipeline.database, pipeline.settings
        self.jobs: list[str] = ["collect"]
        self.drains, self.tells = True, True
        self.checks: dict[str, CheckOutcome] = {}
        self.said: str | None = None
        self.see: Callable[[str, str, str], None] = lambda *_: None
        self._heard = 0
        self._children: list[subprocess.Popen[bytes]] = []

    @property
    def now_ms(self) -> int:
        """Market time."""
        return self.clock.now_ms()

    def beat(self, milliseconds: int) -> None:
        """So much market time passes; then whatever would run by itself runs once."""
        looks = min(_MOST_LOOKS, max(1, milliseconds // _LOOK_MS))
        for look in range(looks):
            self.clock.advance(milliseconds // looks)
            if look + 1 < looks:
                self.deliver()
        for job in self.jobs:
            self.run(job)
        if self.drains:
            self._drain()
        self.deliver()

    def run(
        self, job: str, *, partitions: tuple[str, str] | None = None, config: Mapping[str, Any] | None = None
    ) -> RunOutcome:
        """Run a job on the instance, then the sensor that follows finished runs."""
        outcome = run_job(
            job,
            run_config={**_QUIET, **(config or {})},
            partitions=partitions,
            pipeline=self.pipeline,
            settings=self.settings,
            instance=self.instance,
        )
        self.checks.update({check.name: check for check in outcome.checks})
        if not outcome.success:
            self.said = outcome.failure
        self._follow(outcome)
        return outcome

    def deliver(self) -> None:
        """One tick of the sensor that judges the rules and sends what is due; it may fail, as in the daemon."""
        if not self.tells:
            return
        try:
            deliver_alerts(dg.build_sensor_context(instance=self.instance, resources={"pipeline": self.pipeline}))
        except (PipelineError, psycopg.Error) as error:
            self.said = f"deliver_alerts failed: {error}"

    def recast(self, cast: Sequence[MarketSpec]) -> None:
        """The exchange has these markets from now on."""
        self.exchange.exchange.world = self.ground.world(self.clock, cast)

    @contextmanager
    def second_endpoint(self) -> Iterator[RunningSandbox]:
        """Another way to the same exchange while the block runs; the first stays the primary."""
        alone = self.pipeline
        with self.ground.exchange(self.clock, port=0) as other:
            both = self.settings.model_copy(update={"endpoints": (self.exchange.url, other.url)})
            with self.ground.opened(both, self.database, self.clock) as pipeline:
                self.pipeline, self.settings = pipeline, both
                try:
                    yield other
                finally:
                    self.pipeline, self.settings = alone, alone.settings

    def sabotage(self, *statements: bytes, **parameters: Any) -> None:
        """Somebody writes past the pipeline, with the owner's rights."""
        with self.database.connection() as connection:
            for statement in statements:
                connection.execute(statement, parameters or None)

    def notices(self) -> list[dict[str, str]]:
        """What the file channel has received since the last look."""
        path = self.settings.home / "alerts.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        new, self._heard = lines[self._heard :], len(lines)
        return [json.loads(line) for line in new]

    def open_alerts(self) -> list[ListedAlert]:
        """What `hl alerts list` shows."""
        with self.database.connection() as connection:
            return alert_delivery.listed(connection, self.now_ms)

    def hl(self, *arguments: str, **more: str) -> Said:
        """A command as an operator types it, at this market time; the clock then stands where the command ended."""
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "hl_pipeline.cli.main", *arguments],
            env=self.environ(**more),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        self.clock.advance(round(1000 * (time.monotonic() - began)))
        return Said(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
        """A command that stays; it is ended with the stage."""
        log = (self.settings.home / f"{arguments[0]}.log").open("ab")
        child = subprocess.Popen(
            [sys.executable, "-m", "hl_pipeline.cli.main", *arguments], env=self.environ(**more), stdout=log, stderr=log
        )
        log.close()
        self._children.append(child)
        return child

    def environ(self, **more: str) -> dict[str, str]:
        """``HL_*`` for a process of ours that shares this market time."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HL_")}
        given = self.settings
        ours = {
            "HL_VENUE": "sandbox",
            "HL_ENDPOINTS": ",".join(given.endpoints),
            "HL_HOME": str(given.home),
            "HL_DATABASE_URL": _secret(given.database_url),
            "HL_DAGSTER_DATABASE_URL": _secret(given.dagster_database_url),
            "HL_MARKETS": ",".join(given.markets),
            "HL_UNIVERSE": str(given.universe),
            "HL_WEIGHT_PER_MINUTE": str(given.weight_per_minute),
            "HL_STREAM": "1" if given.stream else "0",
            "HL_ALERT_URLS": " ".join(url.get_secret_value() for url in given.alert_urls),
            "HL_CLOCK_OFFSET_MS": str(self.now_ms - time.time_ns() // 1_000_000),
        }
        return {**kept, **ours, **more}

    def instant(self, ms: int) -> str:
        """As the command line reads it."""
        return f"{to_datetime(ms):%Y-%m-%dT%H:%M}"

    def window(self, start_ms: int, end_ms: int) -> str:
        """As `hl collect --window` reads it."""
        return f"{self.instant(start_ms)}..{self.instant(end_ms)}"

    def close(self) -> None:
        """End what was started here."""
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait()

    def _follow(self, outcome: RunOutcome) -> None:
        kind = dg.DagsterEventType.RUN_SUCCESS if outcome.success else dg.DagsterEventType.RUN_FAILURE
        run = self.instance.get_run_by_id(outcome.run_id)
        (record,) = self.instance.get_records_for_run(outcome.run_id, of_type=kind).records
        event = record.event_log_entry.dagster_event
        assert run is not None
        assert event is not None
        sensor = follow_successful_runs if outcome.success else alert_on_failed_runs
        context = dg.build_run_status_sensor_context(
            sensor_name=sensor.name,
            dagster_instance=self.instance,
            dagster_run=run,
            dagster_event=event,
            resources={"pipeline": self.pipeline},
        )
        sensor(context if outcome.success else context.for_run_failure())

    def _drain(self) -> None:
        found = drain_open_gaps(dg.build_sensor_context(instance=self.instance, resources={"pipeline": self.pipeline}))
        if isinstance(found, dg.RunRequest):
            self.run("drain_gaps")


def _secret(value: Any) -> str:
    return "" if value is None else str(value.get_secret_value())
