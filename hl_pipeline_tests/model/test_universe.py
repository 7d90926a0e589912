"""Who is collected: by name, by rank, and for how long after the rank is gone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hl_pipeline.model.universe import LEAVES_AFTER_MS, Choice, Standing, TrackedBy, Universe, choose

NOON = 1_785_067_200_000
HOUR = 3_600_000


def ranked(count: int) -> list[Standing]:
    """``C001`` has the most volume."""
    return [Standing(f"C{n:03}", is_perp=True, day_volume=Decimal(1_000_000 - n)) for n in range(1, count + 1)]


def tracked(choices: Iterable[Choice]) -> set[str]:
    return {choice.coin for choice in choices if choice.tracked_by is not None}


def after(standings: list[Standing], choices: list[Choice]) -> list[Standing]:
    """The standings as the next look finds them."""
    return [
        replace(standing, tracked_by=choice.tracked_by, outside_since_ms=choice.outside_since_ms)
        for standing, choice in zip(standings, choices, strict=True)
    ]


def moved_to(rank: int, standings: list[Standing], coin: str) -> list[Standing]:
    """``coin`` with a volume that puts it at ``rank`` among the others."""
    others = sorted(s.day_volume for s in standings if s.coin != coin and s.day_volume is not None)[::-1]
    volume = others[rank - 2] - Decimal("0.5")
    return [replace(s, day_volume=volume) if s.coin == coin else s for s in standings]


@pytest.mark.parametrize(("universe", "size"), [(Universe.TOP50, 50), (Universe.TOP100, 100)])
def test_the_largest_enter_and_the_next_does_not(universe: Universe, size: int) -> None:
    found = choose(universe, [], ranked(200), NOON)
    assert tracked(found) == {f"C{n:03}" for n in range(1, size + 1)}
    assert [choice.rank for choice in found] == list(range(1, 201))


def test_all_is_every_listed_perpetual_and_nothing_else() -> None:
    standings = [
        *ranked(3),
        Standing("NEVER-TOLD", is_perp=True),
        Standing("@107", is_perp=False, day_volume=Decimal(10**9)),
        Standing("OLD", is_perp=True, is_delisted=True, day_volume=Decimal(0)),
        Standing("GONE", is_perp=True, is_absent=True),
    ]
    assert tracked(choose(Universe.ALL, [], standings, NOON)) == {"C001", "C002", "C003", "NEVER-TOLD"}


def test_named_markets_are_collected_whatever_they_are() -> None:
    standings = [*ranked(60), Standing("@107", is_perp=False), Standing("OLD", is_perp=True, is_delisted=True)]
    named = ["C060", "@107", "OLD", "C001"]
    found = {choice.coin: choice.tracked_by for choice in choose(Universe.TOP50, named, standings, NOON)}
    assert all(found[coin] is TrackedBy.LIST for coin in named)
    assert found["C002"] is TrackedBy.UNIVERSE
    assert tracked(choose(Universe.LIST, named, standings, NOON)) == set(named)


def test_a_list_drops_at_once_what_the_universe_had_brought() -> None:
    standings = ranked(60)
    standings = after(standings, choose(Universe.TOP50, [], standings, NOON))
    assert tracked(choose(Universe.LIST, ["C055"], standings, NOON)) == {"C055"}


def test_a_name_taken_out_of_the_list_stays_only_if_it_ranks() -> None:
    standings = ranked(60)
    standings = after(standings, choose(Universe.TOP50, ["C001", "C060"], standings, NOON))
    found = tracked(choose(Universe.TOP50, [], standings, NOON + HOUR))
    assert "C001" in found
    assert "C060" not in found


def test_a_market_that_comes_and_goes_at_the_edge_stays() -> None:
    standings = ranked(60)
    standings = after(standings, choose(Universe.TOP50, [], standings, NOON))
    for hour in range(1, 24 * 30):
        standings = moved_to(49 if hour % 2 else 52, standings, "C050")
        choices = choose(Universe.TOP50, [], standings, NOON + hour * HOUR)
        assert "C050" in tracked(choices)
        standings = after(standings, choices)


@pytest.mark.parametrize(("rank", "stays"), [(75, True), (76, False)])
def test_beyond_one_and_a_half_times_the_size_for_three_days_it_leaves(rank: int, stays: bool) -> None:
    standings = ranked(120)
    standings = after(standings, choose(Universe.TOP50, [], standings, NOON))
    standings = moved_to(rank, standings, "C010")
    standings = after(standings, choose(Universe.TOP50, [], standings, NOON))
    almost = choose(Universe.TOP50, [], standings, NOON + LEAVES_AFTER_MS - 1)
    assert "C010" in tracked(almost)
    over = choose(Universe.TOP50, [], after(standings, almost), NOON + LEAVES_AFTER_MS)
    assert ("C010" in tracked(over)) is stays


def test_one_look_inside_begins_the_three_days_anew() -> None:
    start = ranked(120)
    start = after(start, choose(Universe.TOP50, [], start, NOON))
    far = moved_to(90, start, "C010")
    far = after(far, choose(Universe.TOP50, [], far, NOON))
    near = moved_to(60, far, "C010")
    near = after(near, choose(Universe.TOP50, [], near, NOON + LEAVES_AFTER_MS - 1))
    again = moved_to(90, near, "C010")
    assert "C010" in tracked(choose(Universe.TOP50, [], again, NOON + LEAVES_AFTER_MS + HOUR))


@pytest.mark.parametrize("universe", [Universe.TOP50, Universe.ALL])
@pytest.mark.parametrize("fate", ["is_delisted", "is_absent"])
def test_a_market_that_ends_is_collected_for_three_more_days_and_never_enters(universe: Universe, fate: str) -> None:
    last = Standing("C001", is_perp=True, is_delisted=fate == "is_delisted", is_absent=fate == "is_absent")
    ended = [last, *ranked(60)[1:]]
    assert "C001" not in tracked(choose(universe, [], ended, NOON))
    known = after(ended, choose(universe, [], ranked(60), NOON))
    known = after(known, choose(universe, [], known, NOON))
    assert "C001" in tracked(choose(universe, [], known, NOON + LEAVES_AFTER_MS - 1))
    assert "C001" not in tracked(choose(universe, [], known, NOON + LEAVES_AFTER_MS))


def test_a_look_without_volumes_changes_nothing() -> None:
    standings = ranked(60)
    standings = after(standings, choose(Universe.TOP50, [], standings, NOON))
    blind = [replace(standing, day_volume=None) for standing in standings]
    for days in (1, 10):
        choices = choose(Universe.TOP50, [], blind, NOON + days * 24 * HOUR)
        assert tracked(choices) == {f"C{n:03}" for n in range(1, 51)}
        blind = after(blind, choices)


STANDINGS = st.lists(
    st.builds(
        Standing,
        coin=st.integers(0, 10_000).map(str),
        is_perp=st.booleans(),
        is_delisted=st.booleans(),
        is_absent=st.booleans(),
        day_volume=st.none() | st.integers(0, 50).map(Decimal),
        tracked_by=st.sampled_from([None, TrackedBy.LIST, TrackedBy.UNIVERSE]),
        outside_since_ms=st.none() | st.integers(NOON - 2 * LEAVES_AFTER_MS, NOON),
    ),
    unique_by=lambda standing: standing.coin,
    max_size=160,
)


@given(STANDINGS, st.sampled_from(list(Universe)), st.sets(st.integers(0, 10_000).map(str), max_size=5))
def test_whatever_stands_there_ranks_are_dense_names_are_kept_and_a_second_look_agrees(
    standings: list[Standing], universe: Universe, named: set[str]
) -> None:
    choices = choose(universe, named, standings, NOON)
    assert sorted(c.rank for c in choices if c.rank) == list(range(1, 1 + sum(c.rank is not None for c in choices)))
    chosen, known = tracked(choices), {standing.coin for standing in standings}
    assert named & known <= chosen
    if universe.size is not None:
        assert {c.coin for c in choices if c.rank and c.rank <= universe.size} <= chosen
    assert choose(universe, named, after(standings, choices), NOON) == choices
