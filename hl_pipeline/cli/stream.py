"""``hl stream``: follow the exchange's live stream until a signal comes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Collection

import click

from hl_pipeline.cli.screen import console
from hl_pipeline.collect.fill import fill
from hl_pipeline.collect.stream import Streamer, StreamPolicy
from hl_pipeline.model.gap_queue import live_slots
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.ledger import SeriesState
from hl_pipeline.model.span import SpanSet
from hl_pipeline.runtime import Pipeline, open_pipeline
from hl_pipeline.settings import Settings

#: A process that hangs in the database must not keep a machine from stopping.
_LAST_SECONDS = 12.0


@click.command()
def stream() -> None:
    """Follow the live stream, until Ctrl-C: 1m candles of every tracked market.

    A candle is readable a second after it closed, as provisional, and final
    when REST has confirmed it within the hour. `hl up` runs this by itself.
    A second Ctrl-C ends at once.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    for chatty in ("websockets", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    settings = Settings.load()
    with open_pipeline(settings) as pipeline:
        asyncio.run(follow(pipeline))


async def follow(pipeline: Pipeline) -> None:
    """Stream into the pipeline's database until SIGTERM, SIGINT or SIGHUP; a second one ends at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()
        loop.call_later(_LAST_SECONDS, os._exit, 1)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    settings = pipeline.settings
    streamer = Streamer(
        [settings.stream_url(endpoint) for endpoint in settings.endpoints],
        pipeline.database,
        pipeline.clock,
        StreamPolicy(proof=pipeline.policy.proof, flush_s=settings.manner.flush_seconds),
        repair=lambda coins: repair(pipeline, coins),
    )
    console().print(f"Streaming from the {settings.venue} exchange ...")
    await streamer.run(stop)
    console().print(f"Stopped. {streamer.stats.closed:,} candles closed, {streamer.stats.landed:,} rows written.")


def repair(pipeline: Pipeline, coins: Collection[str]) -> None:
    """Ask REST at once for the newest minutes that the stream missed; a series never read is the schedule's affair."""
    report = fill(
        pipeline.source,
        pipeline.database,
        pipeline.clock,
        pipeline.policy,
        coins=coins,
        intervals=(Interval.M1,),
        only=_newest_of_known,
    )
    logging.getLogger(__name__).info("read what was missed: %d requests, weight %d", report.planned, report.weight)


def _newest_of_known(state: SeriesState, now_ms: int) -> SpanSet:
    return live_slots(state, now_ms) if state.has_history else SpanSet()
