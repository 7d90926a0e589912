"""What a verdict is: one property, how it stands, and a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """How it stands; the best first. Unknown could not be measured: neither good news nor bad."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judged property: ``sentence`` is for people, ``numbers`` for machines."""

    name: str
    status: Status
    sentence: str
    numbers: Mapping[str, float | int | str | None] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Nothing to do."""
        return self.status is Status.HEALTHY

    @property
    def severity(self) -> str:
        """What a failed check of this verdict weighs."""
        return "error" if self.status in {Status.UNHEALTHY, Status.UNKNOWN} else "warning"


def worst(*found: Status | None) -> Status:
    """The worst of those that are given; healthy without any."""
    return max((status for status in found if status), key=list(Status).index, default=Status.HEALTHY)


def with_step(text: str, step: str, status: Status) -> str:
    """The sentence, with what to do next unless there is nothing to do."""
    return text if status is Status.HEALTHY else f"{text}. Next: {step}"


def unknown(name: str, reason: str) -> Verdict:
    """The verdict on what could not be measured."""
    return Verdict(name, Status.UNKNOWN, f"could not be measured: {reason}")
