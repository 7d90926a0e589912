"""Eight secrets through a day of the pipeline and a dozen failures: none is found in anything that was left behind."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, quote_plus

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from hl_pipeline.cli.supervisor import free_port
from hl_pipeline.sandbox.catalogue import markets_named
from hl_pipeline.sandbox.limiter import LimiterMode
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.sandbox.world import World
from hl_pipeline_tests.cli.conftest import hl_command, started
from hl_pipeline_tests.cli.test_supervisor import until
from hl_pipeline_tests.cli.test_up import answers, processes_of
from hl_pipeline_tests.notify.sentry import Sentry, sentry

pytestmark = pytest.mark.timeout(1200)

CANARIES = {
    "database": "canary&data+base/1",
    "dagster": "canary&dag+ster/22",
    "interface": "canary<inter>face333",
    "viewer": 'canary"viewer"4444',
    "alert token": "CANARYtoken55555",
    "alert password": "canary+alert%666666",
    "sentry key": "cana7777ry7777sentry77",
    "wrong password": "canary=wrong=88888888",
}


def forms(secret: str) -> list[str]:
    """How a secret may be written; not taken from the code under test."""
    raw = secret.encode()
    shifted = [base64.b64encode(b"x" * by + raw)[4 : -4 - (by > 0)].decode() for by in range(3)]
    return [
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        raw.hex(),
        base64.b64encode(raw).decode().rstrip("="),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        *shifted,
    ]


#: What everybody else says back. The wrong password is known to one process alone, so it is asked of that one alone.
WORDS = [
    form for name, secret in CANARIES.items() if name != "wrong password" for form in (secret, quote(secret, safe=""))
]
SAID = " ".join(WORDS)


def found_in(text: str) -> list[str]:
    """Which canaries sing in a text."""
    return [name for name, secret in CANARIES.items() if any(form in text for form in forms(secret))]


@dataclass
class Trail:
    """Everything that was left behind, by where it lay; ``codes`` are the exit codes."""

    left: dict[str, str] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)

    def ran(self, name: str, environ: Mapping[str, str], command: list[str]) -> None:
        done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=False)
        self.codes[name] = done.returncode
        self.left[f"{name}: stdout"], self.left[f"{name}: stderr"] = done.stdout, done.stderr


@dataclass
class Echo:
    """Answers whatever is asked with ``status`` and all secrets, each first in its turn; keeps the bodies it got."""

    port: int = 0
    status: int = 500
    bodies: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextmanager
def echoing() -> Iterator[Echo]:
    echo, turns = Echo(), itertools.count()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            echo.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
            turn = next(turns) % len(WORDS)
            answer = f'["{" ".join(WORDS[turn:] + WORDS[:turn])}'.encode()
            self.send_response(echo.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        echo.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield echo
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def login(postgres_url: str, name: str, secret: str) -> Iterator[str]:
    """A database of a user's own whose password is a canary; its URL."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        stored = connection.pgconn.encrypt_password(secret.encode(), name.encode(), b"scram-sha-256").decode()
        role = sql.Identifier(name)
        connection.execute(sql.SQL("create role {} superuser login password {}").format(role, stored))
        connection.execute(sql.SQL("create database {} owner {}").format(role, role))
        try:
            url = make_url(postgres_url).set(username=name, password=secret, database=name)
            yield url.render_as_string(hide_password=False)
        finally:
            connection.execute(sql.SQL("drop database {} with (force)").format(role))
            connection.execute(sql.SQL("drop role {}").format(role))


def dumped(url: str) -> str:
    """Every row of every table that is not Postgres's own."""
    rows: list[str] = []
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
        ).fetchall()
        for table in tables:
            statement = sql.SQL("copy (select * from {}) to stdout").format(sql.Identifier(*table))
            with connection.cursor().copy(statement) as copied:
                rows += [bytes(row).decode() for row in copied]
    return "\n".join(rows)


@dataclass
class Stage:
    """All that the pipeline talks to."""

    environ: dict[str, str]
    home: Path
    exchange: RunningSandbox
    echo: Echo
    sink: Echo
    reports: Sentry
    urls: tuple[str, str]
    trail: Trail = field(default_factory=Trail)

    def hl(self, name: str, *arguments: str, **other: str) -> None:
        """`hl` with other settings than the good ones."""
        self.trail.ran(name, {**self.environ, **other}, hl_command(*arguments))

    def dagster(self, name: str, *jobs: str, **other: str) -> None:
        command = [sys.executable, "-m", "hl_pipeline_tests.canary_runs", *jobs]
        self.trail.ran(name, {**self.environ, **other}, command)


@contextmanager
def staged(postgres_url: str) -> Iterator[Stage]:
    home = Path(tempfile.mkdtemp(prefix="hl-can-"))
    with ExitStack() as held:
        held.callback(shutil.rmtree, home, ignore_errors=True)
        world = World(3, markets=markets_named("BTC"), history_days=5)
        exchange = held.enter_context(RunningSandbox(world, limiter=LimiterMode.OFF))
        echo, sink = held.enter_context(echoing()), held.enter_context(echoing())
        reports = held.enter_context(sentry())
        urls = tuple(
            held.enter_context(login(postgres_url, f"hl_canary_{name}_{os.getpid()}", CANARIES[name]))
            for name in ("database", "dagster")
        )
        mine = {name: value for name, value in os.environ.items() if not name.startswith(("HL_", "DAGSTER_"))}
        token, password = CANARIES["alert token"], quote(CANARIES["alert password"], safe="")
        environ = {
            **mine,
            "HL_VENUE": "sandbox",
            "HL_ENDPOINT": exchange.url,
            "HL_HOME": str(home),
            "HL_UNIVERSE": "list",
            "HL_MARKETS": "BTC",
            "HL_INTERVALS": "1h,1d",
            "HL_DATABASE_URL": urls[0],
            "HL_DAGSTER_DATABASE_URL": urls[1],
            "HL_UI_PORT": str(free_port()),
            "HL_UI_PASSWORD": CANARIES["interface"],
            "HL_VIEWER_PORT": str(free_port()),
            "HL_VIEWER_PASSWORD": CANARIES["viewer"],
            "HL_ALERT_URLS": f"info=json://{sink.address}/{token} json://ops:{password}@{sink.address}/hook",
            "HL_SENTRY_DSN": reports.dsn.replace(reports.dsn.split("//")[1].split("@")[0], CANARIES["sentry key"]),
            "HL_TEST_SAID": SAID,
            "DAGSTER_HOME": str(home / "sandbox" / "dagster"),
        }
        yield Stage(environ, home, exchange, echo, sink, reports, (urls[0], urls[1]))


def a_day(stage: Stage) -> None:
    """Everything as it should be."""
    stage.sink.status = 200
    stage.hl("migrate", "migrate")
    port = stage.environ["HL_UI_PORT"]
    output = stage.home / "up.out"
    process = started(hl_command("up"), stage.environ, output)
    try:
        until(lambda: "Ctrl-C stops everything" in output.read_text() or process.poll() is not None, 300)
        stage.trail.left["command lines"] = "\n".join(processes_of(stage.home))
        assert answers(f"http://127.0.0.1:{port}/livez"), output.read_text()
        assert not answers(f"http://127.0.0.1:{port}/"), "it asks for the password"
    finally:
        process.terminate()
        stage.trail.codes["up"] = process.wait(60)
    stage.dagster("jobs", "refresh_markets", "collect", "health")
    for name in ("collect", "status", "verify"):
        stage.hl(name, name)
    stage.hl("health", "health", "--json", "--alert")
    stage.hl("config", "config", "check", "--json")
    stage.hl("alerts test", "alerts", "test")


def told(stage: Stage) -> bool:
    """Send what is due; whether the failed run was among what the sink took."""
    stage.hl("alerts sent", "alerts", "send")
    return any("run_failed" in body for body in stage.sink.bodies)


def a_bad_day(stage: Stage) -> None:
    """Everything that can go wrong, each with the secrets in what the other side says."""
    wrong = make_url(stage.urls[0]).set(password=CANARIES["wrong password"]).render_as_string(hide_password=False)
    down = make_url(stage.urls[0]).set(port=free_port()).render_as_string(hide_password=False)
    echo = {"HL_ENDPOINT": f"http://{stage.echo.address}"}
    stage.sink.status = 500
    stage.hl("wrong password", "status", HL_DATABASE_URL=wrong)
    stage.hl("database down", "stream", HL_DATABASE_URL=down)
    stage.hl("exchange 500", "collect", **echo)
    stage.dagster("failed run", "collect", **echo)
    stage.echo.status = 200
    stage.hl("exchange nonsense", "collect", **echo)
    stage.dagster("raising check", "check")
    stage.hl("sink refuses", "alerts", "test")
    stage.hl("sink refuses again", "alerts", "send")
    with psycopg.connect(stage.urls[1]) as connection:  # Dagster's own database stands for somebody else's
        connection.execute("create schema hl")
        connection.execute("create table hl.market (said text)")
    stage.hl("failed migration", "migrate", HL_DATABASE_URL=stage.urls[1])
    stage.hl(
        "invalid settings",
        "config",
        "check",
        HL_DATABASE_URL=f"mysql://u:{quote(CANARIES['database'], safe='')}@h/x",
        HL_UI_PASSWORD=f"{CANARIES['interface']}\t",
        HL_ALERT_URLS=CANARIES["alert token"],
        HL_SENTRY_DSN=f"http://{CANARIES['sentry key']}@elsewhere.example/1",
        HL_PERIOD_SECONDS=CANARIES["viewer"],
    )
    with tempfile.TemporaryDirectory() as elsewhere:  # its name is a secret, and is not to be found where we look
        home = Path(elsewhere) / CANARIES["interface"]
        home.mkdir()
        (home / stage.environ["HL_VENUE"]).write_text("a file where a folder should be")
        stage.hl("crash", "db", "start", HL_DATABASE_URL="", HL_DAGSTER_DATABASE_URL="", HL_HOME=str(home))
    crash = "from hl_pipeline.cli import main, stream\nimport os, sys\nsys.argv = ['hl', 'stream']\n"
    crash += "async def broken(*_): raise RuntimeError('the stream saw ' + os.environ['HL_TEST_SAID'])\n"
    crash += "stream.follow = broken\nmain.main()"
    stage.trail.ran("stream crash", stage.environ, [sys.executable, "-c", crash])
    stage.hl("dead man 1", "health", "--alert", "--json", HL_DATABASE_URL=down)
    stage.sink.status = 200
    stage.hl("dead man 2", "health", "--alert", "--json", HL_DATABASE_URL=down)
    until(lambda: told(stage), 400)  # the sink is left alone for a while after it refused
    stage.hl("status after it all", "status", "--json")


@pytest.fixture(scope="module")
def stage(postgres_url: str) -> Iterator[Stage]:
    """After a day and a bad day; what they left is in its trail."""
    with staged(postgres_url) as made:
        a_day(made)
        a_bad_day(made)
        trail = made.trail.left
        for name, url in zip(("pipeline", "dagster"), made.urls, strict=True):
            trail[f"database of the {name}"] = dumped(url)
        for path in made.home.rglob("*"):
            if path.is_file():
                trail[str(path)] = path.read_bytes().decode("utf-8", "replace")
        trail["alerts"] = "\n".join(made.sink.bodies)
        # an envelope's head names the key to its own server, as the request's head does
        trail["error reports"] = "\n".join(raw.partition(b"\n")[2].decode() for raw in made.reports.raw)
        yield made


def test_the_good_day_went_well(stage: Stage) -> None:
    codes = stage.trail.codes
    good = ("migrate", "up", "jobs", "collect", "status", "verify", "config", "alerts test")
    assert {name: codes[name] for name in good} == dict.fromkeys(good, 0), stage.trail.left
    assert json.loads(stage.trail.left["jobs: stdout"].splitlines()[-1]) == dict.fromkeys(
        ("refresh_markets", "collect", "health"), True
    )


def test_every_failure_took_place_and_said_something(stage: Stage) -> None:
    left, codes = stage.trail.left, stage.trail.codes
    said: dict[str, tuple[int, str, Callable[[str], bool]]] = {
        "wrong password": (1, "stderr", lambda text: "password authentication failed" in text),
        "database down": (1, "stderr", lambda text: "refused" in text),
        "exchange 500": (1, "stderr", bool),
        "failed run": (0, "stdout", lambda text: '"collect": false' in text),
        "exchange nonsense": (1, "stderr", bool),
        "raising check": (0, "stdout", lambda text: '"check": false' in text),
        "sink refuses": (1, "stderr", bool),
        "failed migration": (2, "stderr", lambda text: "cannot be applied" in text),
        "invalid settings": (2, "stderr", lambda text: text.count("; correct it") == 5),
        "crash": (1, "stderr", lambda text: "NotADirectoryError" in text),
        "stream crash": (1, "stderr", lambda text: "RuntimeError: the stream saw ***" in text),
        "dead man 2": (2, "stdout", lambda text: json.loads(text)["status"] == "unknown"),
    }
    for name, (code, stream, holds) in said.items():
        text = left[f"{name}: {stream}"]
        assert codes[name] == code, f"{name}: {left[f'{name}: stderr']}"
        assert holds(text), f"{name}: {text}"


def test_the_failures_were_recorded_told_and_reported(stage: Stage) -> None:
    left = stage.trail.left
    assert "the check saw *** ***" in left["database of the dagster"]
    assert "answered 500" in left["database of the pipeline"]
    assert "run_failed" in left["alerts"]
    assert "nobody else can tell you" in left["alerts"], "the dead man's notice"
    reported = sorted(
        (event["transaction"], event["exception"]["values"][-1]["type"]) for event in stage.reports.events
    )
    assert reported == [
        ("__ephemeral_asset_job__", "DagsterExecutionStepExecutionError"),
        ("collect", "Failure"),
        ("hl db", "NotADirectoryError"),
        ("hl stream", "DatabaseUnavailable"),
        ("hl stream", "RuntimeError"),
    ]
    assert stage.reports.others == []


def test_no_secret_is_found_in_anything_that_was_left(stage: Stage) -> None:
    assert found_in(f"{SAID} {CANARIES['wrong password']}") == list(CANARIES), "the sweep itself hears them all"
    assert len(stage.trail.left) > 50
    singing = {where: names for where, text in stage.trail.left.items() if (names := found_in(text))}
    assert singing == {}
