"""A plain HTTP server that answers by script, and plain fakes for the budget and for time.

Belongs here: what the tests of the REST client share. The sandbox exchange is
for answers; this is for connections that misbehave below HTTP.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any, Self

from hl_pipeline.model.budget import Reservation

Act = Callable[[socket.socket, threading.Event], None]
Step = bytes | Act


def answer(
    body: bytes = b"[]", status: str = "200 OK", headers: tuple[str, ...] = (), length: int | None = None
) -> bytes:
    """A whole HTTP/1.1 response; ``length`` overrides the true Content-Length."""
    lines = [
        f"HTTP/1.1 {status}",
        "Content-Type: application/json",
        f"Content-Length: {len(body) if length is None else length}",
    ]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def cut(raw: bytes) -> Act:
    """Send what is given and close the connection."""

    def act(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_RDWR)

    return act


def drip(head: bytes, byte: bytes = b" ") -> Act:
    """Send ``head``, then one byte every 20 ms until the client gives up."""

    def act(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(head)
        while not stop.wait(0.02):
            connection.sendall(byte)

    return act


def silence(_: socket.socket, stop: threading.Event) -> None:
    """Answer nothing until the test is over."""
    stop.wait(60)


class ScriptedServer:
    """Answers the n-th request with the n-th step of its script, the last step again and again."""

    def __init__(self, *script: Step) -> None:
        self._script = list(script)
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://{}:{}".format(*self._listener.getsockname())
        self.requests: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.connections = 0

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts; closing alone does not
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            try:
                while (step := self._read(lines)) is not None:
                    if callable(step):
                        step(connection, self._stop)
                        return
                    connection.sendall(step)
            except OSError:
                return

    def _read(self, lines: Any) -> Step | None:
        head = b""
        while (line := lines.readline()) not in (b"\r\n", b""):
            head += line
        if not head:
            return None
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = lines.read(length)
        with self._guard:
            self.heads.append(head.decode())
            self.requests.append(json.loads(body))
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]


class BudgetBook:
    """A budget that grants everything and writes down what it was asked; ``refusals`` are raised first."""

    def __init__(self, *refusals: Exception, settle_fault: Exception | None = None) -> None:
        self._refusals = list(refusals)
        self._settle_fault = settle_fault
        self._guard = threading.Lock()
        self.reserved: list[tuple[int, str]] = []
        self.settled: list[int] = []
        self.withdrawn = 0

    def reserve(self, weight: int, *, lane: str) -> Reservation:
        with self._guard:
            if self._refusals:
                raise self._refusals.pop(0)
            self.reserved.append((weight, lane))
            return Reservation(len(self.reserved), weight, 1000)

    def settle(self, reservation: Reservation, weight: int) -> None:
        if self._settle_fault:
            raise self._settle_fault
        with self._guard:
            self.settled.append(weight)

    def withdraw(self) -> None:
        with self._guard:
            self.withdrawn += 1


class FakeTime:
    """A monotonic clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
