"""docs/errors.md against what the code does with each error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from hl_pipeline.cli.lazy import EXIT_NEEDS_A_PERSON, EXIT_TRY_AGAIN
from hl_pipeline.collect.fill import FillPolicy, fill
from hl_pipeline.collect.markets import refresh_markets
from hl_pipeline.model import failure
from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.dead_letter import FailureKind
from hl_pipeline.model.failure import DatabaseUnavailable, NeedsAPerson, PipelineError, TryAgain
from hl_pipeline.model.interval import Interval
from hl_pipeline.source.retry import Patience
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.fakes import FakeExchange, market

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "errors.md").read_text("utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| (try again|a person) \| (.+?) \| `?([\w ]+?)`? \|$", PAGE, re.MULTILINE)
KINDS = re.findall(r"^\| `(\w+)` \| (\d+) \| (.+?) \|$", PAGE, re.MULTILINE)
#: Raised beside a request, not by it: test_limits.py and test_fencing.py.
BESIDE = {"MemoryLimitReached", "Superseded"}


def leaves(family: type[PipelineError]) -> Iterator[type[PipelineError]]:
    """Every error that the model names; rooms may know finer ones of their own."""
    children = [child for child in family.__subclasses__() if child.__module__ == failure.__name__]
    for child in children:
        yield from leaves(child)
    if not children:
        yield family


def test_the_page_has_every_error_once_and_in_its_family() -> None:
    told = {name: family for name, family, *_ in ROWS}
    assert len(told) == len(ROWS)
    assert told == {
        **{error.__name__: "try again" for error in leaves(TryAgain)},
        **{error.__name__: "a person" for error in leaves(NeedsAPerson)},
    }


def test_the_tree_in_the_models_docstring_has_every_error_too() -> None:
    assert {error.__name__ for error in leaves(PipelineError)} <= set(re.findall(r"\w+", failure.__doc__ or ""))


@pytest.mark.parametrize(
    ("name", "counts_as"), [(name, kind) for name, *_, kind in ROWS if kind != "never met" and name not in BESIDE]
)
def test_a_request_that_ends_so_counts_as_the_page_says(database: Database, name: str, counts_as: str) -> None:
    clock = ManualClock(1_767_268_820_000)
    exchange = FakeExchange(clock, markets=[market("BTC")])
    refresh_markets(exchange, database, clock, coins=("BTC",), intervals=(Interval.H1,))
    error: type[PipelineError] = getattr(failure, name)
    exchange.error = lambda _: error("for the test")
    policy = FillPolicy(concurrency=1)
    if error is DatabaseUnavailable:
        with pytest.raises(DatabaseUnavailable):
            fill(exchange, database, clock, policy)
    else:
        fill(exchange, database, clock, policy)
    with database.connection() as connection:
        kinds = {row[0] for row in connection.execute(b"select kind from hl.fetch_failure")}
    assert kinds == (set() if counts_as == "no failure" else {counts_as})


def test_the_page_has_the_bounds_of_every_kind(database: Database) -> None:
    with database.connection() as connection:
        stored = connection.execute(b"select kind, max_attempts, lasting from hl.failure_kind").fetchall()
    spoken = {
        "at once": timedelta(0),
        "10 min": timedelta(minutes=10),
        "6 h": timedelta(hours=6),
        "2 h": timedelta(hours=2),
    }
    assert {(kind, int(most), spoken[lasting]) for kind, most, lasting in KINDS} == set(stored)
    assert {kind for kind, *_ in KINDS} == {str(kind) for kind in FailureKind}


def test_the_page_has_the_clients_patience_and_the_exit_codes() -> None:
    patience, told = Patience(), {name: text for name, _, text, _ in ROWS}
    assert f"up to {patience.attempts} attempts" in told["ExchangeUnavailable"]
    assert (
        f"({patience.first_pause_s:g} s doubled, at most {patience.longest_pause_s:g} s)" in told["ExchangeUnavailable"]
    )
    assert f"or {patience.rate_limited_pause_s:g} s" in told["RateLimited"]
    assert f"up to {patience.total_s:g} s" in told["BudgetExhausted"]
    assert f"exit code {EXIT_TRY_AGAIN} after an error of the first family and {EXIT_NEEDS_A_PERSON}" in PAGE
