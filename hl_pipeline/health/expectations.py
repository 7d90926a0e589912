"""Great Expectations as a judge of DataFrames: rules in, plain outcomes with sampled rows out.

great_expectations is imported inside the function that needs it: it costs 3 to 7 s and 250 MB a process. Its
results are turned into plain values, because its own hold numpy scalars that no JSON encoder takes. The suites
themselves stand in ``suites.py``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

if TYPE_CHECKING:
    import pandas as pd

#: So many offending rows are shown of one rule.
SAMPLED = 10
_IN_SENTENCE = 3


class Rule(NamedTuple):
    """One expectation: its name says what holds, ``kind`` is Great Expectations' class for it."""

    name: str
    severity: Literal["error", "warning"]
    kind: str
    arguments: Mapping[str, Any]

    @property
    def words(self) -> str:
        """The name as people read it."""
        return self.name.replace("_", " ")

    @property
    def judged(self) -> list[str]:
        """The columns it looks at."""
        columns = self.arguments.get("column_list") or [self.arguments["column"]]
        return [str(column) for column in columns]


@dataclass(frozen=True, slots=True)
class Expected:
    """One expectation's outcome.

    ``severity`` is warning or error; ``sample`` shows up to ten offending values, and ``rows`` the rows they stand
    in: the suite's key columns and what was judged, as text.
    """

    name: str
    passed: bool
    severity: str
    unexpected_count: int
    sample: list[str]
    sentence: str
    rows: list[dict[str, str]]


def evaluate(frame: pd.DataFrame, keys: Sequence[str], rules: Sequence[Rule]) -> list[Expected]:
    """The outcome of each rule, in their order; ``keys`` are the columns that tell one row from another.

    Raises:
        RuntimeError: a rule could not be evaluated, which says nothing about the data.
    """
    frame = frame.reset_index(drop=True)
    with warnings.catch_warnings():
        # Great Expectations and the libraries it loads warn of their own future, which is not ours to mend.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="great_expectations|marshmallow|altair")
        import great_expectations as gx

        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = cast("Any", {"globally": False})
        made = [getattr(gx.expectations, rule.kind)(**rule.arguments) for rule in rules]
        asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        wanted = {"result_format": "SUMMARY", "partial_unexpected_count": SAMPLED}
        outcomes = [batch.validate(expectation, result_format=wanted) for expectation in made]
    return [_plain(rule, outcome, frame, keys) for rule, outcome in zip(rules, outcomes, strict=True)]


def _plain(rule: Rule, outcome: Any, frame: pd.DataFrame, keys: Sequence[str]) -> Expected:
    found = outcome.result or {}
    if "unexpected_count" not in found:  # Great Expectations calls what it could not evaluate a failed expectation
        raise RuntimeError(f"expectation {rule.name} could not be evaluated: {_first_exception(outcome)}")
    count = int(found["unexpected_count"] or 0)
    passed = bool(outcome.success)
    sample = [str(value) for value in (found.get("partial_unexpected_list") or [])[:SAMPLED]]
    shown = list(dict.fromkeys([*keys, *rule.judged]))
    places = [] if passed else list(found.get("partial_unexpected_index_list") or [])[:SAMPLED]
    rows = [{column: str(frame.at[place, column]) for column in shown} for place in places]
    sentence = f"{rule.words}: all {len(frame):,} rows"
    if count:
        of = f"{count:,} of {len(frame):,} rows do not"
        sentence = f"{rule.words}: {of} (such as {', '.join(sample[:_IN_SENTENCE])})"
    return Expected(rule.name, passed, rule.severity, count, sample, sentence, rows)


def _first_exception(outcome: Any) -> str:
    """What Great Expectations says of its own trouble: one exception, or one a metric."""
    info = outcome.exception_info or {}
    for one in [info, *(value for value in info.values() if isinstance(value, dict))]:
        if one.get("exception_message"):
            return str(one["exception_message"])
    return "it did not say why"
