"""One trouble a person should know of, and how the same trouble is recognised again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How grave; the lightest first."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Alert:
    """``rule`` and ``labels`` say which trouble it is; ``summary`` what was found; ``next_step`` what to do."""

    rule: str
    severity: Severity
    summary: str
    next_step: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Its identity: two alerts with one fingerprint are one incident."""
        return fingerprint(self.rule, self.labels)


def fingerprint(rule: str, labels: Mapping[str, str]) -> str:
    """32 hexadecimal digits of SHA-256 over the rule and its labels; the labels' order does not matter."""
    text = json.dumps([rule, sorted(labels.items())], separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
