from __future__ import annotations

import ssl
import threading
from typing import Any

import httpcore
import pytest

from hl_pipeline.source.deadline import Deadline, _Backend, _Stream
from hl_pipeline_tests.source.scripted import FakeTime


class Socket(httpcore.NetworkStream):
    """Writes down the time-outs it is given."""

    def __init__(self) -> None:
        self.timeouts: list[float | None] = []
        self.closed = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.timeouts.append(timeout)
        return b"x" * max_bytes

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.timeouts.append(timeout)

    def close(self) -> None:
        self.closed = True

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        self.timeouts.append(timeout)
        return self

    def get_extra_info(self, info: str) -> Any:
        return info


def test_every_wait_is_cut_to_what_is_left_through_tls_too() -> None:
    time, socket = FakeTime(), Socket()
    deadline = Deadline(time.monotonic)
    stream = _Stream(socket, deadline)
    with deadline.within(10.0):
        stream.write(b"x", 30.0)
        time.sleep(4.0)
        inner = stream.start_tls(ssl.create_default_context(), "host", 30.0)
        time.sleep(4.0)
        assert inner.read(1, 30.0) == b"x"
        inner.read(1, 0.5)
        inner.read(1)
    assert socket.timeouts == [10.0, 6.0, 2.0, 0.5, 2.0]
    assert inner.get_extra_info("socket") == "socket"
    inner.close()
    assert socket.closed


def test_nothing_is_begun_after_the_deadline() -> None:
    time = FakeTime()
    deadline = Deadline(time.monotonic)
    stream = _Stream(Socket(), deadline)
    with deadline.within(1.0):
        time.sleep(1.0)
        with pytest.raises(httpcore.ReadTimeout):
            stream.read(1)
        with pytest.raises(httpcore.WriteTimeout):
            stream.write(b"x")
        with pytest.raises(httpcore.ConnectTimeout):
            stream.start_tls(ssl.create_default_context())
        with pytest.raises(httpcore.ConnectTimeout):
            _Backend(deadline).connect_tcp("127.0.0.1", 1)


def test_a_deadline_binds_its_own_thread_and_its_own_block_only() -> None:
    time = FakeTime()
    deadline = Deadline(time.monotonic)
    seen: list[float | None] = []
    with deadline.within(1.0):
        other = threading.Thread(target=lambda: seen.append(deadline.left(30.0, TimeoutError)))
        other.start()
        other.join()
    assert [*seen, deadline.left(30.0, TimeoutError)] == [30.0, 30.0]
