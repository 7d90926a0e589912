"""The switch outside Dagster: who is told when nobody else can tell, and what was told before. Pure but for its file.

It asks for no database: what it remembers between two looks is one small file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hl_pipeline.model.alert import Notice, NoticeKind, Severity
from hl_pipeline.model.interval import to_datetime

#: Trouble is told when it was met at so many looks in a row: a restart is none.
LOOKS = 2
REPEAT_MS = 3_600_000
#: The rules are judged every 30 s; when that is so long ago, in ms, nobody would be told of anything.
STANDSTILL_MS = 300_000


@dataclass(frozen=True, slots=True)
class Watch:
    """What former looks found: trouble at so many in a row ``since_ms``, and when each channel was last told of it."""

    looks: int = 0
    since_ms: int | None = None
    told_ms: Mapping[str, int] = field(default_factory=dict)

    def after(self, *, is_trouble: bool, now_ms: int) -> Watch:
        """With this look."""
        if not is_trouble:
            return Watch(told_ms=self.told_ms, since_ms=self.since_ms if self.told_ms else None)
        return Watch(self.looks + 1, self.since_ms if self.looks and self.since_ms else now_ms, self.told_ms)

    def due(self, channels: Sequence[str], now_ms: int) -> dict[str, NoticeKind]:
        """Which of these channels are to be told now, and what."""
        if not self.looks:
            return {name: NoticeKind.RESOLVED for name in channels if name in self.told_ms}
        if self.looks < LOOKS:
            return {}
        return {
            name: NoticeKind.REPEAT if name in self.told_ms else NoticeKind.FIRING
            for name in channels
            if now_ms - self.told_ms.get(name, now_ms - REPEAT_MS) >= REPEAT_MS
        }

    def told(self, channel: str, kind: NoticeKind, now_ms: int) -> Watch:
        """After the channel took its notice."""
        others = {name: at for name, at in self.told_ms.items() if name != channel}
        told_ms = others if kind is NoticeKind.RESOLVED else {**others, channel: now_ms}
        return Watch(self.looks, self.since_ms, told_ms)


def standstill(beaten_ms: int | None, now_ms: int) -> str | None:
    """Why nobody would be told of anything, by when the rules were last judged; null when they are."""
    step = "does `hl up` run, and is the sensor deliver_alerts on? `hl alerts send` does its work once, by hand"
    if beaten_ms is None:
        return f"the alert rules were never judged. Next: {step}"
    if now_ms - beaten_ms <= STANDSTILL_MS:
        return None
    return f"the alert rules were last judged {(now_ms - beaten_ms) // 60_000} minutes ago. Next: {step}"


def compose(kind: NoticeKind, trouble: Sequence[str], since_ms: int | None, now_ms: int) -> Notice:
    """The notice in words."""
    since = f"Since {to_datetime(since_ms or now_ms):%Y-%m-%d %H:%M} UTC."
    if kind is NoticeKind.RESOLVED:
        body = f"Over: the pipeline judges its alert rules again. {since}"
        return Notice(kind, Severity.CRITICAL, "[RESOLVED] hl_pipeline: alerting stood still", body)
    word = "CRITICAL" if kind is NoticeKind.FIRING else "STILL CRITICAL"
    lines = [*(f"- {line}" for line in trouble), since, "Said by `hl health --alert`, outside Dagster."]
    return Notice(kind, Severity.CRITICAL, f"[{word}] hl_pipeline: nobody else can tell you", "\n".join(lines))


def remember(path: Path, watch: Watch) -> None:
    """Keeps the watch for the next look, whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"looks": watch.looks, "since_ms": watch.since_ms, "told_ms": dict(watch.told_ms)}))
    new.replace(path)


def recall(path: Path) -> Watch:
    """What former looks kept; a first look's when there is no file, or none that can be read."""
    try:
        kept = json.loads(path.read_text())
        return Watch(int(kept["looks"]), kept["since_ms"], {str(name): int(at) for name, at in kept["told_ms"].items()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Watch()
