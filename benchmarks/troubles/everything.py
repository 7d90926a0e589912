"""All troubles, in the order in which they are played and told; and what they must cover."""

from __future__ import annotations

from benchmarks.troubles import collecting, exchange, machine, markets, promises, rows
from hl_pipeline.defs.listing import build

TROUBLES = (
    *exchange.TROUBLES,
    *collecting.TROUBLES,
    *rows.TROUBLES,
    *markets.TROUBLES,
    *machine.TROUBLES,
    *promises.TROUBLES,
)


def check_names() -> list[str]:
    """Every asset check of the project, as ``asset/check``."""
    graph = build().resolve_asset_graph()
    return sorted(f"{key.asset_key.to_user_string()}/{key.name}" for key in graph.asset_check_keys)
