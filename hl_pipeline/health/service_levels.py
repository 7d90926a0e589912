"""The service levels we promise ourselves, each with its number; docs/service-levels.md says how each is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from fractions import Fraction

from hl_pipeline.health.verdict import Status, Verdict
from hl_pipeline.model.performance import RECORDED_LANES, RunSample
from hl_pipeline.model.regression import LEAST_HISTORY, RECENT_RUNS, Comparison, compared
from hl_pipeline.model.service_level import ErrorBudget, Measured, Objective

WINDOWS: Mapping[str, timedelta] = {"24 h": timedelta(hours=24), "7 d": timedelta(days=7)}
#: The window whose error budget is judged; the shorter one shows where it goes.
JUDGED = "7 d"
#: Of each lane so many newest runs are looked at: ten beside up to 990 before.
MOST_RUNS = 1000

OBJECTIVES: Mapping[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective("throughput", Fraction(95, 100), "runs that received candles",
                  "at least 30 candles a second, waits for weight included", "candles a second", "", 30),
        Objective("latency", Fraction(99, 100), "answered candle requests",
                  "answered within 1000 ms", "99th percentile", "ms", 1000),
        Objective("errors", Fraction(99, 100), "candle requests of runs",
                  "a usable answer came, after retries", "error rate", "%", 1),
        Objective("coverage", Fraction(999, 1000), "slots that closed over 15 minutes ago",
                  "final, proven empty, or streamed and about to be confirmed", "coverage", "%", 99.9),
        Objective("freshness", Fraction(99, 100), "minutes",
                  "the health log says that the newest candle of every interval is fresh", "fresh", "%", 99),
        Objective("confidence", Fraction(95, 100), "hours of each series",
                  "its mean confidence is 0.75 or higher", "high confidence", "%", 0.75),
        Objective("repair", Fraction(95, 100), "incidents that people were told of",
                  "over within 60 minutes", "mean time to repair", "min", 60),
        Objective("memory", Fraction(1), "runs",
                  "the process never held 2048 MB", "most memory of a run", "MB", 2048),
    )
}  # fmt: skip

#: What regresses: the value of a run, how it is called, and whether a lower one is the worse.
_WATCHED = (
    ("candles_per_second", "candles/s", True),
    ("p99_ms", "p99 latency ms", False),
    ("peak_memory_mb", "peak memory MB", False),
    ("cpu_seconds", "CPU s", False),
)


def budgets(measured: Mapping[str, Measured]) -> list[ErrorBudget]:
    """Each objective with what was measured of it, in the order of ``OBJECTIVES``."""
    return [ErrorBudget(objective, measured[name]) for name, objective in OBJECTIVES.items()]


def on_objectives(found: Sequence[ErrorBudget]) -> Verdict:
    """No error budget of the judged window is overspent. What was not measured is named, and is no finding."""
    missed = [budget for budget in found if not budget.is_met]
    silent = [budget.objective.name for budget in found if not budget.is_measured]
    text = f"{len(found) - len(missed) - len(silent)} of {len(found)} service levels of the last {JUDGED} are met"
    if silent:
        text += f", nothing to measure for {', '.join(silent)}"
    text += "".join(f"; {_missed(budget)}" for budget in missed)
    numbers: dict[str, float | int | str | None] = {"missed": len(missed), "not measured": len(silent)}
    if not missed:
        return Verdict("service_levels_met", Status.HEALTHY, text, numbers)
    step = "hold the 24 h beside the 7 d: is it over, or going on? docs/service-levels.md says of each what to do"
    return Verdict("service_levels_met", Status.DEGRADED, f"{text}. Next: {step}", numbers)


def on_regression(runs: Sequence[RunSample]) -> Verdict:
    """The newest runs of each lane are not much slower or larger than those before. ``runs`` stand newest first."""
    worse: list[str] = []
    said: dict[str, float | int | str | None] = {}
    for lane in RECORDED_LANES:
        for what, name, lower in _WATCHED:
            values = [value for run in runs if run.lane == lane and (value := getattr(run, what))]
            comparison = compared(values, lower_is_worse=lower)
            if comparison is None:
                continue
            said[f"{lane}: {name}"], said[f"{lane}: {name} before"] = comparison.recent, comparison.history
            if comparison.has_regressed:
                worse.append(f"{lane}: {name} {_beside(comparison)}")
    name, compared_values = "performance_has_not_regressed", len(said) // 2
    if not said:
        text = f"too few runs to compare yet: {RECENT_RUNS} and {LEAST_HISTORY} before them of one lane are needed"
        return Verdict(name, Status.HEALTHY, text, {"compared": 0})
    numbers = {"compared": compared_values, "regressed": len(worse), **said}
    text = f"{len(worse)} of {compared_values} medians of a lane's newest {RECENT_RUNS} runs are much worse than before"
    if not worse:
        return Verdict(name, Status.HEALTHY, text, numbers)
    step = (
        "did the code, the number of markets, the machine's other work or the way to the exchange change? "
        "hl.performance_history has each run; what stays becomes the usual by itself"
    )
    return Verdict(name, Status.DEGRADED, f"{text}: {'; '.join(worse)}. Next: {step}", numbers)


def _missed(budget: ErrorBudget) -> str:
    objective, measured = budget.objective, budget.measured
    figure = "" if measured.figure is None else f", {objective.figure} {measured.figure:,.2f} {objective.unit}".rstrip()
    return (
        f"{objective.name}: {measured.bad:,} of {measured.events:,} {objective.events} were bad "
        f"(bound {float(budget.allowed):,.1f}{figure})"
    )


def _beside(found: Comparison) -> str:
    return f"{found.recent:,.1f}, before {found.history:,.1f} (bound {found.bound:,.1f}, {found.runs} runs)"
