"""The profiles' table in the documentation is the table in the code."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from hl_pipeline.model.profile import MANNERS, Manner, Profile

PAGE = Path(__file__).resolve().parents[2] / "docs" / "profiles.md"


def table() -> list[list[str]]:
    """The cells of the page's first table, without its rule."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    rows = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]
    return [rows[0], *rows[2:]]


def test_the_documented_table_holds_every_value_of_every_profile() -> None:
    head, *rows = table()
    assert head[2:] == [str(profile) for profile in Profile]
    documented = {row[0]: row[2:] for row in rows}
    assert list(documented) == [found.name for found in fields(Manner)]
    for name, cells in documented.items():
        assert cells == [f"{getattr(MANNERS[profile], name):g}" for profile in Profile], name


def test_each_profile_is_gentler_than_the_one_before() -> None:
    aggressive, balanced, conservative = (MANNERS[profile] for profile in Profile)
    for hard, soft in ((aggressive, balanced), (balanced, conservative)):
        assert hard.period_seconds <= soft.period_seconds
        assert hard.weight_per_minute >= soft.weight_per_minute
        assert hard.concurrency > soft.concurrency
        assert hard.batch_requests > soft.batch_requests
        assert hard.flush_seconds < soft.flush_seconds
        assert hard.settle_seconds < soft.settle_seconds
        assert hard.settle_most_seconds < soft.settle_most_seconds
        assert soft.settle_seconds <= soft.settle_most_seconds
