"""What `hl` reports when it dies, to a server that takes it, as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hl_pipeline.cli.supervisor import free_port
from hl_pipeline_tests.cli.conftest import hl_command
from hl_pipeline_tests.notify.sentry import Sentry, sentry

PASSWORD = "canary-of-the-database"  # noqa: S105  # nobody's


@pytest.fixture
def server() -> Iterator[Sentry]:
    with sentry() as running:
        yield running


@pytest.fixture
def ground(server: Sentry, tmp_path: Path) -> dict[str, str]:
    """Settings with which nothing can be reached, but for the server of error reports."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("HL_")}
    return {
        **ours,
        "HL_VENUE": "sandbox",
        "HL_HOME": str(tmp_path),
        "HL_DATABASE_URL": f"postgresql://hl:{PASSWORD}@127.0.0.1:{free_port()}/hl",
        "HL_SENTRY_DSN": server.dsn,
    }


def died(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(hl_command(*arguments), env=environ, capture_output=True, text=True)


def test_a_crash_is_printed_without_secrets_and_is_one_event(ground: dict[str, str], server: Sentry) -> None:
    del ground["HL_DATABASE_URL"]
    home = Path(ground["HL_HOME"]) / PASSWORD
    home.mkdir()
    (home / "sandbox").write_text("a file where a folder should be")
    done = died({**ground, "HL_HOME": str(home), "HL_UI_PASSWORD": PASSWORD}, "db", "start")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "NotADirectoryError" in done.stderr
    assert PASSWORD not in done.stderr + done.stdout
    (event,) = server.events
    assert (event["level"], event["transaction"]) == ("fatal", "hl db")
    assert event["exception"]["values"][-1]["type"] == "NotADirectoryError"
    assert b"***" in server.raw[0]
    assert PASSWORD.encode() not in server.raw[0]


def test_the_end_of_an_unattended_stream_is_one_event_and_its_line_stays(
    ground: dict[str, str], server: Sentry
) -> None:
    done = died(ground, "stream")
    assert done.returncode == 1
    assert done.stderr.startswith("hl: 127.0.0.1:")
    assert "Traceback" not in done.stderr
    (event,) = server.events
    assert (event["level"], event["fingerprint"]) == ("warning", ["hl stream", "DatabaseUnavailable"])
    assert event["environment"] == "sandbox"
    assert event["release"].startswith("hl_pipeline@")
    assert PASSWORD.encode() not in server.raw[0]


def test_what_a_person_reads_at_once_is_not_reported(ground: dict[str, str], server: Sentry) -> None:
    assert died(ground, "collect").returncode == 1
    assert died({**ground, "HL_PROFILE": "reckless"}, "status").returncode == 2
    assert died(ground, "nonsense").returncode == 2
    assert server.events == []


def test_a_crash_with_wrong_settings_is_reported_all_the_same(ground: dict[str, str], server: Sentry) -> None:
    program = (
        "import sys\n"
        "sys.argv = ['hl', 'verify']\n"
        "from hl_pipeline.cli import main\n"
        "def broken(**_): raise KeyError('no such thing')\n"
        "main.hl = broken\n"
        "main.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env={**ground, "HL_PROFILE": "reckless"})
    assert done.returncode == 1
    assert [event["transaction"] for event in server.events] == ["hl verify"]


def test_nothing_of_it_is_imported_where_nobody_asked(ground: dict[str, str], server: Sentry) -> None:
    del ground["HL_SENTRY_DSN"]
    command = [sys.executable, "-X", "importtime", "-m", "hl_pipeline.cli.main", "stream"]
    done = subprocess.run(command, env=ground, capture_output=True, text=True)
    assert done.returncode == 1
    assert "hl_pipeline.notify.error_reports" in done.stderr
    assert "sentry_sdk" not in done.stderr
    assert server.events == []
