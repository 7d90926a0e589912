"""What can go wrong, when and for whom: a plan that can be changed while the exchange runs.

A fault is a kind, a filter and a limit. It holds while the world's clock is in
``[since_ms, until_ms)``, for requests its filter matches, at most ``times``
times, each time with probability ``chance``. Chances are drawn from the plan's
seed and a counter, so the same requests meet the same faults.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from hl_pipeline.sandbox.noise import stream_key


class FaultKind(StrEnum):
    """Everything the sandbox can do wrong; the comment says what ``amount`` means where it means anything."""

    # candles, until the fault ends; `opens_ms` names the slots, or all if empty
    LATE = "late"  # not published yet
    VANISHED = "vanished"  # published before, gone now
    REVISED = "revised"  # a closed candle still shows half its volume and trades
    SHIFTED = "shifted"  # ten-thousandths by which all four prices of a closed candle are too high, or too low if < 0
    FROZEN = "frozen"  # closed candles repeat the true numbers of the first of `opens_ms`
    # one bad row in a candle answer, or the rows of `opens_ms`
    NAN = "nan"
    UNDERSCORE = "underscore"
    WRONG_COIN = "wrong_coin"
    OFF_GRID = "off_grid"
    HIGH_BELOW_LOW = "high_below_low"
    VOLUME_WITHOUT_TRADES = "volume_without_trades"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    # the whole answer
    RATE_LIMITED = "429"
    SERVER_ERROR = "500"
    BAD_GATEWAY = "502"
    UNAVAILABLE = "503"
    DRIP = "drip"  # ms between pieces of the body
    CUT = "cut"
    HTML = "html"
    NULL = "null"
    OBJECT = "object"
    EMPTY = "empty"
    TRUNCATED = "truncated"
    # beside an otherwise right answer
    LATENCY = "latency"  # ms before the answer
    STALE = "stale"  # ms the head lags behind
    # the WebSocket's handshake
    WS_REFUSE = "ws_refuse"  # the HTTP status instead of a handshake, 503 if 0
    WS_ACCEPT_THEN_DROP = "ws_accept_then_drop"
    # sockets that are open when the fault begins, once each
    WS_DROP = "ws_drop"  # reset, no close frame
    WS_EXPIRE = "ws_expire"  # the forced close, now
    # a socket, while the fault holds
    WS_STALL = "ws_stall"  # no data; acknowledgements and pongs go on
    WS_MUTE = "ws_mute"  # nothing but protocol pongs
    WS_BLACKHOLE = "ws_blackhole"  # nothing at all; the connection stays
    WS_SLOW = "ws_slow"  # ms of market time by which data comes late
    # a frame
    WS_DUPLICATE_ACKS = "ws_duplicate_acks"
    WS_BIG_FRAME = "ws_big_frame"  # bytes of a frame sent ahead, a little over 4 MiB if 0
    WS_GARBAGE = "ws_garbage"  # a frame that no client should trust is sent ahead
    WS_DUPLICATE = "ws_duplicate"  # twice
    WS_REORDER = "ws_reorder"  # after the next one of its topic


SLOT_KINDS = frozenset({FaultKind.LATE, FaultKind.VANISHED, FaultKind.REVISED, FaultKind.SHIFTED, FaultKind.FROZEN})
ROW_KINDS = frozenset(
    {
        FaultKind.NAN,
        FaultKind.UNDERSCORE,
        FaultKind.WRONG_COIN,
        FaultKind.OFF_GRID,
        FaultKind.HIGH_BELOW_LOW,
        FaultKind.VOLUME_WITHOUT_TRADES,
        FaultKind.DUPLICATE,
        FaultKind.OUT_OF_ORDER,
    }
)
BESIDE_KINDS = frozenset({FaultKind.LATENCY, FaultKind.STALE})
HANDSHAKE_KINDS = frozenset({FaultKind.WS_REFUSE, FaultKind.WS_ACCEPT_THEN_DROP})
ENDING_KINDS = frozenset({FaultKind.WS_DROP, FaultKind.WS_EXPIRE})
HOLDING_KINDS = frozenset({FaultKind.WS_STALL, FaultKind.WS_MUTE, FaultKind.WS_BLACKHOLE, FaultKind.WS_SLOW})
FRAME_KINDS = frozenset({FaultKind.WS_BIG_FRAME, FaultKind.WS_GARBAGE, FaultKind.WS_DUPLICATE, FaultKind.WS_REORDER})
SOCKET_KINDS = HANDSHAKE_KINDS | ENDING_KINDS | HOLDING_KINDS | FRAME_KINDS | {FaultKind.WS_DUPLICATE_ACKS}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong. Filters left empty match everything; instants are ms UTC on the world's clock.

    ``retry_after`` is sent as that header with an error answer, be it sense or nonsense.

    Of the WebSocket's kinds (``ws_...``), those of a frame meet each frame that
    the filters match, ``request`` being its channel; a stall may be narrowed to
    a coin in the same way. ``times`` and ``chance`` of the others count sockets
    or handshakes, and a socket is drawn once. Drops and expiries hit the sockets that are open
    when the fault begins, not those opened later.
    """

    kind: FaultKind
    coin: str = ""
    interval: str = ""
    request: str = ""
    opens_ms: tuple[int, ...] = ()
    since_ms: int | None = None
    until_ms: int | None = None
    times: int | None = None
    chance: float = 1.0
    amount: int = 0
    retry_after: str = ""

    def __post_init__(self) -> None:
        # plain words are welcome, unknown ones are not
        object.__setattr__(self, "kind", FaultKind(self.kind))
        if self.kind is FaultKind.FROZEN and not self.opens_ms:
            raise ValueError("opens_ms (): a frozen feed repeats the first slot named; name one at least")
        if self.kind is FaultKind.SHIFTED and self.amount <= -10_000:
            raise ValueError(f"amount {self.amount}: a shift keeps prices above 0; use more than -10000")

    def matches(self, request: str, coin: str, interval: str, now_ms: int) -> bool:
        """Whether the fault holds now for such a request; never for a fault of the WebSocket."""
        if self.kind in SOCKET_KINDS or not self.holds_at(now_ms) or not self.is_about(request, coin, interval):
            return False
        return request == "candleSnapshot" or self.kind not in SLOT_KINDS | ROW_KINDS

    def holds_at(self, now_ms: int) -> bool:
        """Whether ``now_ms`` is in ``[since_ms, until_ms)``; a drop is an instant, so it has no end to be late for."""
        begun = self.since_ms is None or now_ms >= self.since_ms
        return begun and (self.until_ms is None or now_ms < self.until_ms or self.kind in ENDING_KINDS)

    def is_about(self, request: str, coin: str, interval: str) -> bool:
        """Whether the filters let this request, or this channel's frame, through to the fault."""
        wanted = ((self.request, request), (self.coin, coin), (self.interval, interval))
        return all(not want or want == is_ for want, is_ in wanted)


@dataclass(slots=True)
class Decision:
    """What one request meets: at most one fault of the whole answer, any number of the others."""

    whole: Fault | None = None
    candles: list[Fault] = field(default_factory=list)
    latency_ms: int = 0
    stale_ms: int = 0

    @property
    def names(self) -> str:
        """The faults met, for the log."""
        kinds = [fault.kind.value for fault in self.candles] + ([self.whole.kind.value] if self.whole else [])
        beside = [name for name, amount in (("latency", self.latency_ms), ("stale", self.stale_ms)) if amount]
        return ",".join(kinds + beside)


class FaultPlan:
    """The faults in force; safe to change from any thread."""

    def __init__(self, seed: int = 0, faults: Iterable[Fault] = ()) -> None:
        self.seed = seed
        self._faults: dict[int, Fault] = {}
        self._used: dict[int, int] = {}
        self._drawn = 0
        self._next = 1
        self._lock = threading.Lock()
        self.add(*faults)

    @classmethod
    def seeded(cls, seed: int, chance: float = 0.05) -> FaultPlan:
        """A plan in which every transient fault of an answer happens now and then, ``chance`` in all."""
        kinds = (
            FaultKind.RATE_LIMITED,
            FaultKind.SERVER_ERROR,
            FaultKind.BAD_GATEWAY,
            FaultKind.UNAVAILABLE,
            FaultKind.CUT,
            FaultKind.HTML,
            FaultKind.NULL,
            FaultKind.OBJECT,
            FaultKind.TRUNCATED,
        )
        return cls(seed, [Fault(kind, chance=chance / len(kinds)) for kind in kinds])

    def add(self, *faults: Fault) -> list[int]:
        """Put faults in force; their numbers."""
        with self._lock:
            numbers = list(range(self._next, self._next + len(faults)))
            self._faults.update(zip(numbers, faults, strict=True))
            self._next += len(faults)
            return numbers

    def remove(self, number: int) -> None:
        """End one fault; a number that is not in force is ignored."""
        with self._lock:
            self._faults.pop(number, None)

    def clear(self) -> None:
        """End all faults: the exchange tells the truth from now on."""
        with self._lock:
            self._faults.clear()

    def in_force(self) -> dict[int, Fault]:
        """Faults by number, those not yet or no longer effective included."""
        with self._lock:
            return dict(self._faults)

    def late(self, coin: str, interval: str, opens_ms: Sequence[int], until_ms: int | None = None) -> int:
        """Slots that are not published before ``until_ms``."""
        return self.add(Fault(FaultKind.LATE, coin, interval, opens_ms=tuple(opens_ms), until_ms=until_ms))[0]

    def revised(self, coin: str, interval: str, opens_ms: Sequence[int], until_ms: int | None = None) -> int:
        """Closed candles that show half their volume before ``until_ms``."""
        return self.add(Fault(FaultKind.REVISED, coin, interval, opens_ms=tuple(opens_ms), until_ms=until_ms))[0]

    def fail_next(self, kind: FaultKind, times: int = 1, *, request: str = "") -> int:
        """The next ``times`` answers fail in this way."""
        return self.add(Fault(kind, request=request, times=times))[0]

    def outage(self, since_ms: int, until_ms: int) -> int:
        """Nothing but 502 pages in ``[since_ms, until_ms)``."""
        return self.add(Fault(FaultKind.BAD_GATEWAY, since_ms=since_ms, until_ms=until_ms))[0]

    def dead(self, since_ms: int, until_ms: int) -> list[int]:
        """An endpoint that is down in ``[since_ms, until_ms)``: 502 pages, sockets reset, handshakes refused."""
        kinds = (FaultKind.BAD_GATEWAY, FaultKind.WS_DROP, FaultKind.WS_REFUSE)
        return self.add(*(Fault(kind, since_ms=since_ms, until_ms=until_ms) for kind in kinds))

    def trouble_sockets(self, seed: int, since_ms: int, until_ms: int) -> list[int]:
        """Every fault of the WebSocket once in ``[since_ms, until_ms)``, one after another, in an order that the seed
        draws: each within the first half of its share of the span, then there is peace.
        """
        kinds = sorted(SOCKET_KINDS, key=lambda kind: stream_key(seed, "order", kind))
        share = (until_ms - since_ms) // len(kinds)
        turns = (_trouble(kind, seed, since_ms + i * share, share // 2) for i, kind in enumerate(kinds))
        return self.add(*(fault for turn in turns for fault in turn))

    def on_sockets(self, kinds: frozenset[FaultKind], now_ms: int) -> list[tuple[int, Fault]]:
        """The WebSocket's faults of these kinds that hold at ``now_ms``, with their numbers, oldest first."""
        if not self._faults:
            return []
        with self._lock:
            return [(n, fault) for n, fault in self._faults.items() if fault.kind in kinds and fault.holds_at(now_ms)]

    def strikes(self, number: int, fault: Fault) -> bool:
        """Whether a fault of the WebSocket hits this socket or frame; uses up one of its ``times``."""
        with self._lock:
            return self._strikes(number, fault)

    def decide(self, request: str, coin: str, interval: str, now_ms: int) -> Decision:
        """What this request meets; uses up one of ``times`` of each fault it meets."""
        decision = Decision()
        if not self._faults:
            return decision
        with self._lock:
            for number, fault in list(self._faults.items()):
                if decision.whole is not None and _is_whole(fault):
                    continue
                if fault.matches(request, coin, interval, now_ms) and self._strikes(number, fault):
                    self._note(decision, fault)
        return decision

    def _strikes(self, number: int, fault: Fault) -> bool:
        if fault.chance < 1.0:
            self._drawn += 1
            if stream_key(self.seed, "fault", self._drawn) / 2**64 >= fault.chance:
                return False
        if fault.times is not None:
            used = self._used.get(number, 0) + 1
            self._used[number] = used
            if used >= fault.times and fault.kind not in HOLDING_KINDS:
                self._faults.pop(number, None)
            return used <= fault.times
        return True

    @staticmethod
    def _note(decision: Decision, fault: Fault) -> None:
        if fault.kind is FaultKind.LATENCY:
            decision.latency_ms += fault.amount
        elif fault.kind is FaultKind.STALE:
            decision.stale_ms += fault.amount
        elif _is_whole(fault):
            decision.whole = fault
        else:
            decision.candles.append(fault)


def _is_whole(fault: Fault) -> bool:
    return fault.kind not in SLOT_KINDS | ROW_KINDS | BESIDE_KINDS


def _trouble(kind: FaultKind, seed: int, since_ms: int, most_ms: int) -> list[Fault]:
    """One kind's turn: frames are hit by chance, the other faults hold for a while."""
    start = since_ms + stream_key(seed, "start", kind) % max(1, most_ms // 2)
    fault = Fault(
        kind,
        since_ms=start,
        until_ms=start + max(1, most_ms // 2),
        times=1 if kind is FaultKind.WS_BIG_FRAME else None,
        chance=0.2 if kind in FRAME_KINDS - {FaultKind.WS_BIG_FRAME} else 1.0,
        amount=1_000 + stream_key(seed, "slow") % 20_000 if kind is FaultKind.WS_SLOW else 0,
    )
    # nobody shakes hands unless there is need to
    return [replace(fault, kind=FaultKind.WS_DROP), fault] if kind in HANDSHAKE_KINDS else [fault]
