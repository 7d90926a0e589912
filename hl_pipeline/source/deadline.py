"""A total deadline for one HTTP exchange, kept at every read and write of the socket.

httpx's time-outs bound each read, so a server that drips one byte at a time
holds a client for ever, in the headers as well as in the body. Looking up a
host's name is the resolver's own affair and not bounded here. A process that is
to stop gives an answer under way a few more seconds, not all of its deadline.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpcore
import httpx

from hl_pipeline.model.halt import Halt
from hl_pipeline.source.public import public_addresses

#: What an answer under way still gets once somebody wants the process to stop.
LAST_SECONDS = 4.0
#: How often a read that waits looks whether somebody does.
_LOOK_SECONDS = 0.25

_SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class Deadline:
    """When the exchange of the calling thread has to be over. Each thread has its own."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, halt: Halt | None = None) -> None:
        self._monotonic = monotonic
        self._halt = halt
        self._of_thread = threading.local()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Everything this thread does on the socket inside the block ends within ``seconds``."""
        self._of_thread.at = self._monotonic() + seconds
        try:
            yield
        finally:
            self._of_thread.at = None

    def left(self, timeout: float | None, error: type[Exception]) -> float | None:
        """``timeout`` cut down to the seconds left.

        Raises:
            error: none are left.
        """
        at: float | None = getattr(self._of_thread, "at", None)
        if at is None:
            return timeout
        left = at - self._monotonic()
        if left <= 0:
            raise error("the total deadline has passed")
        if self._halt is not None and self._halt.wanted:
            left = min(left, LAST_SECONDS - self._halt.age_seconds)
            if left <= 0:
                raise error("the process is to stop and waits no longer")
        return left if timeout is None else min(timeout, left)

    def attentively(self, act: Callable[[float | None], bytes], timeout: float | None, error: type[Exception]) -> bytes:
        """``act`` with the seconds it may take; in short looks, so that a wish to stop is heard meanwhile.

        Raises:
            error: ``timeout`` or the deadline has passed, as ``act`` itself says it.
        """
        left = self.left(timeout, error)
        if self._halt is None or left is None:
            return act(left)
        ends = self._monotonic() + left
        while True:
            look = min(left, _LOOK_SECONDS)
            try:
                return act(look)
            except error:
                left = self.left(ends - self._monotonic(), error)
                if left is None or left <= 0:
                    raise


class _Stream(httpcore.NetworkStream):
    """A socket whose waits never outlast the deadline."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._deadline.attentively(lambda left: self._inner.read(max_bytes, left), timeout, httpcore.ReadTimeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = self._deadline.left(timeout, httpcore.WriteTimeout)
        self._inner.write(buffer, left)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = self._deadline.left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    def __init__(self, deadline: Deadline, *, public_only: bool = False) -> None:
        self._deadline = deadline
        self._public_only = public_only

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore.NetworkStream:
        if not self._public_only:
            return self._connect(host, port, timeout, local_address, socket_options)
        try:
            addresses = public_addresses(host, port)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        for address in addresses[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self._connect(address, port, timeout, local_address, socket_options)
        return self._connect(addresses[-1], port, timeout, local_address, socket_options)

    def _connect(
        self,
        host: str,
        port: int,
        timeout: float | None,
        local_address: str | None,
        socket_options: Iterable[_SocketOption] | None,
    ) -> httpcore.NetworkStream:
        left = self._deadline.left(timeout, httpcore.ConnectTimeout)
        inner = super().connect_tcp(host, port, left, local_address, socket_options)
        return _Stream(inner, self._deadline)


def client_with(deadline: Deadline, *, max_connections: int = 8, public_only: bool = False) -> httpx.Client:
    """An httpx client on HTTP/1.1 that keeps connections, obeys ``deadline``, and neither proxies nor redirects.

    With ``public_only`` it connects to addresses of the public internet alone, or raises NotPublic.
    """
    certificates = httpx.create_ssl_context(trust_env=False)
    transport = httpx.HTTPTransport(verify=certificates, trust_env=False)
    # httpx offers no way to hand its transport a network backend, so its pool is replaced by our own.
    transport._pool = httpcore.ConnectionPool(
        ssl_context=certificates,
        max_connections=max_connections,
        max_keepalive_connections=max_connections,
        keepalive_expiry=30.0,
        http1=True,
        http2=False,
        network_backend=_Backend(deadline, public_only=public_only),
    )
    return httpx.Client(transport=transport, trust_env=False, follow_redirects=False)
