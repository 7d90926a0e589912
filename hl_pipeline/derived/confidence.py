"""How far a series' candles can be trusted, from 0 to 1 (design section 9).

``ramp(x; good, bad) = clip((bad - x) / (bad - good), 0, 1)`` scores each component; then
``confidence = (sum of w * x / sum of w) * min over gating components of (0.25 + 0.75 x)``. A component that cannot
be measured is null: its weight goes to the others, and the reason is kept. A score without any measured component
is 0: nothing is known, so nothing is trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from hl_pipeline.model.trust import Component, Confidence, SeriesInputs

WEIGHTS = {
    "completeness": 0.30,
    "freshness": 0.20,
    "validity": 0.20,
    "agreement": 0.15,
    "provenance": 0.10,
    "stability": 0.05,
}
GATING = frozenset({"completeness", "freshness", "validity", "agreement"})
GRADES = ((0.90, "excellent"), (0.75, "good"), (0.50, "fair"))
#: Below this a person should look.
ALARM_BELOW = 0.30
#: What one slot's origin is worth; a missing slot is worth nothing.
SOURCE_GRADES = {"final": 1.0, "archive": 0.9, "empty": 0.9, "derived": 0.8, "stream": 0.6, "open": 0.5}

_Found = tuple[float | None, dict[str, float | None], str]


def ramp(x: float, good: float, bad: float) -> float:
    """1 at or below ``good``, 0 at or above ``bad``, a straight line between."""
    return min(1.0, max(0.0, (bad - x) / (bad - good)))


def grade_of(score: float) -> str:
    """excellent >= .90, good >= .75, fair >= .50, else poor."""
    return next((name for bound, name in GRADES if score >= bound), "poor")


def combine(scores: Mapping[str, float | None]) -> float:
    """The confidence that component scores make together; 0 when none was measured."""
    known = {name: x for name, x in scores.items() if x is not None}
    if not known:
        return 0.0
    mean = sum(WEIGHTS[name] * x for name, x in known.items()) / sum(WEIGHTS[name] for name in known)
    gate = min((0.25 + 0.75 * x for name, x in known.items() if name in GATING), default=1.0)
    return min(1.0, max(0.0, mean * gate))


def score(inputs: SeriesInputs) -> Confidence:
    """Score one series from what was measured of it."""
    found = {name: measure(inputs) for name, measure in _MEASURES.items()}
    components = {name: Component(x, WEIGHTS[name], numbers, why) for name, (x, numbers, why) in found.items()}
    scores = {name: component.score for name, component in components.items()}
    total = combine(scores)
    gain = {name: combine(_scores_of(_REPAIRS[name](inputs))) - total for name, x in scores.items() if x is not None}
    weakest = max(gain, key=lambda name: gain[name]) if gain else "completeness"
    reasons = [f"{name}: {component.reason}" for name, component in components.items() if component.score != 1.0]
    return Confidence(inputs.series_id, inputs.key, total, grade_of(total), weakest, components, reasons)


def _scores_of(inputs: SeriesInputs) -> dict[str, float | None]:
    return {name: measure(inputs)[0] for name, measure in _MEASURES.items()}


def _completeness(i: SeriesInputs) -> _Found:
    if i.expected <= 0:
        return None, {"expected": 0}, "no closed slot is due in the window yet"
    share = i.missing / i.expected
    x = min(ramp(share, 0.0, 0.10), ramp(i.longest_missing, 1, 60))
    numbers: dict[str, float | None] = {
        "expected": i.expected,
        "missing": i.missing,
        "share": share,
        "longest_run": i.longest_missing,
    }
    return x, numbers, f"{i.missing} of {i.expected} due slots are missing, at most {i.longest_missing} in a row"


def _freshness(i: SeriesInputs) -> _Found:
    if i.ended:
        return None, {}, "the series has ended with its market, nothing new is expected"
    good = i.key.interval.milliseconds / 1000 + i.period_s
    if i.newest_closed_age_s is None:
        if i.expected <= 0:
            return None, {}, "no closed slot is due yet"
        return 0.0, {"age_s": None, "bound_s": good}, "no closed candle is stored"
    age = max(0.0, i.newest_closed_age_s)
    return (
        ramp(age, good, 3 * good),
        {"age_s": age, "bound_s": good},
        f"newest close is {age:.0f} s old, {good:.0f} s is good",
    )


def _validity(i: SeriesInputs) -> _Found:
    if i.received <= 0:
        return None, {"received": 0}, "no row was received in the last day, so none could be judged"
    share = i.bad / i.received
    return (
        ramp(share, 0.0, 0.01),
        {"rows": i.received, "bad": i.bad, "share": share},
        f"{i.bad} of {i.received} rows broke a rule",
    )


def _agreement(i: SeriesInputs) -> _Found:
    parts: list[tuple[float, str]] = []
    numbers: dict[str, float | None] = {
        "parent_share": None,
        "above_share": None,
        "mark_distance": i.mark_distance,
        "sample_share": None,
    }
    derived = 0 if i.derived_suspect is None else i.grades.get("derived", 0)
    if i.parents_compared + derived:
        wrong = i.parents_differing + (i.derived_suspect or 0.0)
        numbers["parent_share"] = share = wrong / (i.parents_compared + derived)
        why = (
            f"{i.parents_differing} of {i.parents_compared} candles are not the aggregate of their children, "
            f"{i.derived_suspect or 0.0:.0f} of {derived} derived from 1m must be expected wrong"
        )
        parts.append((ramp(share, 0.0, 0.30), why))
    if i.above_compared and not i.parents_compared:
        # from above only groups can be accused, so this counts where no smaller candle accuses one by one
        numbers["above_share"] = share = i.above_differing / i.above_compared
        why = f"{i.above_differing} of {i.above_compared} larger candles are not the aggregate of these"
        parts.append((ramp(share, 0.0, 0.30), why))
    if i.mark_distance is not None:
        why = f"the newest close is {i.mark_distance:.2%} from the mark price"
        parts.append((ramp(i.mark_distance, 0.005, 0.03), why))
    if i.sampled:
        numbers["sample_share"] = share = i.sampled_differing / i.sampled
        why = f"{i.sampled_differing} of {i.sampled} derived candles differed from the venue's own"
        # the same comparison as the first, remembered, so the same ramp
        parts.append((ramp(share, 0.0, 0.30), why))
    if not parts:
        return None, numbers, "no complete children, no mark price close in time and no second source to compare with"
    worst, reason = min(parts)
    return worst, numbers, reason


def _provenance(i: SeriesInputs) -> _Found:
    slots = sum(i.grades.values()) + i.empty
    if not slots:
        if i.expected <= 0:
            return None, {}, "no closed slot is due in the window yet"
        return 0.0, {"mean_grade": 0.0, "revised_share": None}, "no slot of the window is stored"
    worth = sum(SOURCE_GRADES[name] * count for name, count in i.grades.items()) + SOURCE_GRADES["empty"] * i.empty
    mean = worth / max(slots, i.expected)
    revised = 0.0 if i.revised is None else i.revised / slots
    x = min(1.0, mean) * ramp(revised, 0.02, 0.20)
    reason = f"mean source grade {mean:.2f}, {revised:.1%} of candles revised after their close"
    return x, {"mean_grade": mean, "revised_share": revised}, reason


def _stability(i: SeriesInputs) -> _Found:
    if i.oddities is None:
        return None, {}, "too few candles to tell an oddity"
    # a share of the slots due, not of the candles held: losing the last candle must not excuse its oddity
    share = i.oddities / max(i.expected, i.present, 1)
    return (
        ramp(share, 0.0, 0.02),
        {"oddities": i.oddities, "share": share},
        f"{i.oddities} of {max(i.expected, i.present)} candles look odd",
    )


_MEASURES = {
    "completeness": _completeness,
    "freshness": _freshness,
    "validity": _validity,
    "agreement": _agreement,
    "provenance": _provenance,
    "stability": _stability,
}


def _held(i: SeriesInputs, slots: int, longest_missing: int) -> SeriesInputs:
    """The series with ``slots`` more of its missing slots stored, read as final."""
    grades = {**i.grades, "final": i.grades.get("final", 0) + slots}
    return replace(i, present=i.present + slots, grades=grades, longest_missing=longest_missing)


#: The series once a component is put right, and what follows from it: a head that came late and rows that were refused
#: are missing slots too, and those would be there.
_REPAIRS: dict[str, Callable[[SeriesInputs], SeriesInputs]] = {
    "completeness": lambda i: _held(i, i.missing, 0),
    "freshness": lambda i: replace(_held(i, i.missing_at_head, i.longest_missing_inside), newest_closed_age_s=0.0),
    "validity": lambda i: replace(
        _held(i, i.missing_rejected, i.longest_missing if i.missing > i.missing_rejected else 0), bad=0
    ),
    "agreement": lambda i: replace(
        i,
        parents_differing=0,
        above_differing=0,
        sampled_differing=0,
        derived_suspect=None if i.derived_suspect is None else 0.0,
        mark_distance=None if i.mark_distance is None else 0.0,
    ),
    "provenance": lambda i: replace(i, grades={"final": i.expected - i.empty}, revised=0),
    "stability": lambda i: replace(i, oddities=0),
}
