"""One `hl up` a database, wherever the other one runs; a crash gives the place back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from hl_pipeline.cli import only_one as module
from hl_pipeline.cli.ground import prepared
from hl_pipeline.cli.only_one import OnlyOne, only_one
from hl_pipeline.model.failure import AlreadyRunning
from hl_pipeline.settings import Settings
from hl_pipeline.storage.engine import Database
from hl_pipeline_tests.cli.test_supervisor import until

HOLDER = """
import sys, time
from hl_pipeline.cli.only_one import only_one
from hl_pipeline.storage.engine import Database
with only_one(Database(sys.stdin.readline().strip())):
    print("held", flush=True)
    time.sleep(60)
"""


def end_sessions(database: Database) -> None:
    with database.connection() as connection:
        connection.execute(
            b"select pg_terminate_backend(pid) from pg_stat_activity"
            b" where application_name = 'hl up' and datname = current_database()"
        )


def test_a_second_one_is_refused_and_told_who_has_it(database: Database) -> None:
    told = r"another `hl up` runs on 127\.0\.0\.1:.*, from .* since 20"
    with only_one(database), pytest.raises(AlreadyRunning, match=told):
        OnlyOne(database).hold()
    with only_one(database):
        pass


def test_everything_that_stands_on_a_database_is_refused_while_another_does(database: Database, tmp_path: Path) -> None:
    def settings(home: str) -> Settings:
        url = SecretStr(database.libpq_url)
        return Settings(venue="sandbox", database_url=url, dagster_database_url=url, home=tmp_path / home)

    with ExitStack() as first:
        first.enter_context(prepared(settings("one")))
        with pytest.raises(AlreadyRunning, match="another `hl up`"), prepared(settings("another")):
            pass
    with prepared(settings("another")) as ground:
        assert not ground.tend()


def test_the_place_of_a_killed_one_is_free(database: Database) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    try:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(database.libpq_url + "\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunning):
            OnlyOne(database).hold()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        place = OnlyOne(database)

        def is_free() -> bool:
            try:
                place.hold()
            except AlreadyRunning:
                return False
            return True

        until(is_free, 10)
        place.give_back()
    finally:
        holder.kill()
        holder.communicate()


def test_a_place_that_was_lost_with_its_session_is_taken_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.0)
    with only_one(database) as place:
        end_sessions(database)
        place.tend()
        with pytest.raises(AlreadyRunning):
            OnlyOne(database).hold()


def test_who_lost_the_place_to_another_says_so(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.0)
    with only_one(database) as place:
        place.give_back()
        with only_one(database), pytest.raises(AlreadyRunning):
            place.tend()


def test_a_database_that_is_away_ends_nobody(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.0)
    with only_one(database) as place:
        end_sessions(database)
        with monkeypatch.context() as away:
            away.setattr(place._place, "_database", Database("postgresql://nobody@127.0.0.1:1/nothing"))
            place.tend()
        place.tend()
        with pytest.raises(AlreadyRunning), only_one(database):
            pass  # once the database is back, the place is held again


def test_it_is_asked_for_once_in_a_while_only(database: Database) -> None:
    with only_one(database) as place:
        end_sessions(database)
        place.tend()
        with psycopg.connect(database.libpq_url) as connection:
            held = connection.execute(
                "select count(*) from pg_stat_activity where application_name = 'hl up'"
            ).fetchone()
        assert held is not None
        assert not held[0]
