"""Whether the candles of a market's month keep their contract, and are as many as the ledger says."""

from __future__ import annotations

from hl_pipeline.health.status import Status, Verdict
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.model.month_contract import MonthContract

NAME = "month_keeps_contract"
_RULES = {
    "off_grid": "off the grid",
    "disordered": "with prices in disorder",
    "untraded": "with volume and no trades or the other way round",
    "unclosed": "final before their close",
}


def on_month(found: MonthContract) -> Verdict:
    """No final row breaks a rule, and the ledger counts as many final slots as there are final rows."""
    broken = {rule: count for rule in _RULES if (count := getattr(found, rule))}
    numbers: dict[str, float | int | str | None] = {
        "rows": found.rows,
        "final slots in the ledger": found.final_slots,
        **{words: getattr(found, rule) for rule, words in _RULES.items()},
    }
    if not broken and found.rows == found.final_slots:
        text = f"{found.rows:,} final candles keep the contract, and the ledger counts as many"
        return Verdict(NAME, Status.HEALTHY, text, numbers)
    said = [f"{count:,} of {found.rows:,} final candles are {_RULES[rule]} (bound 0)" for rule, count in broken.items()]
    if found.rows != found.final_slots:
        said.append(f"{found.rows:,} final candles, and {found.final_slots:,} final slots in the ledger")
    if found.sample:
        said.append(f"the first at {to_datetime(found.sample[0]):%Y-%m-%d %H:%M:%S} UTC")
    return Verdict(NAME, Status.UNHEALTHY, "; ".join(said), numbers)
