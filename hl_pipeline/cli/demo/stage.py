"""What the acts stand on: the sandbox as a child, the database, market time as we set it, Dagster's own instance."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hl_pipeline.cli.demo.switchboard import Switchboard
from hl_pipeline.cli.ground import Ground
from hl_pipeline.cli.supervisor import Program, Stop, Supervisor
from hl_pipeline.model.clock import ManualClock, SystemClock
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.model.universe import Universe
from hl_pipeline.runtime import Pipeline, open_pipeline
from hl_pipeline.settings import Settings
from hl_pipeline.storage.overview import last_asked_ms

if TYPE_CHECKING:
    from hl_pipeline.defs.launch import RunOutcome

COINS = ("BTC", "ETH", "SOL", "ARB", "OP", "MATIC")
SEED = 7
#: Ten times the real limit and then some, so that nobody waits three minutes for the first collection.
DEMO_WEIGHT = 12_000
#: Of the sandbox, where nobody else has it.
USUAL_PORT = 4010
#: Dagster's messages go to its event log, where the web interface shows them, and not between the acts.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
#: Market time that passes between the acts.
TROUBLE_LASTS_MS = 13 * MINUTE_MS
HEALING_TAKES_MS = 10 * MINUTE_MS
#: Of the time before the healing, how long nobody collects: past the next try of a slot that was absent (5 minutes).
NEGLECT_LASTS_MS = 9 * MINUTE_MS
#: The acts are read this long after a minute has begun, so that the last closed candle has settled.
_PAST_THE_MINUTE_MS = 20_000


@dataclass(slots=True)
class Stage:
    """Everything an act may touch. ``clock`` is the pipeline's; `move_to` moves it together with the sandbox's."""

    settings: Settings
    ground: Ground
    pipeline: Pipeline
    exchange: Switchboard
    clock: ManualClock

    def move_to(self, now_ms: int) -> None:
        """Let market time pass."""
        self.exchange.set_clock(now_ms)
        self.clock.set(now_ms)

    def run(self, job: str) -> RunOutcome:
        """Run a Dagster job in this process, on the instance that the web interface shows."""
        from hl_pipeline.defs.launch import run_job

        return run_job(job, run_config=_QUIET, pipeline=self.pipeline, settings=self.settings)


def demo_settings(environ: dict[str, str], port: int | None, exchange_port: int = USUAL_PORT) -> Settings:
    """The demo's settings: of yours only the home's place and the port of the web interface count."""
    given = Settings.load({name: environ[name] for name in ("HL_HOME", "HL_UI_PORT") if name in environ})
    return Settings(
        venue="sandbox",
        endpoint=f"http://127.0.0.1:{exchange_port}",
        home=given.home / "demo",
        markets=COINS,
        universe=Universe.LIST,
        weight_per_minute=DEMO_WEIGHT,
        ui_port=port or given.ui_port,
        stream=False,  # the acts live through minutes in a moment; it runs beside the web interface
    )


def ahead_ms(ground: Ground) -> int:
    """How far market time must run ahead of this machine's clock so as not to go back; 0 unless demos came quickly."""
    with ground.database.connection() as connection:
        asked = last_asked_ms(connection)
    return max(0, (asked or 0) - SystemClock().now_ms())


def opening_ms(ground: Ground) -> int:
    """Market time of the first act: early enough to end at the real now, and later than anything asked before."""
    with ground.database.connection() as connection:
        asked = last_asked_ms(connection)
    wanted = SystemClock().now_ms() - TROUBLE_LASTS_MS - HEALING_TAKES_MS - 2 * MINUTE_MS
    minute = max(wanted, asked or 0) // MINUTE_MS + 1
    return minute * MINUTE_MS + _PAST_THE_MINUTE_MS


@contextmanager
def set_up(
    settings: Settings, ground: Ground, listener: socket.socket, now_ms: int, say: Callable[[str], None]
) -> Iterator[Stage]:
    """The stage at market time ``now_ms``; its sandbox listens on ``listener`` and ends with the block."""
    supervisor = Supervisor(os.environ, settings.venue_home / "log", say, Stop())
    try:
        more = ("--manual-clock-ms", str(now_ms), "--per-minute", str(DEMO_WEIGHT))
        supervisor.start(sandbox_program(settings, listener, *more))
        clock = ManualClock(now_ms)
        with open_pipeline(settings, database=ground.database, clock=clock) as pipeline:
            yield Stage(settings, ground, pipeline, Switchboard(settings.endpoint), clock)
    finally:
        supervisor.shut_down()


def sandbox_program(settings: Settings, listener: socket.socket, *more: str) -> Program:
    """The sandbox as a child on our own listening socket, so that no other sandbox is taken for ours."""
    command = (
        sys.executable, "-m", "hl_pipeline.sandbox", "--fd", str(listener.fileno()), "--seed", str(SEED),
        "--coins", ",".join(COINS), *more,
    )  # fmt: skip
    return Program("sandbox exchange", command, Switchboard(settings.endpoint).is_ready, inherits=(listener.fileno(),))
