"""A sink on loopback: takes what is posted to it, or refuses, as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """``posts`` are the JSON bodies it took, ``paths`` where they went; ``status`` is what it answers.

    ``arrived`` is set by each post, ``hold`` keeps the answer back until it is set.
    """

    port: int = 0
    status: int = 200
    location: str | None = None
    posts: list[Any] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    refused: int = 0
    arrived: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port, stopped at the end."""
    receiver = Receiver()
    receiver.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if receiver.status == 200:
                receiver.posts.append(json.loads(body))
                receiver.paths.append(self.path)
            else:
                receiver.refused += 1
            receiver.arrived.set()
            receiver.hold.wait(30)
            answer = b"ok"
            try:
                self.send_response(receiver.status)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            except BrokenPipeError:
                return  # who asked was killed: that is the test

        def do_GET(self) -> None:
            """What a redirect may make of a post; it counts as having arrived."""
            receiver.arrived.set()
            self.send_error(405)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.hold.set()
            server.shutdown()
            thread.join()
