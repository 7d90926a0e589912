"""The sandbox's switches over HTTP: its clock, its faults, and the log of what it was asked."""

from __future__ import annotations

import http.client
import json
import urllib.request
from collections.abc import Sequence
from typing import Any, NamedTuple

from hl_pipeline.model.failure import TryAgain

_TIMEOUT_SECONDS = 10
_READY_SECONDS = 1


class Asked(NamedTuple):
    """One request as the exchange saw it; ``at_ms`` is a clock for durations."""

    number: int
    at_ms: int
    request: str
    status: int
    rows: int
    weight: int
    fault: str


class Switchboard:
    """One running sandbox, by its URL.

    Raises:
        TryAgain: from every method but ``is_ready``: it does not answer.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback has no proxy

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            self._call("GET", "/sandbox/state", patience_seconds=_READY_SECONDS)
        except TryAgain:
            return False
        return True

    def set_clock(self, now_ms: int) -> None:
        """Move market time forward to an instant."""
        self._call("POST", "/sandbox/clock", {"set_ms": now_ms})

    def add_faults(self, *faults: dict[str, Any]) -> None:
        """Put faults in force; fields as in the sandbox's ``Fault``."""
        self._call("POST", "/sandbox/faults", list(faults))

    def tell_the_truth(self) -> None:
        """End all faults."""
        self._call("DELETE", "/sandbox/faults")

    def asked(self, after: int = 0) -> list[Asked]:
        """Requests numbered above ``after``, oldest first."""
        found = self._call("GET", f"/sandbox/log?after={after}")
        return [Asked(*(entry[name] for name in Asked._fields)) for entry in found]

    def _call(self, method: str, path: str, body: object = None, patience_seconds: float = _TIMEOUT_SECONDS) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, method=method)  # noqa: S310 - our own loopback URL
        try:
            with self._opener.open(request, timeout=patience_seconds) as response:
                return json.loads(response.read())
        except (OSError, http.client.HTTPException) as error:
            raise TryAgain(
                f"the sandbox exchange at {self.url} did not answer {method} {path} ({error}): "
                "see sandbox-exchange.log in the demo's log folder, and run the demo again"
            ) from error


def most_weight_in_a_minute(asked: Sequence[Asked]) -> int:
    """The most weight charged in any 60 s."""
    most = total = first = 0
    for entry in asked:
        total += entry.weight
        while asked[first].at_ms <= entry.at_ms - 60_000:
            total -= asked[first].weight
            first += 1
        most = max(most, total)
    return most
