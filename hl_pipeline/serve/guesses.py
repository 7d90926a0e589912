"""How often a peer may guess the password: twenty times, then once in three seconds. In memory, and bounded.

While a peer's guesses are spent, even the right password is not let through: otherwise there would be no limit. So
whoever guesses from behind a proxy holds up those behind it, and the proxy is the place for a limit of its own. A
password that was wrong before is no guess: a forgotten page asks with it for hours.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address

#: So many wrong passwords at once, and seconds until another is allowed.
BURST = 20
SECONDS_A_GUESS = 3.0
#: Peers that are remembered; beyond, the one that was silent longest is forgotten.
MOST_PEERS = 1024


@dataclass(slots=True)
class _Peer:
    left: float = BURST
    at: float = 0.0
    wrong: OrderedDict[bytes, None] = field(default_factory=OrderedDict)


class Guesses:
    """Counts wrong passwords by peer. ``clock`` is in seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._peers: OrderedDict[str, _Peer] = OrderedDict()
        self._salt = secrets.token_bytes(16)

    def wait(self, address: str, given: str, *, is_right: bool) -> float | None:
        """Seconds for which ``given`` is not even looked at; null when it may be judged. Counts it if it is wrong."""
        digest = hashlib.sha256(self._salt + given.encode()).digest()
        peer = self._peer(_network(address))
        if not is_right and digest in peer.wrong:
            return None
        if peer.left < 1:
            return (1 - peer.left) * SECONDS_A_GUESS
        if not is_right:
            peer.left -= 1
            peer.wrong[digest] = None
            if len(peer.wrong) > BURST:
                peer.wrong.popitem(last=False)
        return None

    def _peer(self, network: str) -> _Peer:
        now = self._clock()
        peer = self._peers.setdefault(network, _Peer(at=now))
        self._peers.move_to_end(network)
        if len(self._peers) > MOST_PEERS:
            self._peers.popitem(last=False)
        peer.left, peer.at = min(BURST, peer.left + (now - peer.at) / SECONDS_A_GUESS), now
        return peer


def _network(address: str) -> str:
    """Of IPv6 the half that a provider gives to one customer; anything else as it is."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address) and not found.is_loopback:
        return found.exploded[:19]
    return str(found)
