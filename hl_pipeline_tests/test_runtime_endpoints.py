"""What opening the pipeline makes of the endpoints in the settings."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from hl_pipeline.model.clock import ManualClock
from hl_pipeline.model.endpoint import Breaker, FailureOf
from hl_pipeline.model.failure import ExchangeUnavailable
from hl_pipeline.runtime import open_pipeline
from hl_pipeline.settings import Settings
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.source.scripted import ScriptedServer, answer


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::ffff:127.0.0.1"])
def test_a_host_of_the_users_list_that_leads_inside_is_refused_when_it_is_asked(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str
) -> None:
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host != "inside.example.org":
            return real(host, port, *args, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with ScriptedServer(answer()) as server:
        settings = Settings(
            home=tmp_path,
            allowed_hosts=("inside.example.org",),
            endpoint=f"https://inside.example.org:{server.url.rsplit(':', 1)[1]}",
        )
        with open_pipeline(settings, database=database) as pipeline:
            (url,) = pipeline.source.endpoints
            with pytest.raises(ExchangeUnavailable, match=f"inside.example.org leads to {address}"):
                pipeline.source.sight(url)
        assert server.connections == 0


def test_every_opening_shares_the_breakers_and_looking_changes_nothing(database: Database, tmp_path: Path) -> None:
    several = Settings(venue="sandbox", home=tmp_path, endpoints=("http://127.0.0.1:1", "http://127.0.0.1:2"))
    with open_pipeline(several, database=database) as pipeline:
        assert pipeline.source.endpoints == ("http://127.0.0.1:1/info", "http://127.0.0.1:2/info")
        for _ in range(5):
            pipeline.endpoints.failed("http://127.0.0.1:2/info", FailureOf.UNREACHABLE, "gone")
    one = Settings(venue="sandbox", home=tmp_path, endpoint="http://127.0.0.1:1")
    with open_pipeline(one, database=database, only_looks=True) as pipeline:
        states = pipeline.endpoints.view().states
    assert [state.breaker for state in states] == [Breaker.CLOSED, Breaker.OPEN]
    with open_pipeline(one, database=database) as pipeline:
        assert [state.url for state in pipeline.endpoints.view().states] == ["http://127.0.0.1:1/info"]


def test_a_simulation_keeps_the_breakers_on_its_own_clock(database: Database, tmp_path: Path) -> None:
    settings = Settings(venue="sandbox", home=tmp_path)
    clock = ManualClock(1_785_067_200_000)
    with open_pipeline(settings, database=database, clock=clock) as pipeline:
        assert pipeline.endpoints.view().now_ms == clock.now_ms()
    with open_pipeline(settings, database=database) as pipeline:
        assert pipeline.endpoints.view().now_ms != clock.now_ms()
