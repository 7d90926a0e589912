"""``hl dlq`` as a person at a terminal meets it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from hl_pipeline.collect.dead_letters import RetryReport, retry_and_drain
from hl_pipeline.model.clock import SystemClock
from hl_pipeline.runtime import open_pipeline
from hl_pipeline.sandbox.faults import Fault, FaultKind
from hl_pipeline.sandbox.server import RunningSandbox
from hl_pipeline.settings import Settings
from hl_pipeline_tests.cli.conftest import Run

IMPATIENT = b"update hl.failure_kind set max_attempts = 1, lasting = '0'"


@pytest.fixture
def broken(run: Run, environ: dict[str, str], exchange: RunningSandbox) -> Iterator[int]:
    """ETH 1h only sends HTML, and one failure is one too many; the number of its letter."""
    fault = Fault(FaultKind.HTML, coin="ETH", interval="1h")
    with open_pipeline(Settings.load()) as pipeline, pipeline.database.connection() as connection:
        connection.execute(IMPATIENT)
    (number,) = exchange.faults.add(fault)
    run("collect", "--intervals", "1h")
    yield 1
    exchange.faults.remove(number)


def test_without_a_dead_letter_each_command_says_so(run: Run, environ: dict[str, str]) -> None:
    assert "No dead letter is open" in run("dlq", "list").output
    assert "nothing to retry" in run("dlq", "retry").output
    assert json.loads(run("dlq", "retry", "--json").output) == {"retried": 0}
    unknown = run("dlq", "show", "7")
    assert unknown.exit_code == 2
    assert "there is no dead letter 7" in unknown.stderr


def test_list_names_the_window_and_show_says_why_and_what_next(run: Run, broken: int) -> None:
    listed = run("dlq", "list")
    assert listed.exit_code == 0
    assert "ETH" in listed.output
    assert "bad_answer" in listed.output
    assert "failed, dead letter" in run("gaps").output
    assert "No dead letter is open" in run("dlq", "list", "--kind", "refused").output
    shown = run("dlq", "show", str(broken)).output
    assert f"Dead letter {broken}, open: ETH 1h" in shown
    assert "curl http://" in shown
    assert '"coin": "ETH"' in shown
    assert "next step   send the request by hand" in shown
    (document,) = json.loads(run("dlq", "list", "--json").output)["dead_letters"]
    assert document == json.loads(run("dlq", "show", str(broken), "--json").output)
    assert (document["outcome"], document["waiting"]) == ("open", document["slots"])


def test_a_retry_is_asked_for_by_the_next_collection(run: Run, broken: int, exchange: RunningSandbox) -> None:
    assert "Due again: 1." in run("dlq", "retry", "--id", str(broken)).output
    run("collect", "--intervals", "1h")
    assert "open" in run("dlq", "list").output, "it failed again"
    exchange.faults.clear()
    assert run("collect", "--intervals", "1h").exit_code == 0
    assert "open" in run("dlq", "list").output, "nobody asked for it"
    run("dlq", "retry", "--kind", "bad_answer")
    run("collect", "--intervals", "1h")
    assert "No dead letter is open" in run("dlq", "list").output
    assert "healed" in run("dlq", "list", "--all").output
    assert json.loads(run("dlq", "show", str(broken), "--json").output)["outcome"] == "healed"


def test_choices_that_contradict_or_do_not_exist_are_refused(run: Run, environ: dict[str, str]) -> None:
    both = run("dlq", "retry", "--kind", "refused", "--id", "1")
    assert both.exit_code == 2
    assert "not both" in both.stderr
    assert run("dlq", "retry", "--id", "4").exit_code == 2
    assert run("dlq", "list", "--kind", "nonsense").exit_code == 2


def test_the_same_over_real_http(run: Run, broken: int, exchange: RunningSandbox) -> None:
    exchange.faults.clear()
    with open_pipeline(Settings.load()) as pipeline:
        report = retry_and_drain(pipeline.source, pipeline.database, SystemClock(), pipeline.policy)
    assert isinstance(report, RetryReport)
    assert [str(letter.outcome) for letter in report.letters] == ["healed"]
