"""docs/secrets.md against what it speaks of, and its commands done: the old one is refused, the new one works."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import psycopg
import pytest
from psycopg import sql

from hl_pipeline.cli.main import hl
from hl_pipeline.cli.supervisor import free_port
from hl_pipeline.collect.alerting import tell
from hl_pipeline.model.alert import Notice, Severity
from hl_pipeline.model.clock import ManualClock, SystemClock
from hl_pipeline.model.interval import to_datetime
from hl_pipeline.notify.alerts import failed_run
from hl_pipeline.notify.channels import Channel, NotDelivered
from hl_pipeline.settings import Settings
from hl_pipeline.storage.alerts import raise_alert
from hl_pipeline.storage.embedded import DAGSTER_DATABASE, OWN_DATABASE, EmbeddedPostgres, Server, attach
from hl_pipeline.storage.engine import Database
from hl_pipeline.storage.migrations import migrate
from hl_pipeline.storage.postgres_home import USER, find_binaries
from hl_pipeline.storage.roles import Login
from hl_pipeline.storage.sql import query
from hl_pipeline_tests.cli.conftest import Run, hl_command, started
from hl_pipeline_tests.cli.test_supervisor import until
from hl_pipeline_tests.cli.test_up import processes_of

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "secrets.md").read_text("utf-8")
#: What is to be typed as it stands, by the heading that it is under.
SCRIPTS = {
    section.partition("\n")[0]: re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    for section in PAGE.split("\n## ")[1:]
}
SECRETS = sorted(name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation))
WRITERS = {"hl_writer": OWN_DATABASE, "hl_dagster": DAGSTER_DATABASE}
OLD, NEW = "the-old-password-1", "the-new-password-2"


def test_the_settings_have_secrets() -> None:
    assert {"database_url", "ui_password", "sentry_dsn"} < set(SECRETS)


@pytest.mark.parametrize(
    "secret",
    [*(f"HL_{name.upper()}" for name in SECRETS), USER, "hl_dagster", *(login.role for login in Login), "pg.password"],
)
def test_every_secret_stands_in_the_table(secret: str) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    assert any(f"`{secret}`" in row for row in rows)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?:^|`|&& |\()hl ([a-z]+)", PAGE, re.MULTILINE))))
def test_every_command_of_ours_exists(command: str) -> None:
    assert isinstance(hl, click.Group)
    assert command in hl.list_commands(click.Context(hl))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\bHL_[A-Z_]*[A-Z]\b", PAGE))))
def test_every_variable_exists(name: str) -> None:
    assert name.removeprefix("HL_").lower() in Settings.model_fields


def test_every_link_leads_to_a_heading() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line[3:]).lower().replace(" ", "-") for line in PAGE.splitlines() if line[:3] == "## "
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= headings


def may_log_in(server: Server, user: str, password: str, database: str = OWN_DATABASE) -> bool:
    """Whether the password is taken; raises what else Postgres says."""
    try:
        psycopg.connect(
            host="127.0.0.1", port=server.port, user=user, password=password, dbname=database, sslmode="disable"
        ).close()
    except psycopg.OperationalError as error:
        if "password authentication failed" not in str(error):
            raise
        return False
    return True


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``hl`` and ``psql`` are this installation's."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "hl").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hl_pipeline.cli.main "$@"\n')
    (programs / "hl").chmod(0o755)
    (programs / "psql").symlink_to(find_binaries().folder / "psql")
    return {"PATH": f"{programs}:{os.environ['PATH']}"}


def typed(script: str, environ: dict[str, str], answers: str = "") -> str:
    """The commands in a shell of their own that has no terminal, and so asks its standard input."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        input=answers,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
        start_new_session=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_on_a_server_of_your_own_a_login_changes_its_own_password(
    shell: dict[str, str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("HL_") and "TEST" not in name]:
        monkeypatch.delenv(name)
    (script,) = SCRIPTS["A Postgres of your own"]
    with EmbeddedPostgres(home / "server") as server:
        migrate(server.dsn())
        with psycopg.connect(server.dsn()) as admin:
            admin.execute(sql.SQL("create role hl_app login in role hl_writer password {}").format(OLD))

        def url(password: str) -> str:
            return f"postgresql://hl_app:{password}@127.0.0.1:{server.port}/{OWN_DATABASE}"

        typed(script, {**shell, "HL_DATABASE_URL": url(OLD)}, f"{NEW}\n{NEW}\n")
        assert (may_log_in(server, "hl_app", OLD), may_log_in(server, "hl_app", NEW)) == (False, True)
        with_hl = {**os.environ, "HL_HOME": str(home)}
        for password, code, said in ((OLD, 1, "password authentication failed"), (NEW, 0, "is up to date")):
            command = hl_command("migrate")
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, env={**with_hl, "HL_DATABASE_URL": url(password)}
            )
            assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stderr
            assert password not in done.stdout + done.stderr


def test_what_waits_for_a_channel_that_was_replaced_is_let_go(
    run: Run, environ: dict[str, str], database: Database
) -> None:
    (statement,) = re.findall(r"^```sql\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL)
    (name,) = re.findall(r"channel = '([\w-]+)'", statement)

    def refuse(notice: Notice) -> None:  # a sink's signature
        raise NotDelivered("invalid_token")

    clock = ManualClock(SystemClock().now_ms() - 120_000)
    with database.connection() as connection:
        raise_alert(connection, failed_run("collect", "4bf5", "all 6 requests failed"), clock.now_ms())
    clock.advance(60_000)
    tell(database, [Channel(name, Severity.INFO, refuse)], clock)
    assert name in run("alerts", "list").stdout
    with database.connection() as connection:
        ten_minutes_later = {"now": to_datetime(clock.now_ms() + 600_000)}
        standing = connection.execute(query("health_delivery"), ten_minutes_later).fetchone()
        assert standing is not None
        assert standing[-1] == [name]
        connection.execute(statement.encode())
        standing = connection.execute(query("health_delivery"), ten_minutes_later).fetchone()
        assert standing is not None
        assert (standing[3], standing[-1]) == (0, [])


def status_of(port: int, password: str) -> int:
    """What the web interface answers who gives this password."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/server_info")
    request.add_header("Authorization", "Basic " + base64.b64encode(f"x:{password}".encode()).decode())
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


@contextmanager
def up(environ: dict[str, str], home: Path, output: Path) -> Iterator[tuple[Server, int]]:
    """`hl up` until the block ends: its server, and the port of its web interface."""
    port = free_port()
    process = started(hl_command("up", "--port", str(port)), environ, output)
    try:
        until(lambda: "Ctrl-C stops everything" in output.read_text() or process.poll() is not None, 300)
        server = attach(home / "sandbox")
        assert server is not None, output.read_text()
        yield server, port
        process.terminate()
        assert process.wait(30) == 0
        until(lambda: not processes_of(home), 30)
    finally:
        process.kill()
        process.wait()


def collected(dagster: psycopg.Connection[tuple[object, ...]]) -> set[object]:
    """The collections that ended well."""
    statement = "select run_id from runs where pipeline_name = 'collect' and status = 'SUCCESS'"
    return {row[0] for row in dagster.execute(statement)}


def passwords(home: Path) -> dict[str, str]:
    """Every password file of the venue's folder, by role."""
    folder = home / "sandbox"
    found = {f"hl_{path.name.split('.')[1]}": path.read_text().strip() for path in folder.glob("pg.*.password")}
    return {**found, USER: (folder / "pg.password").read_text().strip()}


def holding(home: Path, secrets: list[str]) -> list[str]:
    """The files in which one of the secrets stands."""
    files = (path for path in home.rglob("*") if path.is_file())
    return [str(path) for path in files if any(secret.encode() in path.read_bytes() for secret in secrets)]


@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("openssl") is None, reason="the page's commands ask for openssl")
def test_on_the_embedded_server_all_are_replaced_and_hl_up_comes_back(
    environ: dict[str, str], shell: dict[str, str], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HL_DATABASE_URL")
    with_hl = {**shell, "HL_STREAM": "false"}
    (while_it_runs,), (while_stopped,) = SCRIPTS["Readers of the embedded server"], SCRIPTS["The embedded server"]
    with up({**with_hl, "HL_UI_PASSWORD": OLD}, home, tmp_path / "first") as (server, port):
        assert (status_of(port, OLD), status_of(port, NEW)) == (200, 401)
        typed("hl db url --reader", with_hl)
        reader = passwords(home)["hl_reader"]
        open_session = psycopg.connect(server.dsn().replace(f"{USER}:{server.password}", f"hl_reader:{reader}"))
        told = typed(while_it_runs, with_hl)
        assert f"hl_reader:{passwords(home)['hl_reader']}@" in told
        assert not may_log_in(server, "hl_reader", reader)
        assert may_log_in(server, "hl_reader", passwords(home)["hl_reader"])
        with pytest.raises(psycopg.OperationalError):
            open_session.execute("select 1")
        open_session.close()
        assert status_of(port, OLD) == 200, "what runs goes on"
        with psycopg.connect(server.dsn(DAGSTER_DATABASE)) as dagster:
            earlier = collected(dagster)
    before = {**passwords(home), "hl_reader": reader}
    typed(while_stopped, with_hl)
    with up({**with_hl, "HL_UI_PASSWORD": NEW}, home, tmp_path / "second") as (server, port):
        assert (status_of(port, OLD), status_of(port, NEW)) == (401, 200)
        after = passwords(home)
        for role in (USER, *WRITERS):
            database = WRITERS.get(role, OWN_DATABASE)
            assert not may_log_in(server, role, before[role], database), role
            assert may_log_in(server, role, after[role], database), role
        with psycopg.connect(server.dsn(DAGSTER_DATABASE), autocommit=True) as dagster:
            until(lambda: bool(collected(dagster) - earlier), 300)
    assert holding(home, [*before.values(), OLD]) == []
