from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hl_pipeline.model.halt import Halt, Halted


def test_nobody_wants_it_at_first() -> None:
    halt = Halt()
    assert not halt.wanted
    assert halt.age_seconds == 0.0
    assert not halt.wait(0.0)
    halt.check()
    halt.sleep(0.0)


def test_once_wanted_it_stays_so_for_everybody_who_asks() -> None:
    halt = Halt()
    halt.request()
    first = halt.age_seconds
    halt.request()
    assert halt.wanted
    assert halt.wait()
    assert halt.wait()
    assert halt.age_seconds >= first, "a second wish does not begin it anew"
    with pytest.raises(Halted):
        halt.check()
    with pytest.raises(Halted):
        halt.sleep(600.0)


def test_it_ends_the_waiting_of_every_thread() -> None:
    halt, waiting = Halt(), threading.Barrier(4)

    def wait() -> bool:
        waiting.wait()
        return halt.wait(600.0)

    with ThreadPoolExecutor(3) as pool:
        found = [pool.submit(wait) for _ in range(3)]
        waiting.wait()
        halt.request()
        assert all(future.result(30) for future in found)


def test_a_signal_handler_may_want_it_while_the_same_thread_waits() -> None:
    halt = Halt()
    kept = signal.signal(signal.SIGALRM, lambda *_: halt.request())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert halt.wait(600.0)
    finally:
        signal.signal(signal.SIGALRM, kept)


def test_whoever_deals_with_errors_lets_it_pass() -> None:
    assert not issubclass(Halted, Exception)
