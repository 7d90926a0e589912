"""One request to the info service: send, read within the deadline and the cap, turn a bad status into its error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import msgspec

from hl_pipeline.model.failure import BadAnswer, ExchangeUnavailable, RateLimited, RequestRefused, TryAgain
from hl_pipeline.model.halt import Halt
from hl_pipeline.model.redact import redact
from hl_pipeline.source.body import read_body
from hl_pipeline.source.deadline import Deadline, client_with
from hl_pipeline.source.endpoint import info_url
from hl_pipeline.source.public import NotPublic
from hl_pipeline.source.retry import retry_after_seconds

_HEADERS = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "gzip"}
_OK = 200
_UNPROCESSABLE = 422
_TOO_MANY = 429
_SERVER_ERROR = 500
_PASSING = frozenset({408, 425})
_OF_ONE_COIN = frozenset({"candleSnapshot", "fundingHistory"})
_REDIRECTS = range(300, 400)
_REFUSALS = range(400, 500)
#: A connection that does not come about in this time seldom does, and nothing can cut the wait short.
_CONNECT_SECONDS = 5.0


class Unserved(ExchangeUnavailable):
    """It failed before any row was served: no connection, or a status that carries no rows."""


class Ambiguous(Unserved):
    """A 500 on a question of one coin, where overload and an unknown coin look alike (hyperliquid.md 2.3).

    It blames no endpoint by itself: were all funding answered so, its breaker would keep the candles waiting.
    """


class Misaddressed(RequestRefused):
    """It refuses whatever is asked: a redirect, or a 4xx that is not about the form of the request."""


class InfoService:
    """The info service at an endpoint, over HTTP/1.1 with kept connections; may be used by several threads.

    ``deadline_s`` bounds a request from connecting to the last byte;
    ``max_body_bytes`` bounds its answer, packed and unpacked. ``public_only``
    refuses a host whose name leads to a private address. Once ``halt`` is
    wanted, an answer under way gets a few seconds more. A ``client`` of one's
    own is for tests; the built-in one keeps the deadline at every socket
    read, follows no redirect and ignores proxy variables.

    Raises:
        InvalidSetting: the endpoint is not an address we are willing to ask.
    """

    def __init__(
        self,
        endpoint_url: str,
        *,
        deadline_s: float,
        max_body_bytes: int,
        public_only: bool = False,
        client: httpx.Client | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        halt: Halt | None = None,
    ) -> None:
        self.url = info_url(endpoint_url)
        self._deadline_s = deadline_s
        self._max_body_bytes = max_body_bytes
        self._timeout = httpx.Timeout(deadline_s, connect=min(deadline_s, _CONNECT_SECONDS))
        self._deadline = Deadline(monotonic, halt)
        self._client = client or client_with(self._deadline, public_only=public_only)

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    def post(self, payload: Mapping[str, Any], name: str) -> bytes:
        """The unpacked body of the 200 that answers ``payload``; ``name`` says in errors what was asked.

        Raises:
            ExchangeUnavailable: no connection (or only to a private address), the deadline, a cut body, 5xx.
            RateLimited: 429, with Retry-After if it was usable.
            BadAnswer: a body above the cap, in a strange encoding, or a status that means nothing here.
            RequestRefused: 422; Misaddressed: another 4xx, or a redirect.
        """
        try:
            with (
                self._deadline.within(self._deadline_s),
                self._client.stream(
                    "POST", self.url, content=msgspec.json.encode(payload), headers=_HEADERS, timeout=self._timeout
                ) as response,
            ):
                if response.status_code != _OK:
                    raise self._failure(payload, name, response)
                return self._read(response)
        except NotPublic as error:
            raise Unserved(f"{self.url} is not asked for {name}: {error}") from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unserved(
                f"{self.url} cannot be reached for {name} ({type(error).__name__}: {error}); asking again may help"
            ) from error
        except httpx.TimeoutException as error:
            raise ExchangeUnavailable(
                f"{self.url} did not finish {name} within {self._deadline_s:g} s ({type(error).__name__}); "
                "asking again may help"
            ) from error
        except httpx.HTTPError as error:
            raise ExchangeUnavailable(
                f"{self.url} broke off {name} ({type(error).__name__}: {error}); asking again may help"
            ) from error

    def _read(self, response: httpx.Response) -> bytes:
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        return read_body(self._timely(response), encoding, self._max_body_bytes)

    def _timely(self, response: httpx.Response) -> Iterator[bytes]:
        """The raw chunks, as long as the deadline lasts, also for a client that does not keep it."""
        for chunk in response.iter_raw():
            self._deadline.left(None, httpx.ReadTimeout)
            yield chunk

    def _excerpt(self, response: httpx.Response) -> str:
        """How a failed answer starts; its status counts even where its body cannot be read."""
        try:
            return redact(self._read(response)[:320].decode("utf-8", "replace"))[:80]
        except (TryAgain, httpx.HTTPError) as error:
            return f"(unreadable: {type(error).__name__})"

    def _failure(self, payload: Mapping[str, Any], name: str, response: httpx.Response) -> Exception:
        """The error that says what can be done about a status other than 200; headers never enter its text."""
        status = response.status_code
        said = f"{self.url} answered {status} to {name}, starting {self._excerpt(response)!r}"
        pause = retry_after_seconds(response.headers.get("Retry-After"))
        if status == _TOO_MANY:
            return RateLimited(f"{said}: too much weight from this address; ask again later", retry_after=pause)
        if status == _SERVER_ERROR and payload["type"] in _OF_ONE_COIN:
            return Ambiguous(
                f"{said}: either it is overloaded or it does not know the coin; compare the coin with the markets",
                retry_after=pause,
            )
        if status >= _SERVER_ERROR or status in _PASSING:
            return Unserved(f"{said}: asking again may help", retry_after=pause)
        if status == _UNPROCESSABLE:
            return RequestRefused(f"{said}: it refuses the form of the request; look at the values asked for")
        if status in _REDIRECTS:
            return Misaddressed(f"{said}: redirects are not followed; set the endpoint to its final address")
        if status in _REFUSALS:
            return Misaddressed(f"{said}: asking again gives the same; look at the endpoint's address")
        return BadAnswer(f"{said}: only 200 carries an answer; asking again may help")
