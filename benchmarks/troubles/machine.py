"""What goes wrong on our own machine: the database, the disk, the stream, the ones who tell."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
from pydantic import SecretStr

from benchmarks.troubles.drill import Trouble
from benchmarks.troubles.promises import fill
from benchmarks.troubles.stage import HEALTH, Stage
from hl_pipeline.defs.launch import set_automation
from hl_pipeline.health.machinery import DAEMON_SILENT_S
from hl_pipeline.model.interval import MINUTE_MS
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.storage import postmaster, stream
from hl_pipeline.storage.postgres_home import PostgresHome

THEME = "machine"
_WAITS = b"""
    select count(*) from pg_locks
    where not granted and mode <> 'AccessExclusiveLock' and relation = 'hl.market'::regclass
"""
_LOCK = b"lock table hl.market in access exclusive mode"
#: Enough of a full disk for the server to be refused more, and a little for its log.
_LEFT_SHARE = 0.00005
_DAEMON_SILENT_S = DAEMON_SILENT_S + 3


@contextmanager
def _held_up(stage: Stage, seconds: float) -> Iterator[None]:
    """Somebody's transactions lock hl.market: each of ours that reads it waits so long.

    Two take turns, so that the next one stands in the queue before the first lets go: else whoever reads twice in a row
    would wait once.
    """
    stop = threading.Event()

    def lock_again_and_again() -> None:
        with psycopg.connect(stage.database.libpq_url, autocommit=True) as looks:
            while not stop.is_set():
                with psycopg.connect(stage.database.libpq_url) as holds:
                    holds.execute(_LOCK)
                    while not stop.is_set() and looks.execute(_WAITS).fetchone() == (0,):
                        time.sleep(0.005)
                    stop.wait(seconds)

    threads = [threading.Thread(target=lock_again_and_again, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def slow_database(stage: Stage) -> Generator[None]:
    """Whoever reads hl.market waits for 0.4 s."""
    stage.jobs = ["health"]
    with _held_up(stage, 0.4):
        yield
    stage.jobs = ["collect"]


def hanging_database(stage: Stage) -> Generator[None]:
    """Whoever reads hl.market waits for 2.2 s."""
    stage.jobs = ["health"]
    with _held_up(stage, 2.2):
        yield
    stage.jobs = ["collect"]


def database_killed(stage: Stage) -> Generator[None]:
    """Postgres is killed; `hl up` would start it again, here the drill does."""
    pid = postmaster.running(PostgresHome(stage.ground.home / "server"))
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    _until(lambda: postmaster.running(PostgresHome(stage.ground.home / "server")) is None, "Postgres ends")
    dead_man(stage, code=2)
    stage.clock.advance(MINUTE_MS)
    collected = stage.hl("collect")
    assert collected.code == 1, collected.err
    stage.see("command line", "hl collect", f"exit 1: {collected.err.strip()}")
    yield
    stage.ground.server.start()
    stage.ground.reconnect()
    assert stage.run("collect").success, stage.said
    stage.deliver()
    over(stage)


def disk_full(stage: Stage) -> Generator[None]:
    """The disk of the database is full; a person makes room."""
    filler = stage.ground.home / "filler"
    stage.clock.advance(10 * MINUTE_MS)
    fill(filler, left_share=_LEFT_SHARE)
    collected = stage.hl("collect")
    assert collected.code == 1, f"hl collect ended with {collected.code} on a full disk: {collected.err}"
    stage.see("command line", "hl collect", f"exit {collected.code}: {collected.err.strip()}")
    yield
    filler.unlink()
    if postmaster.running(PostgresHome(stage.ground.home / "server")) is None:
        stage.ground.server.start()
    stage.ground.reconnect()
    assert stage.run("collect").success, stage.said


def nobody_judges(stage: Stage) -> Generator[None]:
    """The sensor that judges the rules is turned off."""
    set_automation(False, ["deliver_alerts"], instance=stage.instance)
    stage.jobs, stage.tells = ["collect", "health"], False
    for _ in range(6):
        stage.beat(MINUTE_MS)
    dead_man(stage, code=0)
    yield
    set_automation(True, ["deliver_alerts"], instance=stage.instance)
    stage.tells = True
    stage.beat(MINUTE_MS)
    over(stage)


def channel_deaf(stage: Stage) -> Generator[None]:
    """One of two channels takes no notice: its folder is missing. A person makes it."""
    folder = stage.settings.home / "elsewhere"
    urls = (*stage.settings.alert_urls, SecretStr(f"info=file://{folder}/alerts.jsonl"))
    stage.settings = stage.settings.model_copy(update={"alert_urls": urls})
    stage.pipeline = replace(stage.pipeline, settings=stage.settings)
    stage.jobs = ["collect", "refresh_funding", "health"]
    stage.exchange.faults.add(Fault(FaultKind.SERVER_ERROR, request="fundingHistory"))
    yield
    stage.exchange.faults.clear()
    folder.mkdir()
    stage.beat(6 * MINUTE_MS)
    yield
    told = [json.loads(line)["title"] for line in (folder / "alerts.jsonl").read_text().splitlines()]
    assert "[ERROR] hl_pipeline: run_failed" in told, told


def daemon_killed(stage: Stage) -> Generator[None]:
    """Dagster's daemon is killed, and nobody starts it again for a minute and a half of real time."""
    stage.jobs, stage.drains = ["health"], False
    stage.ground.daemon_ends()
    time.sleep(_DAEMON_SILENT_S)
    yield
    stage.ground.daemon_begins()
    _until(lambda: _stands(stage, "daemon_alive") == "healthy", "the daemon lives")


def stream_killed(stage: Stage) -> Generator[None]:
    """`hl stream` is killed, and nobody starts it again for a while."""
    stage.pipeline = replace(stage.pipeline, settings=stage.settings.model_copy(update={"stream": True}))
    stage.settings = stage.pipeline.settings
    # the stream lives in real time, which cannot be moved by hand
    stage.sabotage(b"update hl.alert_rule set wait = interval '20 seconds' where name = 'stream_down'")
    first = stage.start("stream")
    _until_it_streams(stage)
    first.kill()
    first.wait()
    yield
    stage.start("stream")
    _until_it_streams(stage)


def second_endpoint_dead(stage: Stage) -> Generator[None]:
    """The second of two endpoints answers nothing but 502."""
    yield from _second(stage, Fault(FaultKind.BAD_GATEWAY))


def second_endpoint_lies(stage: Stage) -> Generator[None]:
    """The second of two endpoints shows prices a hundredth too high."""
    yield from _second(stage, Fault(FaultKind.SHIFTED, amount=100))


def other_schema(stage: Stage) -> Generator[None]:
    """The database was migrated by a newer version than the one that runs."""
    stage.sabotage(
        b"insert into hl.schema_version (version, description, checksum, took_ms)"
        b" select version + 1, 'from the future', checksum, 1 from hl.schema_version order by version desc limit 1"
    )
    for command in (HEALTH, ("collect",)):
        said = stage.hl(*command)
        assert said.code == 2, f"{command} ended with {said.code}"
        stage.see("command line", f"hl {command[0]}", f"exit 2: {said.err.strip()}")
    yield
    stage.sabotage(b"delete from hl.schema_version where description = 'from the future'")
    said = stage.hl(*HEALTH)
    assert said.code == 0, said.err


def dead_man(stage: Stage, *, code: int) -> None:
    """Two looks of `hl health --alert`, as the timer outside Dagster makes them; the second speaks.

    Raises:
        AssertionError: it does not.
    """
    for _ in range(2):
        said = stage.hl(*HEALTH, "--alert")
        assert said.code == code, f"hl health --alert ended with {said.code}: {said.err}"
    stage.see("hl health", "exit code", f"exit {code}: {said.err.strip() or 'the report is shown'}")
    (notice,) = [found for found in stage.notices() if "nobody else can tell" in found["title"]]
    stage.see("dead man's switch", "hl health --alert", notice["body"].splitlines()[0].removeprefix("- "))


def over(stage: Stage) -> None:
    """The next look of `hl health --alert` says that it is over.

    Raises:
        AssertionError: it does not.
    """
    assert stage.hl(*HEALTH, "--alert").code == 0
    told = [found["title"] for found in stage.notices()]
    assert "[RESOLVED] hl_pipeline: alerting stood still" in told, told


def _second(stage: Stage, fault: Fault) -> Generator[None]:
    stage.jobs = ["collect", "health"]
    with stage.second_endpoint() as other:
        stage.beat(MINUTE_MS)
        other.faults.add(fault)
        yield
        other.faults.clear()
        yield


def _stands(stage: Stage, verdict: str) -> str:
    """How `hl health` says that it stands."""
    report = json.loads(stage.hl(*HEALTH, "--json").out)
    return next(str(entry["status"]) for entry in report["checks"] if entry["name"] == verdict)


def _until_it_streams(stage: Stage) -> None:
    """Market time follows real time until every socket stands."""
    began, since_ms = time.monotonic(), stage.now_ms

    def stands() -> bool:
        stage.clock.set(max(stage.now_ms, since_ms + round(1000 * (time.monotonic() - began))))
        with stage.database.connection() as connection:
            found = stream.state(connection)
        return (
            found is not None
            and found.stopped_ms is None
            and found.updated_ms >= since_ms
            and (0 < found.connected == found.sockets and found.last_frame_ms is not None)
        )

    _until(stands, "the stream stands")


def _until(holds: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


TROUBLES = (
    Trouble(
        "the database is slow", "somebody's lock makes each reading of hl.market wait for 0.4 s", THEME, slow_database,
        rules=("database_slow",), checks=("live_candles/database_answers",), seek=(1, 1), calm=(1, 1),
        healing="the lock's holder is ended",
    ),
    Trouble(
        "the database hangs", "somebody's lock makes each reading of hl.market wait for 2.2 s", THEME, hanging_database,
        rules=("database_down",), checks=("live_candles/database_answers",), seek=(1, 1), calm=(1, 1),
        healing="the lock's holder is ended",
    ),
    Trouble(
        "Postgres is killed", "kill -9 of the server", THEME, database_killed,
        healing="the server is started again (`hl up` does so by itself)",
    ),
    Trouble(
        "the disk is full", "no byte is left where the database lives", THEME, disk_full, needs_disk=True,
        health=("disk_has_room",), exit_code=1, healing="room is made", says="has no room on its disk",
    ),
    Trouble(
        "another version's database", "the schema is newer than the code", THEME, other_schema,
        healing="the right version is installed",
    ),
    Trouble(
        "nobody judges the rules", "the sensor deliver_alerts is off for six minutes", THEME, nobody_judges,
        checks=("system_health/automation_on",), health=("automation_on",), exit_code=0,
        healing="the sensor is turned on", says="last judged",
    ),
    Trouble(
        "a channel is deaf", "one of two channels takes no notice: its folder is missing", THEME, channel_deaf,
        rules=("run_failed",), checks=("system_health/alerts_delivered",), health=("alerts_delivered",), exit_code=0,
        seek=(60, 1, 6), calm=(60, 1, 1500, 1),
        healing="the folder is made; what waited comes by itself, and a day later the refusals count no more",
    ),
    Trouble(
        "Dagster's daemon is killed", "kill -9, and nobody starts it again for 90 seconds", THEME, daemon_killed,
        rules=("check_failed",), checks=("system_health/daemon_alive",), health=("daemon_alive",), exit_code=1,
        healing="it is started again (`hl up` does so by itself)",
    ),
    Trouble(
        "the stream is killed", "kill -9 of `hl stream`, nobody starts it again; its rule waits 20 s, not two minutes",
        THEME, stream_killed,
        rules=("stream_down",), checks=("live_candles/stream_alive",), health=("stream_alive",), exit_code=0,
        seek=(2, 1, 1, 1), calm=(0.1, 0.1), healing="`hl stream` is started again (`hl up` does so by itself)",
    ),
    Trouble(
        "an endpoint dies", "the second of two endpoints answers nothing but 502", THEME, second_endpoint_dead,
        rules=("endpoint_unwell",), checks=("endpoint_health/endpoints_healthy",), health=("endpoints_healthy",),
        exit_code=0, seek=(1, 1, 1, 1, 2, 3), calm=(1, 1, 1, 2, 5),
    ),
    Trouble(
        "an endpoint lies", "the second of two endpoints shows prices 1 % too high", THEME, second_endpoint_lies,
        rules=("endpoints_disagree",), checks=("endpoint_health/endpoints_healthy",), seek=(5, 6, 1, 1),
        calm=(5, 6, 1, 1, 5, 6, 1),
    ),
)  # fmt: skip
