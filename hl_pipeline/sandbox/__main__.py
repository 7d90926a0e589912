"""``python -m hl_pipeline.sandbox``: a local exchange until SIGTERM; prints its two URLs once it listens."""

from __future__ import annotations

import argparse
import socket

from hl_pipeline.model.clock import Clock, ManualClock, ScaledClock, SystemClock
from hl_pipeline.model.tariff import EXCHANGE_WEIGHT_PER_MINUTE
from hl_pipeline.sandbox.catalogue import markets_named
from hl_pipeline.sandbox.exchange import Exchange
from hl_pipeline.sandbox.faults import FaultPlan
from hl_pipeline.sandbox.limiter import LimiterMode, WeightLimiter
from hl_pipeline.sandbox.server import serve, socket_url_of
from hl_pipeline.sandbox.world import Manners, QuietMode, WindowMode, World


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser(prog="python -m hl_pipeline.sandbox", description=__doc__)
    made.add_argument("--port", type=int, default=0, help="0 takes a free port")
    made.add_argument("--fd", type=int, default=None, help="an inherited listening socket, instead of a port")
    made.add_argument("--seed", type=int, default=1, help="the same seed is the same market history")
    made.add_argument("--history-days", type=int, default=None, help="cut every market's history to this many days")
    made.add_argument("--coins", default="", help="COIN,COIN,...: only these markets exist")
    made.add_argument("--limiter", choices=[m.value for m in LimiterMode], default=LimiterMode.BUCKET.value)
    made.add_argument(
        "--per-minute", type=int, default=EXCHANGE_WEIGHT_PER_MINUTE, help="the limiter's weight a minute"
    )
    made.add_argument("--quiet-mode", choices=[m.value for m in QuietMode], default=QuietMode.DENSE_WITH_LAG.value)
    made.add_argument("--window", choices=[m.value for m in WindowMode], default=WindowMode.OVERLAP.value)
    made.add_argument("--clock-offset-ms", type=int, default=0, help="added to this machine's clock")
    made.add_argument("--manual-clock-ms", type=int, default=None, help="a clock that stands here until moved")
    made.add_argument("--speed", type=float, default=None, help="market time runs this many times as fast as real time")
    made.add_argument("--chaos", type=float, default=0.0, help="share of answers that fail in some way, 0 to 1")
    made.add_argument("--prewarm", default="", help="COIN,COIN,... to encode ahead, all six main intervals")
    made.add_argument("--instant", action="store_true", help="keep whole answers while a manual clock stands")
    return made


def main(arguments: list[str] | None = None) -> None:
    """Serve until told to stop."""
    options = parser().parse_args(arguments)
    manual, offset = options.manual_clock_ms, options.clock_offset_ms
    clock: Clock = SystemClock(offset) if manual is None else ManualClock(manual)
    if options.speed is not None:
        clock = ScaledClock(clock.now_ms(), options.speed)
    # a limiter in real time would be strict with a client whose minutes are shorter
    limiting = clock if isinstance(clock, ScaledClock) else None
    markets = markets_named(*options.coins.split(",")) if options.coins else None
    world = World(options.seed, markets=markets, clock=clock, history_days=options.history_days)
    exchange = Exchange(
        world,
        manners=Manners(QuietMode(options.quiet_mode), WindowMode(options.window)),
        limiter=WeightLimiter(LimiterMode(options.limiter), limiting, options.per_minute),
        faults=FaultPlan.seeded(options.seed, options.chaos) if options.chaos else FaultPlan(options.seed),
        instant=options.instant,
    )
    if options.prewarm:
        exchange.prewarm(options.prewarm.split(","), ["1m", "5m", "15m", "1h", "4h", "1d"])
    listener = None if options.fd is None else socket.socket(fileno=options.fd)
    serve(
        exchange, options.port, listener=listener, ready=lambda url: print(f"{url}\n{socket_url_of(url)}", flush=True)
    )


if __name__ == "__main__":
    main()
