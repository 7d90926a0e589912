from __future__ import annotations

import shlex
from pathlib import Path

from hl_pipeline.cli.up import _as_here
from hl_pipeline.model.universe import Universe
from hl_pipeline.settings import Settings


def test_the_variables_it_prints_lead_a_command_to_the_same_sandbox(tmp_path: Path) -> None:
    demo = Settings(
        venue="sandbox",
        home=tmp_path / "a folder",
        endpoint="http://127.0.0.1:40123",
        universe=Universe.LIST,
        markets=("BTC", "@107"),
    )
    typed = dict(word.split("=", 1) for word in shlex.split(_as_here(demo)))
    meant = Settings.load(typed)
    assert (meant.venue_home, meant.endpoint) == (demo.venue_home, demo.endpoint)
    assert (meant.universe, meant.markets) == (demo.universe, demo.markets)
