"""The sandbox against answers recorded from the real exchange: same keys, same JSON types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hl_pipeline.model.clock import ManualClock
from hl_pipeline.sandbox.exchange import Exchange
from hl_pipeline.sandbox.limiter import LimiterMode, WeightLimiter
from hl_pipeline.sandbox.world import World
from hl_pipeline_tests.sandbox.worlds import NOW, ask, candle_body

RECORDED = Path(__file__).parents[3] / "shared" / "fixtures" / "rest"

pytestmark = pytest.mark.skipif(not RECORDED.exists(), reason="recorded answers are not beside this repository")


@pytest.fixture(scope="module")
def there() -> Exchange:
    return Exchange(World(7, clock=ManualClock(NOW)), limiter=WeightLimiter(LimiterMode.OFF))


def recorded(name: str, request: str) -> Any:
    calls = json.loads((RECORDED / f"{name}.json").read_text())
    return json.loads(next(c["response"]["body_text"] for c in calls if c["request"]["body"]["type"] == request))


def told(there: Exchange, body: dict[str, Any]) -> Any:
    return json.loads(ask(there, body).body)


def kinds(objects: list[dict[str, Any]]) -> dict[str, set[str]]:
    """JSON types each key is seen with."""
    seen: dict[str, set[str]] = {}
    for one in objects:
        for key, value in one.items():
            seen.setdefault(key, set()).add(type(value).__name__)
    return seen


def always(objects: list[dict[str, Any]]) -> set[str]:
    return set.intersection(*(set(one) for one in objects))


def assert_alike(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], *, later_keys: frozenset[str]) -> None:
    """Keys always present are the same; no key or type of ours is foreign to the recording (or known to be newer)."""
    assert always(ours) - later_keys == always(theirs) - later_keys
    their_kinds = kinds(theirs)
    for key, types in kinds(ours).items():
        if key not in later_keys:
            assert types <= their_kinds[key], key


NONE: frozenset[str] = frozenset()


def test_meta_is_spelled_as_recorded(there: Exchange) -> None:
    ours, theirs = told(there, {"type": "meta"}), recorded("go_Meta", "meta")
    assert set(ours) - {"collateralToken"} == set(theirs)
    assert_alike(ours["universe"], theirs["universe"], later_keys=frozenset({"marginMode"}))
    number, table = ours["marginTables"][0]
    assert isinstance(number, int)
    assert_alike([table], [theirs["marginTables"][0][1]], later_keys=NONE)
    assert_alike(table["marginTiers"], theirs["marginTables"][0][1]["marginTiers"], later_keys=NONE)
    assert {t[0] for t in ours["marginTables"]} == {m["marginTableId"] for m in ours["universe"]}


def test_spot_meta_is_spelled_as_recorded(there: Exchange) -> None:
    ours, theirs = told(there, {"type": "spotMeta"}), recorded("go_SpotMeta", "spotMeta")
    assert set(ours) == set(theirs)
    assert_alike(ours["universe"], theirs["universe"], later_keys=NONE)
    assert_alike(ours["tokens"], theirs["tokens"], later_keys=NONE)
    assert any(pair["index"] != at for at, pair in enumerate(ours["universe"]))


def test_perp_dexs_are_spelled_as_recorded(there: Exchange) -> None:
    ours, theirs = told(there, {"type": "perpDexs"}), recorded("go_PerpDexs", "perpDexs")
    assert ours[0] is theirs[0] is None
    assert_alike(ours[1:], theirs[1:], later_keys=NONE)


def test_mids_are_strings_by_name(there: Exchange) -> None:
    ours, theirs = told(there, {"type": "allMids"}), recorded("go_AllMids_WithDex", "allMids")
    assert {type(mid) for mid in ours.values()} == {type(mid) for mid in theirs.values()} == {str}
    assert {"BTC", "@107", "PURR/USDC", "kPEPE"} <= set(ours) & set(theirs)


@pytest.mark.parametrize(("kind", "name"), [("metaAndAssetCtxs", "jkorf"), ("spotMetaAndAssetCtxs", "jkorf")])
def test_contexts_are_spelled_as_recorded(there: Exchange, kind: str, name: str) -> None:
    ours = told(there, {"type": kind})[1]
    theirs = json.loads((RECORDED / f"{name}_{kind}.json").read_text())[1]
    prices = [one for one in ours if one["midPx"] is not None]
    assert_alike(prices, theirs, later_keys=frozenset({"dayBaseVlm"}))


def test_candles_are_spelled_as_recorded(there: Exchange) -> None:
    theirs = json.loads((RECORDED / "hummingbot_candleSnapshot_BTC_1h.json").read_text())
    ours = told(there, candle_body("BTC", "1h", NOW - 86_400_000, NOW))
    assert [list(row) for row in ours] == [list(theirs[0])] * 25
    assert kinds(ours) == kinds(theirs)


def test_a_request_off_the_grid_gets_the_slots_the_real_exchange_gave(there: Exchange) -> None:
    calls = json.loads((RECORDED / "pysdk_candleSnapshot_kPEPE_1h.json").read_text())
    call = next(c for c in calls if c["request"]["body"]["type"] == "candleSnapshot")
    then = World(7, clock=ManualClock(call["request"]["body"]["req"]["endTime"] + 1))
    ours = told(Exchange(then), call["request"]["body"])
    assert [row["t"] for row in ours] == [row["t"] for row in json.loads(call["response"]["body_text"])]


def test_funding_rows_are_spelled_as_recorded(there: Exchange) -> None:
    theirs = recorded("pysdk_fundingHistory_BTC_with_endTime", "fundingHistory")
    ours = told(there, {"type": "fundingHistory", "coin": "BTC", "startTime": NOW - 86_400_000})
    assert [list(row) for row in ours] == [list(theirs[0])] * len(ours)
    assert kinds(ours) == kinds(theirs)


def test_a_pre_launch_row_looks_like_the_recorded_one(there: Exchange) -> None:
    theirs = json.loads((RECORDED / "misc_candle_rows.jsonl").read_text().splitlines()[0])
    ours = told(there, candle_body("BTC", "1d", theirs["t"], theirs["t"]))[0]
    for key in ("t", "T", "s", "i", "v", "n"):
        assert ours[key] == theirs[key]
    assert ours["h"] != ours["l"]
