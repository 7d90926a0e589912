"""What the exchange allows a client on the WebSocket, counted per address (hyperliquid.md sections 4 and 5)."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass

from hl_pipeline.model.interval import MINUTE_MS


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Limits of a client address; ``None`` is no limit.

    Durations are ms of market time, a minute is any 60 s of it. A socket to
    which nothing was sent for ``idle_ms`` is closed, and every socket at the
    age of ``expire_ms``. ``backlog`` frames may wait for a slow reader.
    """

    connections: int | None = 10
    connects_a_minute: int | None = 30
    subscriptions: int | None = 1000
    messages_a_minute: int | None = 2000
    posts_in_flight: int | None = 100
    idle_ms: int | None = 60_000
    expire_ms: int | None = 10_800_000
    backlog: int = 20_000


NO_LIMITS = SocketLimits(None, None, None, None, None, None, None)


class MinuteCount:
    """How often each client did something in the last 60 s of market time."""

    def __init__(self) -> None:
        self._recent: dict[str, deque[int]] = defaultdict(deque)
        self.most: dict[str, int] = {}

    def admits(self, client: str, limit: int | None, now_ms: int) -> bool:
        """Count one more if the limit allows it; one that is refused does not count."""
        recent = self._recent[client]
        while recent and recent[0] <= now_ms - MINUTE_MS:
            recent.popleft()
        if limit is not None and len(recent) >= limit:
            return False
        recent.append(now_ms)
        self.most[client] = max(self.most.get(client, 0), len(recent))
        return True
