from __future__ import annotations

import json
from typing import Any

import pytest

from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.tariff import FUNDING_PAGE_ROWS
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.limiter import LimiterMode, WeightLimiter
from hl_pipeline.sandbox.world import Manners, QuietMode, World
from hl_pipeline_tests.sandbox.worlds import BTC, DAY_MS, NOW, ask, candle_body, exchange, world


def told(kind: str, **extra: object) -> Any:
    return json.loads(ask(exchange(), {"type": kind, **extra}).body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"type":"noSuchType"}',
        b'{"type":7}',
        b'{"type":"candleSnapshot"}',
        b'{"type":"candleSnapshot","req":{"coin":"BTC","interval":"1m"}}',
        b'{"type":"candleSnapshot","req":{"coin":"BTC","interval":"6h","startTime":0}}',
        b'{"type":"candleSnapshot","req":{"coin":"BTC","interval":"1m","startTime":-1}}',
        b'{"type":"candleSnapshot","req":{"coin":"BTC","interval":"1m","startTime":1.5}}',
        b'{"type":"candleSnapshot","req":{"coin":"BTC","interval":"1m","startTime":"0"}}',
        b'{"type":"fundingHistory","coin":"BTC"}',
    ],
)
def test_a_request_that_cannot_be_read_is_a_422_in_plain_text(body: bytes) -> None:
    answer = exchange().answer(body)
    assert answer.status == 422
    assert answer.content_type.startswith("text/plain")
    assert answer.body == b"Failed to deserialize the JSON body into the target type"


@pytest.mark.parametrize("coin", ["NOPE", "btc", "TSLA", "XYZ:TSLA", ""])
def test_an_unknown_coin_is_a_500_with_null(coin: str) -> None:
    answer = ask(exchange(), candle_body(coin, "1m", 0, None))
    assert (answer.status, answer.body) == (500, b"null")


def test_the_end_of_a_window_may_be_left_out() -> None:
    there = exchange()
    req = {"coin": "BTC", "interval": "1h", "startTime": NOW - DAY_MS}
    open_ended = ask(there, {"type": "candleSnapshot", "req": req})
    assert open_ended.body == ask(there, candle_body("BTC", "1h", NOW - DAY_MS, NOW)).body


def test_the_exchange_tells_its_time() -> None:
    assert told("exchangeStatus") == {"time": NOW, "specialStatuses": None}


def test_funding_pages_keep_the_oldest_rows_and_can_be_walked_to_the_end() -> None:
    there = exchange()
    rows: list[dict[str, Any]] = []
    start, pages = NOW - 40 * DAY_MS, 0
    while True:
        answer = ask(there, {"type": "fundingHistory", "coin": "BTC", "startTime": start, "endTime": NOW})
        page = json.loads(answer.body)
        if not page:
            break
        assert len(page) <= FUNDING_PAGE_ROWS
        rows, start, pages = rows + page, page[-1]["time"] + 1, pages + 1
    assert pages == 2
    assert 40 * 24 - 1 <= len(rows) <= 40 * 24 + 1
    times = [row["time"] for row in rows]
    assert times == sorted(set(times))
    assert any(at % 3_600_000 for at in times)
    assert len({at // 3_600_000 for at in times}) == len(times)


def test_funding_reaches_the_listing_and_was_paid_every_eight_hours_at_first() -> None:
    rows = told("fundingHistory", coin="BTC", startTime=0)
    assert BTC.listed_ms <= rows[0]["time"] < BTC.listed_ms + 8 * 3_600_000
    assert rows[1]["time"] // 3_600_000 - rows[0]["time"] // 3_600_000 == 8


def test_a_delisted_market_stays_in_the_universe_with_nulls_for_prices() -> None:
    meta, contexts = told("metaAndAssetCtxs")
    names = [entry["name"] for entry in meta["universe"]]
    assert names == ["BTC", "SLOW", "GONE"]
    gone, context = meta["universe"][2], contexts[2]
    assert gone["isDelisted"] is True
    assert (context["midPx"], context["premium"], context["impactPxs"]) == (None, None, None)
    assert (context["funding"], context["openInterest"], context["dayNtlVlm"]) == ("0.0", "0.0", "0.0")
    assert "isDelisted" not in meta["universe"][0]


def test_a_market_listed_tomorrow_joins_the_universe_then() -> None:
    here = world()
    there = exchange(here)
    assert isinstance(here.clock, ManualClock)
    here.clock.advance(DAY_MS)
    universe = json.loads(ask(there, {"type": "meta"}).body)["universe"]
    assert [entry["name"] for entry in universe] == ["BTC", "SLOW", "GONE", "SOON"]


def test_builder_markets_live_under_their_dex() -> None:
    dexes = told("perpDexs")
    assert dexes[0] is None
    assert [dex["name"] for dex in dexes[1:]] == ["xyz"]
    assert [entry["name"] for entry in told("meta", dex="xyz")["universe"]] == ["xyz:TSLA"]
    assert list(told("allMids", dex="xyz")) == ["xyz:TSLA"]
    assert len(told("allPerpMetas")) == 2
    assert ask(exchange(), {"type": "meta", "dex": "nope"}).status == 500


def test_a_world_without_builders_has_only_the_exchange_s_own_dex() -> None:
    there = exchange(World(7, markets=[BTC], clock=ManualClock(NOW)))
    assert json.loads(ask(there, {"type": "perpDexs"}).body) == [None]


def test_spot_contexts_outnumber_pairs_and_are_joined_by_coin() -> None:
    meta, contexts = told("spotMetaAndAssetCtxs")
    assert [pair["index"] for pair in meta["universe"]] == [0, 107]
    assert len(contexts) > len(meta["universe"])
    assert contexts[1]["coin"] != meta["universe"][1]["name"]
    assert {pair["name"] for pair in meta["universe"]} <= {context["coin"] for context in contexts}
    assert meta["tokens"][150]["name"] == "HYPE"


def test_mids_of_the_own_dex_include_spot() -> None:
    assert set(told("allMids")) == {"BTC", "SLOW", "GONE", "PURR/USDC", "@107"}


def test_the_mid_is_near_the_open_candle() -> None:
    there = exchange()
    mid = float(json.loads(ask(there, {"type": "allMids"}).body)["BTC"])
    candle = json.loads(ask(there, candle_body("BTC", "1h", NOW, NOW)).body)[0]
    assert float(candle["l"]) * 0.99 < mid < float(candle["h"]) * 1.01


def test_every_request_is_logged_with_what_it_asked_and_weighed() -> None:
    there = exchange()
    ask(there, candle_body("BTC", "1h", NOW - DAY_MS, NOW), client="me")
    there.answer(b"nonsense")
    candle, nonsense = there.log.entries()
    assert (candle.client, candle.request, candle.coin, candle.interval) == ("me", "candleSnapshot", "BTC", "1h")
    assert (candle.start_ms, candle.end_ms, candle.rows, candle.weight) == (NOW - DAY_MS, NOW, 25, 21)
    assert (nonsense.request, nonsense.status) == ("", 422)
    assert there.log.entries(after=candle.number) == [nonsense]
    there.log.clear()
    assert there.log.entries() == []


def test_settings_may_be_given_as_plain_words_and_unknown_words_are_refused() -> None:
    assert Manners("sparse").quiet is QuietMode.SPARSE  # type: ignore[arg-type]
    assert Fault("late").kind is FaultKind.LATE  # type: ignore[arg-type]
    assert WeightLimiter("off").mode is LimiterMode.OFF  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="loud"):
        Manners("loud")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unheard of"):
        Fault("unheard of")  # type: ignore[arg-type]
