"""A mail server on loopback: takes what is sent to it, or refuses, as told (RFC 5321, and AUTH PLAIN)."""

from __future__ import annotations

import base64
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass
class Postbox:
    """``letters`` are the messages it took and ``envelopes`` their recipients; ``refusal`` is what it answers to RCPT.

    ``logins`` are the users and passwords that were given.
    """

    port: int = 0
    refusal: bytes | None = None
    letters: list[EmailMessage] = field(default_factory=list)
    envelopes: list[list[str]] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    refused: int = 0


class _Handler(socketserver.StreamRequestHandler):
    """One conversation; the server's ``box`` keeps what comes of it."""

    server: _Server

    def handle(self) -> None:
        self.recipients: list[str] = []
        self._say(b"220 postbox")
        while line := self.rfile.readline():
            verb, _, rest = line.strip().partition(b" ")
            if verb.upper() == b"QUIT":
                self._say(b"221 bye")
                return
            self._obey(verb.upper(), rest)

    def _obey(self, verb: bytes, rest: bytes) -> None:
        box = self.server.box
        if verb == b"EHLO":
            self._say(b"250-postbox", b"250 AUTH PLAIN")
        elif verb == b"AUTH":
            _, user, password = base64.b64decode(rest.split()[-1]).decode().split("\0")
            box.logins.append((user, password))
            self._say(b"235 welcome")
        elif verb == b"RCPT" and box.refusal is not None:
            box.refused += 1
            self._say(box.refusal)
        elif verb == b"DATA":
            self._say(b"354 go on")
            self._take()
        else:
            if verb == b"RCPT":
                self.recipients.append(rest.partition(b":")[2].strip(b"<> ").decode())
            self._say(b"250 ok")

    def _take(self) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b"..") else line)
        letter = message_from_bytes(b"".join(lines), policy=policy.default)
        assert isinstance(letter, EmailMessage)
        self.server.box.letters.append(letter)
        self.server.box.envelopes.append(self.recipients)
        self.recipients = []
        self._say(b"250 taken")

    def _say(self, *lines: bytes) -> None:
        self.wfile.write(b"".join(line + b"\r\n" for line in lines))


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int, box: Postbox) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.box = box


@contextmanager
def receiving_mail(port: int = 0) -> Iterator[Postbox]:
    """A mail server on this port, or a free one, stopped at the end."""
    box = Postbox()
    with _Server(port, box) as server:
        box.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()
