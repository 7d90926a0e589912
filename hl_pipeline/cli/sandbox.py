"""``hl sandbox``: a local Hyperliquid in the foreground, for trying faults by hand."""

from __future__ import annotations

import click

from hl_pipeline.model.failure import NeedsAPerson

DEFAULT_PORT = 4010


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0 takes a free one."
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed is the same market history.")
@click.pass_context
def sandbox(ctx: click.Context, port: int, seed: int) -> None:
    """Run a local Hyperliquid with switchable faults, until Ctrl-C.

    Prints its URL and that of its WebSocket. Point the pipeline at it with
    HL_VENUE=sandbox. Everything else of `python -m hl_pipeline.sandbox --help`
    is passed on, such as --chaos 0.05, --limiter minute, --speed 30 or
    --history-days 30.

    \b
    Faults are switched over HTTP:
      curl -X POST   127.0.0.1:4010/sandbox/faults -d '{"kind": "429", "times": 5}'
      curl -X POST   127.0.0.1:4010/sandbox/faults -d '{"kind": "ws_drop"}'
      curl -X DELETE 127.0.0.1:4010/sandbox/faults
    """
    from hl_pipeline.sandbox.__main__ import main

    try:
        main(["--port", str(port), "--seed", str(seed), *ctx.args])
    except OSError as error:
        raise NeedsAPerson(
            f"port {port} on 127.0.0.1 is taken ({error.strerror}): choose another with --port"
        ) from error
