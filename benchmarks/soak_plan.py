"""What goes wrong in a soak, and when: drawn from a seed, known before it begins.

The faults of one kind hold for the first part of their share of the time, then there is peace for the rest of it. Which
kinds come, and in which order, is the seed's; a long soak has them all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.sandbox.faults import Fault, FaultKind

#: The shortest share of a kind; less, and no watchdog would notice anything.
_SHARE_MS = 90_000
_OUTAGE_MS = 5 * MINUTE_MS
#: Closed candles that REST shows wrong are right again before a read is trusted.
_REVISED_MS = 9_000
_FLAP_MS = 10_000


class Kind(StrEnum):
    """A soak's kinds of trouble."""

    STALL = "stall"
    DROP = "drop"
    ACCEPT_THEN_DROP = "accept then drop"
    BIG_FRAMES = "frames over 4 MiB (1009)"
    DUPLICATE_ACKS = "duplicate acks"
    EXPIRE = "forced close"
    SLOW_CONSUMER = "slow consumer"
    FLAPPING = "flapping endpoint"
    ALL_DOWN = "all endpoints down"
    STORM = "429 storm"
    BAD_FRAMES = "garbage, repeated, reordered and late frames"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One kind's turn in ``[since_ms, until_ms)``, market ms UTC; ``faults`` of each endpoint."""

    kind: Kind
    since_ms: int
    until_ms: int
    faults: tuple[tuple[Fault, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """A soak's troubles in their order. ``rows`` are REST's late and revised ones, the same at each endpoint."""

    seed: int
    begin_ms: int
    end_ms: int
    troubles: tuple[Trouble, ...]
    rows: tuple[Fault, ...]

    def of_endpoint(self, number: int) -> list[Fault]:
        """Everything that is wrong with one endpoint."""
        return [*self.rows, *(fault for trouble in self.troubles for fault in trouble.faults[number])]

    def is_calm(self, begin_ms: int, end_ms: int, after_ms: int = MINUTE_MS) -> bool:
        """Whether nothing was wrong in ``[begin_ms, end_ms)`` nor in the ``after_ms`` before it."""
        return not any(begin_ms - after_ms < one.until_ms and one.since_ms < end_ms for one in self.troubles)

    @property
    def lines(self) -> list[str]:
        """The plan for people, instants in seconds since the begin."""
        begin = self.begin_ms
        lines = [
            f"{(it.since_ms - begin) // 1000} s to {(it.until_ms - begin) // 1000} s: {it.kind}" for it in self.troubles
        ]
        return [*lines, f"beside it: {len(self.rows)} late or revised REST rows"]


def draw(seed: int, begin_ms: int, end_ms: int, coins: Sequence[str], endpoints: int = 2) -> Plan:
    """The troubles of a soak in ``[begin_ms, end_ms)``; its first and its last part are calm."""
    chance = random.Random(f"soak {seed}")
    length = end_ms - begin_ms
    at, last = begin_ms + length // 8, end_ms - length // 10
    outage_ms = min(_OUTAGE_MS, length // 6)
    kinds = list(Kind)
    chance.shuffle(kinds)
    kinds = kinds[: max(1, (last - at) // _SHARE_MS)]
    has_outage = Kind.ALL_DOWN in kinds
    share = (last - at - outage_ms * has_outage) // max(1, len(kinds) - has_outage)
    troubles = []
    for kind in kinds:
        whole = kind is Kind.ALL_DOWN and len(kinds) > 1
        troubles.append(_trouble(kind, at, at + (outage_ms if whole else share // 2), endpoints))
        at += outage_ms + share // 4 if whole else share
    return Plan(seed, begin_ms, end_ms, tuple(troubles), _rows(chance, begin_ms, last, coins))


def _trouble(kind: Kind, since_ms: int, until_ms: int, endpoints: int) -> Trouble:
    made = _FAULTS[kind]
    return Trouble(
        kind, since_ms, until_ms, tuple(tuple(made(number, since_ms, until_ms)) for number in range(endpoints))
    )


def _of(
    *kinds: FaultKind, chance: float = 1.0, times: int | None = None, amount: int = 0
) -> Callable[..., list[Fault]]:
    """Faults of these kinds at every endpoint, for the whole turn."""
    return lambda _, since_ms, until_ms: [
        Fault(kind, since_ms=since_ms, until_ms=until_ms, chance=chance, times=times, amount=amount) for kind in kinds
    ]


def _flaps(number: int, since_ms: int, until_ms: int) -> list[Fault]:
    """The primary is down for ten seconds in twenty, with all its faces; the others are well."""
    if number:
        return []
    kinds = (FaultKind.BAD_GATEWAY, FaultKind.WS_DROP, FaultKind.WS_REFUSE)
    spans = [(at, min(at + _FLAP_MS, until_ms)) for at in range(since_ms, until_ms, 2 * _FLAP_MS)]
    return [Fault(kind, since_ms=start, until_ms=end) for start, end in spans for kind in kinds]


_FAULTS: dict[Kind, Callable[[int, int, int], list[Fault]]] = {
    Kind.STALL: _of(FaultKind.WS_STALL),
    Kind.DROP: _of(FaultKind.WS_DROP),
    Kind.ACCEPT_THEN_DROP: _of(FaultKind.WS_DROP, FaultKind.WS_ACCEPT_THEN_DROP),
    Kind.BIG_FRAMES: _of(FaultKind.WS_BIG_FRAME, times=2),
    Kind.DUPLICATE_ACKS: _of(FaultKind.WS_DROP, FaultKind.WS_DUPLICATE_ACKS),
    Kind.EXPIRE: _of(FaultKind.WS_EXPIRE),
    Kind.SLOW_CONSUMER: _of(),
    Kind.FLAPPING: _flaps,
    Kind.ALL_DOWN: _of(FaultKind.BAD_GATEWAY, FaultKind.WS_DROP, FaultKind.WS_REFUSE),
    Kind.STORM: _of(FaultKind.RATE_LIMITED, chance=0.7),
    Kind.BAD_FRAMES: lambda number, since_ms, until_ms: [
        *_of(FaultKind.WS_GARBAGE, FaultKind.WS_DUPLICATE, FaultKind.WS_REORDER, chance=0.2)(
            number, since_ms, until_ms
        ),
        Fault(FaultKind.WS_SLOW, since_ms=since_ms, until_ms=until_ms, amount=5_000),
    ],
}


def _rows(chance: random.Random, begin_ms: int, end_ms: int, coins: Sequence[str]) -> tuple[Fault, ...]:
    """One minute in eight of a few markets comes late over REST or is revised after its close."""
    found = []
    minutes = range(begin_ms // MINUTE_MS * MINUTE_MS, end_ms, MINUTE_MS)
    for coin in chance.sample(list(coins), min(len(coins), 12)):
        for at in minutes:
            if chance.random() < 0.125:
                late = chance.random() < 0.5
                until = at + MINUTE_MS + (chance.randrange(10, 900) * 1000 if late else _REVISED_MS)
                kind = FaultKind.LATE if late else FaultKind.REVISED
                found.append(Fault(kind, coin, "1m", opens_ms=(at,), until_ms=until))
    return tuple(found)
