"""What a Sentry server takes, on loopback: envelopes, unpacked and kept."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


@dataclass
class Sentry:
    """``events`` are the events it took, ``others`` whatever else stood in envelopes, ``raw`` all bytes unpacked.

    ``hold`` keeps the answer back until it is set; ``arrived`` is set by each envelope.
    """

    port: int = 0
    status: int = 200
    location: str | None = None
    events: list[dict[str, Any]] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event = field(default_factory=threading.Event)

    @property
    def dsn(self) -> str:
        """Where to report to."""
        return f"http://{KEY}@127.0.0.1:{self.port}/7"

    def take(self, path: str, auth: str, body: bytes) -> None:
        """One envelope: a head, then an item's head and its body, and so on."""
        assert path == "/api/7/envelope/"
        self.keys.append(auth)
        self.raw.append(body)
        lines = body.split(b"\n")
        for head, item in zip(lines[1::2], lines[2::2], strict=False):
            if head and json.loads(head)["type"] == "event":
                self.events.append(json.loads(item))
            elif head:
                self.others.append(json.loads(head)["type"])


@contextmanager
def sentry() -> Iterator[Sentry]:
    """A server on a free port, stopped at the end."""
    server_of = Sentry()
    server_of.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            server_of.arrived.set()
            server_of.hold.wait(30)
            if server_of.status == 200:
                server_of.take(self.path, self.headers["X-Sentry-Auth"], body)
            self.send_response(server_of.status)
            if server_of.location:
                self.send_header("Location", server_of.location)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def do_GET(self) -> None:
            """What a redirect may make of a post."""
            self.do_POST()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server_of.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server_of
        finally:
            server_of.hold.set()
            server.shutdown()
            thread.join()
