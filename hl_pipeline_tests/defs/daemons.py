"""Dagster's own daemons, one iteration at a time, on a real code server and a clock that runs by hand."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._daemon.freshness import FreshnessDaemon
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._scheduler.scheduler import launch_scheduled_runs

from hl_pipeline.defs.launch import LOCATION

_LOGGER = logging.getLogger("test")


@dataclass
class Daemon:
    """One life of the daemons' code server, on an instance that outlives it; its clock runs by hand."""

    context: WorkspaceProcessContext
    instance: dg.DagsterInstance
    at: datetime

    def look(self) -> None:
        """One iteration of the sensors, half a minute after the last."""
        self.at += timedelta(seconds=31)
        with freeze_time(self.at):
            list(execute_sensor_iteration(self.context, _LOGGER, None, None))

    def judge_freshness(self) -> None:
        """One iteration of the freshness daemon."""
        with freeze_time(self.at):
            list(FreshnessDaemon().run_iteration(self.context))

    def keep_schedules(self) -> None:
        """One iteration of the scheduler; of the ticks that were missed it makes up for one."""
        with freeze_time(self.at):
            list(launch_scheduled_runs(self.context, _LOGGER, self.at, {}, max_catchup_runs=1))


@contextmanager
def daemon(instance: dg.DagsterInstance, at: datetime) -> Iterator[Daemon]:
    """The daemons, on the project's definitions."""
    target = ModuleTarget("hl_pipeline.definitions", None, str(Path.cwd()), LOCATION)
    with create_test_daemon_workspace_context(target, instance) as context:
        yield Daemon(context, instance, at)
