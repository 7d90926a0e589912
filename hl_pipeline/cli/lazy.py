"""A click group that imports a command only when it is asked for, and turns our errors into one clear line.

Exit codes: 0 done · 1 time may heal it, try again (`TryAgain`) · 2 a person must act (`NeedsAPerson`, and every
mistake on the command line) · 130 interrupted. ``hl verify`` and ``hl health`` say in their help what else they
use 1 and 2 for.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import click

from hl_pipeline.model.failure import PipelineError, TryAgain

EXIT_TRY_AGAIN = 1
EXIT_NEEDS_A_PERSON = 2
EXIT_INTERRUPTED = 130


class Lazy(NamedTuple):
    """Where a command is, and the line ``hl --help`` shows for it without loading it."""

    module: str
    attribute: str
    help: str


class LazyGroup(click.Group):
    """A group whose commands are named, not imported."""

    def __init__(self, *args: Any, lazy: dict[str, Lazy] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order it was written down."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        lazy = self.lazy[cmd_name]
        command = getattr(importlib.import_module(lazy.module), lazy.attribute)
        assert isinstance(command, click.Command), f"{lazy.module}:{lazy.attribute} is no command"  # noqa: S101 - typing
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's own
        """The table of commands, from the lines in hand."""
        rows = [(name, lazy.help) for name, lazy in self.lazy.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run, and let an expected error leave as one line on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            click.echo(f"hl: {error}", err=True)
            ctx.exit(EXIT_TRY_AGAIN if isinstance(error, TryAgain) else EXIT_NEEDS_A_PERSON)
        except KeyboardInterrupt:
            click.echo("hl: interrupted", err=True)
            ctx.exit(EXIT_INTERRUPTED)
        except PermissionError as error:
            click.echo(
                f"hl: {error.filename} may not be written or read by this user: "
                "give the folder to the user who runs hl, or set HL_HOME to another",
                err=True,
            )
            ctx.exit(EXIT_NEEDS_A_PERSON)
