"""The drill of troubles: what it covers, a few of them played, and that it says so when nobody saw one."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace

import pytest

from benchmarks.troubles.drill import Outcome, Sighting, Trouble, play, uncovered
from benchmarks.troubles.everything import TROUBLES, check_names
from benchmarks.troubles.ground import Ground, open_ground
from benchmarks.troubles.page import markdown, span
from benchmarks.troubles.stage import Stage
from hl_pipeline.storage import alert_delivery
from hl_pipeline.storage.engine import Database

pytestmark = pytest.mark.timeout(600)
BY_NAME = {trouble.name: trouble for trouble in TROUBLES}
#: One a theme, the quickest.
PLAYED = (
    "the weight budget is spent",
    "gaps stay open",
    "metrics without confidence",
    "funding is dear",
    "another version's database",
)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with open_ground(own_disk=False, daemon=False) as ground:
        yield ground


def quiet(_: Stage) -> Generator[None]:
    """Nothing happens."""
    yield


def test_every_alert_rule_and_every_asset_check_has_a_trouble(database: Database) -> None:
    with database.connection() as connection:
        rules = list(alert_delivery.rules(connection))
    assert uncovered(TROUBLES, rules, check_names()) == []
    assert len(BY_NAME) == len(TROUBLES) >= 25


def test_a_rule_or_check_without_a_trouble_is_named() -> None:
    assert uncovered(TROUBLES, ["stale", "new_rule"], ["a/b"]) == ["rule new_rule", "check a/b"]


@pytest.mark.parametrize("name", PLAYED)
def test_a_trouble_is_seen_and_ends(ground: Ground, name: str) -> None:
    outcome = play(ground, BY_NAME[name])
    assert (outcome.missing, outcome.lasting, outcome.skipped) == ([], [], None)
    assert outcome.sightings


def test_a_trouble_that_nobody_sees_is_not_called_seen(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.troubles.drill._MOST_BEATS", 1)
    wanted = Trouble(
        "nothing", "nothing happens", "none", quiet, rules=("stale",), checks=("markets/api_answers",),
        health=("api_answers",), exit_code=1, says="SOL", seek=(1,),
    )  # fmt: skip
    outcome = play(ground, wanted)
    assert not outcome.held
    assert outcome.missing == [
        "hl health ended with 0 (degraded), not 1",
        "asset check markets/api_answers",
        "alert stale",
        "hl health does not show api_answers",
        "nobody says 'SOL'",
    ]


def test_the_page_says_what_was_seen_where_after_how_long_and_what_was_not() -> None:
    held = Outcome(
        Trouble("it breaks", "a thing breaks", "none", quiet, checks=("thing/holds",), healing="it is mended"),
        [Sighting("asset check", "thing/holds", "found | 3", 150_000, 2.0)],
        over_ms=7_500_000, over_s=4.0, also=["stale"],
    )  # fmt: skip
    lasting = Outcome(replace(held.trouble, name="it stays"), lasting=["alert stale is still open"])
    skipped = Outcome(replace(held.trouble, name="it cannot"), skipped="no root")
    said = markdown([held, lasting, skipped], 12.0)
    assert "2 troubles injected for real, 1 seen" in said
    assert "| [it breaks](#it-breaks) | asset check `holds` | 2 min | it is mended | 2 h 5 min |" in said
    assert "found \\| 3" in said
    assert "[holds](runbooks/holds.md)" in said
    assert "Told beside it: `stale`." in said
    assert "**Not as it should be:** alert stale is still open." in said
    assert "Not played: no root." in said


@pytest.mark.parametrize(
    ("milliseconds", "words"), [(None, "-"), (90_000, "90 s"), (600_000, "10 min"), (90_000_000, "25 h")]
)
def test_a_span_is_told_in_its_largest_units(milliseconds: int | None, words: str) -> None:
    assert span(milliseconds) == words
