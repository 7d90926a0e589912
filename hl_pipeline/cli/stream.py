"""``hl stream``: follow the exchange's live stream until a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Collection

import click

from hl_pipeline.cli.crash import reported
from hl_pipeline.cli.screen import console
from hl_pipeline.cli.stopping import stopping
from hl_pipeline.collect.fill import fill
from hl_pipeline.collect.probe import probe_endpoints
from hl_pipeline.collect.stream import Streamer, StreamPolicy
from hl_pipeline.model.failure import TryAgain
from hl_pipeline.model.gap_queue import live_slots
from hl_pipeline.model.halt import Halt, Halted
from hl_pipeline.model.interval import Interval
from hl_pipeline.model.ledger import SeriesState
from hl_pipeline.model.span import SpanSet
from hl_pipeline.notify.logs import log_to_stderr
from hl_pipeline.runtime import Pipeline, open_pipeline
from hl_pipeline.settings import Settings

_LOG = logging.getLogger(__name__)
#: How often it is asked whether a probe is due; each endpoint is probed every half minute.
_PROBE_SECONDS = 5.0


@click.command()
def stream() -> None:
    """Follow the live stream, until Ctrl-C: 1m candles of every tracked market.

    A candle is readable a second after it closed, as provisional, and final
    when REST has confirmed it within the hour. `hl up` runs this by itself.
    A second Ctrl-C ends at once.
    """
    settings = Settings.load()
    log_to_stderr(logging.INFO, as_json=settings.log_format == "json")
    for chatty in ("websockets", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    with reported(), stopping() as signals, open_pipeline(settings, halt=signals.halt) as pipeline:
        asyncio.run(follow(pipeline, signals.halt))


async def follow(pipeline: Pipeline, halt: Halt) -> None:
    """Stream into the pipeline's database until ``halt`` is wanted."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def watch() -> None:
        halt.wait()
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=watch, name="stream-stop", daemon=True).start()
    settings = pipeline.settings
    streamer = Streamer(
        [settings.stream_url(endpoint) for endpoint in settings.endpoints],
        pipeline.database,
        pipeline.clock,
        StreamPolicy(
            proof=pipeline.policy.proof,
            flush_s=settings.manner.flush_seconds,
            public_only=settings.venue != "sandbox",
        ),
        repair=lambda coins: repair(pipeline, coins),
    )
    console().print(f"Streaming from the {settings.venue} exchange ...")
    prober = threading.Thread(target=probe, args=(pipeline, halt), name="stream-probe", daemon=True)
    prober.start()
    await streamer.run(stop)
    console().print(f"Stopped. {streamer.stats.closed:,} candles closed, {streamer.stats.landed:,} rows written.")


def probe(pipeline: Pipeline, halt: Halt) -> None:
    """Look after the endpoints until ``halt`` is wanted; what is due is claimed in the database."""
    while not halt.wait(_PROBE_SECONDS):
        try:
            probe_endpoints(pipeline.source, pipeline.database, pipeline.clock, pipeline.endpoints)
        except Halted:
            return
        except TryAgain as error:
            _LOG.warning("the endpoints are looked at later: %s", error)


def repair(pipeline: Pipeline, coins: Collection[str]) -> None:
    """Ask REST at once for the newest minutes that the stream missed; a series never read is the schedule's affair."""
    try:
        report = fill(
            pipeline.source,
            pipeline.database,
            pipeline.clock,
            pipeline.policy,
            coins=coins,
            intervals=(Interval.M1,),
            only=_newest_of_known,
        )
    except Halted:
        return  # the schedule reads it
    _LOG.info("read what was missed: %d requests, weight %d", report.planned, report.weight)


def _newest_of_known(state: SeriesState, now_ms: int) -> SpanSet:
    return live_slots(state, now_ms) if state.has_history else SpanSet()
