"""A reader met late candles: one thread, of all processes, asks for them, and nobody waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from enum import StrEnum

from hl_pipeline.model.candle import SeriesKey
from hl_pipeline.model.failure import PipelineError
from hl_pipeline.storage import read_columns
from hl_pipeline.storage.engine import Database

_LOG = logging.getLogger(__name__)
#: So soon after a refresh of a series none begins, however late its candles are: the exchange may not have them.
APART_S = 5.0


class Refresh(StrEnum):
    """What was done about late candles."""

    OFF = "off"  # the reader wanted none
    NOT_ALLOWED = "not allowed"  # the database lets this user only read
    NOT_DUE = "not due"  # nothing is late
    UNDER_WAY = "under way"  # somebody asks for them at this moment
    JUST_DONE = "just done"  # this process asked a moment ago
    STARTED = "started"


class Refresher:
    """Starts ``ask`` for a series in a thread, unless another thread or process is at it. Threads may share it.

    ``database`` is opened when it is needed, and keeps the right to ask: who dies gives it back.
    """

    def __init__(self, database: Callable[[], Database], ask: Callable[[SeriesKey], object]) -> None:
        self._database = database
        self._ask = ask
        self._guard = threading.Lock()
        self._under_way: dict[int, threading.Thread] = {}
        self._ended_s: dict[int, float] = {}

    def start(self, series_id: int, key: SeriesKey) -> Refresh:
        """Begin to ask for the series; returns at once, and says what was done."""
        if series_id not in self._under_way and read_columns.is_refreshing(self._database(), series_id):
            return Refresh.UNDER_WAY
        with self._guard:
            if series_id in self._under_way:
                return Refresh.UNDER_WAY
            if time.monotonic() - self._ended_s.get(series_id, -APART_S) < APART_S:
                return Refresh.JUST_DONE
            name = f"refresh {key.coin} {key.interval}"
            thread = threading.Thread(target=self._run, args=(series_id, key), name=name, daemon=True)
            self._under_way[series_id] = thread
            thread.start()
        return Refresh.STARTED

    def join(self) -> None:
        """Wait for what this process has begun."""
        with self._guard:
            threads = list(self._under_way.values())
        for thread in threads:
            thread.join()

    def _run(self, series_id: int, key: SeriesKey) -> None:
        has_asked = False
        try:
            with read_columns.refreshing(self._database(), series_id) as is_mine:
                if is_mine:
                    has_asked = True
                    self._ask(key)
        except PipelineError as error:  # the ledger knows of it, too, unless the database is what failed
            _LOG.warning("%s %s could not be refreshed: %s", key.coin, key.interval, error)
        finally:
            with self._guard:
                del self._under_way[series_id]
                if has_asked:  # else another process is at it
                    self._ended_s[series_id] = time.monotonic()
