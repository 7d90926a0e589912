"""A trouble, and how it is played: inject it, look until it is seen in every face it should be, heal it, look again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg

from benchmarks.troubles.ground import Ground
from benchmarks.troubles.stage import HEALTH, Stage
from hl_pipeline.model.failure import PipelineError
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.sandbox.catalogue import MarketSpec
from hl_pipeline.storage.alert_delivery import ListedAlert

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
    """What one trouble came to. ``missing`` was not seen, ``lasting`` did not end.

    ``also`` was told beside it; ``beside`` is open at the end and not of this trouble, as a busy machine's slowness is.
    """

    trouble: Trouble
    sightings: list[Sighting] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    lasting: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
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
            elif rule not in self.told and (line := self._line_of_it(rule, notice["body"])) is not None:
                self.told[rule] = notice["title"]
                if rule in self.trouble.rules:
                    self.see("alert", rule, line)

    def _line_of_it(self, rule: str, body: str) -> str | None:
        """The line that tells of the trouble; null when it is of failed checks, and of none of the trouble's."""
        if rule != "check_failed" or rule not in self.trouble.rules:
            return _first_line(body)
        names = [f": {check.rpartition('/')[2]}: " for check in self.trouble.checks]
        lines = (line.removeprefix("- ") for line in body.splitlines())
        return next((line for line in lines if any(name in line for name in names)), None)

    def ask_health(self) -> None:
        """`hl health --json`, as a probe or a person asks it."""
        trouble = self.trouble
        if not trouble.health and trouble.exit_code is None:
            return
        said = self.stage.hl(*HEALTH, "--json")
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
        checks = {name: self.stage.checks[name] for name in self.trouble.checks if name in self.stage.checks}
        failing = [
            f"{name} still fails: {_found(made.description)}" for name, made in checks.items() if not made.passed
        ]
        open_rules = {alert.rule: alert.summary for alert in self.stage.open_alerts() if self._is_of_it(alert)}
        untold = [rule for rule in self.trouble.rules if rule in self.told and rule not in self.resolved]
        return [
            *(f"asset check {name}" for name in failing),
            *(f"alert {rule} is still open: {_found(summary)}" for rule, summary in sorted(open_rules.items())),
            *(f"that {rule} is over was not told" for rule in untold if rule not in open_rules),
        ]

    def beside(self) -> list[str]:
        """What is open and not of this trouble."""
        return [
            f"{alert.rule}: {_found(alert.summary)}" for alert in self.stage.open_alerts() if not self._is_of_it(alert)
        ]

    def _is_of_it(self, alert: ListedAlert) -> bool:
        """Whether the trouble's own rules, and of failed checks its own checks, are why this is open."""
        check = f"{alert.labels.get('asset')}/{alert.labels.get('check')}"
        covered = alert.rule != "check_failed" or not self.trouble.checks or check in self.trouble.checks
        return alert.rule in self.trouble.rules and covered


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
    if outcome.missing and stage.said:
        outcome.missing.append(f"what failed last said: {' '.join(stage.said.split())[:300]}")
    healed_ms, healed_s = stage.now_ms, time.monotonic()
    next(script, None)
    _beat_until(played, trouble.calm, played.unresolved)
    next(script, None)
    outcome.lasting = played.unresolved()
    outcome.over_ms, outcome.over_s = stage.now_ms - healed_ms, time.monotonic() - healed_s
    outcome.beside = played.beside()
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
