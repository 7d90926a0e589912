from __future__ import annotations

import pandas as pd
import pytest

from hl_pipeline.health.expectations import Rule, evaluate

FRAME = pd.DataFrame({"coin": ["BTC", "ETH", "SOL"], "price": [1.0, -2.0, float("nan")]})


def test_what_does_not_hold_is_told_with_its_count_value_and_row() -> None:
    rule = Rule("prices_are_positive", "warning", "ExpectColumnValuesToBeBetween", {"column": "price", "min_value": 0})
    (found,) = evaluate(FRAME, ("coin",), [rule])
    assert (found.passed, found.severity, found.unexpected_count) == (False, "warning", 1)
    assert found.rows == [{"coin": "ETH", "price": "-2.0"}]
    assert found.sentence == "prices are positive: 1 of 3 rows do not (such as -2.0)"


def test_a_rule_that_cannot_be_evaluated_raises_and_does_not_blame_the_data() -> None:
    rule = Rule("no_such_column", "error", "ExpectColumnValuesToBeBetween", {"column": "nothing", "min_value": 0})
    with pytest.raises(RuntimeError, match=r"no_such_column could not be evaluated: .*nothing"):
        evaluate(FRAME, ("coin",), [rule])


def test_a_rule_that_may_be_broken_now_and_then_passes_and_still_counts() -> None:
    arguments = {"column": "price", "min_value": 0, "mostly": 0.4}
    (found,) = evaluate(FRAME, ("coin",), [Rule("mostly", "error", "ExpectColumnValuesToBeBetween", arguments)])
    assert (found.passed, found.unexpected_count, found.rows) == (True, 1, [])
