from __future__ import annotations

import asyncio
import json
import threading

import pytest

from hl_pipeline.health.report import Report
from hl_pipeline.health.verdict import Status
from hl_pipeline.model.failure import DatabaseUnavailable
from hl_pipeline.serve.health import Readiness
from hl_pipeline_tests.serve.conftest import PASSWORD, Grounds, Web
from hl_pipeline_tests.serve.test_guard import as_user


def of_status(status: Status) -> Report:
    return Report(0, status, 50, "poor", {}, [], [])


def asked(looking: object, **how: float) -> tuple[int, dict[str, object], dict[str, object]]:
    return asyncio.run(Readiness(looking, **how)())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "code"),
    [(Status.HEALTHY, 200), (Status.DEGRADED, 200), (Status.UNHEALTHY, 503), (Status.UNKNOWN, 503)],
)
def test_the_code_follows_the_status(status: Status, code: int) -> None:
    found, for_anybody, _ = asked(lambda: of_status(status))
    assert (found, for_anybody["status"]) == (code, str(status))


def test_a_database_that_is_down_is_503_and_only_guests_learn_where_it_was() -> None:
    def looking() -> Report:
        raise DatabaseUnavailable("db.internal:5432/hl cannot be reached")

    code, for_anybody, for_guests = asked(looking)
    assert code == 503
    assert for_anybody == {"status": "unknown"}
    assert "db.internal" in str(for_guests["reason"])


def test_a_database_that_never_answers_is_503_and_only_one_look_waits_for_it() -> None:
    held, looks = threading.Event(), []

    def looking() -> Report:
        looks.append(1)
        held.wait(60)
        return of_status(Status.HEALTHY)

    async def thrice() -> list[int]:
        readiness = Readiness(looking, patience_seconds=0.05)
        return [(await readiness())[0] for _ in range(3)]

    try:
        assert asyncio.run(thrice()) == [503, 503, 503]
        assert len(looks) == 1
    finally:
        held.set()


def test_over_http_strangers_read_names_and_verdicts_and_guests_the_report(locked: Web) -> None:
    for path in ("/health", "/healthz"):
        stranger = locked.ask(path, Host="10.0.0.7")
        guest = locked.ask(path, Authorization=as_user(PASSWORD))
        assert stranger.status == guest.status
        told = json.loads(stranger.text)
        assert set(told) == {"status", "score", "checks"}
        assert all(set(check) == {"name", "status"} for check in told["checks"])
        assert "sentence" in json.loads(guest.text)["checks"][0]


def test_liveness_does_not_need_the_database(grounds: Grounds) -> None:
    with grounds.web(HL_DATABASE_URL="postgresql://nobody:nothing@127.0.0.1:1/none") as web:
        assert json.loads(web.ask("/livez", Host="10.0.0.7").text) == {"status": "alive"}
        health = web.ask("/health", Host="10.0.0.7")
        told = json.loads(health.text)
        assert (health.status, told["status"]) == (503, "unknown")
        assert {"name": "database_answers", "status": "unhealthy"} in told["checks"]
        assert "127.0.0.1:1" not in health.text
        assert "127.0.0.1:1" in web.ask("/health").text
