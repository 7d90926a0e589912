"""The real web server, as a process of its own: guarded, for viewers, and bare as Dagster ships it."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest

from hl_pipeline.cli.supervisor import free_port, listens
from hl_pipeline_tests.cli.test_supervisor import until
from hl_pipeline_tests.conftest import lent_database

PASSWORD = "correct horse battery"  # noqa: S105 the tests' own
VIEWER_PASSWORD = "only to look at it"  # noqa: S105


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str


@dataclass
class Web:
    """One running server."""

    port: int
    process: subprocess.Popen[bytes]
    dagster_home: Path
    log: Path
    own: Mapping[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> Answer:
        """One request; header names are written with underscores, an empty one is left out."""
        wanted = {name.replace("_", "-"): value for name, value in {"Host": self.host, **headers}.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in wanted.items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body.encode())))
            connection.endheaders(body.encode() if body is not None else None)
            answer = connection.getresponse()
            fields = {name.lower(): value for name, value in answer.getheaders()}
            text = answer.read().decode(errors="replace")
            fields["all-csp"] = " | ".join(answer.headers.get_all("content-security-policy") or [])
            return Answer(answer.status, fields, text)
        finally:
            connection.close()

    def graphql(self, query: str, **headers: str) -> Answer:
        """As the interface's own pages ask."""
        import json

        return self.ask("/graphql", "POST", json.dumps({"query": query}), Content_Type="application/json", **headers)


@dataclass(frozen=True)
class Grounds:
    """What the servers of one module share: an instance, a workspace, a database."""

    dagster_home: Path
    workspace: Path
    environ: Mapping[str, str]

    def store_run(self) -> str:
        """A run in the instance; its id."""
        with dg.DagsterInstance.from_config(str(self.dagster_home)) as instance:
            return instance.create_run_for_job(dg.GraphDefinition(name="victim", node_defs=[]).to_job()).run_id

    def has_run(self, run_id: str) -> bool:
        with dg.DagsterInstance.from_config(str(self.dagster_home)) as instance:
            return instance.has_run(run_id)

    @contextmanager
    def web(self, *arguments: str, bare: bool = False, **settings: str) -> Iterator[Web]:
        port = free_port()
        at = ("--workspace", str(self.workspace))
        script = str(Path(sysconfig.get_path("scripts")) / "dagster-webserver")
        command = [script, "--port", str(port), *at] if bare else [sys.executable, "-m", "hl_pipeline.serve.web", *at]
        name = "HL_VIEWER_PORT" if "--viewer" in arguments else "HL_UI_PORT"
        log = self.dagster_home / f"web-{port}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*command, *arguments],
                env={**self.environ, **({} if bare else {name: str(port)}), **settings},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            until(lambda: listens(port) or process.poll() is not None, 90)
            assert process.poll() is None, log.read_text()
            yield Web(port, process, self.dagster_home, log)
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def grounds(tmp_path_factory: pytest.TempPathFactory, postgres_url: str, template_name: str) -> Iterator[Grounds]:
    folder = tmp_path_factory.mktemp("web")
    home, workspace = folder / "dagster", folder / "workspace.yaml"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\nnux:\n  enabled: false\n")
    workspace.write_text("load_from: []\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HL_", "DAGSTER_"))}
    with lent_database(postgres_url, template_name) as database:
        ours = {
            "DAGSTER_HOME": str(home),
            "HL_HOME": str(folder / "home"),
            "HL_VENUE": "sandbox",
            "HL_DATABASE_URL": database.libpq_url,
        }
        yield Grounds(home, workspace, {**kept, **ours})


@pytest.fixture(scope="session")
def guarded(grounds: Grounds) -> Iterator[Web]:
    """The interface as `hl up` starts it."""
    with grounds.web() as web:
        yield web


@pytest.fixture(scope="session")
def locked(grounds: Grounds) -> Iterator[Web]:
    """The interface with a password."""
    with grounds.web(HL_UI_PASSWORD=PASSWORD) as web:
        yield web


@pytest.fixture(scope="session")
def viewer(grounds: Grounds) -> Iterator[Web]:
    """The read-only interface, with a password of its own."""
    with grounds.web("--viewer", HL_UI_PASSWORD=PASSWORD, HL_VIEWER_PASSWORD=VIEWER_PASSWORD) as web:
        yield web


@pytest.fixture(scope="session")
def bare(grounds: Grounds) -> Iterator[Web]:
    """Dagster's own server, to show that what the guard refuses would have worked."""
    with grounds.web(bare=True) as web:
        yield web
