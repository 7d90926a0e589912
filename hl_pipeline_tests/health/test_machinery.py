from __future__ import annotations

from dataclasses import replace

import pytest

from hl_pipeline.health.machinery import ESSENTIAL
from hl_pipeline.health.report import report
from hl_pipeline.health.status import Status, Verdict
from hl_pipeline.model.vitals import (
    Blindness,
    DagsterVitals,
    DeliveryVitals,
    DiskVitals,
    HostVitals,
    TrustVitals,
    UnfinishedRuns,
    Vitals,
)
from hl_pipeline_tests.health.test_verdict import NOW_MS, VITALS

GB = 1_000_000_000
DAGSTER = DagsterVitals(
    silent_s={"SCHEDULER": 12.0, "SENSOR": 20.0, "QUEUED_RUN_COORDINATOR": 5.0, "ASSET": 3.0},
    ailing=(),
    unfinished=(UnfinishedRuns("collect", "STARTED", 1, 4.0),),
    failing=(),
    failed=0,
    switched_on=ESSENTIAL | {"seal_nightly"},
)
HOST = HostVitals((DiskVitals("/data", 50 * GB, 100 * GB, 0.9),), 90_000_000)
WELL = replace(
    VITALS,
    dagster=DAGSTER,
    host=HOST,
    trust=TrustVitals(36, 0.97, 400, 0.99),
    delivery=DeliveryVitals(4, 4, 4, 0, None, ()),
)


def with_dagster(**changed: object) -> Vitals:
    return replace(WELL, dagster=replace(DAGSTER, **changed))  # type: ignore[arg-type]


def verdict(vitals: Vitals, name: str) -> Verdict:
    return report(vitals).verdict(name)


def silent(**seconds: float) -> Vitals:
    return with_dagster(silent_s={**DAGSTER.silent_s, **seconds})


def all_silent(seconds: float) -> Vitals:
    return with_dagster(silent_s=dict.fromkeys(DAGSTER.silent_s, seconds))


def disk(free_bytes: int, total_bytes: int, free_files: float = 0.9) -> Vitals:
    return replace(WELL, host=HostVitals((DiskVitals("/data", free_bytes, total_bytes, free_files),), 1))


def runs(job: str, state: str, longest_s: float) -> Vitals:
    return with_dagster(unfinished=(UnfinishedRuns(job, state, 2, longest_s),))


def delivery(sent: int, attempts: int, late: tuple[str, ...] = ()) -> Vitals:
    return replace(WELL, delivery=DeliveryVitals(20, sent, attempts, 20 - sent, 400.0, late))


def trust(mean: float, rate: float | None) -> Vitals:
    return replace(WELL, trust=TrustVitals(36, mean, 400, rate))


@pytest.mark.parametrize(
    ("vitals", "name", "status"),
    [
        (WELL, "daemon_alive", "healthy"),
        (all_silent(90), "daemon_alive", "healthy"),
        (all_silent(91), "daemon_alive", "unhealthy"),
        (silent(SENSOR=91), "daemon_alive", "degraded"),
        (silent(SENSOR=301), "daemon_alive", "unhealthy"),
        (silent(OF_AN_OLDER_CONFIGURATION=1e6), "daemon_alive", "healthy"),
        (with_dagster(ailing=("SENSOR",)), "daemon_alive", "degraded"),
        (with_dagster(silent_s={}), "daemon_alive", "degraded"),
        (with_dagster(silent_s={}, switched_on=frozenset()), "daemon_alive", "healthy"),
        (WELL, "runs_finish", "healthy"),
        (runs("collect", "STARTED", 3_900), "runs_finish", "healthy"),
        (runs("collect", "STARTED", 3_901), "runs_finish", "degraded"),
        (runs("collect", "STARTING", 301), "runs_finish", "degraded"),
        (runs("collect", "QUEUED", 900), "runs_finish", "healthy"),
        (runs("collect", "QUEUED", 901), "runs_finish", "degraded"),
        (with_dagster(failing=("collect",)), "runs_finish", "degraded"),
        (with_dagster(failed=3), "runs_finish", "healthy"),
        (WELL, "automation_on", "healthy"),
        (with_dagster(switched_on=ESSENTIAL - {"deliver_alerts"}), "automation_on", "degraded"),
        (WELL, "disk_has_room", "healthy"),
        (disk(4 * GB, 20 * GB), "disk_has_room", "healthy"),
        (disk(9 * GB, 1000 * GB), "disk_has_room", "healthy"),
        (disk(5 * GB - 1, 1000 * GB), "disk_has_room", "degraded"),
        (disk(GB // 2 - 1, 1000 * GB), "disk_has_room", "unhealthy"),
        (disk(1_900_000, 20_000_000), "disk_has_room", "degraded"),
        (disk(0, 1_000_000), "disk_has_room", "unhealthy"),
        (disk(50 * GB, 100 * GB, 0.04), "disk_has_room", "degraded"),
        (disk(50 * GB, 100 * GB, 0.009), "disk_has_room", "unhealthy"),
        (replace(WELL, host=HostVitals((), 2_048_000_000)), "memory_bounded", "healthy"),
        (replace(WELL, host=HostVitals((), 2_048_000_001)), "memory_bounded", "degraded"),
        (trust(0.9, 0.95), "data_trusted", "healthy"),
        (trust(0.9, 0.949), "data_trusted", "degraded"),
        (trust(0.29, 0.99), "data_trusted", "unhealthy"),
        (trust(0.9, None), "data_trusted", "healthy"),
        (delivery(20, 22), "alerts_delivered", "healthy"),
        (delivery(20, 23), "alerts_delivered", "degraded"),
        (delivery(5, 9), "alerts_delivered", "healthy"),
        (delivery(19, 20, late=("mail",)), "alerts_delivered", "degraded"),
    ],
)
def test_each_bound_is_judged_from_both_sides(vitals: Vitals, name: str, status: str) -> None:
    found = verdict(vitals, name)
    assert found.status == status
    assert found.passed != ("Next:" in found.sentence)


def test_what_hangs_and_what_is_off_is_named() -> None:
    assert "(collect started)" in verdict(runs("collect", "STARTED", 9_999), "runs_finish").sentence
    assert "off: deliver_alerts" in verdict(
        with_dagster(switched_on=ESSENTIAL - {"deliver_alerts"}), "automation_on"
    ).sentence  # fmt: skip
    assert "the newest run failed of collect" in verdict(with_dagster(failing=("collect",)), "runs_finish").sentence


def test_a_well_pipeline_with_dagster_is_healthy_in_every_part_but_the_stream() -> None:
    found = report(WELL)
    assert (found.status, found.score, found.excluded) == (Status.HEALTHY, 100, ["stream"])
    assert found.about["memory_mb"] == 90


def test_a_dead_daemon_does_not_run_whatever_landed_last() -> None:
    found = report(all_silent(600))
    assert found.status is Status.UNHEALTHY
    assert found.parts["running"] == 0.0


def test_a_failed_newest_run_is_half_of_running() -> None:
    assert report(with_dagster(failing=("collect",))).parts["running"] == 0.5


def test_schedules_that_are_off_are_a_part_of_the_score() -> None:
    assert report(with_dagster(switched_on=frozenset())).parts["automation"] == 0.0


def test_where_dagster_keeps_no_records_it_is_not_judged_and_that_is_said() -> None:
    found = report(replace(WELL, dagster=None, no_dagster="before the first start"))
    assert (found.status, found.score) == (Status.HEALTHY, 100)
    assert found.excluded == ["automation", "stream"]
    assert found.verdict("daemon_alive").sentence == "not judged: before the first start"


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("requests", {"api_answers"}),
        ("coverage", {"data_fresh", "coverage_complete"}),
        ("dagster", {"daemon_alive", "runs_finish", "automation_on"}),
        ("host", {"disk_has_room", "memory_bounded"}),
        ("trust", {"data_trusted"}),
        ("delivery", {"alerts_delivered"}),
        ("stream", {"stream_alive"}),
    ],
)
def test_what_could_not_be_measured_is_unknown_and_so_is_the_whole(group: str, names: set[str]) -> None:
    found = report(replace(WELL, unmeasured={group: "it broke"}))
    assert {one.name for one in found.verdicts if one.status is Status.UNKNOWN} == names
    assert found.status is Status.UNKNOWN
    assert found.reason == "could not be measured: it broke"
    assert not found.is_blind


def test_what_landed_and_could_not_be_looked_at_is_no_news_and_lowers_no_score() -> None:
    found = report(replace(WELL, last_landed_ms=None, unmeasured={"requests": "it broke"}))
    assert (found.score, "running" in found.excluded) == (100, True)
    assert report(replace(WELL, last_landed_ms=None)).score < 100


def test_bad_news_outweighs_what_is_unknown() -> None:
    found = report(replace(all_silent(600), unmeasured={"requests": "it broke"}))
    assert found.status is Status.UNHEALTHY


def test_without_a_database_the_rest_is_still_judged() -> None:
    blind = Vitals.unseen(NOW_MS, Blindness("database_answers", "db:5432/hl cannot be reached"))
    found = report(replace(blind, host=HOST, unmeasured={"dagster": "db:5432/hl_dagster cannot be reached"}))
    assert (found.status, found.score, found.band) == (Status.UNKNOWN, 0, "critical")
    assert found.is_blind
    assert found.reason == "db:5432/hl cannot be reached"
    states = {one.name: str(one.status) for one in found.verdicts}
    assert states["database_answers"] == "unhealthy"
    assert states["disk_has_room"] == "healthy"
    assert states["daemon_alive"] == "unknown"
