"""Log lines for a collector: one JSON object a line, free of secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest

from hl_pipeline.model import redact as process
from hl_pipeline.model.redact import hide
from hl_pipeline.notify.logs import log_to_stderr

CANARY = "canary-of-a-line"
LOG = logging.getLogger("hl_pipeline_tests.logs")


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(process, "_PROCESS", process._Process())
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_is_one_object_with_what_the_caller_gave(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(logging.INFO, as_json=True)
    LOG.info("read %d candles\nof %s", 3, "BTC", extra={"coin": "BTC", "batch": 17})
    LOG.debug("not from this level")
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert datetime.fromisoformat(said.pop("at")).utcoffset() is not None
    assert said.pop("process") > 0
    assert said == {
        "level": "info",
        "logger": "hl_pipeline_tests.logs",
        "message": "read 3 candles\nof BTC",
        "coin": "BTC",
        "batch": 17,
    }


def test_a_traceback_is_in_its_line_and_no_secret_is(capsys: pytest.CaptureFixture[str]) -> None:
    hide(CANARY)
    log_to_stderr(logging.INFO, as_json=True)
    try:
        raise ValueError(f"it was {CANARY}")
    except ValueError:
        LOG.exception("with %s", CANARY, extra={"where": {"url": f"https://a/{CANARY}"}})
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert "ValueError: it was ***" in said["traceback"]
    assert said["where"] == {"url": "https://a/***"}
    assert CANARY not in line


def test_what_is_no_text_yet_holds_no_secret_either(capsys: pytest.CaptureFixture[str]) -> None:
    hide(CANARY)
    log_to_stderr(logging.INFO, as_json=True)
    LOG.info("failed", extra={"error": ValueError(f"it was {CANARY}"), "seen": {f"https://a/{CANARY}"}})
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["error"] == "it was ***"
    assert CANARY not in line


def test_for_people_it_is_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(logging.INFO, as_json=False)
    LOG.warning("late by %s", "7 s")
    assert capsys.readouterr().err.endswith("hl_pipeline_tests.logs: late by 7 s\n")
