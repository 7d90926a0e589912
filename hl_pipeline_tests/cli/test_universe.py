"""The command line where the universe, and not a list, says what is collected."""

from __future__ import annotations

import json

import pytest

from hl_pipeline_tests.cli.conftest import Run


@pytest.fixture
def top50(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """BTC is named, ETH comes by its volume."""
    monkeypatch.setenv("HL_UNIVERSE", "top50")
    monkeypatch.setenv("HL_MARKETS", "BTC")
    monkeypatch.setenv("HL_INTERVALS", "1d")


@pytest.mark.usefixtures("top50")
def test_collect_takes_coins_that_the_universe_brought_in_and_refuses_others(run: Run) -> None:
    some = json.loads(run("collect", "--coins", "ETH", "--json").output)
    assert (some["planned"], some["markets_tracked"]) == (1, 2)
    refused = run("collect", "--coins", "DOGE")
    assert refused.exit_code == 2
    assert "DOGE is not tracked; HL_MARKETS has BTC, HL_UNIVERSE is top50" in refused.stderr


@pytest.mark.usefixtures("top50")
def test_gaps_takes_them_too(run: Run) -> None:
    run("collect")
    assert run("gaps", "--coins", "ETH").exit_code == 0
    assert "DOGE is not tracked" in run("gaps", "--coins", "DOGE").stderr


@pytest.mark.usefixtures("top50")
def test_status_says_who_is_collected_and_what_happened_to_whom(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("collect")
    assert "2 collected, 1 of them named in HL_MARKETS, 1 brought in by HL_UNIVERSE" in run("status").output
    monkeypatch.setenv("HL_UNIVERSE", "list")
    run("collect")
    shown = run("status").output
    assert "1 collected, 1 of them named in HL_MARKETS, 0 brought in by HL_UNIVERSE" in shown
    assert "ETH is collected no more; what is stored stays" in shown
    (news,) = json.loads(run("status", "--json").output)["market_news"]
    assert (news["coin"], news["attribute"], news["old_value"]) == ("ETH", "tracked_by", "universe")
