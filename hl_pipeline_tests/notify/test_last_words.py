from __future__ import annotations

import copy
import logging
import pickle
import subprocess
import sys
from collections.abc import Iterator

import pytest

from hl_pipeline.model import redact as process
from hl_pipeline.model.redact import hide
from hl_pipeline.notify.last_words import CleanRecord, guard_logs

CANARY = "canary-of-a-log"
LOG = logging.getLogger("hl_pipeline_tests.last_words")


@pytest.fixture(autouse=True)
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(process, "_PROCESS", process._Process())
    hide(CANARY)
    before = logging.getLogRecordFactory()
    guard_logs()
    yield
    logging.setLogRecordFactory(before)


def test_a_line_its_arguments_its_traceback_and_its_stack_are_clean(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError(f"it was {CANARY}")
    except ValueError:
        LOG.exception("%s with password=%s", CANARY, "pa55", stack_info=True)
    assert "it was ***" in caplog.text
    assert "*** with password=***" in caplog.text
    assert "Stack (most recent call last)" in caplog.text
    assert CANARY not in caplog.text


def test_what_a_handler_puts_into_a_record_on_its_way_is_clean_too() -> None:
    record = LOG.makeRecord("name", logging.ERROR, "file", 1, "fine", (), None)
    record.msg = f"collect - STEP_FAILURE - {CANARY}"
    record.exc_text = f"Traceback: {CANARY}"
    for same in (record, copy.copy(record), pickle.loads(pickle.dumps(record))):  # noqa: S301  # our own
        assert isinstance(same, CleanRecord)
        assert CANARY not in logging.Formatter("%(message)s").format(same)


def test_a_process_dies_and_its_threads_too_with_clean_words_and_its_crash_is_told() -> None:
    program = (
        "import threading\n"
        "from hl_pipeline.model.redact import hide\n"
        "from hl_pipeline.notify.last_words import guard_process\n"
        f"hide({CANARY!r})\n"
        "guard_process(lambda error: print('told', type(error).__name__, flush=True))\n"
        "def die(): raise KeyError('thread ' + 'canary-of' + '-a-log')\n"
        "threading.Thread(target=die, name='probe').start()\n"
        "raise ValueError('main ' + 'canary-of' + '-a-log')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert sorted(done.stdout.splitlines()) == ["told KeyError", "told ValueError"]
    assert "Exception in thread probe:" in done.stderr
    assert "KeyError: 'thread ***'" in done.stderr
    assert "ValueError: main ***" in done.stderr
    assert CANARY not in done.stderr
