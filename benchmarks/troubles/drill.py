"""A trouble, and how it is played: inject it, look until it is seen in every face it should be, heal it, look again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg

from benchmarks.troubles.ground import Ground
from benchmarks.troubles.stage import Stage
from hl_pipeline.model.failure import PipelineError
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.sandbox.catalogue import MarketSpec

#: Injects; yields while the drill looks until it is seen; heals; may yield once more until it is seen to be over.
Script = Callable[[Stage], Generator[None]]
#: Market time between two looks, in minutes; the last one repeats.
Beats = Sequence[float]
_FEW = (1, 1, 1, 1, 2, 3, 5)
#: No trouble takes more looks than this.
_MOST_BEATS = 16
BY_ITSELF = "by itself"
NO_RULE: tuple[str, ...] = ()


class Sighting(NamedTuple):
    """``face``: where it was seen; ``name``: a check, rule or command. ``after_ms``: market time."""

    face: str
    name: str
    said: str
    after_ms: int
    after_s: float


@dataclass(frozen=True, slots=True)
class Trouble:
    """``rules`` must be told to a channel and ``checks`` fail; ``exit_code`` is what `hl health` must end with.

    ``health`` are verdicts that `hl health --json` must show as failed. ``says`` must stand in one of the sentences.
    ``healing`` names the runbook's step that the script executes. ``cast`` are the markets, when not the usual ones.
    Without rules and checks nothing but the script looks, and tells what it sees.
    """

    name: str
    what: str
    theme: str
    script: Script
    rules: tuple[str, ...] = NO_RULE
    checks: tuple[str, ...] = ()
    health: tuple[str, ...] = ()
    exit_code: int | None = None
    says: str = ""
    healing: str = BY_ITSELF
    seek: Beats = _FEW
    calm: Beats = _FEW
    cast: Callable[[], Sequence[MarketSpec]] | None = None
    needs_disk: bool = False


@dataclass(slots=True)
class Outcome:
    """What one trouble came to. ``missing`` was not seen, ``lasting`` did not end; ``also`` was told beside it."""

    trouble: Trouble
    sightings: list[Sighting] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    lasting: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)
    over_ms: int | None = None
    over_s: float | None = None
    skipped: str | None = None

    @property
    def held(self) -> bool:
        """Seen everywhere it should be, and over."""
        return self.skipped is not None or not (self.missing or self.lasting)


@dataclass(slots=True)
class Play:
    """A trouble under way on its stage."""

    trouble: Trouble
    stage: Stage
    outcome: Outcome
    began_ms: int
    began_s: float
    told: dict[str, str] = field(default_factory=dict)
    resolved: set[str] = field(default_factory=set)

    def see(self, face: str, name: str, said: str) -> None:
        """The first sighting counts."""
        if any(found[:2] == (face, name) for found in self.outcome.sightings):
            return
        after_ms, after_s = self.stage.now_ms - self.began_ms, time.monotonic() - self.began_s
        self.outcome.sightings.append(Sighting(face, name, said, after_ms, after_s))

    def look(self) -> None:
        """The checks of the newest runs, and what the channel received."""
        for name in self.trouble.checks:
            check = self.stage.checks.get(name)
            if check is not None and not check.passed:
                self.see("asset check", name, _found(check.description))
        for notice in self.stage.notices():
            rule = notice["title"].partition("hl_pipeline: ")[2].partition(",")[0]
            if notice["kind"] == "resolved":
                self.resolved.add(rule)
            elif rule not in self.told:
                self.told[rule] = notice["title"]
                if rule in self.trouble.rules:
                    self.see("alert", rule, _first_line(notice["body"]))

    def ask_health(self) -> None:
        """`hl health --json`, as a probe or a person asks it."""
        trouble = self.trouble
        if not trouble.health and trouble.exit_code is None:
            return
        said = self.stage.hl("health", "--json")
        report = _document(said.out)
        failed = {entry["name"]: entry["sentence"] for entry in report.get("checks", []) if not entry["passed"]}
        for name in trouble.health:
            if name in failed:
                self.see("hl health", name, f"exit {said.code}, {report['status']}: {_found(failed[name])}")
        if trouble.exit_code is not None:
            reason = report.get("reason") or report.get("status", said.err)
            if said.code == trouble.exit_code:
                self.see("hl health", "exit code", f"exit {said.code}: {reason}")
            else:
                self.outcome.missing.append(f"hl health ended with {said.code} ({reason}), not {trouble.exit_code}")

    def unseen(self) -> list[str]:
        """What should be seen and was not."""
        seen = {(sighting.face, sighting.name) for sighting in self.outcome.sightings}
        wanted = [("asset check", name) for name in self.trouble.checks] + [
            ("alert", name) for name in self.trouble.rules
        ]
        return [f"{face} {name}" for face, name in wanted if (face, name) not in seen]

    def unresolved(self) -> list[str]:
        """What should be over and is not."""
        failing = [name for name in self.trouble.checks if not self.stage.checks[name].passed]
        open_rules = {alert.rule for alert in self.stage.open_alerts()} & set(self.trouble.rules)
        untold = [rule for rule in self.trouble.rules if rule in self.told and rule not in self.resolved]
        return [
            *(f"asset check {name} still fails" for name in failing),
            *(f"alert {rule} is still open" for rule in sorted(open_rules)),
            *(f"that {rule} is over was not told" for rule in untold if rule not in open_rules),
        ]


def play(ground: Ground, trouble: Trouble) -> Outcome:
    """Inject, see, heal, see that it is over."""
    outcome = Outcome(trouble)
    if trouble.needs_disk and not ground.has_own_disk:
        outcome.skipped = "only root may mount a small disk to fill"
        return outcome
    with ground.lent(trouble.cast() if trouble.cast else None) as stage:
        played = Play(trouble, stage, outcome, stage.now_ms, time.monotonic())
        try:
            _play(played)
        except (AssertionError, PipelineError, psycopg.Error, OSError, TimeoutError) as error:
            outcome.missing.append(f"it did not come to its end: {type(error).__name__}: {error}")
    return outcome


def _play(played: Play) -> None:
    trouble, stage, outcome = played.trouble, played.stage, played.outcome
    script = trouble.script(stage)
    stage.see = played.see
    next(script)
    _beat_until(played, trouble.seek, played.unseen)
    played.ask_health()
    outcome.missing += played.unseen()
    outcome.missing += [
        f"hl health does not show {name}"
        for name in trouble.health
        if not any(found[:2] == ("hl health", name) for found in outcome.sightings)
    ]
    if trouble.says and not any(trouble.says in found.said for found in outcome.sightings):
        outcome.missing.append(f"nobody says {trouble.says!r}")
    healed_ms, healed_s = stage.now_ms, time.monotonic()
    next(script, None)
    _beat_until(played, trouble.calm, played.unresolved)
    next(script, None)
    outcome.lasting = played.unresolved()
    outcome.over_ms, outcome.over_s = stage.now_ms - healed_ms, time.monotonic() - healed_s
    outcome.also = sorted(set(played.told) - set(trouble.rules))


def _beat_until(played: Play, beats: Beats, left: Callable[[], list[str]]) -> None:
    """Let time pass until nothing is left; at least one beat when there are rules or checks to look at."""
    if not (played.trouble.rules or played.trouble.checks):
        return
    for number in range(_MOST_BEATS):
        played.stage.beat(round(beats[min(number, len(beats) - 1)] * MINUTE_MS))
        played.look()
        if not left():
            return


def uncovered(troubles: Collection[Trouble], rules: Collection[str], checks: Collection[str]) -> list[str]:
    """The rules and checks that no trouble is expected to be seen by."""
    by_rule = {rule for trouble in troubles for rule in trouble.rules}
    by_check = {check for trouble in troubles for check in trouble.checks}
    return [f"rule {name}" for name in sorted(set(rules) - by_rule)] + [
        f"check {name}" for name in sorted(set(checks) - by_check)
    ]


def _document(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _found(sentence: str) -> str:
    """What was found, without what to do."""
    return " ".join(sentence.partition(". How bad: ")[0].partition(". Next: ")[0].split())


def _first_line(body: str) -> str:
    return body.splitlines()[0].removeprefix("- ") if body else ""
