"""Sets of instants, kept as disjoint half-open spans: the arithmetic under the ledger.

A ``SpanSet`` is always sorted, disjoint and merged, so two sets that hold the
same instants are equal. It mirrors Postgres' ``tstzmultirange``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Span(NamedTuple):
    """``[start_ms, end_ms)``, milliseconds UTC."""

    start_ms: int
    end_ms: int

    @property
    def length_ms(self) -> int:
        """How long it lasts; 0 or less when it is empty."""
        return self.end_ms - self.start_ms


@dataclass(frozen=True, slots=True)
class SpanSet:
    """A set of instants. Build it with ``of`` or ``from_slots``, which keep it normal."""

    spans: tuple[Span, ...] = ()

    @classmethod
    def of(cls, spans: Iterable[tuple[int, int]]) -> SpanSet:
        """The union of any spans, in any order; empty and inverted ones are dropped."""
        merged: list[Span] = []
        for start, end in sorted(spans):
            if start >= end:
                continue
            if merged and start <= merged[-1].end_ms:
                merged[-1] = Span(merged[-1].start_ms, max(end, merged[-1].end_ms))
            else:
                merged.append(Span(start, end))
        return cls(tuple(merged))

    @classmethod
    def single(cls, start_ms: int, end_ms: int) -> SpanSet:
        """One span, or the empty set when it is empty or inverted."""
        return cls((Span(start_ms, end_ms),)) if start_ms < end_ms else cls()

    @classmethod
    def from_slots(cls, open_times: Sequence[int], step_ms: int) -> SpanSet:
        """The slots that open at ``open_times`` (ascending, distinct), each ``step_ms`` long."""
        if not open_times:
            return cls()
        breaks = [i for i in range(1, len(open_times)) if open_times[i] != open_times[i - 1] + step_ms]
        starts, ends = [0, *breaks], [*breaks, len(open_times)]
        return cls(tuple(Span(open_times[a], open_times[b - 1] + step_ms) for a, b in zip(starts, ends, strict=True)))

    def __iter__(self) -> Iterator[Span]:
        return iter(self.spans)

    def __bool__(self) -> bool:
        return bool(self.spans)

    def __contains__(self, at_ms: int) -> bool:
        return any(start <= at_ms < end for start, end in self.spans)

    def __or__(self, other: SpanSet) -> SpanSet:
        if not other.spans or not self.spans:
            return self if self.spans else other
        return SpanSet.of((*self.spans, *other.spans))

    def __and__(self, other: SpanSet) -> SpanSet:
        found: list[Span] = []
        mine, theirs = list(self.spans), list(other.spans)
        i = j = 0
        while i < len(mine) and j < len(theirs):
            start = max(mine[i].start_ms, theirs[j].start_ms)
            end = min(mine[i].end_ms, theirs[j].end_ms)
            if start < end:
                found.append(Span(start, end))
            if mine[i].end_ms <= theirs[j].end_ms:
                i += 1
            else:
                j += 1
        return SpanSet(tuple(found))

    def __sub__(self, other: SpanSet) -> SpanSet:
        if not self.spans or not other.spans:
            return self
        return self & other._outside(self.spans[0].start_ms, self.spans[-1].end_ms)

    def _outside(self, start_ms: int, end_ms: int) -> SpanSet:
        """The instants of ``[start_ms, end_ms)`` that are not in this set."""
        edges = [start_ms]
        for span in self.spans:
            edges += (span.start_ms, span.end_ms)
        edges.append(end_ms)
        pairs = ((max(a, start_ms), min(b, end_ms)) for a, b in zip(edges[::2], edges[1::2], strict=True))
        return SpanSet(tuple(Span(a, b) for a, b in pairs if a < b))

    @property
    def total_ms(self) -> int:
        """How much time it holds."""
        return sum(span.length_ms for span in self.spans)

    def slots(self, step_ms: int) -> int:
        """How many whole slots of ``step_ms`` it holds, when its edges lie on the grid."""
        return self.total_ms // step_ms
