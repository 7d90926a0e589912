"""Dagster's records of live runs for the command line, which does not import Dagster itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dagster import DagsterInstance

from hl_pipeline.defs.launch import environment
from hl_pipeline.defs.run_records import DueRuns, before_ms, drop_runs, due_runs
from hl_pipeline.model.halt import Halt
from hl_pipeline.settings import Settings
from hl_pipeline.storage.engine import Database


class LiveRuns:
    """What can be asked of the records of one installation."""

    def __init__(self, instance: DagsterInstance) -> None:
        self._instance = instance

    def due(self, bound_ms: int) -> DueRuns:
        """The runs that are older than the bound; see ``run_records.due_runs``."""
        return due_runs(self._instance, before_ms(bound_ms))

    def drop(self, run_ids: Sequence[str], halt: Halt) -> int:
        """Delete them; see ``run_records.drop_runs``."""
        return drop_runs(self._instance, run_ids, halt=halt)


@contextmanager
def live_runs(settings: Settings, database: Database) -> Iterator[LiveRuns]:
    """The records that these settings lead to; closed at the end."""
    os.environ.update(environment(settings, database))
    with DagsterInstance.get() as instance:
        yield LiveRuns(instance)
