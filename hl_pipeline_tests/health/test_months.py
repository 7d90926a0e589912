from __future__ import annotations

from typing import Any

import pytest

from hl_pipeline.health.months import on_month
from hl_pipeline.model.month_contract import MonthContract

SOUND = MonthContract("BTC", 1_767_225_600_000, 744, 744)


def test_a_sound_month_passes_and_says_how_much_was_judged() -> None:
    verdict = on_month(SOUND)
    assert verdict.passed
    assert verdict.sentence == "744 final candles keep the contract, and the ledger counts as many"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"off_grid": 1}, "1 of 744 final candles are off the grid (bound 0)"),
        ({"disordered": 2}, "2 of 744 final candles are with prices in disorder (bound 0)"),
        ({"untraded": 3}, "3 of 744 final candles are with volume and no trades or the other way round (bound 0)"),
        ({"unclosed": 4}, "4 of 744 final candles are final before their close (bound 0)"),
        ({"rows": 743}, "743 final candles, and 744 final slots in the ledger"),
        ({"off_grid": 1, "sample": [1_767_225_601_000]}, "the first at 2026-01-01 00:00:01 UTC"),
    ],
)
def test_what_breaks_a_rule_is_told_and_grave(change: dict[str, Any], said: str) -> None:
    verdict = on_month(SOUND._replace(**change))
    assert (verdict.passed, verdict.severity) == (False, "error")
    assert said in verdict.sentence
