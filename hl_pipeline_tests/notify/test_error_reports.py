from __future__ import annotations

import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hl_pipeline.model import redact as process
from hl_pipeline.model.failure import ExchangeUnavailable, InvalidSetting
from hl_pipeline.model.redact import hide
from hl_pipeline.notify.error_reports import ErrorReports, Told
from hl_pipeline_tests.notify.sentry import KEY, Sentry, sentry

CANARY = "canary-in-a-local-variable"


@pytest.fixture
def server() -> Iterator[Sentry]:
    with sentry() as running:
        yield running


@pytest.fixture
def reports(server: Sentry, monkeypatch: pytest.MonkeyPatch) -> Iterator[ErrorReports]:
    monkeypatch.setattr(process, "_PROCESS", process._Process())
    made = ErrorReports(server.dsn, release="hl_pipeline@1", environment="sandbox")
    yield made
    made.close()


def failing(error: Exception) -> Exception:
    """The error as it is caught, with a traceback and a local variable that nobody may see."""
    local = CANARY
    try:
        assert local
        raise error
    except type(error) as caught:
        return caught


def test_a_failure_is_one_event_that_says_what_where_and_how_grave(reports: ErrorReports, server: Sentry) -> None:
    logging.getLogger("anything").error("an error in the log is no report of its own")
    assert reports.report(failing(ZeroDivisionError("by nothing")), where="stream", tags={"lane": "live"})
    (event,), others = server.events, server.others
    assert others == [], "no session, no client report"
    assert (event["level"], event["fingerprint"]) == ("fatal", ["{{ default }}", "stream"])
    assert (event["release"], event["environment"], event["transaction"]) == ("hl_pipeline@1", "sandbox", "stream")
    assert event["tags"]["lane"] == "live"
    (value,) = event["exception"]["values"]
    assert (value["type"], value["value"]) == ("ZeroDivisionError", "by nothing")
    (frame,) = value["stacktrace"]["frames"]
    assert frame["function"] == "failing"
    assert KEY in server.keys[0]


@pytest.mark.parametrize(
    ("error", "level", "group", "action"),
    [
        (ExchangeUnavailable("it is down"), "warning", ["collect", "ExchangeUnavailable"], "try_again"),
        (InvalidSetting("HL_HOME"), "error", ["collect", "InvalidSetting"], "needs_a_person"),
    ],
)
def test_our_own_errors_say_how_grave_they_are_and_which_are_the_same(
    reports: ErrorReports, server: Sentry, error: Exception, level: str, group: list[str], action: str
) -> None:
    wrapper = RuntimeError("a step failed")
    wrapper.__cause__ = failing(error)
    reports.report(failing(wrapper), where="collect")
    (event,) = server.events
    assert (event["level"], event["fingerprint"], event["tags"]["action"]) == (level, group, action)
    assert [value["type"] for value in event["exception"]["values"]] == [type(error).__name__, "RuntimeError"]


def test_what_was_reported_is_not_reported_again_though_it_be_wrapped(reports: ErrorReports, server: Sentry) -> None:
    error = failing(ValueError("once"))
    assert reports.report(error, where="stream")
    assert not reports.report(error, where="hl stream")
    wrapper = RuntimeError("around it")
    wrapper.__context__ = error
    assert not reports.report(failing(wrapper), where="hl stream")
    assert len(server.events) == 1


def test_an_event_holds_no_secret_no_local_variable_and_nothing_of_the_machine(
    reports: ErrorReports, server: Sentry
) -> None:
    hide("secret-canary-one", "postgresql://hl:secret-canary-two@127.0.0.1/hl")
    said = f"secret-canary-one {'x' * 3_990} secret-canary-two password=three https://{KEY}@h/1"
    reports.report(failing(OSError(said)), where="hl", tags={"note": "secret-canary-one"})
    (body,) = server.raw
    _, _, rest = body.partition(b"\n")
    for secret in (
        b"secret-canary",
        b"three",
        CANARY.encode(),
        socket.gethostname().encode(),
        str(Path.cwd()).encode(),
    ):
        assert secret not in rest, secret
    assert b"***" in rest
    assert KEY.encode() not in rest
    (event,) = server.events
    assert {"server_name", "modules", "breadcrumbs", "extra", "request", "user"} & set(event) == set()
    frames = [frame for value in event["exception"]["values"] for frame in value["stacktrace"]["frames"]]
    assert frames
    assert all({"vars", "context_line", "abs_path"} & set(frame) == set() for frame in frames)


def test_what_another_process_told_is_the_same_event_every_time(reports: ErrorReports, server: Sentry) -> None:
    chain = [
        Told("dagster.Failure", "all 6 requests failed", [("hl_pipeline/defs/x.py", 3, "live_candles")]),
        Told("hl_pipeline.model.failure.ExchangeUnavailable", "password=pa55 is down"),
    ]
    for _ in range(2):
        reports.report_told(chain, where="collect", number="4bf5", tags={"run": "4bf5"})
    first, second = server.events
    assert first["event_id"] == second["event_id"], "a server keeps one of them"
    assert (first["level"], first["fingerprint"]) == ("warning", ["collect", "ExchangeUnavailable"])
    inner, outer = first["exception"]["values"]
    assert (inner["value"], outer["type"]) == ("password=*** is down", "dagster.Failure")
    assert outer["stacktrace"]["frames"][0]["function"] == "live_candles"


def test_a_server_that_refuses_or_is_not_there_changes_nothing_for_us(reports: ErrorReports, server: Sentry) -> None:
    server.status = 500
    assert reports.report(failing(ValueError("refused")), where="hl")
    nowhere = ErrorReports(f"http://{KEY}@127.0.0.1:1/7", release="1", environment="sandbox", patience_s=0.2)
    assert nowhere.report(failing(ValueError("nobody listens")), where="hl")
    nowhere.close()
    assert server.events == []


def test_a_stop_in_the_middle_of_a_report_waits_for_it(server: Sentry) -> None:
    server.hold.clear()
    program = (
        "from hl_pipeline.notify.error_reports import ErrorReports\n"
        f"reports = ErrorReports({server.dsn!r}, release='1', environment='sandbox', patience_s=30)\n"
        "reports.report(ValueError('the last one'), where='hl')\n"
        "print('not reached')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert server.arrived.wait(30), "the report is on its way"
        process.send_signal(signal.SIGTERM)
        server.hold.set()
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == -signal.SIGTERM, "and then the stop takes place"
    assert out == b""
    assert [event["exception"]["values"][0]["value"] for event in server.events] == ["the last one"]


def test_without_a_dsn_the_library_is_not_even_imported() -> None:
    program = "import sys, hl_pipeline.notify.error_reports\nassert 'sentry_sdk' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_carries_no_report_elsewhere(reports: ErrorReports, server: Sentry, status: int) -> None:
    with sentry() as elsewhere:
        server.status, server.location = status, f"http://127.0.0.1:{elsewhere.port}/api/7/envelope/"
        reports.report(failing(ValueError("for the eyes of one")), where="stream")
        assert server.arrived.is_set()
        assert not elsewhere.arrived.is_set()
    server.status, server.location = 200, None
    reports.report(failing(ValueError("the next one")), where="stream")
    assert [event["exception"]["values"][0]["value"] for event in server.events] == ["the next one"]
