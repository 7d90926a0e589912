"""Time that passes only when everybody who works is waiting for it: minutes of waiting in seconds, in many threads."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hl_pipeline.model.answer import CandleAnswer, CandleRequest
from hl_pipeline.source.rest import HyperliquidRest


class VirtualTime:
    """A clock, a monotonic clock and a sleep that belong together.

    A thread counts while it is `working`; when all that count are asleep, time jumps to whoever wakes first.
    """

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms
        self._changed = threading.Condition()
        self._working = 0
        self._alarms: list[tuple[int, int]] = []
        self._numbers = itertools.count()

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return self._now_ms / 1000

    @contextmanager
    def working(self) -> Iterator[None]:
        with self._changed:
            self._working += 1
        try:
            yield
        finally:
            with self._changed:
                self._working -= 1
                self._pass_if_all_wait()

    def sleep(self, seconds: float) -> None:
        """Wait in virtual time; to be called by a thread that is working."""
        with self._changed:
            alarm = (self._now_ms + max(1, round(seconds * 1000)), next(self._numbers))
            heapq.heappush(self._alarms, alarm)
            self._pass_if_all_wait()
            while alarm in self._alarms:
                assert self._changed.wait(60), "nobody lets time pass"

    def _pass_if_all_wait(self) -> None:
        if self._alarms and len(self._alarms) >= self._working:
            self._now_ms = max(self._now_ms, heapq.heappop(self._alarms)[0])
            self._changed.notify_all()


class PatientSource:
    """A client whose calls count as work, and that notes how long each request waited for its answer."""

    def __init__(self, rest: HyperliquidRest, time: VirtualTime) -> None:
        self._rest = rest
        self._time = time
        self.waited_ms: list[tuple[int, str, int]] = []

    def candles(self, request: CandleRequest, *, lane: str) -> CandleAnswer:
        """As the client's, with 300 ms of virtual latency; instant, lane and wait are kept."""
        with self._time.working():
            began = self._time.now_ms()
            answer = self._rest.candles(request, lane=lane)
            self.waited_ms.append((began, lane, self._time.now_ms() - began))
            self._time.sleep(0.3)
            return answer
