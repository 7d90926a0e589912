"""``python -m hl_pipeline_tests.crashing POINT AFTER``: one collecting run that kills itself with SIGKILL at a point.

The run is the real one: the ``live_candles`` asset, Dagster's events on
Postgres, HTTP to the sandbox that ``HL_ENDPOINT`` names. ``AFTER`` is how often
the point is passed before it kills. ``none`` kills nowhere. Nothing of this is in the
product: the points are reached by wrapping its functions here.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import dagster as dg
import psycopg
from dagster_postgres.event_log import PostgresEventLogStorage

from hl_pipeline.collect.fill import _Filler
from hl_pipeline.defs.assets import live_candles as asset_module
from hl_pipeline.defs.assets.live_candles import live_candles
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.runtime import open_pipeline
from hl_pipeline.settings import Settings
from hl_pipeline.source.rest import HyperliquidRest
from hl_pipeline.storage import fetches
from hl_pipeline.storage.engine import Database

FAILURE_POINTS = ("before a failure commits", "after a failure committed")
POINTS = ("before request", "after response", "mid-COPY", "before commit", "before the event", "mid-event")


def main() -> None:
    """Arm the point, then collect."""
    point, after, now_ms = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    countdown = itertools.count()

    def kill() -> None:
        if next(countdown) == after:
            os.kill(os.getpid(), signal.SIGKILL)

    if point != "none":
        arm(point, kill)
    settings = Settings.load()
    assert settings.database_url is not None
    database = Database(settings.database_url.get_secret_value(), max_connections=12)
    with (
        dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance,
        open_pipeline(settings, database=database, clock=ManualClock(now_ms)) as pipeline,
    ):
        result = dg.materialize([live_candles], resources={"pipeline": pipeline}, instance=instance)
    database.close()
    assert result.success


def arm(point: str, kill: Callable[[], None]) -> None:
    """Wrap the function that passes the point."""
    if point == "before request":
        before(HyperliquidRest, "candles", kill)
    elif point == "after response":
        after(HyperliquidRest, "candles", kill)
    elif point == "mid-COPY":
        write = psycopg.Copy.write

        def half(self: psycopg.Copy, buffer: Any) -> None:
            write(self, buffer[: len(buffer) // 2])
            kill()
            write(self, buffer[len(buffer) // 2 :])

        psycopg.Copy.write = half  # type: ignore[method-assign]
    elif point == "before commit":
        after(fetches, "landed", kill)
    elif point == "before a failure commits":
        after(fetches, "failed", kill)
    elif point == "after a failure committed":
        after(_Filler, "_failed", kill)
    elif point == "before the event":
        after(asset_module, "fill", kill)
    elif point == "mid-event":
        arm_mid_event(kill)
    else:
        raise ValueError(f"{point!r} is not one of {POINTS + FAILURE_POINTS}")


def arm_mid_event(kill: Callable[[], None]) -> None:
    """Die when the materialization stands in the event log, but not yet in the asset's own tables."""
    store = PostgresEventLogStorage._store_asset_event_tags

    def half(self: PostgresEventLogStorage, connection: Any, events: Any, ids: Any) -> None:
        store(self, connection, events, ids)
        if events[0].get_dagster_event().event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            kill()

    PostgresEventLogStorage._store_asset_event_tags = half  # type: ignore[method-assign,assignment]


def before(owner: Any, name: str, act: Callable[[], None]) -> None:
    """Act before each call."""
    inner = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        act()
        return inner(*args, **kwargs)

    setattr(owner, name, wrapped)


def after(owner: Any, name: str, act: Callable[[], None]) -> None:
    """Act after each call."""
    inner = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = inner(*args, **kwargs)
        act()
        return result

    setattr(owner, name, wrapped)


if __name__ == "__main__":
    main()
